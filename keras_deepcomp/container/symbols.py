"""Codes for sequences of symbols from a small alphabet, such as codebook indices.

A file holds a cost for each symbol, and both sides make the same Huffman code of the costs. Where
whole bits do not fit the probabilities well, costs are in quarters of a bit and a few symbols make
one Huffman symbol together, whose weight is the product of theirs.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keras_deepcomp.container import huffman
from keras_deepcomp.container.bits import BitReader, BitWriter, golomb_bits, zigzag
from keras_deepcomp.container.errors import damaged
from keras_deepcomp.container.logarithm import FRACTION_BITS, log2_fixed

MAX_TOGETHER = 8
# Quarters of a bit; a symbol that never occurs costs no more.
_MOST = 80
_UNITS = (4, 2, 1)
_FIRST_ORDER = 3
# 2**(20 - i/4), rounded.
_QUARTERS = (1_048_576, 881_744, 741_455, 623_487)
_WEIGHT_BITS = 20
_QUICK = 512

_Ints = npt.NDArray[np.integer]


@dataclass(frozen=True)
class SymbolCode:
    """The code for one alphabet.

    Attributes:
        costs: What each symbol costs, in quarters of a bit, 0 to 80.
        unit: What all costs are multiples of: 1, 2 or 4 quarters of a bit.
        together: How many symbols make one Huffman symbol, 1 to 8.
    """

    costs: tuple[int, ...]
    unit: int
    together: int

    @property
    def symbols(self) -> int:
        """The size of the alphabet."""
        return len(self.costs)

    @functools.cached_property
    def lengths(self) -> npt.NDArray[np.uint8]:
        """The code length of each Huffman symbol, shape (symbols**together,)."""
        costs = np.array(self.costs)
        weights = np.maximum(np.array(_QUARTERS)[costs % 4] >> costs // 4, 1).astype(np.int64)
        joint = weights
        for _ in range(self.together - 1):
            joint = np.multiply.outer(joint, weights).reshape(-1) >> _WEIGHT_BITS
        lengths = huffman.code_lengths(np.maximum(joint, 1))
        return lengths

    @functools.cached_property
    def codes(self) -> npt.NDArray[np.uint64]:
        """The code of each Huffman symbol."""
        return huffman.canonical_codes(self.lengths)

    def count_of(self, values: int) -> int:
        """Return how many Huffman symbols this many symbols make."""
        return -(-values // self.together)

    def write(self, writer: BitWriter) -> None:
        """Write the costs, each as the difference to the one before."""
        order, _ = self._order()
        writer.number(_UNITS.index(self.unit), 2)
        writer.number(self.together - 1, 3)
        writer.number(order, 2)
        writer.golomb(self.costs[0] // self.unit, _FIRST_ORDER)
        writer.golombs(self._differences(), order)

    def table_bits(self) -> int:
        """Return how many bits `write` takes."""
        first = np.array([self.costs[0] // self.unit], np.uint64)
        return 7 + golomb_bits(first, _FIRST_ORDER) + self._order()[1]

    def _differences(self) -> npt.NDArray[np.uint64]:
        """Return what stands for the difference of each cost but the first to the one before."""
        return zigzag(np.diff(np.array(self.costs) // self.unit))

    def _order(self) -> tuple[int, int]:
        """Return the Golomb order under which the differences are shortest, and their bits."""
        differences = self._differences()
        bits, order = min((golomb_bits(differences, order), order) for order in range(4))
        return order, bits

    @classmethod
    def read(cls, reader: BitReader, symbols: int, values: int) -> SymbolCode:
        """Read what `write` wrote.

        Args:
            reader: The cursor.
            symbols: The size of the alphabet, at least 2.
            values: How many values there can be; no code is larger than that or the alphabet.
        """
        number = reader.number(2)
        if number >= len(_UNITS):
            raise damaged(f"{reader.what} has costs in an unknown unit")
        scale = _UNITS[number]
        together = reader.number(3) + 1
        if together > 1 and symbols**together > min(huffman.MAX_SYMBOLS, values):
            raise damaged(f"{reader.what} has a code of {symbols}**{together} symbols")
        order = reader.number(2)
        unit = reader.golomb(_FIRST_ORDER)
        costs = []
        for index in range(symbols):
            if index:
                unit += reader.signed_golomb(order)
            if not 0 <= unit * scale <= _MOST:
                raise damaged(f"{reader.what} has a cost that is out of range")
            costs.append(unit * scale)
        code = cls(tuple(costs), scale, together)
        if int(code.lengths.max()) > huffman.MAX_LENGTH:
            raise damaged(f"{reader.what} has a code longer than {huffman.MAX_LENGTH} bits")
        return code

    @classmethod
    def fit(cls, sequences: list[_Ints], counts: npt.NDArray[np.int64], values: int) -> SymbolCode:
        """Return the code under which sequences take the fewest bits, the table included.

        Args:
            sequences: Sequences of symbols that stand for all; each is coded on its own.
            counts: How often each symbol occurs in all, shape (symbols,), at least 2 symbols.
            values: As for `read`.
        """
        total = int(counts.sum())
        occurring = sum(sequence.size for sequence in sequences)
        best: tuple[int, SymbolCode] | None = None
        # A code that is larger than what it is for does not pay.
        for code in _candidates(counts, min(values, max(_QUICK, total // 2))):
            if code.together > 1 and int(code.lengths.max()) > huffman.MAX_LENGTH:
                # Rounding each of several costs down can add up.
                continue
            data = 0
            for sequence in sequences:
                if sequence.size:
                    joint = _join(sequence, [sequence.size], code)
                    joint = np.bincount(joint, minlength=code.lengths.size)
                    data += int(joint @ code.lengths.astype(np.int64))
            # What stands for all is scaled up to all.
            bits = code.table_bits() + (data * total // occurring if occurring else 0)
            if best is None or bits < best[0]:
                best = bits, code
        assert best is not None
        return best[1]


def most_together(symbols: int, values: int) -> int:
    """Return how many symbols of an alphabet can make one Huffman symbol."""
    limit = min(huffman.MAX_SYMBOLS, values)
    return max(n for n in range(1, MAX_TOGETHER + 1) if n == 1 or symbols**n <= limit)


def _candidates(counts: npt.NDArray[np.int64], values: int) -> list[SymbolCode]:
    symbols = counts.size
    # One that never occurs is taken for one that occurs half a time.
    doubled = np.maximum(2 * counts, 1)
    lengths = np.minimum(huffman.code_lengths(doubled), _MOST // 4)
    codes = [SymbolCode(tuple((4 * lengths.astype(int)).tolist()), 4, 1)]
    exact = log2_fixed(doubled.sum()) - log2_fixed(doubled)
    several = list(range(2, most_together(symbols, values) + 1))
    # The more, the closer to the entropy, if not always; codes of thousands of symbols are slow.
    quick = [n for n in several if symbols**n <= _QUICK]
    several = several[max(0, len(quick) - 1) : len(quick) + 1]
    for unit in (2, 1):
        step = unit << (FRACTION_BITS - 2)
        costs = np.clip((exact + step // 2) // step * unit, 0, _MOST)
        codes += [SymbolCode(tuple(costs.tolist()), unit, together) for together in several]
    return codes


def _join(values: _Ints, counts: Sequence[int], code: SymbolCode) -> _Ints:
    """Return the Huffman symbols of sequences; symbol 0 fills up the last one of each."""
    if code.together == 1:
        return values
    filled = np.array([code.count_of(count) * code.together for count in counts])
    padded = np.zeros(int(filled.sum()), np.int32)
    if len(counts) == 1:
        padded[: values.size] = values
    else:
        before = filled.cumsum() - filled
        before -= np.cumsum(counts) - counts
        padded[np.arange(values.size) + np.repeat(before, counts)] = values
    joint, *following = padded.reshape(-1, code.together).T
    for column in following:
        joint = joint * np.int32(code.symbols) + column
    return joint


def encode(
    values: _Ints, counts: Sequence[int], code: SymbolCode, writers: Sequence[BitWriter]
) -> None:
    """Write sequences of symbols; the reader is to know their lengths.

    Args:
        values: The symbols, sequence after sequence, shape (n,).
        counts: How many each sequence has.
        code: The code of all of them.
        writers: Where to write each sequence.
    """
    joint = [code.count_of(count) for count in counts]
    bits, ends = huffman.encode(_join(values, counts, code), joint, [code])
    for start, end, writer in zip([0, *ends], ends, writers, strict=False):
        writer.bits += bits[start:end]


def decode(reader: BitReader, count: int, code: SymbolCode) -> npt.NDArray[np.uint16]:
    """Read `count` symbols that `encode` wrote.

    Raises:
        FormatError: The bits end early, or the last Huffman symbol is not filled up with zeros.
    """
    if count == 0:
        return np.zeros(0, np.uint16)
    joint = huffman.decode(reader, code.count_of(count), code.lengths)
    if code.together == 1:
        return joint
    powers = code.symbols ** np.arange(code.together - 1, -1, -1)
    split = np.arange(code.lengths.size)[:, np.newaxis] // powers % code.symbols
    values = split.astype(np.uint16)[joint].reshape(-1)
    if values[count:].any():
        raise damaged(f"{reader.what} has symbols after its last one")
    return values[:count]
