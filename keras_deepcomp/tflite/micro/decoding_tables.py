"""The tables by which TensorFlow Lite Micro decodes Huffman codes.

A table of width w has an entry for each of the 2**w values that the next w bits may have. An entry
is a symbol, with how many of the w bits are its code, or leads to another table for codes that go
on. One table as wide as the longest code decodes in one step and may be large; many narrow ones
take little memory and more steps. The widths here are those that take the fewest entries in all.

The entries have 16 bits (symbols of 8 bits) or 32 bits (symbols of 16), most significant bit first:

    symbol    1 | bits of the code, 4 | 0 ... symbol
    link      0 | width - 1, 4        | distance from this entry to the next table
"""

from __future__ import annotations

from itertools import zip_longest

import numpy as np
import numpy.typing as npt

# The four bits that say how many bits a code has within its table hold no 16.
MAX_WIDTH = 15
_COUNT_BITS = 4


class _Branch:
    """A place in the tree of codes at which they go on, by a 0 and by a 1.

    Attributes:
        below: What follows the bits 0 and 1: the symbol that ends there, or another branch.
        width: The best width of a table here, in bits.
        entries: At 0, the fewest entries that this subtree's tables can have; at d, the sum of that
            over the branches d bits below. It ends with the deepest branch.
    """

    __slots__ = ("below", "entries", "width")

    entries: list[int]

    def __init__(self, *below: _Branch | int) -> None:
        self.below = below
        deeper = [node.entries for node in below if isinstance(node, _Branch)]
        sums = [sum(column) for column in zip_longest(*deeper, fillvalue=0)]
        # What the tables further down take, by the width of the one here, from 1.
        further = [*sums, 0][:MAX_WIDTH]
        # Of widths that take as many entries, the widest decodes in the fewest steps.
        fewest, width = min(((2 << i) + rest, -1 - i) for i, rest in enumerate(further))
        self.width = -width
        self.entries = [fewest, *sums]

    def at(self, depth: int) -> list[tuple[_Branch | int, int]]:
        """Return the branches that far below, and the symbols on the way, with their depths."""
        row: list[tuple[_Branch | int, int]] = [(self, 0)]
        for level in range(depth):
            row = [
                item
                for node, bits in row
                for item in (
                    [(below, level + 1) for below in node.below]
                    if isinstance(node, _Branch)
                    else [(node, bits)]
                )
            ]
        return row


def _tree(lengths: npt.NDArray[np.uint8]) -> _Branch:
    """Return the tree of the canonical code with these lengths."""
    order = np.argsort(lengths, kind="stable")
    row: list[_Branch | int] = []
    # From the longest codes up, two neighbours become a branch of the level above.
    for length in range(int(lengths.max()), 0, -1):
        row = [*order[lengths[order] == length].tolist(), *row]
        row = [_Branch(*row[i : i + 2]) for i in range(0, len(row), 2)]
    (root,) = row
    assert isinstance(root, _Branch)
    return root


class DecodingTables:
    """The tables of a code.

    Attributes:
        width: The first table's width in bits.
        size: Number of entries in all tables.
    """

    def __init__(self, lengths: npt.NDArray[np.uint8]) -> None:
        """Lays out the tables.

        Args:
            lengths: The length of each symbol's code in bits, shape (symbols,), of a canonical code
                without gaps: two symbols at least.
        """
        self._root = _tree(lengths)
        self.width = self._root.width
        self.size = self._root.entries[0]

    def to_bytes(self, symbols: npt.NDArray[np.integer], entry_bits: int) -> bytes:
        """Return the tables as they stand in the ancillary data, one after another.

        Args:
            symbols: What each symbol decodes to, from 0 up, shape (symbols,).
            entry_bits: 16 or 32.

        Returns:
            The bytes, little-endian.

        Raises:
            ValueError: The tables are too large for entries of this width.
        """
        low_bits = entry_bits - 1 - _COUNT_BITS
        entries: list[int] = []
        # Breadth first, so that the distances stay small.
        waiting: list[tuple[_Branch, int | None]] = [(self._root, None)]
        for table, origin in waiting:
            if origin is not None:
                distance = len(entries) - origin
                if distance >> low_bits:
                    raise ValueError(f"A code's tables are too large for {entry_bits}-bit entries.")
                entries[origin] = (table.width - 1) << low_bits | distance
            for node, bits in table.at(table.width):
                if isinstance(node, _Branch):
                    waiting.append((node, len(entries)))
                    entries.append(0)
                else:
                    entry = 1 << (entry_bits - 1) | bits << low_bits | int(symbols[node])
                    entries += [entry] * (1 << (table.width - bits))
        return np.array(entries, f"<u{entry_bits // 8}").tobytes()
