"""Blocks and their checksums."""

import zlib

import pytest

from keras_deepcomp.container import FormatError, blocks

MIB_4 = 4 << 20


@pytest.mark.parametrize(
    ("total", "lengths"),
    [
        (0, []),
        (1, [1]),
        (MIB_4 - 1, [MIB_4 - 1]),
        (MIB_4, [MIB_4]),
        (MIB_4 + 1, [MIB_4, 1]),
        (3 * MIB_4, [MIB_4] * 3),
    ],
)
def test_raw_lengths(total, lengths):
    assert blocks.raw_lengths(total) == lengths


@pytest.mark.parametrize(("length", "size"), [(0, 2), (1, 2), (4095, 2), (4096, 4), (MIB_4, 4)])
def test_checksums(length, size):
    content = bytes(range(256)) * (length // 256 + 1)
    content = content[:length]
    checksum = blocks.checksum(content)
    assert checksum == zlib.crc32(content).to_bytes(4, "little")[:size]
    assert blocks.checksum_bytes(length) == size
    stored = memoryview(content + checksum)
    assert bytes(blocks.check(stored, length, "it")) == content
    for place in {0, length // 2, length, length + size - 1}:
        changed = bytearray(stored)
        changed[place] ^= 0x10
        with pytest.raises(FormatError, match="the checksum of tensor 'x' is wrong, so bytes of"):
            blocks.check(memoryview(changed), length, "tensor 'x'")
