"""Files taken apart and put together again with all lengths and checksums mended.

A mutation of a file's bytes seldom gets past its checksums. Here the parts of a file can be
changed one by one, each in the form in which it means something: blocks as they are, directory
and metadata decompressed.
"""

import zlib
from dataclasses import dataclass, replace

from simple_decoder import version_1
from simple_encoder import CODES, Record, deflate, sealed, varint

MAGIC = b"\x89KDC"
TRAILER = 12


@dataclass(frozen=True)
class Frame:
    """A version 1 file in parts; what is not None replaces what would fit the rest."""

    records: tuple
    metadata: bytes = b""
    metadata_stream: bytes | None = None
    metadata_size: int | None = None
    listing: bytes | None = None
    directory_size: int | None = None
    directory_stream: bytes | None = None
    level: int = 1

    def but(self, **changes):
        return replace(self, **changes)

    def with_record(self, number, **changes):
        record = replace(self.records[number], **changes)
        return self.but(records=(*self.records[:number], record, *self.records[number + 1 :]))

    def bytes(self):
        parts = [MAGIC, b"\1"]
        for record in self.records:
            for block in record.blocks:
                parts += [block, checksum(block)]
        stream = self.metadata_stream
        if stream is None:
            stream = deflate(self.metadata, self.level) if self.metadata else b""
        if stream:
            parts += [stream, checksum(stream)]
        listing = self.listing
        if listing is None:
            size = len(self.metadata) if self.metadata_size is None else self.metadata_size
            listing = varint(size) + varint(len(stream)) + varint(len(self.records))
            listing += b"".join(record.bytes() for record in self.records)
        directory = self.directory_stream
        if directory is None:
            directory = deflate(listing, self.level)
        size = len(listing) if self.directory_size is None else self.directory_size
        return sealed(b"".join(parts), varint(size) + directory)

    def full_listing(self):
        """Return the directory's text as `bytes` would write it."""
        data = self.bytes()
        length = version_1.unsigned(data[-12:-8])
        return version_1.directory_text(data[-12 - length : -12])


def checksum(content):
    return zlib.crc32(content).to_bytes(4, "little")[: 4 if len(content) >= 4096 else 2]


def take_apart(data):
    """Return the frame of a version 1 file.

    Raises:
        ValueError: Its frame is not right; what is in the blocks does not matter.
    """
    texts, records, blocks = version_1.parts(data, 1 << 40)
    return Frame(
        tuple(
            Record(name, CODES[kind[0]], shape, coding, blocks[name])
            for name, (coding, kind, shape, _) in records.items()
        ),
        pairs(texts),
    )


def pairs(texts):
    if not texts:
        return b""
    encoded = [(key.encode(), text.encode()) for key, text in texts.items()]
    return varint(len(encoded)) + b"".join(
        varint(len(key)) + key + varint(len(text)) + text for key, text in encoded
    )


def seal_version_0(body):
    """Return all but the checksum of a version 0 file with its checksum."""
    return body + zlib.crc32(body).to_bytes(4, "little")


def mended(data):
    """Return a file's bytes with right checksums wherever its frame can be read as it is."""
    if len(data) < 9 or data[:4] != MAGIC:
        return data
    if data[4] == 0:
        return seal_version_0(data[:-4])
    length = version_1.unsigned(data[-12:-8])
    if data[4] != 1 or 5 + length + TRAILER > len(data):
        return data
    return sealed(data[: -12 - length], data[-12 - length : -12])
