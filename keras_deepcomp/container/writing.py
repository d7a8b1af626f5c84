"""Tensors and metadata to the bytes of a `.kdc` file."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp.container import blocks, encoding, frame, text
from keras_deepcomp.container.directory import CODED, RAW, ZERO, Record
from keras_deepcomp.container.dtypes import BY_NAME, ElementType, element_type, patterns_of
from keras_deepcomp.container.search import Effort
from keras_deepcomp.container.wire import MAX_RANK, MAX_TENSORS, string

DEFAULT_EFFORT = 5
MAX_EFFORT = 9

Progress = Callable[[int, int], None]
"""Called with the bytes of the tensors done so far, and of all tensors, in memory."""


def save(
    tensors: Mapping[str, npt.NDArray[Any]],
    metadata: Mapping[str, str] | None = None,
    effort: int = DEFAULT_EFFORT,
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
        effort: How long to search for a smaller file, 0 (no search) to 9.

    Returns:
        The file's bytes. Tensors and metadata keep the order of the mappings.

    Raises:
        TypeError: A tensor is not an array, or its type is none of these, or a name, a key or
            a text is not a str.
        ValueError: A name or key is empty, longer than 65,535 UTF-8 bytes or has a lone
            surrogate, the texts together have more than 16 MiB, a tensor has more than 32
            dimensions, or there is no such effort.
    """
    stream = io.BytesIO()
    write(stream, tensors, metadata, effort)
    return stream.getvalue()


def write(
    stream: IO[bytes],
    tensors: Mapping[str, npt.NDArray[Any]],
    metadata: Mapping[str, str] | None,
    effort: int,
    progress: Progress | None = None,
) -> int:
    """Write the bytes that `save` returns, tensor by tensor, and return how many they are."""
    metadata = {} if metadata is None else metadata
    for mapping, what in ((tensors, "tensors"), (metadata, "metadata")):
        if not isinstance(mapping, Mapping):
            raise TypeError(f"{what} must be a mapping, got {type(mapping).__name__}.")
    if not isinstance(effort, int | np.integer) or not 0 <= effort <= MAX_EFFORT:
        raise ValueError(f"effort must be from 0 to {MAX_EFFORT}, got {effort!r}.")
    # Whatever is wrong with the arguments is found before anything is coded.
    if len(tensors) > MAX_TENSORS:
        raise ValueError(f"There are {len(tensors):,} tensors, and a file holds {MAX_TENSORS:,}.")
    described = frame.metadata_bytes(metadata)
    checked = {name: _check_tensor(name, value) for name, value in tensors.items()}
    total = sum(array.nbytes for array, _ in checked.values())

    out = _Output(stream)
    out.write(frame.HEAD)
    records, done = [], 0
    for name, (array, element) in checked.items():
        lengths = []
        coding, contents = _blocks(array, element, Effort.of(effort))
        for content in contents:
            out.write(content)
            out.write(blocks.checksum(content))
            lengths.append(len(content))
        records.append(Record(name, element, array.shape, coding, tuple(lengths)))
        done += array.nbytes
        if progress is not None:
            progress(done, total)
    compressed = text.compress(described) if described else b""
    if compressed:
        out.write(compressed)
        out.write(blocks.checksum(compressed))
    index = frame.directory_bytes(len(described), len(compressed), records)
    out.write(index)
    out.write(frame.trailer(index, out.checksum))
    return out.size


class _Output:
    """A stream that keeps the checksum and the number of its bytes."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.checksum = 0
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        self._stream.write(data)
        self.checksum = zlib.crc32(data, self.checksum)
        self.size += len(data)


def _blocks(
    array: npt.NDArray[Any], element: ElementType, effort: Effort
) -> tuple[int, Iterator[bytes | memoryview]]:
    patterns = patterns_of(array, element)
    if not patterns.any():
        return ZERO, iter(())
    coded = encoding.encode(patterns, element, array.shape, effort) if element.codable else None
    if coded is not None:
        return CODED, iter(coded)
    view = patterns.view(np.uint8).data
    starts = range(0, len(view), blocks.RAW_BYTES)
    return RAW, (view[start : start + blocks.RAW_BYTES] for start in starts)


def _check_tensor(name: str, value: object) -> tuple[npt.NDArray[Any], ElementType]:
    string(name, "tensor name")
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
