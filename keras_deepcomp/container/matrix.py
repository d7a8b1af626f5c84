"""A tensor as a matrix, cut into bands of columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_BAND = 1 << 20
"""The most elements of a band."""

_Places = npt.NDArray[np.integer]
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

    @classmethod
    def side_by_side(cls, bands: list[Elements], widths: list[int]) -> Elements:
        """Return the elements of bands of these widths, band after band, as those of one."""
        if len(bands) == 1:
            return bands[0]
        starts = np.cumsum(widths) - widths
        columns = [
            band.columns + np.int32(start) for band, start in zip(bands, starts, strict=True)
        ]
        return cls(
            np.concatenate([band.rows for band in bands]),
            np.concatenate(columns),
            np.concatenate([band.patterns for band in bands]),
        )


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
        rows = elements // width
        if self.transposed:
            return (elements - rows * width + columns.start) * self.rows + rows
        return elements + (rows * (self.columns - width) + columns.start)

    def nonzeros(self, flat: _Patterns) -> list[Elements]:
        """Return the elements that are not zero, band by band."""
        view = self.view(flat)
        # Booleans are searched much faster than numbers, and both are in the cache.
        band = np.empty(min(self.size, MAX_BAND), flat.dtype)
        has_value = np.empty(band.size, bool)
        found = []
        for columns in self.bands():
            width = columns.stop - columns.start
            size = self.rows * width
            if width == self.columns and not self.transposed:
                band = flat
            else:
                np.copyto(band[:size].reshape(self.rows, width), view[:, columns])
            np.not_equal(band[:size], 0, out=has_value[:size])
            places = np.flatnonzero(has_value[:size])
            patterns = band[places]
            # A band's elements can be counted in 32 bits.
            numbers = places.astype(np.int32)
            rows = numbers // np.int32(width)
            found.append(Elements(rows, numbers - rows * np.int32(width), patterns))
        return found

    def every(self, step: int, bands: list[Elements]) -> Elements:
        """Return the elements of every so many-th column, row by row, given those of each band.

        Args:
            step: How far the columns are apart, of which the first one is taken.
            bands: What `nonzeros` returned.

        Returns:
            The elements; their columns are counted among those that are taken.
        """
        if step == 1 and len(bands) == 1:
            return bands[0]
        parts = []
        for band, columns in zip(bands, self.bands(), strict=True):
            numbers = np.arange(columns.start, columns.stop)
            is_chosen = numbers % step == 0
            if not is_chosen.any():
                continue
            chosen = np.flatnonzero(is_chosen[band.columns])
            own = (numbers // step).astype(np.int32)[band.columns[chosen]]
            parts.append(Elements(band.rows[chosen], own, band.patterns[chosen]))
        rows = np.concatenate([part.rows for part in parts])
        order = np.argsort(rows, kind="stable")
        return Elements(
            rows[order],
            np.concatenate([part.columns for part in parts])[order],
            np.concatenate([part.patterns for part in parts])[order],
        )
