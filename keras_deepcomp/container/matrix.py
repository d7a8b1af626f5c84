"""A tensor as a matrix, cut into bands of columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_BAND = 1 << 20
"""The most elements of a band."""

# Elements that are looked at together.
_PART = 1 << 18

_Places = npt.NDArray[np.int64]
_Patterns = npt.NDArray[Any]


@dataclass(frozen=True)
class Elements:
    """The elements of some of a matrix's columns that have a value, row by row.

    Attributes:
        rows: Their rows, shape (n,).
        columns: Their columns, from 0 at the first one here, shape (n,).
        patterns: Their patterns, shape (n,).
    """

    rows: _Places
    columns: _Places
    patterns: _Patterns

    @classmethod
    def of(cls, band: _Patterns, sparse: bool) -> Elements:
        """Return the elements of a matrix.

        Args:
            band: The patterns, shape (rows, columns).
            sparse: Whether only those that are not zero have a value.
        """
        has_value = band != 0 if sparse else np.ones(band.shape, bool)
        rows, columns = np.nonzero(has_value)
        return cls(rows, columns, band[has_value])


def _flatnonzero(flat: _Patterns) -> _Places:
    """`np.flatnonzero`, which is much faster on booleans, and those of a part stay in the cache."""
    parts = []
    for start in range(0, flat.size, _PART):
        places = np.flatnonzero(flat[start : start + _PART] != 0)
        places += start
        parts.append(places)
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


@dataclass(frozen=True)
class Matrix:
    """A tensor as a matrix: all axes but the last are its rows, or its columns if transposed.

    Tensors of less than two dimensions are one row.

    Attributes:
        rows: The number of rows.
        columns: The number of columns.
        transposed: Whether it is transposed.
    """

    rows: int
    columns: int
    transposed: bool

    @classmethod
    def of(cls, shape: tuple[int, ...], transposed: bool) -> Matrix:
        """Return the matrix of a tensor of this shape, which has elements."""
        last = shape[-1] if shape else 1
        first = 1
        for dimension in shape[:-1]:
            first *= dimension
        return cls(last, first, True) if transposed else cls(first, last, False)

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.rows * self.columns

    @property
    def band_count(self) -> int:
        """Into how many bands the matrix is cut; none if a column is too long for one."""
        if self.rows > MAX_BAND:
            return 0
        return -(-self.columns // (MAX_BAND // self.rows))

    def bands(self) -> list[slice]:
        """Return the columns of each band."""
        count = self.band_count
        return [
            slice(number * self.columns // count, (number + 1) * self.columns // count)
            for number in range(count)
        ]

    def view(self, flat: _Patterns) -> _Patterns:
        """Return the tensor's flat elements as the matrix, without a copy."""
        if self.transposed:
            return flat.reshape(self.columns, self.rows).T
        return flat.reshape(self.rows, self.columns)

    def flat_indices(self, elements: npt.NDArray[np.int64], columns: slice) -> _Places:
        """Return the places in the flat tensor of elements of some of the columns.

        Args:
            elements: Their flat indices in the matrix of these columns alone, shape (n,).
            columns: The columns.
        """
        width = columns.stop - columns.start
        if width == self.columns and not self.transposed:
            return elements
        rows, own = np.divmod(elements, width)
        own += columns.start
        return own * self.rows + rows if self.transposed else rows * self.columns + own

    def nonzeros(self, flat: _Patterns) -> Elements:
        """Return the elements that are not zero, of all columns, row by row."""
        places = _flatnonzero(flat)
        patterns = flat[places]
        if self.transposed:
            columns, rows = np.divmod(places, self.rows)
            order = np.argsort(rows, kind="stable")
            return Elements(rows[order], columns[order], patterns[order])
        rows, columns = np.divmod(places, self.columns)
        return Elements(rows, columns, patterns)

    def cut(self, elements: Elements) -> list[Elements]:
        """Return the elements of each band, given those of all columns."""
        bands = self.bands()
        if len(bands) == 1:
            return [elements]
        first = np.array([band.start for band in bands])
        own = ((elements.columns + 1) * len(bands) - 1) // self.columns
        if len(bands) <= 1 << 16:
            # Sorting is linear for numbers of 16 bits.
            own = own.astype(np.uint16)
        order = np.argsort(own, kind="stable")
        ends = np.cumsum(np.bincount(own, minlength=len(bands)))[:-1]
        parts = []
        for number, chosen in enumerate(np.split(order, ends)):
            parts.append(
                Elements(
                    elements.rows[chosen],
                    elements.columns[chosen] - first[number],
                    elements.patterns[chosen],
                )
            )
        return parts
