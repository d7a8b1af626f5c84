"""The directory of a file: for each tensor its name, type, shape, coding and blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from keras_deepcomp.container import blocks
from keras_deepcomp.container.dtypes import BY_CODE, ElementType
from keras_deepcomp.container.errors import damaged
from keras_deepcomp.container.wire import (
    MAX_RANK,
    MAX_TENSORS,
    VARINT_LIMIT,
    Reader,
    string,
    varint,
)

ZERO = 0
"""The coding of tensors whose patterns are all zero, and of those without elements."""
RAW = 1
"""The coding of tensors whose patterns are stored as they are."""
CODED = 2
"""The coding of tensors that have a model."""


@dataclass(frozen=True)
class Record:
    """What the directory says of a tensor.

    Attributes:
        name: The tensor's name.
        element: The element type.
        shape: The shape.
        coding: `ZERO`, `RAW` or `CODED`.
        lengths: The lengths of its blocks in bytes, without their checksums.
    """

    name: str
    element: ElementType
    shape: tuple[int, ...]
    coding: int
    lengths: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def decoded_bytes(self) -> int:
        """Bytes of the tensor in memory."""
        return self.size * self.element.itemsize

    @property
    def stored_bytes(self) -> int:
        """Bytes of the tensor's blocks in the file, with their checksums."""
        return sum(length + blocks.checksum_bytes(length) for length in self.lengths)

    @property
    def what(self) -> str:
        """The tensor, for error messages."""
        return f"tensor {self.name[:80]!r}"

    def encode(self) -> bytes:
        """Return the record."""
        parts = [
            string(self.name, "tensor name"),
            bytes([self.element.code, self.coding << 6 | len(self.shape)]),
            *(varint(dimension) for dimension in self.shape),
        ]
        if self.coding == CODED:
            parts.append(varint(len(self.lengths)))
            parts += [varint(length) for length in self.lengths]
        return b"".join(parts)


def encode(metadata_size: int, metadata_length: int, records: list[Record]) -> bytes:
    """Return a directory.

    Args:
        metadata_size: Bytes of the metadata when decompressed.
        metadata_length: Bytes of the metadata in the file.
        records: The tensors.
    """
    head = varint(metadata_size) + varint(metadata_length)
    return head + varint(len(records)) + b"".join(record.encode() for record in records)


def decode(data: bytes, available: int, most: int = MAX_TENSORS) -> tuple[int, int, list[Record]]:
    """Return what `encode` was given.

    Args:
        data: The directory.
        available: How many bytes of the file blocks can have.
        most: How many tensors there can be.

    Raises:
        FormatError: The directory breaks a rule of the format.
    """
    reader = Reader(memoryview(data))
    metadata_size = reader.varint("the size of the metadata")
    metadata_length = reader.varint("the length of the metadata")
    count = reader.varint("the number of tensors")
    if count > most:
        raise damaged(f"its directory has {count:,} tensors, at most {most:,}")
    records = []
    names = set()
    for record in _records(reader, count, available):
        if record.name in names:
            raise damaged(f"{record.what} is there twice")
        names.add(record.name)
        records.append(record)
    reader.end("the last tensor")
    return metadata_size, metadata_length, records


def _records(reader: Reader, count: int, available: int) -> Iterator[Record]:
    for number in range(count):
        name = reader.string(f"the name of tensor {number}")
        what = f"tensor {name[:80]!r}"
        code = reader.byte(f"the type of {what}")
        element = BY_CODE.get(code)
        if element is None:
            raise damaged(f"{what} has the type code {code}, which version 1 does not know")
        coding, rank = divmod(reader.byte(f"the coding and rank of {what}"), 1 << 6)
        if rank > MAX_RANK:
            raise damaged(f"{what} has {rank} dimensions, at most {MAX_RANK}")
        shape = tuple(reader.varint(f"a dimension of {what}") for _ in range(rank))
        # As in numpy, zeros do not make up for the other dimensions.
        if math.prod(max(dimension, 1) for dimension in shape) * element.itemsize >= VARINT_LIMIT:
            raise damaged(f"the shape of {what} is too large")
        size = math.prod(shape) * element.itemsize
        if coding == RAW and size > available:
            raise damaged(f"{what} needs {size:,} bytes, and the file has {available:,}")
        lengths = _lengths(reader, element, size, coding, what)
        yield Record(name, element, shape, coding, lengths)


def _lengths(
    reader: Reader, element: ElementType, size: int, coding: int, what: str
) -> tuple[int, ...]:
    if coding == ZERO:
        return ()
    if size == 0:
        raise damaged(f"{what} has no elements, and yet blocks")
    if coding == RAW:
        return tuple(blocks.raw_lengths(size))
    if coding != CODED:
        raise damaged(f"{what} has coding {coding}, and version 1 knows 0, 1 and 2")
    if not element.codable:
        raise damaged(f"{what} is coded, and {element.name} tensors never are")
    count = reader.varint(f"the number of blocks of {what}")
    # Each length takes at least a byte; checked before memory is taken.
    if not 1 <= count <= reader.remaining:
        raise damaged(f"{what} has {count:,} blocks")
    return tuple(reader.varint(f"the length of a block of {what}") for _ in range(count))
