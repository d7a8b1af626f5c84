"""The frame of a file: magic and version, blocks, metadata, directory, trailer."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from keras_deepcomp.container import blocks, directory, text
from keras_deepcomp.container.directory import Record
from keras_deepcomp.container.errors import FormatError, damaged
from keras_deepcomp.container.wire import (
    CHECKSUM_BYTES,
    MAGIC,
    MAX_METADATA_BYTES,
    MAX_PAIRS,
    MAX_TENSORS,
    VERSION,
    Reader,
    decode_utf8,
    string,
    utf8,
    varint,
)

HEAD = MAGIC + bytes([VERSION])
_LENGTH_BYTES = 4
# Length of the directory, checksum of the directory, checksum of all bytes before.
TRAILER_BYTES = _LENGTH_BYTES + 2 * CHECKSUM_BYTES
# The compressed directory of any sensible file is larger than that; so a small file cannot have a
# directory that takes long to read.
_MOST_EXPANSION = 32
_ROOM = 4096
# Nor has a sensible one that many tensors: each takes bytes, and reading each takes time.
_LEAST_RECORD = 4
_FREE_RECORDS = 1024
_CHUNK = 1 << 20


class Source(Protocol):
    """Where the bytes of a file come from."""

    @property
    def size(self) -> int:
        """How many bytes there are."""

    def read(self, start: int, length: int) -> memoryview:
        """Return `length` bytes from `start`, which are all there."""


@dataclass(frozen=True)
class Frame:
    """What a file says of itself outside its blocks.

    Attributes:
        records: The tensors.
        starts: Where the blocks of each tensor begin in the file.
        metadata_start: Where the metadata begins.
        metadata_length: Bytes of the metadata in the file.
        metadata_size: Bytes of the metadata when decompressed.
    """

    records: tuple[Record, ...]
    starts: tuple[int, ...]
    metadata_start: int
    metadata_length: int
    metadata_size: int

    @property
    def decoded_bytes(self) -> int:
        """Bytes of all tensors and of the metadata in memory."""
        return self.metadata_size + sum(record.decoded_bytes for record in self.records)

    @property
    def stored_metadata_bytes(self) -> int:
        """Bytes of the metadata in the file, with its checksum."""
        if self.metadata_length == 0:
            return 0
        return self.metadata_length + blocks.checksum_bytes(self.metadata_length)

    def read_blocks(self, source: Source, number: int) -> Iterator[memoryview]:
        """Yield the blocks of a tensor, each when its checksum has been found right."""
        record, start = self.records[number], self.starts[number]
        for index, length in enumerate(record.lengths):
            stored = length + blocks.checksum_bytes(length)
            what = f"block {index} of {record.what}" if len(record.lengths) > 1 else record.what
            yield blocks.check(source.read(start, stored), length, what)
            start += stored

    def read_metadata(self, source: Source) -> dict[str, str]:
        """Return the metadata."""
        if self.metadata_length == 0:
            return {}
        stored = source.read(self.metadata_start, self.stored_metadata_bytes)
        content = blocks.check(stored, self.metadata_length, "the metadata")
        return _parse_metadata(text.decompress(content, self.metadata_size, "the metadata"))


def read(source: Source) -> Frame:
    """Read the frame of a version 1 file, and check that its parts fill the file exactly.

    Raises:
        FormatError: It breaks a rule of the format.
    """
    if source.size < len(HEAD) + TRAILER_BYTES:
        raise damaged(f"it is cut off after {source.size} bytes")
    trailer = source.read(source.size - TRAILER_BYTES, TRAILER_BYTES)
    length = int.from_bytes(trailer[:_LENGTH_BYTES], "little")
    available = source.size - len(HEAD) - TRAILER_BYTES
    if length > available:
        raise damaged("its directory is longer than the file, or bytes were cut off at its end")
    compressed = source.read(source.size - TRAILER_BYTES - length, length)
    stored = trailer[_LENGTH_BYTES : _LENGTH_BYTES + CHECKSUM_BYTES]
    if zlib.crc32(compressed).to_bytes(CHECKSUM_BYTES, "little") != stored:
        raise damaged(
            "the checksum of its directory is wrong, so bytes were changed, added or cut off"
        )
    head = Reader(compressed)
    size = head.varint("the size of the directory")
    if size > _MOST_EXPANSION * length + _ROOM:
        raise damaged(f"its directory claims to have {size:,} bytes in {length:,}")
    content = text.decompress(compressed[head.position :], size, "the directory")
    most = min(MAX_TENSORS, length // _LEAST_RECORD + _FREE_RECORDS)
    metadata_size, metadata_length, records = directory.decode(content, available - length, most)
    if (metadata_size == 0) != (metadata_length == 0) or metadata_size > MAX_METADATA_BYTES:
        raise damaged(
            f"its metadata has {metadata_size:,} bytes when decompressed, at most "
            f"{MAX_METADATA_BYTES:,}"
        )
    starts, start = [], len(HEAD)
    for record in records:
        starts.append(start)
        start += record.stored_bytes
    frame = Frame(tuple(records), tuple(starts), start, metadata_length, metadata_size)
    if start + frame.stored_metadata_bytes != source.size - TRAILER_BYTES - length:
        raise damaged("its blocks do not fill the file up to its directory")
    return frame


def check_file(source: Source) -> None:
    """Check the checksum over all bytes of a file.

    Raises:
        FormatError: It is wrong.
    """
    end = source.size - CHECKSUM_BYTES
    computed = 0
    for start in range(0, end, _CHUNK):
        computed = zlib.crc32(source.read(start, min(_CHUNK, end - start)), computed)
    stored = int.from_bytes(source.read(end, CHECKSUM_BYTES), "little")
    if computed != stored:
        raise damaged(
            f"its checksum is {computed:08x} and should be {stored:08x}, so bytes were changed, "
            "added or cut off"
        )


def version(source: Source) -> int:
    """Return the version of a file after checking that it is one that this reader knows.

    Raises:
        FormatError: It is none.
    """
    if source.size == 0:
        raise FormatError("This is not a .kdc file: it is empty. Save the tensors again.")
    head = bytes(source.read(0, min(source.size, len(HEAD))))
    magic = head[: len(MAGIC)]
    if magic != MAGIC[: len(magic)]:
        raise FormatError(
            f"This is not a .kdc file: it begins with the bytes {magic.hex(' ')}, and a .kdc "
            f"file begins with {MAGIC.hex(' ')}. Check that it is the right file."
        )
    if len(head) < len(HEAD):
        raise damaged(f"it is cut off after {len(head)} bytes")
    if head[-1] > VERSION:
        raise FormatError(
            f"The file was written by format version {head[-1]}, and this reader knows "
            f"{VERSION}. Upgrade keras_deepcomp: pip install -U keras_deepcomp"
        )
    return head[-1]


def metadata_bytes(metadata: Mapping[str, str]) -> bytes:
    """Return the metadata, not compressed yet; nothing where there is none.

    Raises:
        TypeError: A key or a text is not a str.
        ValueError: A key is empty or too long, a text has a lone surrogate, or there is too much.
    """
    if not metadata:
        return b""
    parts = [varint(len(metadata))]
    for key, value in metadata.items():
        if not isinstance(value, str):
            raise TypeError(
                f"The metadata value of {key!r} must be a str, got {type(value).__name__}."
            )
        encoded = utf8(value, f"The metadata value of {key!r}")
        parts += [string(key, "metadata key"), varint(len(encoded)), encoded]
    content = b"".join(parts)
    if len(metadata) > MAX_PAIRS:
        raise ValueError(f"The metadata has {len(metadata):,} values, at most {MAX_PAIRS:,}.")
    if len(content) > MAX_METADATA_BYTES:
        raise ValueError(
            f"The metadata has {len(content):,} bytes of text, at most {MAX_METADATA_BYTES:,}. "
            "Store the rest as uint8 tensors."
        )
    return content


def _parse_metadata(content: bytes) -> dict[str, str]:
    reader = Reader(memoryview(content))
    metadata: dict[str, str] = {}
    count = reader.varint("the number of metadata values")
    if count > MAX_PAIRS:
        raise damaged(f"its metadata has {count:,} values, at most {MAX_PAIRS:,}")
    for number in range(count):
        key = reader.string(f"the key of metadata value {number}")
        what = f"the metadata value of {key[:80]!r}"
        if key in metadata:
            raise damaged(f"{what} is there twice")
        length = reader.varint(f"the length of {what}")
        metadata[key] = decode_utf8(reader.take(length, what), what)
    reader.end("the last metadata value")
    if not metadata:
        raise damaged("its metadata is empty")
    return metadata


def directory_bytes(metadata_size: int, metadata_length: int, records: list[Record]) -> bytes:
    """Return the compressed directory with its size."""
    content = directory.encode(metadata_size, metadata_length, records)
    compressed = varint(len(content)) + text.compress(content)
    too_long = len(content) > _MOST_EXPANSION * len(compressed) + _ROOM
    if too_long or len(records) > len(compressed) // _LEAST_RECORD + _FREE_RECORDS:
        compressed = varint(len(content)) + text.compress(content, level=0)
    return compressed


def trailer(compressed_directory: bytes, checksum: int) -> bytes:
    """Return the trailer.

    Args:
        compressed_directory: What `directory_bytes` returned.
        checksum: The CRC-32 of all bytes of the file before the trailer.
    """
    start = len(compressed_directory).to_bytes(_LENGTH_BYTES, "little")
    start += zlib.crc32(compressed_directory).to_bytes(CHECKSUM_BYTES, "little")
    return start + zlib.crc32(start, checksum).to_bytes(CHECKSUM_BYTES, "little")
