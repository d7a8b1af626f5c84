"""Tensors and metadata to the bytes of a `.kdc` file."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp.container import blocks, encoding, frame, text, threads
from keras_deepcomp.container.directory import CODED, RAW, ZERO, Record
from keras_deepcomp.container.dtypes import BY_NAME, ElementType, element_type, patterns_of
from keras_deepcomp.container.search import Effort
from keras_deepcomp.container.wire import MAX_RANK, MAX_TENSORS, string

DEFAULT_EFFORT = 5
MAX_EFFORT = 9

# Bytes of tensors that are more work than threads are.
_WORTH_THREADS = 1 << 20

Progress = Callable[[int, int], None]
"""Called with the bytes of the tensors done so far, and of all tensors, in memory."""


@dataclass(frozen=True)
class CodedTensor:
    """A tensor in the form in which a file holds it.

    Attributes:
        element: The element type.
        shape: The shape.
        coding: `ZERO`, `RAW` or `CODED`.
        contents: The blocks, without their checksums; views of the array where it is raw.
        nbytes: Bytes of the tensor in memory.
    """

    element: ElementType
    shape: tuple[int, ...]
    coding: int
    contents: tuple[bytes | memoryview, ...]
    nbytes: int

    @property
    def stored_bytes(self) -> int:
        """Bytes of the blocks with their checksums."""
        return sum(len(content) + len(blocks.checksum(content)) for content in self.contents)


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
    tensors: Mapping[str, npt.NDArray[Any] | CodedTensor],
    metadata: Mapping[str, str] | None,
    effort: int,
    progress: Progress | None = None,
) -> int:
    """Write the bytes that `save` returns, tensor by tensor, and return how many they are.

    Tensors that are coded already are taken as they are.
    """
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

    out = _Output(stream)
    out.write(frame.HEAD)
    records = []
    for name, coded in _coded(checked, effort, progress):
        for content in coded.contents:
            out.write(content)
            out.write(blocks.checksum(content))
        lengths = tuple(map(len, coded.contents))
        records.append(Record(name, coded.element, coded.shape, coded.coding, lengths))
    compressed = text.compress(described) if described else b""
    if compressed:
        out.write(compressed)
        out.write(blocks.checksum(compressed))
    index = frame.directory_bytes(len(described), len(compressed), records)
    out.write(index)
    out.write(frame.trailer(index, out.checksum))
    return out.size


def _coded(
    tensors: Mapping[str, npt.NDArray[Any] | CodedTensor], effort: int, progress: Progress | None
) -> Iterator[tuple[str, CodedTensor]]:
    """Yield the tensors in coded form, in order."""
    sizes = {name: tensor.nbytes for name, tensor in tensors.items()}
    done, total = 0, sum(sizes.values())

    def work(name: str) -> CodedTensor:
        tensor = tensors[name]
        return tensor if isinstance(tensor, CodedTensor) else code(tensor, effort)

    def count(size: int) -> None:
        nonlocal done
        done += size
        if progress is not None:
            progress(done, total)

    if total < _WORTH_THREADS:
        for name, size in sizes.items():
            yield name, work(name)
            count(size)
    else:
        yield from threads.in_order(work, sizes, count)


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


def code(array: npt.NDArray[Any], effort: int = DEFAULT_EFFORT) -> CodedTensor:
    """Return a tensor in the smallest form that is found.

    Args:
        array: An array of a type that files can hold.
        effort: As for `save`.
    """
    element = _element_type(array)
    patterns = patterns_of(array, element)
    if not patterns.any():
        return CodedTensor(element, array.shape, ZERO, (), array.nbytes)
    found = None
    if element.codable:
        found = encoding.encode(patterns, element, array.shape, Effort.of(effort))
    if found is None:
        return leave_raw(array)
    return CodedTensor(element, array.shape, CODED, tuple(found), array.nbytes)


def leave_raw(array: npt.NDArray[Any]) -> CodedTensor:
    """Return a tensor, of which not all is zero, as it is: what is compressed stays that way."""
    element = _element_type(array)
    view = patterns_of(array, element).view(np.uint8).data
    starts = range(0, len(view), blocks.RAW_BYTES)
    contents = tuple(view[start : start + blocks.RAW_BYTES] for start in starts)
    return CodedTensor(element, array.shape, RAW, contents, array.nbytes)


def _element_type(array: npt.NDArray[Any]) -> ElementType:
    element = element_type(array.dtype)
    assert element is not None, array.dtype
    return element


def _check_tensor(name: str, value: object) -> npt.NDArray[Any] | CodedTensor:
    string(name, "tensor name")
    if isinstance(value, CodedTensor):
        return value
    if not isinstance(value, np.ndarray | np.generic) or isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"Tensor {name!r} must be a numpy array, got {type(value).__name__}. "
            "Convert it first, for example with numpy.asarray."
        )
    array = np.asarray(value)
    if element_type(array.dtype) is None:
        raise TypeError(
            f"Tensor {name!r} has dtype {array.dtype}, which .kdc files cannot hold. "
            f"Convert it to one of: {', '.join(BY_NAME)}."
        )
    if array.ndim > MAX_RANK:
        raise ValueError(
            f"Tensor {name!r} has {array.ndim} dimensions, and .kdc files hold at most "
            f"{MAX_RANK}. Reshape it first."
        )
    return array
