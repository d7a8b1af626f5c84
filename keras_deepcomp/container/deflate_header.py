"""The header of a DEFLATE block with codes of its own (RFC 1951, section 3.2.7).

It lists the lengths of both codes one after the other, with runs shortened, and is itself coded
with a small Huffman code. Runs can be shortened in many ways; which is best depends on that code,
so both are found in a few rounds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from keras_deepcomp.container import huffman

Field = tuple[int, int]
"""A value and its width in bits."""

MAX_CODE = 15
# Three counts, four lengths, and the lengths of two literals, a distance and all between them.
MIN_HEADER = 14 + 4 * 3 + 8
_MAX_HEADER_CODE = 7
_SYMBOLS = 19
# The order in which the lengths of the header's own code are listed, three bits each.
_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
# What the header's code takes before it is known: nothing is much cheaper than anything else.
_FIRST_GUESS = (4,) * _SYMBOLS
_ROUNDS = 4

_Array = npt.NDArray[np.int64]


class _Run(NamedTuple):
    """A symbol that stands for several lengths in a row.

    Attributes:
        symbol: The symbol.
        width: How many bits follow it.
        shortest: The run for which those bits are 0.
    """

    symbol: int
    width: int
    shortest: int

    @property
    def longest(self) -> int:
        """The run for which those bits are 1."""
        return self.shortest + (1 << self.width) - 1


_AS_BEFORE = _Run(16, 2, 3)
_ZEROS = _Run(17, 3, 3)
_MANY_ZEROS = _Run(18, 7, 11)


class _Item(NamedTuple):
    """A symbol of the header with what follows it.

    Attributes:
        symbol: The symbol.
        extra: The value and the width of the bits after it.
        covers: How many lengths it stands for.
    """

    symbol: int
    extra: Field
    covers: int


def bounded_lengths(counts: _Array, longest: int = MAX_CODE) -> _Array:
    """Return the lengths of a Huffman code with none above a bound.

    Args:
        counts: How often each symbol occurs, shape (symbols,).
        longest: The bound; 2**longest symbols must be enough.

    Returns:
        The length of each symbol's code, 0 for symbols that do not occur and 1 for a lone one.
    """
    lengths = np.zeros(counts.size, np.int64)
    used = np.flatnonzero(counts)
    if used.size <= 1:
        lengths[used] = 1
        return lengths
    weights = counts[used]
    while True:
        lengths[used] = huffman.code_lengths(weights)
        if lengths.max() <= longest:
            return lengths
        # Codes become the more alike in length the more alike the weights are. This is rare, and
        # next to the best code for a bound.
        weights = (weights + 1) // 2


def reversed_codes(lengths: _Array) -> _Array:
    """Return the canonical codes as numbers whose lowest bit is to come first.

    Args:
        lengths: The length of each symbol's code, 0 for symbols without one, shape (symbols,).

    Returns:
        The codes, shape (symbols,).
    """
    codes = np.zeros(lengths.size, np.int64)
    used = np.flatnonzero(lengths)
    widths = lengths[used]
    ordinary = huffman.canonical_codes(widths.astype(np.uint8)).tolist()
    codes[used] = [
        int(f"{code:0{width}b}"[::-1], 2)
        for code, width in zip(ordinary, widths.tolist(), strict=True)
    ]
    return codes


def header(literal_lengths: _Array, distance_lengths: _Array) -> list[Field]:
    """Return the header for the two codes of a block.

    Args:
        literal_lengths: Code lengths of literals and lengths, shape (288,).
        distance_lengths: Code lengths of distances, shape (30,).

    Returns:
        Its fields, without the three bits before it that say what kind of block it is.
    """
    literals = np.trim_zeros(literal_lengths, "b").tolist()
    distances = np.trim_zeros(distance_lengths, "b").tolist() or [0]
    sequence = literals + distances
    costs = list(_FIRST_GUESS)
    best: list[Field] = []
    for _ in range(_ROUNDS):
        items = _cheapest_items(sequence, costs)
        counts = np.bincount([item.symbol for item in items], minlength=_SYMBOLS)
        lengths = bounded_lengths(counts, _MAX_HEADER_CODE)
        fields = _fields(len(literals), len(distances), lengths, items)
        if best and width(fields) >= width(best):
            break
        best = fields
        # A symbol without a code would get a long one.
        costs = [length or _MAX_HEADER_CODE for length in lengths.tolist()]
    return best


def width(fields: list[Field]) -> int:
    """Return how many bits some fields take."""
    return sum(bits for _, bits in fields)


def _fields(literals: int, distances: int, lengths: _Array, items: list[_Item]) -> list[Field]:
    """Return a header of these items, coded with a code of these lengths."""
    listed = lengths[list(_ORDER)].tolist()
    while len(listed) > 4 and listed[-1] == 0:
        listed.pop()
    fields = [(literals - 257, 5), (distances - 1, 5), (len(listed) - 4, 4)]
    fields += [(length, 3) for length in listed]
    codes = reversed_codes(lengths).tolist()
    widths = lengths.tolist()
    for item in items:
        fields += [(codes[item.symbol], widths[item.symbol]), item.extra]
    return fields


def _cheapest_items(sequence: list[int], costs: list[int]) -> list[_Item]:
    """Return the items of the least total cost for a sequence of lengths, back to front."""
    totals = [0] * (len(sequence) + 1)
    chosen: list[_Item] = []
    run = 0
    for position in range(len(sequence) - 1, -1, -1):
        value = sequence[position]
        run = run + 1 if sequence[position + 1 : position + 2] == [value] else 1
        kinds = [_AS_BEFORE] if position > 0 and sequence[position - 1] == value else []
        if value == 0:
            kinds += [_ZEROS, _MANY_ZEROS]
        least, item = costs[value] + totals[position + 1], _Item(value, (0, 0), 1)
        for kind in kinds:
            cost = costs[kind.symbol] + kind.width
            longest = min(run, kind.longest)
            # Shorter ones help only if they leave the shortest run to the next item.
            for covers in range(longest, max(kind.shortest, longest - 3) - 1, -1):
                total = cost + totals[position + covers]
                if total < least:
                    extra = covers - kind.shortest, kind.width
                    least, item = total, _Item(kind.symbol, extra, covers)
        totals[position] = least
        chosen.append(item)
    chosen.reverse()
    items = []
    position = 0
    while position < len(sequence):
        items.append(chosen[position])
        position += chosen[position].covers
    return items
