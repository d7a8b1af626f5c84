"""From codebook values to their indices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_deepcomp.container.lookup import Lookup


@given(st.sampled_from([1, 2, 4, 8]), st.integers(1, 4096), st.integers(0, 2**32))
@settings(max_examples=100)
def test_indices(itemsize, count, seed):
    random = np.random.default_rng(seed)
    dtype = np.dtype(f"<u{itemsize}")
    # Close together, or all over the range.
    top = min(2 ** (8 * itemsize) - 1, int(10 ** random.uniform(3, 19)))
    codebook = np.unique(random.integers(0, top, count, np.uint64, endpoint=True).astype(dtype))
    lookup = Lookup(codebook)
    chosen = random.integers(0, codebook.size, 200)
    np.testing.assert_array_equal(lookup.indices(codebook[chosen]), chosen)
    np.testing.assert_array_equal(lookup.codebook, codebook)

    values = np.concatenate(
        (codebook[chosen[:50]], random.integers(0, top, 50, np.uint64).astype(dtype))
    )
    expected = values[~np.isin(values, codebook)]
    np.testing.assert_array_equal(lookup.others(values), expected)


@pytest.mark.parametrize("step", [1, 2**20, 2**44, 977])
def test_regular_codebooks(step):
    codebook = np.arange(4096, dtype=np.uint64) * np.uint64(step)
    np.testing.assert_array_equal(Lookup(codebook).indices(codebook[::-1]), np.arange(4096)[::-1])


def test_nothing_to_look_up():
    lookup = Lookup(np.array([5], np.uint32))
    assert lookup.indices(np.zeros(0, np.uint32)).size == 0
    assert lookup.others(np.array([5, 5], np.uint32)).size == 0
