"""Element types, and arrays to and from flat bit patterns."""

import sys
import types

import numpy as np
import pytest

from keras_deepcomp import container
from keras_deepcomp.container import dtypes

ml_dtypes = pytest.importorskip("ml_dtypes")


def test_codes_never_change():
    assert [element.code for element in dtypes.BY_CODE.values()] == list(range(27))
    assert dtypes.BY_CODE[10].name == "float32"
    assert dtypes.BY_CODE[14].name == "bfloat16"


@pytest.mark.parametrize("element", dtypes.BY_CODE.values(), ids=lambda element: element.name)
def test_types_know_themselves(element):
    dtype = element.numpy_dtype()
    assert dtype.name == element.name
    assert dtype.itemsize == element.itemsize
    assert dtypes.element_type(dtype) is element


@pytest.mark.parametrize(
    "dtype",
    ["O", "S3", "U3", "V4", "M8[s]", "m8[s]", [("a", "f4")], ml_dtypes.float4_e2m1fn, "longdouble"],
)
def test_types_that_are_not_stored(dtype):
    array = np.zeros(2, dtype)
    assert dtypes.element_type(array.dtype) is None
    with pytest.raises(TypeError, match=r"Tensor 'weights' has dtype .* Convert it to one of"):
        container.save({"weights": array})


@pytest.mark.parametrize("name", ["int16", "float16", "float32", "float64", "complex64"])
def test_patterns_do_not_depend_on_layout(name):
    element = dtypes.BY_NAME[name]
    array = np.arange(24).reshape(2, 3, 4).astype(name)
    expected = np.frombuffer(array.astype(array.dtype.newbyteorder("<")).tobytes(), element.pattern)
    for variant in (
        array,
        array.astype(array.dtype.newbyteorder(">")),
        np.asfortranarray(array),
        np.repeat(array, 2, axis=2)[:, :, ::2],
        array[::-1][::-1],
    ):
        patterns = dtypes.patterns_of(variant, element)
        assert patterns.flags.c_contiguous
        np.testing.assert_array_equal(patterns, expected)


def test_signalling_nan_survives_a_change_of_byte_order():
    bits = np.array([0x7F800001, 0xFF812345, 0x80000000], "<u4")
    big = bits.astype(">u4").view(">f4")
    np.testing.assert_array_equal(dtypes.patterns_of(big, dtypes.BY_NAME["float32"]), bits)


def test_second_spellings_become_the_first():
    loose_bool = np.array([0, 1, 2, 255], np.uint8).view(bool)
    assert dtypes.patterns_of(loose_bool, dtypes.BY_NAME["bool"]).tolist() == [0, 1, 1, 1]
    loose_int4 = np.array([0x0F, 0xFF, 0xF0, 0x17], np.uint8).view(ml_dtypes.int4)
    assert dtypes.patterns_of(loose_int4, dtypes.BY_NAME["int4"]).tolist() == [15, 15, 0, 7]
    # The cleared bits do not change the values.
    loaded = container.load(container.save({"x": loose_int4}))["x"]
    assert loaded.astype(int).tolist() == loose_int4.astype(int).tolist() == [-1, -1, 0, 7]


def test_big_endian_machines_swap_in_place(monkeypatch):
    monkeypatch.setattr(sys, "byteorder", "big")
    for name, before, after in (
        ("uint16", "01 02 03 04", "02 01 04 03"),
        ("complex64", "01 02 03 04 05 06 07 08", "04 03 02 01 08 07 06 05"),
        ("int8", "01 02", "01 02"),
    ):
        element = dtypes.BY_NAME[name]
        patterns = np.frombuffer(bytearray.fromhex(before), element.pattern)
        dtypes.to_native(patterns, element)
        assert patterns.tobytes() == bytes.fromhex(after)


@pytest.mark.parametrize("name", ["uint8", "float32", "complex128", "bfloat16"])
@pytest.mark.parametrize("shape", [(), (3, 0), (5, 7), (1 << 20,), (3, 1000, 1001)])
def test_empty_arrays(name, shape):
    element = dtypes.BY_NAME[name]
    array, patterns = dtypes.empty_array(shape, element)
    assert (array.shape, array.dtype) == (shape, element.numpy_dtype())
    assert array.flags.c_contiguous and array.flags.writeable and array.flags.aligned
    assert (patterns.ndim, patterns.dtype, patterns.nbytes) == (1, element.pattern, array.nbytes)
    if array.nbytes >= 1 << 20:
        # Frameworks take such arrays over without a copy.
        assert array.ctypes.data % 64 == 0
    assert not patterns.any()
    patterns[-1:] = 1
    assert np.ascontiguousarray(array).view(np.uint8).sum() == min(patterns.size, 1)


def test_without_ml_dtypes(monkeypatch):
    data = container.save({"x": np.zeros(3, ml_dtypes.bfloat16)})
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ModuleNotFoundError, match=r"bfloat16 tensor.*pip install ml_dtypes"):
        container.load(data)
    assert container.inspect(data).tensors[0].dtype == "bfloat16"


def test_with_an_old_ml_dtypes(monkeypatch):
    data = container.save({"x": np.zeros(3, ml_dtypes.float8_e3m4)})
    old = types.ModuleType("ml_dtypes")
    old.__version__ = "0.1.0"
    monkeypatch.setitem(sys.modules, "ml_dtypes", old)
    with pytest.raises(ImportError, match=r"ml_dtypes 0\.1\.0 does not know"):
        container.load(data)
