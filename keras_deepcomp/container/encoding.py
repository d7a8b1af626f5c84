"""One tensor's bit patterns to bytes: as they are, or coded as in sections 2 to 4 of the paper.

The way goes from patterns to runs of zeros and codebook symbols, from there to entries with
bounded gaps, and from there to two Huffman streams.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp.container import gaps as gap_lists
from keras_deepcomp.container import huffman
from keras_deepcomp.container.dtypes import ElementType
from keras_deepcomp.container.wire import CODED, MAX_CLUSTERS, RAW, bytes_of_bits, varint

# Elements looked at at a time, so that a tensor that was never clustered is found out early.
_BLOCK = 1 << 18

_Patterns = npt.NDArray[Any]
_Lengths = npt.NDArray[np.uint8]


def encode(patterns: _Patterns, element: ElementType) -> bytes:
    """Return the `payload` production of the format for one tensor.

    Args:
        patterns: The bit patterns, flat, of type `element.pattern`.
        element: The element type.

    Returns:
        The coding, the length, and the body: the coded form if it is smaller than the patterns
        as they are, else the raw form.
    """
    coded = _encode_coded(patterns, element)
    if coded is not None and len(coded) < patterns.nbytes:
        return bytes([CODED]) + varint(len(coded)) + coded
    return bytes([RAW]) + varint(patterns.nbytes) + patterns.tobytes()


def _encode_coded(patterns: _Patterns, element: ElementType) -> bytes | None:
    """Return the smallest coded body, or None where none can be smaller than the raw one."""
    if not element.codable or patterns.size == 0:
        return None
    positions = np.flatnonzero(patterns)
    if positions.size == 0:
        # b = 0, no entries: the whole tensor is zero.
        return bytes(3)
    values = patterns[positions]
    codebook = _distinct(values)
    if codebook is None or codebook.nbytes >= patterns.nbytes:
        return None
    symbols = _symbols(values, codebook)
    index_counts = np.bincount(symbols, minlength=codebook.size + 1)
    runs = gap_lists.runs_of_zeros(positions)

    best: _Plan | None = None
    limit = patterns.nbytes
    candidates = [
        (_least_size(candidate, index_counts, codebook), candidate)
        for candidate in gap_lists.count_gaps(runs)
    ]
    # The most promising bound first; those that cannot win then need no Huffman code at all.
    for least, candidate in sorted(candidates, key=lambda pair: (pair[0], pair[1].bits)):
        if least > limit:
            break
        plan = _Plan.make(candidate, index_counts, codebook)
        if plan.size < limit or (best and plan.size == limit and plan.bits < best.bits):
            best, limit = plan, plan.size
    if best is None:
        return None
    gaps, symbols = gap_lists.insert_fillers(runs, symbols, best.bits)
    gap_stream = huffman.encode(gaps, best.gap_lengths) if best.bits else b""
    return best.head + gap_stream + huffman.encode(symbols, best.index_lengths)


def _distinct(values: _Patterns) -> _Patterns | None:
    """Return the codebook of non-zero patterns, ascending, or None if there are too many."""
    if values.itemsize <= 2:
        return np.flatnonzero(np.bincount(values)).astype(values.dtype)
    codebook = values[:0]
    for start in range(0, values.size, _BLOCK):
        codebook = np.union1d(codebook, values[start : start + _BLOCK])
        if codebook.size > MAX_CLUSTERS:
            return None
    return codebook


def _symbols(values: _Patterns, codebook: _Patterns) -> npt.NDArray[np.integer[Any]]:
    """Return the place of each value in the codebook, counted from 1."""
    if values.itemsize <= 2:
        table = np.zeros(int(codebook[-1]) + 1, np.uint16)
        table[codebook] = np.arange(1, codebook.size + 1)
        return table[values]
    return np.searchsorted(codebook, values) + 1


def _least_size(
    candidate: gap_lists.GapCounts, index_counts: npt.NDArray[np.int64], codebook: _Patterns
) -> int:
    """Return a size in bytes that no body with this bound can fall below."""
    bits = _entropy_bits(candidate.counts, 0) + _entropy_bits(index_counts, candidate.fillers)
    # The slack covers the rounding of floats, so that the choice never depends on it.
    return codebook.nbytes + int(bits / 8 * (1 - 1e-9))


def _entropy_bits(counts: npt.NDArray[np.int64], more: int) -> float:
    """Return the entropy in bits of a stream with these counts and `more` of one symbol more."""
    used = np.append(counts[counts > 0], more) if more else counts[counts > 0]
    return float((used * np.log2(used.sum() / used)).sum())


@dataclass(frozen=True)
class _Plan:
    """A coded body under one bound, complete but for the streams."""

    bits: int
    gap_lengths: _Lengths
    index_lengths: _Lengths
    head: bytes
    size: int

    @classmethod
    def make(
        cls,
        candidate: gap_lists.GapCounts,
        index_counts: npt.NDArray[np.int64],
        codebook: _Patterns,
    ) -> _Plan:
        nonzero = int(index_counts.sum())
        with_fillers = index_counts.copy()
        with_fillers[gap_lists.FILLER] = candidate.fillers
        index_lengths = huffman.code_lengths(with_fillers)
        index_bits = int(with_fillers @ index_lengths.astype(np.int64))
        head = bytearray([candidate.bits])
        head += varint(nonzero) + varint(candidate.fillers)
        head += varint(codebook.size) + codebook.tobytes()
        gap_lengths = np.zeros(0, np.uint8)
        gap_bits = 0
        if candidate.bits:
            counts = np.trim_zeros(candidate.counts, "b")
            gap_lengths = huffman.code_lengths(counts)
            gap_bits = int(counts @ gap_lengths.astype(np.int64))
            head += varint(gap_lengths.size) + huffman.pack_lengths(gap_lengths)
        head += huffman.pack_lengths(index_lengths)
        if candidate.bits:
            head += varint(gap_bits)
        head += varint(index_bits)
        size = len(head) + bytes_of_bits(gap_bits) + bytes_of_bits(index_bits)
        return cls(candidate.bits, gap_lengths, index_lengths, bytes(head), size)
