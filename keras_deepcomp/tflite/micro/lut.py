"""Tensors of few values, as TensorFlow Lite Micro decodes them: indices into a table of values."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp.tflite.micro.encoding import Encoding, Kind, header

_MAX_INDEX_BITS = 7
_ONE_TABLE = 15


def encode(values: npt.NDArray[Any], axis: int | None = None) -> Encoding | None:
    """Encode a tensor.

    Args:
        values: The tensor, not empty.
        axis: The axis along which it is quantized per channel, each of which then has a table of
            its own, because the decoder looks for one there; None for one table.

    Returns:
        The encoded tensor; None if there are more than 128 values in a table.
    """
    # Bits, not numbers: -0.0 and NaN have places of their own.
    bits = np.ascontiguousarray(values).view(f"u{values.itemsize}")
    channels = [bits] if axis is None else list(np.moveaxis(bits, axis, 0))
    found = [np.unique(channel, return_inverse=True) for channel in channels]
    stride = max(table.size for table, _ in found)
    if stride > 1 << _MAX_INDEX_BITS:
        return None
    width = max(1, (stride - 1).bit_length())
    tables = np.zeros((len(found), stride), bits.dtype)
    indices = np.empty(bits.shape, np.uint8)
    along = indices[None] if axis is None else np.moveaxis(indices, axis, 0)
    for channel, (table, places) in enumerate(found):
        tables[channel, : table.size] = table
        along[channel] = places.reshape(along[channel].shape)
    index_bits = np.unpackbits(indices.reshape(-1, 1), axis=1)[:, 8 - width :]
    own = bytes([(_ONE_TABLE if axis is None else axis) << 4 | width, stride])
    return Encoding(
        Kind.LUT, np.packbits(index_bits).tobytes(), header(Kind.LUT, own) + tables.tobytes()
    )
