import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tflite_files import folded

from keras_deepcomp.container import FormatError
from keras_deepcomp.tflite.scaled import factor, restore, type_of

SHAPE = (48, 3, 3, 16)


@pytest.mark.parametrize("negative", [0.0, 0.3])
@pytest.mark.parametrize("dtype", ["int8", "float16", "float32"])
def test_shared_values_are_found_again(dtype, negative):
    array = folded(dtype, negative=negative)
    found = factor(array)
    assert found.indices.shape == array.shape and found.indices.dtype == np.int8
    assert np.array_equal(found.indices == 0, array == 0)
    assert np.unique(found.indices).size <= 20 < np.unique(array).size
    again = restore(found.indices, found.side)
    assert again.dtype == array.dtype and again.tobytes() == array.tobytes()
    assert type_of(found.side) == dtype


def test_a_dense_layer_and_dead_channels():
    array = folded("float32", (40, 200))
    array[3] = array[17] = 0
    found = factor(array)
    assert restore(found.indices, found.side).tobytes() == array.tobytes()


def not_finite():
    array = folded("float32")
    array[0, 0, 0, 0] = np.nan
    return array


def with_negative_zero():
    array = folded("float32")
    array[0, 0, 0] = -0.0
    return array


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.zeros(SHAPE, np.float32), id="zeros"),
        pytest.param(np.zeros((48, 0), np.float32), id="empty"),
        pytest.param(folded("float32")[:2], id="two channels"),
        pytest.param(folded("float32")[0, 0, 0], id="one axis"),
        pytest.param(folded("float32").astype(np.float64), id="float64"),
        pytest.param(
            np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32), id="not shared"
        ),
        pytest.param(np.random.default_rng(0).integers(-127, 128, SHAPE, np.int8), id="int8 noise"),
        pytest.param(not_finite(), id="NaN"),
        pytest.param(with_negative_zero(), id="negative zero"),
        pytest.param(np.where(folded("float32") != 0, np.float32(0.5), 0), id="one codebook"),
    ],
)
def test_what_is_nothing_like_that(array):
    assert factor(array) is None


@settings(max_examples=40)
@given(
    st.sampled_from(["int8", "float16", "float32"]),
    st.integers(0, 50),
    st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=9),
)
def test_any_change_comes_back_or_is_not_taken(dtype, seed, changes):
    array = folded(dtype, (8, 40), seed)
    view = array.reshape(-1).view(np.uint8)
    for place, value in changes:
        view[place % view.size] = value
    found = factor(array)
    if found is not None:
        assert restore(found.indices, found.side).tobytes() == array.tobytes()


FOUND = {dtype: factor(folded(dtype)) for dtype in ("int8", "float32")}


@pytest.mark.parametrize("dtype", FOUND)
def test_damaged_sides(dtype):
    indices, side = FOUND[dtype].indices, FOUND[dtype].side
    for wrong in (b"", side[:1], side[:-1], side + b"\0", b"\xff" + side[1:], b"\0" + side[1:]):
        with pytest.raises(FormatError):
            restore(indices, wrong)
    for index in (127, -128):
        changed = indices.copy()
        changed[0, 0, 0, 0] = index
        with pytest.raises(FormatError, match="no shared value"):
            restore(changed, side)


@given(st.sampled_from(sorted(FOUND)), st.integers(1, 1 << 20), st.integers(1, 255))
def test_whatever_a_side_says_gives_a_kernel_or_an_error(dtype, place, change):
    side = bytearray(FOUND[dtype].side)
    side[place % (len(side) - 1) + 1] ^= change
    try:
        made = restore(FOUND[dtype].indices, bytes(side))
    except FormatError:
        return
    assert made.shape == SHAPE and made.dtype == dtype
