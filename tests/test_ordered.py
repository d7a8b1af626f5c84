from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from keras_deepcomp.ordered import Ordered

ELEMENTS = st.floats(-100, 100, width=32, allow_subnormal=False)
VALUES = hnp.arrays(np.float32, st.integers(1, 300), elements=ELEMENTS)


@given(VALUES, st.lists(st.integers(0, 300), min_size=2, max_size=9), st.sampled_from([1, 2]))
def test_sums_between_edges(values, edges, power):
    edges = np.sort(np.minimum(edges, values.size))
    ordered = Ordered(values)
    terms = (np.sort(values).astype(np.float64) - values.mean(dtype=np.float64)) ** power
    expected = [terms[low:high].sum() for low, high in pairwise(edges)]
    np.testing.assert_allclose(ordered.sums(edges, power), expected, rtol=1e-9, atol=1e-9)


@given(VALUES, hnp.arrays(np.float64, 5, elements=st.floats(-101, 101)))
def test_bounds_between_float32_numbers(values, bounds):
    wide = np.sort(values.astype(np.float64))
    np.testing.assert_array_equal(
        Ordered(values).first_at_least(bounds), np.searchsorted(wide, bounds, side="left")
    )
    np.testing.assert_array_equal(
        Ordered(values).first_at_least(wide), np.searchsorted(wide, wide, side="left")
    )


@given(VALUES)
def test_distinct_values_and_quantiles(values):
    ordered, distinct = Ordered(values), np.unique(values)
    np.testing.assert_array_equal(ordered.distinct(distinct.size), distinct)
    assert ordered.distinct(distinct.size - 1) is None
    shares = np.array([0.0, 0.1, 0.5, 0.99, 1.0])
    expected = np.quantile(values.astype(np.float64), shares)
    np.testing.assert_allclose(ordered.quantiles(shares), expected, rtol=1e-9, atol=1e-9)


KINDS = {"float16": "float32", "float32": "float32", "float64": "float64", "int32": "float64"}


@pytest.mark.parametrize(("dtype", "kept"), KINDS.items())
def test_no_wider_than_it_has_to_be(dtype, kept):
    ordered = Ordered(np.arange(6).reshape(2, 3)[:, ::-1].astype(dtype))
    assert ordered.values.dtype == kept
    assert ordered.values.tolist() == [0, 1, 2, 3, 4, 5]


def test_more_blocks_than_are_added_up_at_once():
    values = np.random.default_rng(0).normal(size=1 << 21).astype(np.float32)
    edges = np.linspace(0, values.size, 20_000).astype(np.intp)
    whole = Ordered(values)
    terms = whole.values.astype(np.float64) - whole.center
    expected = np.add.reduceat(terms, edges[:-1])
    np.testing.assert_allclose(whole.sums(edges), expected, atol=1e-6)
