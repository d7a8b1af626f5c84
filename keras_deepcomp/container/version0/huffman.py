"""Canonical Huffman codes of version 0, whose lengths are in the file (section 4 of the paper)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from bitarray import bitarray
from bitarray.util import canonical_decode

from keras_deepcomp.container.errors import damaged
from keras_deepcomp.container.version0.wire import bytes_of_bits

# Every alphabet of the format (at most 65,536 symbols) fits, and so does the decoder's own bound.
MAX_LENGTH = 24
# One code length in a file takes this many bits.
_LENGTH_BITS = 5


def check_lengths(lengths: npt.NDArray[np.uint8], what: str) -> None:
    """Check that code lengths from a file make a complete prefix code, or a lone symbol's.

    A complete code has no bit string that stands for nothing, so a decoder cannot get lost.
    """
    per_length = np.bincount(lengths, minlength=MAX_LENGTH + 1).tolist()
    if len(per_length) > MAX_LENGTH + 1:
        raise damaged(f"{what} has a code longer than {MAX_LENGTH} bits")
    symbols = sum(per_length[1:])
    if symbols == 1 and per_length[1] == 1:
        return
    filled = sum(
        count << (MAX_LENGTH - length) for length, count in enumerate(per_length) if length
    )
    if filled != 1 << MAX_LENGTH:
        raise damaged(f"the code lengths of {what} do not make a complete prefix code")


def packed_size(symbols: int) -> int:
    """Return how many bytes `pack_lengths` makes of this many code lengths."""
    return bytes_of_bits(symbols * _LENGTH_BITS)


def unpack_lengths(packed: memoryview, symbols: int, what: str) -> npt.NDArray[np.uint8]:
    """Return the code lengths that `pack_lengths` packed, and check the padding."""
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))
    if bits[symbols * _LENGTH_BITS :].any():
        raise damaged(f"the padding after the code lengths of {what} is not zero")
    fields = bits[: symbols * _LENGTH_BITS].reshape(symbols, _LENGTH_BITS)
    return np.packbits(fields, axis=1)[:, 0] >> np.uint8(8 - _LENGTH_BITS)


def canonical_order(lengths: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
    """Return the symbols that have a code, in the order of (length, symbol)."""
    used = np.flatnonzero(lengths)
    return used[np.argsort(lengths[used], kind="stable")]


class Decoder:
    """Reads the symbols of one stream, a block at a time.

    Args:
        stream: The bytes that `encode` made.
        bits: How many bits of them count; the rest is padding of less than a byte.
        lengths: The code lengths, already checked.
        what: What the stream is, for error messages.
    """

    def __init__(
        self, stream: memoryview, bits: int, lengths: npt.NDArray[np.uint8], what: str
    ) -> None:
        self._what = what
        whole = bitarray(buffer=stream, endian="big")
        if whole[bits:].any():
            raise damaged(f"the padding after {what} is not zero")
        codes = whole[:bits]
        order = canonical_order(lengths)
        if order.size == 1 and codes.any():
            # The one incomplete code: a lone symbol is 0, and nothing is 1.
            raise damaged(f"{what} has a code that stands for nothing")
        per_length = np.bincount(lengths[order]).tolist()
        self._symbols: Iterator[int] = canonical_decode(codes, per_length, order.tolist())

    def read(self, count: int) -> npt.NDArray[np.int32]:
        """Return the next `count` symbols, shape (count,)."""
        try:
            return np.fromiter(self._symbols, np.int32, count)
        except ValueError:
            # Raised for codes cut off by the end of the stream, and for too few codes. The code
            # is complete, so nothing else can go wrong.
            raise damaged(f"{self._what} ends before its last entry") from None

    def finish(self) -> None:
        """Check that the stream holds nothing after the symbols already read."""
        try:
            left = next(self._symbols, None) is not None
        except ValueError:
            left = True
        if left:
            raise damaged(f"{self._what} goes on after its last entry")
