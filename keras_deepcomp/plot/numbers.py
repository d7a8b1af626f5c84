"""Arrays as numbers that can be drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keras_deepcomp.plot.sources import Array

MOST_VALUES = 4096
"""The most distinct values that count as a codebook."""

_CHUNK = 1 << 20
_LARGEST, _SMALLEST = 1e30, 1e-30


@dataclass(frozen=True)
class Numbers:
    """The elements of an array that are not zero, counted.

    Attributes:
        total: The number of elements.
        zeros: How many are zero.
        others: How many cannot be drawn: NaN, infinities, and numbers out of any sensible range.
        low: The lowest number that can be drawn.
        high: The highest.
        values: The distinct numbers, ascending, shape (k,); None if there are too many.
        counts: How often each occurs, shape (k,).
        edges: Edges of bins, shape (bins + 1,).
        heights: How many are in each bin, shape (bins,).
    """

    total: int
    zeros: int
    others: int
    low: float
    high: float
    values: npt.NDArray[np.float64] | None
    counts: npt.NDArray[np.int64]
    edges: npt.NDArray[np.float64]
    heights: npt.NDArray[np.int64]

    @property
    def kept(self) -> int:
        """How many elements are not zero and can be drawn."""
        return self.total - self.zeros - self.others


def numbers(array: Array, bins: int = 60) -> Numbers:
    """Counts an array of any type. Complex numbers count with their absolute values.

    It goes through the array in pieces: of a large one no copy is made.

    Args:
        array: Of any shape and type of a `.kdc` file.
        bins: The number of bins.
    """
    flat = array.reshape(-1)
    zeros = others = 0
    low, high = np.inf, -np.inf
    found: dict[float, int] | None = {}
    for piece in _pieces(flat):
        size = piece.size
        piece = piece[piece != 0]
        zeros += size - piece.size
        drawn = _drawable(piece)
        others += piece.size - drawn.size
        if drawn.size:
            low, high = min(low, float(drawn.min())), max(high, float(drawn.max()))
            found = _count(drawn, found)
    if low > high:
        low = high = 0.0
    edges = np.linspace(low, high, bins + 1) if high > low else np.array([low - 0.5, low + 0.5])
    heights = np.zeros(edges.size - 1, np.int64)
    for piece in _pieces(flat):
        heights += np.histogram(_drawable(piece[piece != 0]), edges)[0]
    ordered = sorted(found.items()) if found is not None else []
    return Numbers(
        total=flat.size,
        zeros=zeros,
        others=others,
        low=low,
        high=high,
        values=None if found is None else np.array([value for value, _ in ordered]),
        counts=np.array([count for _, count in ordered], np.int64),
        edges=edges,
        heights=heights,
    )


def _pieces(flat: Array) -> Iterator[npt.NDArray[np.float64]]:
    for start in range(0, flat.size, _CHUNK):
        piece = flat[start : start + _CHUNK]
        if np.issubdtype(piece.dtype, np.complexfloating):
            piece = np.abs(piece)
        yield piece.astype(np.float64)


def _drawable(piece: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    size = np.abs(piece)
    return piece[(size <= _LARGEST) & (size >= _SMALLEST)]


def _count(
    drawn: npt.NDArray[np.float64], found: dict[float, int] | None
) -> dict[float, int] | None:
    if found is None:
        return None
    for value, count in zip(*np.unique(drawn, return_counts=True), strict=True):
        found[float(value)] = found.get(float(value), 0) + int(count)
        if len(found) > MOST_VALUES:
            return None
    return found
