"""Sorted values, and the sums over any stretch of them, in little memory (numpy only).

Prefix sums would take two to four times the memory of the values. Here are those of whole blocks
alone; what a stretch has of a block is added up when it is asked for.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 64
_BLOCKS_AT_ONCE = 1 << 14

Floats = NDArray[np.float64]
Places = NDArray[np.intp]


class Ordered:
    """Values in ascending order.

    They stay in float32 if they are no wider. Sums are float64, and taken around the mean: far from
    zero they would lose the digits that matter.

    Args:
        values: Any shape, at least one element.

    Attributes:
        values: The values, ascending, shape (n,).
    """

    def __init__(self, values: NDArray[Any]) -> None:
        values = np.asarray(values)
        narrow = values.dtype.itemsize < 4 or values.dtype == np.float32
        self.values = values.astype(np.float32 if narrow else np.float64).reshape(-1)
        self.values.sort()

    @property
    def size(self) -> int:
        """The number of values."""
        return self.values.size

    @cached_property
    def center(self) -> float:
        """The mean."""
        return float(self.values.mean(dtype=np.float64))

    def distinct(self, most: int) -> Floats | None:
        """The distinct values, ascending, or None if there are more than so many."""
        found: list[float] = []
        place = 0
        while place < self.size:
            if len(found) == most:
                return None
            found.append(float(self.values[place]))
            place = int(np.searchsorted(self.values, self.values[place], side="right"))
        return np.array(found)

    def first_at_least(self, bounds: Floats) -> Places:
        """The place of the first value that is not below each bound."""
        narrow = bounds.astype(self.values.dtype)
        # numpy would widen all values. Rounded up, a bound has the same values below it.
        below = narrow < bounds
        narrow[below] = np.nextafter(narrow[below], self.values.dtype.type(np.inf))
        return np.searchsorted(self.values, narrow, side="left")

    def quantiles(self, shares: Floats) -> Floats:
        """The values below which these shares of all lie, interpolated between two."""
        places = shares * (self.size - 1)
        low = np.floor(places).astype(np.intp)
        high = np.minimum(low + 1, self.size - 1)
        first, second = (self.values[place].astype(np.float64) for place in (low, high))
        return first + (second - first) * (places - low)

    def sums(self, edges: Places, power: int = 1) -> Floats:
        """The sums of (value - mean) ** power from each edge to the next one.

        Args:
            edges: Places in the values, ascending, shape (m + 1,).
            power: 1 or 2.

        Returns:
            Shape (m,).
        """
        whole = self._block_sums if power == 1 else self._block_sums_of_squares
        before = np.empty(edges.size)
        for start in range(0, edges.size, _BLOCKS_AT_ONCE):
            some = edges[start : start + _BLOCKS_AT_ONCE]
            blocks = some // _BLOCK
            places = blocks[:, np.newaxis] * _BLOCK + np.arange(_BLOCK)
            parts = self.values[np.minimum(places, self.size - 1)].astype(np.float64) - self.center
            parts[places >= some[:, np.newaxis]] = 0.0
            before[start : start + some.size] = whole[blocks] + (parts**power).sum(axis=1)
        return np.diff(before)

    @cached_property
    def _block_sums(self) -> Floats:
        return self._before_blocks(1)

    @cached_property
    def _block_sums_of_squares(self) -> Floats:
        return self._before_blocks(2)

    def _before_blocks(self, power: int) -> Floats:
        """The sum of all before each block, the one after the last whole block included."""
        whole = self.values[: self.size // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
        sums = np.zeros(len(whole) + 1)
        for start in range(0, len(whole), _BLOCKS_AT_ONCE):
            some = whole[start : start + _BLOCKS_AT_ONCE].astype(np.float64) - self.center
            sums[start + 1 : start + 1 + len(some)] = (some**power).sum(axis=1)
        return np.cumsum(sums)
