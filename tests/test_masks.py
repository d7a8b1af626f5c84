import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from keras_deepcomp.masks import keep_above, keep_largest

# Few distinct values, so that ties are common.
WEIGHTS = hnp.arrays(
    np.float32, hnp.array_shapes(max_dims=3), elements=st.integers(-4, 4).map(lambda x: x / 2)
)


def everything(weights):
    return np.ones(weights.shape, bool)


@given(st.lists(WEIGHTS, min_size=1, max_size=3), st.floats(0, 0.999))
def test_exactly_the_asked_number_is_kept_and_none_larger_goes(weights, sparsity):
    masks, threshold = keep_largest(weights, [everything(w) for w in weights], sparsity)
    count = sum(w.size for w in weights)
    assert sum(int(m.sum()) for m in masks) == max(1, round(count * (1 - sparsity)))
    kept = np.concatenate([np.abs(w[m]) for w, m in zip(weights, masks, strict=True)])
    gone = np.concatenate([np.abs(w[~m]) for w, m in zip(weights, masks, strict=True)])
    if gone.size:
        assert gone.max() <= kept.min()
        assert threshold == gone.max()
    assert [m.shape for m in masks] == [w.shape for w in weights]


@given(WEIGHTS, st.floats(0, 0.999), st.floats(0, 0.999))
def test_masks_only_tighten(weights, one, two):
    low, high = sorted([one, two])
    (first,), _ = keep_largest([weights], [everything(weights)], low)
    # Dead weights hold large values here, and must not come back for that.
    second = keep_largest([np.where(first, weights, 100)], [first], high)[0][0]
    assert not (second & ~first).any()


def test_when_sparsity_falls_the_living_stay_and_the_first_dead_come_back():
    weights = np.array([0.0, 3.0, 0.0, 1.0], np.float32)
    alive = np.array([False, True, False, True])
    (mask,), threshold = keep_largest([weights], [alive], 0.25)
    assert mask.tolist() == [True, True, False, True]
    assert threshold == 0.0


def test_one_threshold_over_several_tensors():
    small, large = np.full((2, 3), 0.1, np.float32), np.full(6, 5.0, np.float32)
    masks, _ = keep_largest([small, large], [everything(small), everything(large)], 0.5)
    assert masks[0].sum() == 0
    assert masks[1].all()


@given(WEIGHTS, st.floats(0, 3))
def test_keep_above(weights, threshold):
    mask = keep_above(weights, everything(weights), threshold)
    above = np.abs(weights) > threshold
    assert (mask == above).all() or (not above.any() and mask.sum() == 1)


def test_keep_above_leaves_the_largest_living_one():
    weights = np.array([9.0, 0.5, 0.1], np.float32)
    alive = np.array([False, True, True])
    assert keep_above(weights, alive, 2.0).tolist() == [False, True, False]


def test_narrow_floats():
    weights = np.array([0.1, -0.5, 0.2, 0.3], np.float16)
    (mask,), _ = keep_largest([weights], [everything(weights)], 0.5)
    assert mask.tolist() == [False, True, False, True]
