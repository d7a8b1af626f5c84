import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from micro_decoders import decode_lut
from support import bits

from keras_deepcomp.tflite.micro import lut


@given(data=st.data())
def test_every_bit_comes_back(data):
    dtype = data.draw(st.sampled_from(["int8", "int16", "int32", "float32"]))
    values = data.draw(hnp.arrays(dtype, hnp.array_shapes(max_dims=3, max_side=4)))
    axis = data.draw(st.sampled_from([None, 0, values.ndim - 1]))
    encoding = lut.encode(values, axis)
    assert bits(decode_lut(encoding, dtype, axis, values.shape)) == bits(values)


@pytest.mark.parametrize(("count", "width"), [(1, 1), (2, 1), (3, 2), (16, 4), (17, 5), (128, 7)])
def test_indices_are_as_narrow_as_can_be(count, width):
    values = np.arange(count).astype(np.int8).repeat(8)
    encoding = lut.encode(values)
    assert len(encoding.data) == count * width and len(encoding.ancillary) == 16 + count


def test_a_table_has_at_most_128_values():
    values = np.arange(-65, 65).astype(np.int8).reshape(2, 65)
    assert lut.encode(values) is None
    assert lut.encode(values, 0) is not None
