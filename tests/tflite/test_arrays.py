import ml_dtypes
import numpy as np
import pytest
from tflite_files import TYPE, nibbles, noise, packed_nibbles

from keras_deepcomp.tflite import arrays

NUMBERS = sorted(name for name in TYPE if arrays.bits_of(name))


def test_types():
    assert {"string", "resource", "variant", "complex128"} == TYPE.keys() - set(NUMBERS)
    assert [arrays.bits_of(name) for name in ("int2", "uint4", "bool", "float32")] == [2, 4, 8, 32]


@pytest.mark.parametrize("dtype", NUMBERS)
def test_bytes_come_back(dtype):
    data = noise(240)
    if dtype == "bool":
        data = bytes(byte & 1 for byte in data)
    shape = (3, 240 * 8 // arrays.bits_of(dtype) // 3)
    array = arrays.from_bytes(memoryview(data), dtype, shape)
    assert array.shape == shape and array.dtype.name == dtype
    assert arrays.to_bytes(array, dtype) == data
    assert arrays.packed_size(shape, dtype) == 240


def test_values_are_those_of_the_type():
    values = np.array([[1.5, -2.0, np.nan]], np.float32)
    got = arrays.from_bytes(memoryview(values.tobytes()), "float32", (1, 3))
    assert got.tobytes() == values.tobytes()
    odd = nibbles((7, 9))
    got = arrays.from_bytes(memoryview(packed_nibbles(odd)), "int4", (7, 9))
    assert np.array_equal(got.astype(np.int8), odd.astype(np.int8))
    got = arrays.from_bytes(memoryview(b"\xe4"), "int2", (4,))
    assert got.astype(np.int8).tolist() == [0, 1, -2, -1]
    assert got.dtype == ml_dtypes.int2


def test_bytes_that_would_not_come_back():
    assert arrays.from_bytes(memoryview(b"\x21\xf3"), "int4", (3,)) is None
    assert arrays.from_bytes(memoryview(b"\0\1\2"), "bool", (3,)) is None
    assert arrays.from_bytes(memoryview(b"\x21\x03"), "int4", (3,)) is not None
