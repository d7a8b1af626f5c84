"""Canonical Huffman codes of bounded length (section 4 of the paper).

A code is known by its code lengths alone: codes are given out in the order of (length, symbol),
shortest first, each the next binary number. The lengths come from package-merge (Larmore and
Hirschberg, 1990), which is optimal under the bound, and written out here so that the bytes of
a file do not depend on the version of any library.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from bitarray import bitarray
from bitarray.util import canonical_decode, int2ba

from keras_deepcomp.container.errors import damaged
from keras_deepcomp.container.wire import bytes_of_bits

# Every alphabet of the format (at most 65,536 symbols) fits, and so does the decoder's own bound.
MAX_LENGTH = 24
# One code length in a file takes this many bits.
_LENGTH_BITS = 5
# Symbols turned into Python integers at a time, so that the memory for them stays small.
_BLOCK = 1 << 18


def code_lengths(counts: npt.NDArray[np.int64], limit: int = MAX_LENGTH) -> npt.NDArray[np.uint8]:
    """Return the lengths of an optimal prefix code with no length above `limit`.

    Args:
        counts: How often each symbol occurs, shape (symbols,), at least one above 0.
        limit: The longest allowed code, in bits; 2**limit symbols must be enough.

    Returns:
        The length of each symbol's code in bits, shape (symbols,); 0 for a symbol that never
        occurs, 1 for a lone symbol.
    """
    lengths = np.zeros(counts.size, np.uint8)
    used = np.flatnonzero(counts)
    if used.size == 1:
        lengths[used] = 1
        return lengths
    order = used[np.argsort(counts[used], kind="stable")]
    coins = counts[order]
    # Level by level: pair up the sorted list of the level below, and merge the pairs with the
    # coins. Both are sorted, so the cheapest m items of a level always hold its cheapest coins.
    merged = coins
    levels = [np.ones(coins.size, bool)]
    for _ in range(min(limit, used.size - 1) - 1):
        pairs = merged[: merged.size // 2 * 2].reshape(-1, 2).sum(axis=1)
        both = np.concatenate((coins, pairs))
        rank = np.argsort(both, kind="stable")
        merged = both[rank]
        levels.append(rank < coins.size)
    # The answer is the cheapest 2n - 2 items of the top level: each time a coin is in the
    # selection, opened up level by level, its symbol's code gets one bit longer.
    take = 2 * used.size - 2
    for is_coin in reversed(levels):
        chosen = int(np.count_nonzero(is_coin[:take]))
        lengths[order[:chosen]] += 1
        take = 2 * (take - chosen)
    return lengths


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


def pack_lengths(lengths: npt.NDArray[np.uint8]) -> bytes:
    """Return code lengths as five bits each, most significant first, zero padded to a byte."""
    bits = np.unpackbits(lengths[:, np.newaxis], axis=1)[:, -_LENGTH_BITS:]
    return np.packbits(bits).tobytes()


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


def canonical_codes(lengths: npt.NDArray[np.uint8]) -> dict[int, bitarray]:
    """Return the canonical code of each symbol that has one.

    Args:
        lengths: The length of each symbol's code in bits, shape (symbols,), 0 for none.

    Returns:
        Symbol -> code, in the order of the codes.
    """
    codes = {}
    code, previous = -1, 0
    order = canonical_order(lengths)
    for symbol, length in zip(order.tolist(), lengths[order].tolist(), strict=True):
        code = (code + 1) << (length - previous)
        previous = length
        codes[symbol] = int2ba(code, length, endian="big")
    return codes


def encode(symbols: npt.NDArray[np.integer], lengths: npt.NDArray[np.uint8]) -> bytes:
    """Return the codes of the symbols one after the other, zero padded to a byte.

    Args:
        symbols: The symbols, shape (entries,), each with a code.
        lengths: The length of each symbol's code in bits, shape (alphabet,).

    Returns:
        The bits, most significant first within each byte.
    """
    codes = canonical_codes(lengths)
    bits = bitarray(endian="big")
    for start in range(0, symbols.size, _BLOCK):
        bits.encode(codes, symbols[start : start + _BLOCK].tolist())
    return bits.tobytes()


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
