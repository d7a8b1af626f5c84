"""Tensors and metadata to the bytes of a `.kdc` file."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp.container import encoding
from keras_deepcomp.container.dtypes import BY_NAME, TEXT, ElementType, element_type, patterns_of
from keras_deepcomp.container.wire import (
    CHECKSUM_BYTES,
    MAGIC,
    MAX_METADATA_BYTES,
    MAX_RANK,
    VERSION,
    string,
    utf8,
    varint,
)


def save(
    tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str] | None = None
) -> bytes:
    """Return the bytes of a `.kdc` file, which depend on nothing but the arguments.

    Each tensor is stored without loss, bit for bit. A tensor with few distinct values or many
    zeros gets small: Deep Compression (Han, Mao, Dally 2016), sections 2 to 4.

    Args:
        tensors: Name -> array of any shape of up to 32 dimensions, strides and byte order. The
            types are bool, 8- to 64-bit integers, float16 to float64, complex64, complex128,
            and bfloat16, float8, int4, uint4, int2 and uint2 of ml_dtypes. Numpy scalars count
            as arrays of shape ().
        metadata: Key -> text, such as the configuration of a model.

    Returns:
        The file's bytes. Tensors and metadata keep the order of the mappings.

    Raises:
        TypeError: A tensor is not an array, or its type is none of these, or a name, a key or
            a text is not a str.
        ValueError: A name or key is empty, longer than 65,535 UTF-8 bytes or has a lone
            surrogate, the texts together have more than 64 MiB, or a tensor has more than 32
            dimensions.
    """
    metadata = {} if metadata is None else metadata
    for mapping, what in ((tensors, "tensors"), (metadata, "metadata")):
        if not isinstance(mapping, Mapping):
            raise TypeError(f"{what} must be a mapping, got {type(mapping).__name__}.")
    decoded_bytes = 0
    parts = [varint(len(metadata))]
    for key, text in metadata.items():
        encoded = _encode_text(key, text)
        patterns = np.frombuffer(encoded, np.uint8)
        decoded_bytes += len(encoded)
        parts += [string(key, "metadata key"), varint(len(encoded))]
        parts.append(encoding.encode(patterns, TEXT))
    if decoded_bytes > MAX_METADATA_BYTES:
        raise ValueError(
            f"The metadata has {decoded_bytes:,} bytes of text, at most {MAX_METADATA_BYTES:,}. "
            "Store the rest as uint8 tensors."
        )
    parts.append(varint(len(tensors)))
    for name, value in tensors.items():
        parts.append(string(name, "tensor name"))
        array, element = _check_tensor(name, value)
        decoded_bytes += array.size * element.itemsize
        parts.append(bytes([element.code, array.ndim]))
        parts += [varint(dimension) for dimension in array.shape]
        parts.append(encoding.encode(patterns_of(array, element), element))
    parts.insert(0, MAGIC + bytes([VERSION]) + varint(decoded_bytes))
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    parts.append(checksum.to_bytes(CHECKSUM_BYTES, "little"))
    return b"".join(parts)


def _encode_text(key: str, text: str) -> bytes:
    if not isinstance(text, str):
        raise TypeError(f"The metadata value of {key!r} must be a str, got {type(text).__name__}.")
    return utf8(text, f"The metadata value of {key!r}")


def _check_tensor(name: str, value: object) -> tuple[npt.NDArray[Any], ElementType]:
    if not isinstance(value, np.ndarray | np.generic) or isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"Tensor {name!r} must be a numpy array, got {type(value).__name__}. "
            "Convert it first, for example with numpy.asarray."
        )
    array = np.asarray(value)
    element = element_type(array.dtype)
    if element is None:
        raise TypeError(
            f"Tensor {name!r} has dtype {array.dtype}, which .kdc files cannot hold. "
            f"Convert it to one of: {', '.join(BY_NAME)}."
        )
    if array.ndim > MAX_RANK:
        raise ValueError(
            f"Tensor {name!r} has {array.ndim} dimensions, and .kdc files hold at most "
            f"{MAX_RANK}. Reshape it first."
        )
    return array, element
