"""Tensors of many zeros, as TensorFlow Lite Micro decodes them: a bitmap and the other values."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp.tflite.micro.encoding import Encoding, Kind, header

_TYPES = ("bool", "int8", "int16", "int32", "int64", "float32")


def encode(values: npt.NDArray[Any], zero_points: npt.NDArray[np.int64]) -> Encoding | None:
    """Encode a tensor.

    Args:
        values: The tensor.
        zero_points: The value that each element has if its bit is clear: the tensor's zero point,
            or that of its channel, in a shape that fits the tensor's by broadcasting.

    Returns:
        The encoded tensor; None if its type, or zero points other than 0 with it, do not go.
    """
    if values.dtype.name not in _TYPES or (values.dtype != np.int8 and zero_points.any()):
        return None
    # Bits, not numbers: -0.0 is kept.
    unsigned = f"u{values.itemsize}"
    kept = values.view(unsigned) != zero_points.astype(values.dtype).view(unsigned)
    return Encoding(
        Kind.PRUNING, np.packbits(kept).tobytes(), header(Kind.PRUNING) + values[kept].tobytes()
    )
