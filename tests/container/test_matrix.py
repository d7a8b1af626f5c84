"""Tensors as matrices, and bands of their columns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_deepcomp.container.matrix import MAX_BAND, Elements, Matrix


@pytest.mark.parametrize(
    ("shape", "transposed", "expected"),
    [
        ((), False, [[0]]),
        ((3,), False, [[0, 1, 2]]),
        ((2, 3), False, [[0, 1, 2], [3, 4, 5]]),
        ((2, 3), True, [[0, 3], [1, 4], [2, 5]]),
        ((1, 2, 3), False, [[0, 1, 2], [3, 4, 5]]),
        ((2, 2, 2), True, [[0, 2, 4, 6], [1, 3, 5, 7]]),
    ],
)
def test_matrix(shape, transposed, expected):
    matrix = Matrix.of(shape, transposed)
    flat = np.arange(np.prod(shape, dtype=int))
    assert matrix.view(flat).tolist() == expected
    assert (matrix.rows, matrix.columns) == np.array(expected).shape
    matrix.view(flat)[-1, -1] = 99
    assert flat[-1] == 99


@pytest.mark.parametrize(
    ("shape", "transposed", "count"),
    [
        ((), False, 1),
        ((10, 10), False, 1),
        ((1 << 20, 3), False, 3),
        (((1 << 20) + 1, 3), False, 0),
        (((1 << 19) + 1, 3), False, 3),
        ((1 << 19, 3), False, 2),
        ((5_000_000,), False, 5),
        ((4097, 4096), True, 17),
        ((3, 341, 1024), False, 1),
        ((3, 341, 1026), False, 2),
    ],
)
def test_bands(shape, transposed, count):
    matrix = Matrix.of(shape, transposed)
    assert matrix.band_count == count
    if count:
        assert count == -(-matrix.columns // (MAX_BAND // matrix.rows))
    bands = matrix.bands()
    assert [(band.start, band.stop) for band in bands] == [
        (b * matrix.columns // count, (b + 1) * matrix.columns // count) for b in range(count)
    ]
    assert all(0 < band.stop - band.start <= MAX_BAND // matrix.rows for band in bands)


@given(st.integers(1, 9), st.integers(1, 9), st.booleans(), st.data())
def test_flat_indices(rows, columns, transposed, data):
    matrix = Matrix.of((rows, columns), transposed)
    start = data.draw(st.integers(0, matrix.columns - 1))
    band = slice(start, data.draw(st.integers(start + 1, matrix.columns)))
    flat = np.arange(rows * columns)
    expected = matrix.view(flat)[:, band].reshape(-1)
    np.testing.assert_array_equal(matrix.flat_indices(np.arange(expected.size), band), expected)


matrices = st.builds(Matrix.of, st.tuples(st.integers(1, 9), st.integers(1, 9)), st.booleans())


def assert_same_elements(found, expected):
    for field in ("rows", "columns", "patterns"):
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))


@given(matrices, st.integers(0, 2**32))
def test_nonzeros(matrix, seed):
    flat = np.random.default_rng(seed).integers(0, 3, matrix.size).astype(np.uint8)
    (found,) = matrix.nonzeros(flat)
    assert_same_elements(found, Elements.of(matrix.view(flat), sparse=True))
    assert list(zip(found.rows, found.columns, strict=True)) == [
        (row, column)
        for row in range(matrix.rows)
        for column in range(matrix.columns)
        if matrix.view(flat)[row, column]
    ]
    everything = Elements.of(matrix.view(flat), sparse=False)
    np.testing.assert_array_equal(everything.patterns, matrix.view(flat).reshape(-1))


@pytest.mark.parametrize(
    ("shape", "transposed"),
    [((1 << 19, 7), False), ((5, 1 << 18), True), ((3_000_000,), False), ((9, 9), False)],
)
def test_elements_of_each_band(shape, transposed):
    matrix = Matrix.of(shape, transposed)
    flat = np.zeros(matrix.size, np.uint8)
    flat[::977] = 1 + np.arange(flat[::977].size) % 200
    view = matrix.view(flat)
    parts = matrix.nonzeros(flat)
    for part, band in zip(parts, matrix.bands(), strict=True):
        assert_same_elements(part, Elements.of(view[:, band], sparse=True))
    for step in (1, 3, matrix.columns):
        assert_same_elements(matrix.every(step, parts), Elements.of(view[:, ::step], sparse=True))
