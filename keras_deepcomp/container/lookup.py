"""From codebook values to their indices, for millions of values."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# A table of this many bits, or as many more as it takes, is tried with a few odd factors.
_LEAST_BITS = 12
_MOST_BITS = 22
_FACTORS = tuple(0x9E3779B97F4A7C15 * factor & (1 << 64) - 1 for factor in range(1, 64, 2))

_Patterns = npt.NDArray[Any]


class Lookup:
    """A hash table without collisions, or a search where none is found.

    Args:
        codebook: The values, ascending, unsigned.
    """

    def __init__(self, codebook: _Patterns) -> None:
        self.codebook = codebook
        self._table: npt.NDArray[np.uint16] | None = None
        width = 8 * codebook.itemsize
        if width <= 16:
            self._factor, self._shift = codebook.dtype.type(1), codebook.dtype.type(0)
            self._table = np.zeros(1 << width, np.uint16)
            self._table[codebook] = np.arange(codebook.size)
            return
        first = max(_LEAST_BITS, 2 * codebook.size.bit_length() - 1)
        for bits in range(first, _MOST_BITS + 1):
            for factor in _FACTORS:
                self._factor = codebook.dtype.type(factor >> (64 - width) | 1)
                self._shift = codebook.dtype.type(width - bits)
                places = self._hash(codebook)
                table = np.zeros(1 << bits, np.uint16)
                table[places] = np.arange(codebook.size)
                if np.array_equal(table[places], np.arange(codebook.size)):
                    self._table = table
                    return

    def indices(self, values: _Patterns) -> npt.NDArray[np.integer]:
        """Return the indices of values that are all in the codebook.

        Args:
            values: The values, of the codebook's type, shape (n,).

        Returns:
            The indices, shape (n,).
        """
        if self._table is None:
            return np.searchsorted(self.codebook, values)
        return self._table[self._hash(values)]

    def others(self, values: _Patterns) -> _Patterns:
        """Return the values that are not in the codebook."""
        found = np.minimum(self.indices(values), self.codebook.size - 1)
        return values[self.codebook[found] != values]

    def _hash(self, values: _Patterns) -> _Patterns:
        return (values * self._factor) >> self._shift
