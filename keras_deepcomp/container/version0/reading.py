"""The bytes of a `.kdc` file back to tensors, metadata and a description.

First the whole structure is checked, without taking more memory than the file has bytes; only
then are the tensors expanded.
"""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from keras_deepcomp.container.dtypes import BY_CODE, TEXT, ElementType, empty_array, to_native
from keras_deepcomp.container.errors import FormatError, damaged
from keras_deepcomp.container.info import FileInfo, TensorInfo
from keras_deepcomp.container.version0 import decoding
from keras_deepcomp.container.version0.wire import MAX_METADATA_BYTES, VERSION
from keras_deepcomp.container.wire import (
    CHECKSUM_BYTES,
    MAGIC,
    MAX_RANK,
    VARINT_LIMIT,
    Reader,
    decode_utf8,
)

# Magic, version, declared size, two counts and checksum.
_MIN_BYTES = len(MAGIC) + 1 + 3 + CHECKSUM_BYTES

BytesLike = bytes | bytearray | memoryview


def load_with_info(data: BytesLike, max_bytes: int) -> tuple[dict[str, npt.NDArray[Any]], FileInfo]:
    """Return the tensors of a `.kdc` file and what `inspect` returns, in one pass.

    Args:
        data: The file's bytes.
        max_bytes: The most memory, in bytes, that the tensors and the metadata together may
            take.

    Returns:
        The tensors as `load` returns them, and the description of the file.

    Raises:
        FormatError: As for `load`.
        ImportError: As for `load`.
    """
    parsed = _parse(data)
    if parsed.decoded_bytes > max_bytes:
        raise FormatError(
            f"The file holds {parsed.decoded_bytes:,} bytes when decoded, and max_bytes allows "
            f"{max_bytes:,}. If you trust the file, pass max_bytes={parsed.decoded_bytes} or more."
        )
    info = parsed.info()
    tensors = {}
    for record in parsed.tensors:
        array, patterns = empty_array(record.shape, record.payload.element)
        decoding.expand(record.payload, patterns)
        to_native(patterns, record.payload.element)
        tensors[record.name] = array
    return tensors, info


@dataclass(frozen=True)
class _Record:
    """A tensor's record, or a metadata record, whose value is a 1-D uint8 tensor."""

    name: str
    shape: tuple[int, ...]
    payload: decoding.Payload
    record_bytes: int

    def info(self) -> TensorInfo:
        payload, entries = self.payload, self.payload.entries
        info = TensorInfo(
            name=self.name,
            dtype=payload.element.name,
            shape=self.shape,
            size=payload.size,
            decoded_bytes=payload.size * payload.element.itemsize,
            coding="coded" if payload.raw is None else "raw",
            record_bytes=self.record_bytes,
            nonzero=payload.count_nonzero(),
        )
        if entries is None:
            return info
        symbols = entries.codebook.size + (entries.fillers > 0)
        gaps, indices = entries.gaps, entries.indices
        return dataclasses.replace(
            info,
            clusters=entries.codebook.size,
            entries=entries.count,
            gap_bits=entries.gap_bits,
            index_bits=max(1, (symbols - 1).bit_length()),
            gap_huffman_bits=gaps.bits if gaps else 0,
            index_huffman_bits=indices.bits,
            codebook_bytes=entries.codebook.nbytes,
            table_bytes=indices.table_bytes + (gaps.table_bytes if gaps else 0),
        )


@dataclass(frozen=True)
class _Parsed:
    """A file whose checksum and structure are in order; nothing is expanded yet."""

    version: int
    file_bytes: int
    decoded_bytes: int
    metadata: list[_Record]
    tensors: list[_Record]

    def info(self) -> FileInfo:
        metadata_bytes = sum(record.record_bytes for record in self.metadata)
        tensor_bytes = sum(record.record_bytes for record in self.tensors)
        return FileInfo(
            version=self.version,
            file_bytes=self.file_bytes,
            decoded_bytes=self.decoded_bytes,
            header_bytes=self.file_bytes - metadata_bytes - tensor_bytes,
            metadata={record.name: _text(record) for record in self.metadata},
            metadata_bytes=metadata_bytes,
            tensors=tuple(record.info() for record in self.tensors),
        )


def _text(record: _Record) -> str:
    encoded, patterns = empty_array(record.shape, TEXT)
    decoding.expand(record.payload, patterns)
    return decode_utf8(encoded.data, f"the metadata value of {record.name!r}")


