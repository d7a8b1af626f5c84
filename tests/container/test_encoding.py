"""Tensors to blocks and back, and what makes them small."""

import itertools

import numpy as np
import pytest
from container.samples import arrays, decoded, encoded, model_of, weights
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_deepcomp.container import dtypes
from keras_deepcomp.container.huffman import MAX_SYMBOLS


def size(array, effort=5):
    """Return the bytes of the blocks of an array, after reading it back."""
    contents = encoded(array, effort)
    if contents is None:
        return array.nbytes
    element = dtypes.element_type(array.dtype)
    patterns, info = decoded(contents, element.name, array.shape)
    np.testing.assert_array_equal(patterns, dtypes.patterns_of(array, element))
    assert (info.size, info.coding) == (array.size, "coded")
    assert info.nonzero == np.count_nonzero(patterns)
    return sum(map(len, contents))


@given(
    arrays().filter(lambda array: array.itemsize <= 8 and array.size and any(array.tobytes())),
    st.integers(0, 9),
)
@settings(max_examples=150)
def test_round_trip(array, effort):
    # Never larger than the patterns as they are.
    assert size(array, effort) <= array.nbytes


@pytest.mark.parametrize(
    "array",
    [
        weights((40, 30), 0.1, 8),
        weights((3, 3, 8, 12), 0.4, 8),
        weights((700,), 0.05, 3),
        weights((30, 20), 1.0, 5),
        np.kron(weights((12, 10), 0.3, 4), np.ones((3, 1), np.float32)),
    ],
    ids=["dense", "convolution", "vector", "full", "repeated"],
)
def test_each_effort_gives_the_same_tensor(array):
    sizes = [size(array, effort) for effort in range(10)]
    # What is found on a sample may be a little off.
    assert min(sizes) == pytest.approx(sizes[9], rel=0.01)
    assert all(later <= 1.02 * before for before, later in itertools.pairwise(sizes))


def test_noise_stays_as_it_is():
    noise = np.frombuffer(np.random.default_rng(0).bytes(40_000), np.uint8)
    assert encoded(noise) is None
    # Exponents of weights are few, so floats of them get somewhat smaller.
    normal = np.random.default_rng(0).normal(size=(100, 100)).astype(np.float32)
    assert 0.8 * normal.nbytes < size(normal) < 0.95 * normal.nbytes


@pytest.mark.parametrize("name", ["uint8", "float16", "float32", "float64", "int64"])
def test_one_element(name):
    for value in (1, 100):
        size(np.array([value], name))
        size(np.array(value, name))


@pytest.mark.parametrize("clusters", [MAX_SYMBOLS - 1, MAX_SYMBOLS, MAX_SYMBOLS + 1, 10_000])
def test_large_codebooks(clusters):
    numbers = np.arange(60_000, dtype=np.uint32) % clusters * 977 + 5
    contents = encoded(numbers.reshape(200, 300))
    model = model_of(contents, "uint32", (200, 300))
    assert model.codebook.size <= MAX_SYMBOLS
    assert (model.low_bits > 0) == (clusters > MAX_SYMBOLS)
    # All are as frequent as each other.
    assert size(numbers.reshape(200, 300)) < numbers.nbytes * 0.7


def test_all_patterns_of_two_bytes():
    values = np.concatenate((np.arange(65_536), np.full(300_000, 7))).astype(np.uint16)
    assert size(values, 3) < values.nbytes / 2


@pytest.mark.parametrize(
    ("array", "zero_bits", "low_bits"),
    [
        (np.array([0.5, -1.0] * 20, np.float32), 23, 0),
        (np.array([2**40, 3 * 2**40, 0] * 20, np.uint64), 40, 0),
        (np.array([1, 3, 0] * 20, np.uint8), 0, 0),
        (np.array([0x80] * 30, np.uint8), 7, 0),
    ],
)
def test_zero_bits(array, zero_bits, low_bits):
    model = model_of(encoded(array), dtypes.element_type(array.dtype).name, array.shape)
    assert (model.zero_bits, model.low_bits) == (zero_bits, low_bits)


@pytest.mark.parametrize("density", [0.1, 1.0])
def test_floats_that_fit_half_the_bits_take_half_the_bits(density):
    random = np.random.default_rng(0)
    half = random.normal(size=(150, 200)).astype(np.float16)
    half[random.random(half.shape) >= density] = 0
    single = half.astype(np.float32)
    own, wide = size(half), size(single)
    assert wide < 1.02 * own + 100
    assert wide < density * single.nbytes / 2 + single.size / 8
    full = random.normal(size=half.shape).astype(np.float32)
    full[half == 0] = 0
    assert wide < 0.61 * size(full)


def test_dead_lines():
    """Rows and columns that are all zero cost almost nothing."""
    small = weights((40, 50), 0.3, 8)
    large = np.zeros((80, 100), np.float32)
    large[np.ix_(range(0, 80, 2), range(0, 100, 2))] = small
    assert size(large) < size(small) + (80 + 100) / 8 + 20
    model = model_of(encoded(large), "float32", (80, 100))
    assert (model.row_scores < 0).sum() == 40
    assert (model.column_scores < 0).sum() == 50


@pytest.mark.parametrize("element", ["float32", "int16", "bfloat16", "complex64"])
def test_structure_does_not_depend_on_the_type(element):
    dtype = dtypes.BY_NAME[element].numpy_dtype()
    book = np.array([0, 1, -1, 2, -2, 3])
    numbers = np.where(weights((60, 50), 0.2, 5) != 0, book[np.arange(3000).reshape(60, 50) % 6], 0)
    sizes = size(numbers.astype(dtype)), size(numbers.astype(np.float64))
    assert abs(sizes[0] - sizes[1]) < 0.05 * sizes[1] + 30


def test_many_bands():
    """More elements than a band may have."""
    array = weights((1100, 3000), 0.03, 8)
    contents = encoded(array, 0)
    assert len(contents) == 4
    assert size(array, 0) < 1.02 * 3_300_000 * (0.1944 + 0.03 * 3) / 8
    long = weights((2_100_000,), 0.01, 2)
    assert len(encoded(long, 0)) == 3
    size(long, 0)


def test_very_many_rows():
    """A matrix of more than 2^20 rows is coded transposed."""
    array = weights(((1 << 20) + 5, 2), 0.02, 3)
    contents = encoded(array, 0)
    assert model_of(contents, "float32", array.shape).transposed
    size(array, 0)
