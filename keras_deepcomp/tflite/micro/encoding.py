"""What DECODE, TensorFlow Lite Micro's operator, reads: the header, and encoded tensors."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

HEADER_BYTES = 16
# Buffers of a file begin at multiples of it.
ALIGNMENT = 16
_HEADER_VERSION = 1
_KIND_VERSION = 1


class Kind(IntEnum):
    """How DECODE decodes, by its number in the header."""

    LUT = 0
    HUFFMAN = 1
    PRUNING = 2


@dataclass(frozen=True)
class Encoding:
    """A tensor as DECODE takes it.

    Attributes:
        kind: How it is decoded.
        data: The encoded tensor.
        ancillary: Header and tables.
    """

    kind: Kind
    data: bytes
    ancillary: bytes

    @property
    def size(self) -> int:
        """Bytes of both."""
        return len(self.data) + len(self.ancillary)


def padded(data: bytes) -> int:
    """Return the bytes that data takes in a file, with what aligns the next."""
    return -(-len(data) // ALIGNMENT) * ALIGNMENT


def header(kind: Kind, own: bytes = b"") -> bytes:
    """Return the 16 bytes at the start of ancillary data.

    Args:
        kind: How the tensor is decoded.
        own: Up to 11 bytes after the kind's own version.

    Returns:
        The header.
    """
    return bytes([kind, _HEADER_VERSION, 0, 0, _KIND_VERSION, *own]).ljust(HEADER_BYTES, b"\0")
