import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from micro_decoders import decode_pruning
from support import bits

from keras_deepcomp.tflite.micro import pruning

ZERO = np.zeros((), np.int64)
TYPES = ["bool", "int8", "int16", "int32", "int64", "float32"]


@pytest.mark.parametrize("dtype", TYPES)
@given(data=st.data())
def test_every_bit_comes_back(dtype, data):
    values = data.draw(hnp.arrays(dtype, hnp.array_shapes(max_dims=3, max_side=9)))
    encoding = pruning.encode(values, ZERO)
    assert bits(decode_pruning(encoding, dtype, ZERO, values.shape)) == bits(values)


def test_minus_zero_and_nan_are_kept():
    values = np.array([0.0, -0.0, np.nan, 1.5], np.float32)
    assert len(pruning.encode(values, ZERO).ancillary) == 16 + 3 * 4


@pytest.mark.parametrize("shape", [(4, 1), (1, 6)])
def test_clear_bits_are_the_channels_zero_points(shape):
    rng = np.random.default_rng(0)
    points = rng.integers(-100, 100, shape)
    values = np.where(rng.random((4, 6)) < 0.7, points, 5).astype(np.int8)
    encoding = pruning.encode(values, points)
    assert np.array_equal(decode_pruning(encoding, "int8", points, values.shape), values)
    assert len(encoding.ancillary) == 16 + int((values != points).sum())


def test_what_the_decoder_does_not_take():
    assert pruning.encode(np.zeros(3, np.uint8), ZERO) is None
    assert pruning.encode(np.zeros(3, np.int16), np.array(1)) is None
