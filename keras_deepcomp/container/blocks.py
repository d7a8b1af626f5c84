"""Blocks: the pieces that a tensor is stored in, each with a checksum of its own."""

from __future__ import annotations

import zlib

from keras_deepcomp.container.errors import damaged
from keras_deepcomp.container.wire import CHECKSUM_BYTES

RAW_BYTES = 1 << 22
"""Patterns that are stored as they are take blocks of this size, and a shorter last one."""

# In small blocks half a checksum tells damage well enough where it is; all bytes of the file are
# under a whole one as well.
_SMALL = 4096


def checksum_bytes(length: int) -> int:
    """Return how many bytes of checksum come after a block of this length."""
    return CHECKSUM_BYTES // 2 if length < _SMALL else CHECKSUM_BYTES


def checksum(block: bytes | memoryview) -> bytes:
    """Return the checksum that comes after a block: the lower bytes of its CRC-32."""
    return zlib.crc32(block).to_bytes(CHECKSUM_BYTES, "little")[: checksum_bytes(len(block))]


def raw_lengths(total: int) -> list[int]:
    """Return the lengths of the blocks of so many bytes of patterns."""
    whole, rest = divmod(total, RAW_BYTES)
    return [RAW_BYTES] * whole + [rest] * (rest > 0)


def check(block: memoryview, length: int, what: str) -> memoryview:
    """Return a block without its checksum, after checking that.

    Args:
        block: The block with its checksum.
        length: The block's length without it.
        what: What the block is, for the error message.

    Raises:
        FormatError: The checksum is wrong.
    """
    content = block[:length]
    if checksum(content) != block[length:]:
        raise damaged(f"the checksum of {what} is wrong, so bytes of it were changed")
    return content
