"""A buffer's bytes as an array that the container codes well, and back.

Types of less than a byte lie side by side in a `.tflite` file, lowest bits first, and one by one in
an array.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp.container.dtypes import BY_NAME, patterns_of

_PACKED_BITS = {"int4": 4, "uint4": 4, "int2": 2, "uint2": 2}
# Text and handles are no numbers.
_CODED = {name for name, element in BY_NAME.items() if element.codable}


def bits_of(dtype: str) -> int | None:
    """Return the bits that an element takes in a `.tflite` file; None for what is no number."""
    if dtype not in _CODED:
        return None
    return _PACKED_BITS.get(dtype, 8 * BY_NAME[dtype].itemsize)


def from_bytes(data: memoryview, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any] | None:
    """Return a buffer as an array.

    Args:
        data: The bytes.
        dtype: The name of the type.
        shape: The shape; it fits the bytes.

    Returns:
        The array, or None if the bytes would not come back from it.
    """
    flat: npt.NDArray[Any] = np.frombuffer(data, np.uint8)
    bits = _PACKED_BITS.get(dtype)
    if bits is not None:
        shifts = np.arange(0, 8, bits, dtype=np.uint8)
        flat = (flat[:, np.newaxis] >> shifts & ((1 << bits) - 1)).reshape(-1)
        flat = flat[: math.prod(shape)]
    element = BY_NAME[dtype]
    parts = flat.view(f"<u{element.part}").astype(f"=u{element.part}", copy=False)
    array = parts.view(_numpy_dtype(dtype)).reshape(shape)
    return array if to_bytes(array, dtype) == data else None


def to_bytes(array: npt.NDArray[Any], dtype: str) -> bytes:
    """Return the bytes of a buffer that `from_bytes` made an array of."""
    patterns = patterns_of(array, BY_NAME[dtype])
    bits = _PACKED_BITS.get(dtype)
    if bits is None:
        return patterns.tobytes()
    per_byte = 8 // bits
    padded = np.zeros(-(-patterns.size // per_byte) * per_byte, np.uint8)
    padded[: patterns.size] = patterns
    packed = padded[::per_byte].copy()
    for place in range(1, per_byte):
        packed |= padded[place::per_byte] << (place * bits)
    return packed.tobytes()


def packed_size(shape: tuple[int, ...], dtype: str) -> int:
    """Return how many bytes an array takes in a `.tflite` file."""
    bits = _PACKED_BITS.get(dtype, 8 * BY_NAME[dtype].itemsize)
    return -(-math.prod(shape) * bits // 8)


def _numpy_dtype(dtype: str) -> Any:
    if not BY_NAME[dtype].optional:
        return np.dtype(dtype)
    return np.dtype(getattr(importlib.import_module("ml_dtypes"), dtype))
