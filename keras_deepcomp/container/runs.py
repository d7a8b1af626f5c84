"""Codes for sequences of bits in which ones come independently, each with the same probability.

Golomb (1966) codes such a sequence as the lengths of its runs of zeros. Here the runs are bounded,
as in section 2 of the paper, and a few together make one Huffman symbol, which keeps the loss
against the entropy below 0.7 % at any probability. The probability is all that a file holds of the
code.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keras_deepcomp.container import huffman
from keras_deepcomp.container.bits import BitReader, BitWriter
from keras_deepcomp.container.errors import damaged
from keras_deepcomp.container.logarithm import FRACTION_BITS, log2_fixed

STEPS = 64
"""Probabilities p = 2**-((step + 4) / 4), from 1/2 down to 2**-16.75."""

COUNT_ORDER = 6
"""The order of the exponential Golomb code of how many codes a sequence takes."""

_PLACE_ORDER = 2
# 2**(30 - i/4), rounded.
_QUARTERS = (1 << 30, 902_905_651, 759_250_125, 638_450_708)
_LAST_UNSCALED = 27

_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RunCode(huffman.Canonical):
    """The code for one probability.

    A sequence is cut into runs: g zeros and a one, for g below the bound, or as many zeros as the
    bound says and no one. `together` runs make one symbol. For small probabilities run lengths
    are divided by 2**`low_bits` first; the remainders follow bit by bit.

    Attributes:
        bound: The run that has no one at its end.
        together: How many runs make a symbol.
        low_bits: Bits of the remainders.
        lengths: The code length of each symbol, shape ((bound + 1)**together,).
    """

    bound: int
    together: int
    low_bits: int

    @functools.cached_property
    def split(self) -> npt.NDArray[np.int32]:
        """The runs of each symbol, shape (symbols, together)."""
        base = self.bound + 1
        powers = base ** np.arange(self.together - 1, -1, -1)
        return (np.arange(self.lengths.size)[:, np.newaxis] // powers % base).astype(np.int32)


@functools.cache
def run_code(step: int) -> RunCode:
    """Return the code for the probability with this number, from 0 to 63."""
    low_bits = max(0, (step - _LAST_UNSCALED + 3) // 4)
    step -= 4 * low_bits
    bound, together = _runs_in_symbol(step)
    one = _QUARTERS[step % 4] >> (step // 4 + 1)
    zero = (1 << 30) - one
    weights, left = [], 1 << 30
    for _ in range(bound):
        weights.append(left * one >> 30)
        left = left * zero >> 30
    weights.append(left)
    joint = weights
    for _ in range(together - 1):
        joint = [a * b >> 30 for a in joint for b in weights]
    lengths = huffman.code_lengths(np.array([max(1, weight >> 13) for weight in joint]))
    return RunCode(lengths, bound, together, low_bits)


def _runs_in_symbol(step: int) -> tuple[int, int]:
    """Return the bound and the number of runs for 256 symbols at most.

    The less likely ones are, the fewer and longer runs a symbol holds.
    """
    if step < 2:
        return 1, 8
    if step < 6:
        return 3, 4
    if step < 15:
        return 15, 2
    return 255, 1


@functools.cache
def _costs() -> tuple[_Ints, _Ints]:
    """Return what a one and a zero cost under each probability, in units of 2**-20 bits."""
    ones = np.array([_QUARTERS[step % 4] >> (step // 4 + 1) for step in range(STEPS)])
    whole = 30 << FRACTION_BITS
    return whole - log2_fixed(ones), whole - log2_fixed((1 << 30) - ones)


def least_bits(ones: _Ints, totals: _Ints) -> _Ints:
    """Return about how many bits sequences take, each under the likelihood that suits it best.

    Args:
        ones: How many ones each sequence has, shape (sequences,).
        totals: The length of each.

    Returns:
        Units of 2**-20 bits, shape (sequences,).
    """
    rare = np.minimum(ones, totals - ones)
    cost_of_one, cost_of_zero = _costs()
    costs = np.multiply.outer(rare, cost_of_one)
    costs += np.multiply.outer(totals - rare, cost_of_zero)
    return costs.min(axis=-1)


@dataclass(frozen=True)
class Likelihood:
    """How likely ones are in a sequence, as a file holds it.

    Attributes:
        step: The number of the probability of the rarer of the two bits.
        inverted: Whether zeros are the rarer ones.
    """

    step: int
    inverted: bool

    @classmethod
    def fit(cls, ones: int, total: int) -> Likelihood:
        """Return the one under which a sequence with so many ones is shortest."""
        inverted = 2 * ones > total
        rare = total - ones if inverted else ones
        cost_of_one, cost_of_zero = _costs()
        return cls(int(np.argmin(rare * cost_of_one + (total - rare) * cost_of_zero)), inverted)

    @property
    def place(self) -> int:
        """Where it is on the line from likely zeros to likely ones, -64 to 63."""
        return -1 - self.step if self.inverted else self.step

    @classmethod
    def at(cls, place: int) -> Likelihood:
        """Return the one at a place from -64 to 63."""
        return cls(-1 - place, True) if place < 0 else cls(place, False)


def write_likelihoods(likelihoods: list[Likelihood], writer: BitWriter) -> None:
    """Write likelihoods of classes, most often each a little higher than the one before."""
    previous = 0
    for likelihood in likelihoods:
        writer.signed_golomb(likelihood.place - previous, _PLACE_ORDER)
        previous = likelihood.place


def read_likelihoods(reader: BitReader, count: int) -> list[Likelihood]:
    """Read what `write_likelihoods` wrote."""
    likelihoods, place = [], 0
    for _ in range(count):
        place += reader.signed_golomb(_PLACE_ORDER)
        if not -STEPS <= place < STEPS:
            raise damaged(f"{reader.what} has a likelihood that is out of range")
        likelihoods.append(Likelihood.at(place))
    return likelihoods


@dataclass(frozen=True)
class BitSequences:
    """Some sequences of bits.

    Attributes:
        ones: The places of the ones in each, ascending, sequence after sequence, shape (n,).
        counts: How many ones each has, shape (sequences,).
        lengths: The length of each, which the reader is to know otherwise, shape (sequences,).
    """

    ones: npt.NDArray[np.integer]
    counts: _Ints
    lengths: _Ints

    @classmethod
    def of(cls, ones: Sequence[npt.NDArray[np.integer]], lengths: Sequence[int]) -> BitSequences:
        """Return sequences by the places of the ones in each, and their lengths."""
        joint = np.concatenate((np.zeros(0, np.int32), *ones))
        return cls(joint, _array([each.size for each in ones]), _array(lengths))

    def each(self) -> list[npt.NDArray[np.integer]]:
        """Return the places of the ones in each sequence."""
        return np.split(self.ones, self.counts.cumsum()[:-1]) if self.counts.size else []

    def rarer(self, likelihoods: Sequence[Likelihood]) -> BitSequences:
        """Return sequences that have ones where these have the rarer of the two bits; and back."""
        if not any(likelihood.inverted for likelihood in likelihoods):
            return self
        lengths = self.lengths.tolist()
        rare = [
            others(ones, length) if likelihood.inverted else ones
            for ones, length, likelihood in zip(self.each(), lengths, likelihoods, strict=True)
        ]
        return BitSequences.of(rare, lengths)


def _array(values: Sequence[int]) -> _Ints:
    return np.array(values, np.int64)


def _before(counts: _Ints) -> _Ints:
    """Return how many there are before each sequence, given how many there are in each."""
    return counts.cumsum() - counts


def encode(
    sequences: BitSequences, likelihoods: Sequence[Likelihood], writers: Sequence[BitWriter]
) -> None:
    """Write sequences of bits.

    All are turned into symbols, and these into bits, together: there are many short ones.

    Args:
        sequences: As many sequences for each writer as there are likelihoods.
        likelihoods: The codes of the sequences for a writer.
        writers: Where to write.
    """
    likelihoods = list(likelihoods) * len(writers)
    rare = sequences.rarer(likelihoods)
    codes = [run_code(likelihood.step) for likelihood in likelihoods]
    gaps = _gaps(rare)
    symbols, counts = _symbols(gaps, rare.counts, codes)
    bits, ends = huffman.encode(symbols, counts, codes)
    start = first = 0
    of_sequences = zip(counts, ends, rare.counts.tolist(), codes, strict=True)
    for number, (count, end, ones, code) in enumerate(of_sequences):
        writer = writers[number * len(writers) // len(codes)]
        writer.golomb(count, COUNT_ORDER)
        writer.bits += bits[start:end]
        own = gaps[first : first + ones]
        for bit in range(code.low_bits - 1, -1, -1):
            writer.append(own >> bit & 1)
        start, first = end, first + ones


def _gaps(sequences: BitSequences) -> npt.NDArray[np.integer]:
    """Return how many zeros are before each one, shape (n,)."""
    gaps = sequences.ones.copy()
    gaps[1:] -= sequences.ones[:-1] + 1
    firsts = _before(sequences.counts)[sequences.counts > 0]
    gaps[firsts] = sequences.ones[firsts]
    return gaps


def _symbols(
    gaps: npt.NDArray[np.integer], ones: _Ints, codes: Sequence[RunCode]
) -> tuple[npt.NDArray[np.integer], list[int]]:
    """Return the symbols of sequences, and how many each has.

    Args:
        gaps: The zeros before each one, sequence after sequence, shape (n,).
        ones: How many ones each sequence has.
        codes: The code of each.
    """
    bounds = _array([code.bound for code in codes])
    together = _array([code.together for code in codes])
    units = gaps >> np.repeat([code.low_bits for code in codes], ones).astype(gaps.dtype)
    bounded, rest = np.divmod(units, np.repeat(bounds, ones).astype(gaps.dtype))
    bounded += 1
    ends = np.zeros(gaps.size + 1, np.int64)
    np.cumsum(bounded, out=ends[1:])
    # Runs of each sequence, and some without a one that fill up its last symbol.
    counts = np.diff(ends[np.append(0, ones.cumsum())])
    filled = -(-counts // together) * together
    runs = np.repeat(bounds.astype(gaps.dtype), filled)
    runs[ends[1:] + np.repeat(_before(filled - counts) - 1, ones)] = rest
    # Most often sequences with codes of the same form are side by side.
    parts = []
    end = 0
    for (bound, several), own in itertools.groupby(
        zip(filled.tolist(), codes, strict=True), lambda pair: (pair[1].bound, pair[1].together)
    ):
        start, end = end, end + sum(count for count, _ in own)
        joint, *following = runs[start:end].reshape(-1, several).T
        for run in following:
            joint = joint * gaps.dtype.type(bound + 1) + run
        parts.append(joint)
    return np.concatenate(parts), (filled // together).tolist()


def decode(reader: BitReader, most: int, likelihood: Likelihood) -> _Ints:
    """Read what `encode` wrote.

    Args:
        reader: The cursor.
        most: No sequence here is longer than that.
        likelihood: The code.

    Returns:
        The places of the rarer bits, ascending: ones, or zeros if inverted.

    Raises:
        FormatError: The bits end early, or there are more codes than needed.
    """
    code = run_code(likelihood.step)
    count = reader.golomb(COUNT_ORDER)
    if count == 0:
        return np.zeros(0, np.int64)
    # Each symbol but the last ones stands for at least as many places as runs.
    if (count - 1) * code.together > most:
        raise damaged(f"{reader.what} has more runs than elements")
    symbols = huffman.decode(reader, count, code.lengths)
    runs = code.split[symbols].reshape(-1)
    has_one = runs < code.bound
    if not has_one[-code.together :].any():
        raise damaged(f"{reader.what} has runs after its last one")
    units = runs << code.low_bits
    units += has_one
    if code.low_bits:
        rare = int(np.count_nonzero(has_one))
        low = np.zeros(rare, np.int32)
        for _ in range(code.low_bits):
            low = low << 1 | reader.array(rare)
        units[has_one] += low
    places = np.cumsum(units, dtype=np.int64)[has_one] - 1
    if int(places[-1]) >= most:
        raise damaged(f"{reader.what} has an entry past its last element")
    return places


def others(places: npt.NDArray[np.integer], length: int) -> _Ints:
    """Return the places from 0 to length - 1 that are not in a list."""
    is_other = np.ones(length, bool)
    is_other[places] = False
    return np.flatnonzero(is_other)
