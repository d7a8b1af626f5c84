"""The element types of the format, and arrays as flat lists of bit patterns.

Everything past this module works on bit patterns, so NaN payloads and -0.0 are just values.
"""

from __future__ import annotations

import importlib
import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ElementType:
    """One element type of the format.

    Attributes:
        code: The byte that stands for the type in a file.
        name: The name of the type as `np.dtype.name` gives it.
        itemsize: Bytes of one element.
        part: Bytes of the parts that byte order swaps; half an element for complex types.
        optional: Whether the type comes from ml_dtypes rather than numpy.
        largest: The largest allowed bit pattern where not all patterns are, else None.
    """

    code: int
    name: str
    itemsize: int
    part: int
    optional: bool = False
    largest: int | None = None

    @property
    def pattern(self) -> np.dtype[Any]:
        """The unsigned type of the bit patterns; 16-byte items are pairs of 8-byte patterns."""
        return np.dtype(f"<u{min(self.itemsize, 8)}")

    @property
    def codable(self) -> bool:
        """Whether an element fits one pattern; tensors of wider elements are always raw."""
        return self.itemsize <= 8

    def numpy_dtype(self) -> np.dtype[Any]:
        """Return the numpy dtype in native byte order.

        Raises:
            ModuleNotFoundError: The type comes from ml_dtypes, which is not installed.
            ImportError: The installed ml_dtypes is too old to have the type.
        """
        if not self.optional:
            return np.dtype(self.name)
        try:
            ml_dtypes = importlib.import_module("ml_dtypes")
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                f"The file holds a {self.name} tensor, which needs the package ml_dtypes. "
                "Install it: pip install ml_dtypes",
                name="ml_dtypes",
            ) from None
        if not hasattr(ml_dtypes, self.name):
            raise ImportError(
                f"The file holds a {self.name} tensor, which the installed ml_dtypes "
                f"{ml_dtypes.__version__} does not know. Upgrade it: pip install -U ml_dtypes",
                name="ml_dtypes",
            )
        return np.dtype(getattr(ml_dtypes, self.name))


# The codes are part of the format: rows may be added, never changed.
_TYPES = (
    ElementType(0, "bool", 1, 1, largest=0x01),
    ElementType(1, "int8", 1, 1),
    ElementType(2, "int16", 2, 2),
    ElementType(3, "int32", 4, 4),
    ElementType(4, "int64", 8, 8),
    ElementType(5, "uint8", 1, 1),
    ElementType(6, "uint16", 2, 2),
    ElementType(7, "uint32", 4, 4),
    ElementType(8, "uint64", 8, 8),
    ElementType(9, "float16", 2, 2),
    ElementType(10, "float32", 4, 4),
    ElementType(11, "float64", 8, 8),
    ElementType(12, "complex64", 8, 4),
    ElementType(13, "complex128", 16, 8),
    ElementType(14, "bfloat16", 2, 2, optional=True),
    ElementType(15, "float8_e4m3fn", 1, 1, optional=True),
    ElementType(16, "float8_e5m2", 1, 1, optional=True),
    ElementType(17, "float8_e4m3fnuz", 1, 1, optional=True),
    ElementType(18, "float8_e5m2fnuz", 1, 1, optional=True),
    ElementType(19, "float8_e4m3b11fnuz", 1, 1, optional=True),
    ElementType(20, "float8_e4m3", 1, 1, optional=True),
    ElementType(21, "float8_e3m4", 1, 1, optional=True),
    ElementType(22, "float8_e8m0fnu", 1, 1, optional=True),
    ElementType(23, "int4", 1, 1, optional=True, largest=0x0F),
    ElementType(24, "uint4", 1, 1, optional=True, largest=0x0F),
    ElementType(25, "int2", 1, 1, optional=True, largest=0x03),
    ElementType(26, "uint2", 1, 1, optional=True, largest=0x03),
)

BY_CODE = {element.code: element for element in _TYPES}
BY_NAME = {element.name: element for element in _TYPES}
# The type of metadata values: the bytes of their UTF-8 text.
TEXT = BY_NAME["uint8"]

_LARGE = 1 << 20
_CACHE_LINE = 64


def element_type(dtype: np.dtype[Any]) -> ElementType | None:
    """Return the element type of a numpy dtype, in either byte order, or None."""
    element = BY_NAME.get(dtype.name)
    if element is None or element.itemsize != dtype.itemsize:
        return None
    return element


def patterns_of(array: npt.NDArray[Any], element: ElementType) -> npt.NDArray[Any]:
    """Return the bit patterns of an array, flattened in C order.

    Args:
        array: An array of any shape, strides and byte order whose type is `element`.
        element: The type.

    Returns:
        A contiguous 1-D array of `element.pattern`; it may share memory with `array`.
    """
    # Only bytes move here. A cast between float types could quieten a signalling NaN.
    flat = np.ascontiguousarray(array).reshape(-1)
    order = array.dtype.byteorder
    parts = flat.view(f"{order}u{element.part}").astype(f"<u{element.part}", copy=False)
    patterns = parts.view(element.pattern)
    if element.name == "bool":
        # A bool array made by a view may hold other bytes than 0 and 1; numpy takes all as True.
        return (patterns != 0).view(np.uint8)
    if element.largest is not None:
        # Only the low bits count in memory; the format has one pattern for each value.
        return patterns & np.uint8(element.largest)
    return patterns


def empty_array(
    shape: tuple[int, ...], element: ElementType
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return a new array of zeros, and the view through which its patterns are filled in.

    Args:
        shape: The array's shape.
        element: The array's type.

    Returns:
        The array, which shares memory with nothing, and a flat view of it as `element.pattern`.
        Call `to_native` on the view when all patterns are in place.
    """
    dtype = element.numpy_dtype()
    size = math.prod(shape) * dtype.itemsize
    if size < _LARGE:
        array = np.zeros(shape, dtype)
    else:
        # Frameworks take large arrays over without a copy if they are aligned to a cache line.
        memory = np.zeros(size + _CACHE_LINE, np.uint8)
        start = -memory.ctypes.data % _CACHE_LINE
        array = memory[start : start + size].view(dtype).reshape(shape)
    return array, array.reshape(-1).view(element.pattern)


def to_native(patterns: npt.NDArray[Any], element: ElementType) -> None:
    """Swap little-endian patterns in place where the machine is big-endian."""
    if sys.byteorder == "big" and element.part > 1:
        patterns.view(f"<u{element.part}").byteswap(inplace=True)
