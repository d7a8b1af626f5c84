"""Positions of non-zero elements as bounded gaps with filler zeros (section 2 of the paper).

A gap is the number of zeros before an entry. With a bound of b bits a gap is at most 2**b - 1;
a longer run of zeros is broken up by fillers, which are entries that hold a zero themselves and
come after exactly 2**b - 1 zeros. So one filler covers 2**b zeros, and a run of g zeros takes
g >> b fillers and leaves a gap of g & (2**b - 1). With b = 0 every zero is a filler.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAX_GAP_BITS = 15
FILLER = 0


def runs_of_zeros(positions: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
    """Return how many zeros come before each non-zero element.

    Args:
        positions: The places of the non-zero elements, shape (nonzero,), ascending.

    Returns:
        The lengths of the runs of zeros, shape (nonzero,).
    """
    return np.diff(positions, prepend=-1).astype(np.int64, copy=False) - 1


@dataclass(frozen=True)
class GapCounts:
    """What a bound on the gaps would lead to.

    Attributes:
        bits: The bound b: gaps are at most 2**bits - 1.
        fillers: How many filler entries the bound needs.
        counts: How often each gap occurs, fillers included, shape (2**bits,).
    """

    bits: int
    fillers: int
    counts: npt.NDArray[np.int64]


def count_gaps(runs: npt.NDArray[np.int64]) -> list[GapCounts]:
    """Count the gaps and fillers under each bound that is worth trying.

    Args:
        runs: The lengths of the runs of zeros, shape (nonzero,), at least one.

    Returns:
        The counts for b = 0, 1 and so on, up to the first b that holds the longest run, or
        `MAX_GAP_BITS`. A larger b would change nothing.
    """
    widest = min(int(runs.max()).bit_length(), MAX_GAP_BITS)
    low = np.bincount(runs & ((1 << widest) - 1), minlength=1 << widest)
    high = int((runs >> widest).sum())
    candidates = []
    counts = low
    for bits in range(widest, -1, -1):
        # A run splits into high * 2**widest + low, and so does the number of its fillers.
        fillers = (high << (widest - bits)) + int(low @ (np.arange(low.size) >> bits))
        with_fillers = counts.copy()
        with_fillers[-1] += fillers
        candidates.append(GapCounts(bits, fillers, with_fillers))
        # One bit less: a gap loses its top bit, so the two halves fall on each other.
        counts = counts.reshape(2, -1).sum(axis=0) if bits else counts
    return candidates[::-1]


def insert_fillers(
    runs: npt.NDArray[np.int64], symbols: npt.NDArray[np.integer], bits: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Return the entries of a tensor: gaps within the bound, and symbols with fillers.

    Args:
        runs: The lengths of the runs of zeros, shape (nonzero,).
        symbols: The codebook symbols of the non-zero elements, from 1, shape (nonzero,).
        bits: The bound b.

    Returns:
        The gaps and the symbols of all entries, both of shape (nonzero + fillers,).
    """
    bound = (1 << bits) - 1
    places = np.cumsum((runs >> bits) + 1) - 1
    entries = int(places[-1]) + 1
    gaps = np.full(entries, bound, np.int64)
    gaps[places] = runs & bound
    with_fillers = np.full(entries, FILLER, np.int32)
    with_fillers[places] = symbols
    return gaps, with_fillers


def positions_of(gaps: npt.NDArray[np.integer], previous: int) -> npt.NDArray[np.int64]:
    """Return the places of entries from their gaps.

    Args:
        gaps: The gaps, shape (entries,).
        previous: The place of the entry before the first, -1 at the start of a tensor.

    Returns:
        The places, shape (entries,), ascending.
    """
    return np.cumsum(gaps.astype(np.int64) + 1) + previous
