"""Structure in a tensor pays: the search finds a model that uses it."""

import numpy as np
import pytest
from container.samples import encoded, model_of, weights
from container.test_encoding import size


def shuffled(array, seed=0):
    """Return an array with the same values in random order."""
    flat = array.reshape(-1).copy()
    np.random.default_rng(seed).shuffle(flat)
    return flat.reshape(array.shape)


def saving(array, effort=5):
    """Return what share of the bytes of the same values in random order an array saves."""
    return 1 - size(array, effort) / size(shuffled(array), effort)


def smooth(height, width, columns, seed=0):
    """Return weights of the pixels of pictures: neighbours are alike, signs included."""
    random = np.random.default_rng(seed)
    field = random.normal(size=(height, width, columns))
    for _ in range(4):
        field = sum(np.roll(field, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1))
    field /= field.std()
    levels = np.where(np.abs(field) > 1, np.sign(field) * np.ceil(np.abs(field)), 0)
    return levels.reshape(height * width, columns).astype(np.float32)


def by_line(rows, columns, of_rows, seed=0):
    """Return weights of which some rows, or columns, keep many more than others."""
    random = np.random.default_rng(seed)
    density = 0.4 ** random.uniform(0, 6, rows if of_rows else columns)
    kept = random.random((rows, columns)) < (density[:, np.newaxis] if of_rows else density)
    return np.where(kept, weights((rows, columns), 1, 8, seed), 0).astype(np.float32)


@pytest.mark.parametrize("of_rows", [True, False])
def test_density_of_lines(of_rows):
    array = by_line(120, 100, of_rows)
    assert saving(array) > 0.1
    model = model_of(encoded(array), "float32", array.shape)
    scores = model.row_scores if of_rows else model.column_scores
    assert len(set(scores.tolist())) > 2
    assert model.classes > 2
    # Without scores it does not pay.
    assert saving(array, 0) < 0.05


def test_density_of_rows_and_columns():
    rows, columns = by_line(150, 100, True), by_line(150, 100, False, 1)
    array = np.where((rows != 0) | (columns != 0), weights((150, 100), 1, 8), 0)
    model = model_of(encoded(array.astype(np.float32)), "float32", array.shape)
    assert model.row_scores.any() and model.column_scores.any()


def test_large_tensors_come_close_to_the_densities_that_they_were_made_with():
    """A search that looks at a few columns must not choose the scores of rows by them alone."""
    rng = np.random.default_rng(0)
    rows, columns = (np.exp(rng.normal(0, spread, n)) for spread, n in ((1.8, 2000), (1.2, 1000)))
    chances = np.outer(rows, columns)
    for _ in range(20):
        chances = np.minimum(chances * 0.04 / chances.mean(), 0.98)
    kept = rng.random(chances.shape) < chances
    least = -np.log2(np.where(kept, chances, 1 - chances)).sum() / 8
    assert size(kept.astype(np.float32)) < 1.065 * least


def test_pictures():
    array = smooth(20, 16, 40)
    assert saving(array) > 0.2
    model = model_of(encoded(array), "float32", array.shape)
    assert (model.grid.width, model.grid.depth) == (16, 1)
    assert model.sign_neighbourhood is not None
    assert size(array, 5) < 0.9 * size(array, 0)


def test_pictures_of_several_channels():
    layers = np.stack([smooth(14, 14, 30, seed) for seed in range(3)], axis=1)
    array = layers.reshape(14 * 14 * 3, 30)
    assert saving(array) > 0.15
    model = model_of(encoded(array), "float32", array.shape)
    assert (model.grid.width, model.grid.depth) == (14, 3)


def test_kernels_of_convolutions():
    array = smooth(7, 7, 24 * 5).reshape(7, 7, 5, 24)
    assert saving(array) > 0.1
    model = model_of(encoded(array), "float32", array.shape)
    assert (model.grid.width, model.grid.depth) == (7, 5)


def test_no_grid_without_structure():
    model = model_of(encoded(weights((400, 50), 0.1, 8)), "float32", (400, 50))
    assert model.grid is None
    assert not model.row_scores.any() and not model.column_scores.any()


def test_values_by_line_in_full_tensors():
    random = np.random.default_rng(0)
    spread = 3 ** random.uniform(-2, 1, 100)
    array = np.rint(random.normal(size=(80, 100)) * 4 * spread).astype(np.int8)
    array[array == 0] = 1
    assert saving(array) > 0.04
    model = model_of(encoded(array), "int8", array.shape)
    assert not model.sparse
    assert model.cuts and model.column_scores.any()


def test_values_by_density():
    """Where weights are dense they are large: groups of classes have codes of their own."""
    density = np.repeat([0.02, 0.1, 0.6], 100)
    random = np.random.default_rng(0)
    kept = random.random((60, 300)) < density
    large = random.normal(size=(60, 300)) * 8
    small = random.normal(size=(60, 300))
    array = np.where(kept, np.rint(np.where(density > 0.5, large, small)) * 2 + 1, 0)
    array = array.astype(np.float32)
    model = model_of(encoded(array), "float32", array.shape)
    assert model.cuts
    assert size(array, 5) < size(array, 1)


def test_few_zeros_are_a_value_like_others():
    random = np.random.default_rng(0)
    array = random.integers(0, 16, (50, 60)).astype(np.uint8)
    assert not model_of(encoded(array), "uint8", array.shape).sparse
    assert size(array) < 50 * 60 / 2 + 40


def test_transposed_at_higher_efforts():
    array = np.ascontiguousarray(smooth(20, 16, 40).T)
    assert size(array, 6) < 0.95 * size(array, 5)
    assert model_of(encoded(array, 6), "float32", array.shape).transposed