def _parse(data: BytesLike) -> _Parsed:
    view = _check_frame(data)
    reader = Reader(view[:-CHECKSUM_BYTES])
    reader.take(len(MAGIC) + 1, "the magic and the version")
    decoded_bytes = reader.varint("the declared size")
    metadata = _read_records(reader, "metadata value", _read_text_type)
    metadata_bytes = sum(record.payload.size for record in metadata)
    if metadata_bytes > MAX_METADATA_BYTES:
        raise damaged(
            f"its metadata has {metadata_bytes:,} bytes when decoded, at most "
            f"{MAX_METADATA_BYTES:,}"
        )
    tensors = _read_records(reader, "tensor", _read_tensor_type)
    reader.end("the last tensor")
    total = metadata_bytes + sum(
        record.payload.size * record.payload.element.itemsize for record in tensors
    )
    if total != decoded_bytes:
        raise damaged(f"it declares {decoded_bytes:,} bytes when decoded, and holds {total:,}")
    return _Parsed(VERSION, len(view), decoded_bytes, metadata, tensors)


def _check_frame(data: BytesLike) -> memoryview:
    """Return a view of the bytes after checking what is the same in all versions, and the CRC."""
    view = memoryview(data)
    # `cast` refuses views without elements.
    view = view.cast("B") if view.nbytes else memoryview(b"")
    if len(view) == 0:
        raise FormatError("This is not a .kdc file: it is empty. Save the tensors again.")
    magic = bytes(view[: len(MAGIC)])
    if magic != MAGIC[: len(magic)]:
        raise FormatError(
            f"This is not a .kdc file: it begins with the bytes {magic.hex(' ')}, and a .kdc "
            f"file begins with {MAGIC.hex(' ')}. Check that it is the right file."
        )
    if len(view) > len(MAGIC) and (version := view[len(MAGIC)]) > VERSION:
        raise FormatError(
            f"The file was written by format version {version}, and this reader knows "
            f"{VERSION}. Upgrade keras_deepcomp: pip install -U keras_deepcomp"
        )
    if len(view) < _MIN_BYTES:
        raise damaged(f"it is cut off after {len(view)} bytes")
    stored = int.from_bytes(view[-CHECKSUM_BYTES:], "little")
    computed = zlib.crc32(view[:-CHECKSUM_BYTES])
    if stored != computed:
        raise damaged(
            f"its checksum is {computed:08x} and should be {stored:08x}, so bytes were changed, "
            "added or cut off"
        )
    return view


def _read_records(
    reader: Reader,
    kind: str,
    read_type: Callable[[Reader, str], tuple[tuple[int, ...], ElementType]],
) -> list[_Record]:
    """Read a count and that many records, each with a name that no other has."""
    count = reader.varint(f"the number of {kind}s")
    records = []
    names = set()
    for number in range(count):
        start = reader.position
        name = reader.string(f"the name of {kind} {number}")
        what = f"{kind} {name[:80]!r}"
        if name in names:
            raise damaged(f"{what} is there twice")
        names.add(name)
        shape, element = read_type(reader, what)
        size = math.prod(shape)
        payload = decoding.parse(reader, element, size, what)
        records.append(_Record(name, shape, payload, reader.position - start))
    return records


def _read_text_type(reader: Reader, what: str) -> tuple[tuple[int, ...], ElementType]:
    """Read the head of a metadata value, which says only how many bytes the text has."""
    return (reader.varint(f"the size of {what}"),), TEXT


def _read_tensor_type(reader: Reader, what: str) -> tuple[tuple[int, ...], ElementType]:
    """Read the head of a tensor: its type and its shape."""
    code = reader.byte(f"the type of {what}")
    element = BY_CODE.get(code)
    if element is None:
        raise damaged(f"{what} has the type code {code}, which version 0 does not know")
    rank = reader.byte(f"the rank of {what}")
    if rank > MAX_RANK:
        raise damaged(f"{what} has {rank} dimensions, at most {MAX_RANK}")
    shape = tuple(reader.varint(f"a dimension of {what}") for _ in range(rank))
    # As in numpy, zeros do not make up for the other dimensions.
    if math.prod(max(dim, 1) for dim in shape) * element.itemsize >= VARINT_LIMIT:
        raise damaged(f"the shape of {what} is too large")
    return shape, element
