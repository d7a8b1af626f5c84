"""Huffman codes (section 4 of the paper): from weights to lengths, from lengths to bits and back.

A file holds no code lengths but weights, in one form or another, and both sides make the same code
of them: Huffman's algorithm with ties broken in a fixed way, then canonical codes, which are given
out in the order of (length, symbol), shortest first, each the next binary number.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from bitarray import bitarray
from bitarray.util import canonical_decode

from keras_deepcomp.container.bits import BitReader, joined
from keras_deepcomp.container.errors import damaged

# The alphabets of the format. The weights keep every code well within the longest length.
MAX_SYMBOLS = 4096
MAX_LENGTH = 30
# Symbols handled at a time: arrays of so many stay in the cache, and allocators reuse their memory.
_BLOCK = 1 << 16

_Ints = npt.NDArray[np.integer]
_Lengths = npt.NDArray[np.uint8]


def code_lengths(weights: _Ints) -> _Lengths:
    """Return the lengths of the Huffman code for these weights.

    Of the two trees of least weight the algorithm always takes single symbols before joined ones,
    lower symbols before higher ones, and older joined ones before newer ones.

    Args:
        weights: How likely each symbol is, in any unit, from 1 up, shape (symbols,), at least two.

    Returns:
        The length of each symbol's code in bits, shape (symbols,).
    """
    count = weights.size
    order = np.argsort(weights, kind="stable")
    heap = weights[order].tolist()
    parents = [0] * (2 * count - 1)
    leaf, inner = 0, count
    for new in range(count, 2 * count - 1):
        total = 0
        for _ in range(2):
            if leaf < count and (inner >= new or heap[leaf] <= heap[inner]):
                least, leaf = leaf, leaf + 1
            else:
                least, inner = inner, inner + 1
            parents[least] = new
            total += heap[least]
        heap.append(total)
    depths = [0] * (2 * count - 1)
    for node in range(2 * count - 3, -1, -1):
        depths[node] = depths[parents[node]] + 1
    lengths = np.empty(count, np.uint8)
    lengths[order] = depths[:count]
    return lengths


def canonical_order(lengths: _Lengths) -> npt.NDArray[np.intp]:
    """Return the symbols in the order of (length, symbol)."""
    return np.argsort(lengths, kind="stable")


def canonical_codes(lengths: _Lengths) -> npt.NDArray[np.uint64]:
    """Return the canonical code of each symbol as an integer, shape (symbols,)."""
    counts = np.bincount(lengths, minlength=MAX_LENGTH + 1)
    # The first code of each length, less how many shorter ones there are.
    first, code, shorter = [], 0, 0
    for count in counts.tolist():
        code <<= 1
        first.append(code - shorter)
        code, shorter = code + count, shorter + count
    order = canonical_order(lengths)
    codes = np.empty(lengths.size, np.uint64)
    codes[order] = np.array(first)[lengths[order]] + np.arange(order.size)
    return codes


class Code(Protocol):
    """A Huffman code: the length of each symbol's code in bits, and the code as an integer."""

    @property
    def lengths(self) -> _Lengths:
        """The lengths, shape (alphabet,)."""

    @property
    def codes(self) -> npt.NDArray[np.uint64]:
        """The codes, shape (alphabet,)."""


@dataclass(frozen=True)
class Canonical:
    """The canonical code of these lengths.

    Attributes:
        lengths: The length of each symbol's code in bits, shape (alphabet,).
    """

    lengths: _Lengths

    @functools.cached_property
    def codes(self) -> npt.NDArray[np.uint64]:
        """The code of each symbol, shape (alphabet,)."""
        return canonical_codes(self.lengths)


def encode(
    symbols: _Ints, counts: Sequence[int], codes: Sequence[Code]
) -> tuple[bitarray, list[int]]:
    """Return the codes of the symbols of some sequences one after the other.

    Args:
        symbols: The symbols, sequence after sequence, shape (n,).
        counts: How many symbols each sequence has.
        codes: The code of each sequence; or the one of all of them.

    Returns:
        The bits, and where those of each sequence end.
    """
    if len(codes) == 1:
        (lengths, values), merged = (codes[0].lengths, codes[0].codes), symbols
    else:
        # The symbols of all codes, as those of one.
        lengths = np.concatenate([code.lengths for code in codes])
        values = np.concatenate([code.codes for code in codes])
        sizes = np.array([code.lengths.size for code in codes], np.int32)
        merged = symbols + np.repeat(sizes.cumsum() - sizes, counts)
    widths = lengths[merged]
    bits = bitarray(endian="big")
    for start in range(0, merged.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        bits += joined(values[merged[block]], widths[block])
    total = widths.cumsum(dtype=np.int64)
    last = np.cumsum(counts)
    ends = [int(total[end - 1]) if end else 0 for end in last.tolist()]
    return bits, ends


def decode(reader: BitReader, count: int, lengths: _Lengths) -> npt.NDArray[np.uint16]:
    """Read symbols from bits.

    Args:
        reader: The cursor, at the first code.
        count: How many symbols to read.
        lengths: The length of each symbol's code in bits, as `code_lengths` gives them.

    Returns:
        The symbols, shape (count,).

    Raises:
        FormatError: The bits end before the last symbol.
    """
    longest = int(lengths.max())
    # Each code has at least one bit; checked before memory is taken.
    if count > reader.remaining:
        raise damaged(f"{reader.what} ends before its last code")
    bits = reader.ahead(count * longest)
    order = canonical_order(lengths)
    symbols = canonical_decode(bits, np.bincount(lengths).tolist(), order.tolist())
    try:
        decoded = np.fromiter(symbols, np.uint16, count)
    except ValueError:
        raise damaged(f"{reader.what} ends before its last code") from None
    reader.position += int(lengths[decoded].sum(dtype=np.int64))
    return decoded
