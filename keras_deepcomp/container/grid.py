"""Rows of a matrix as places of a grid, and what is known of a place's neighbours.

The rows of a kernel often are places in a picture: the pixels that a dense layer sees, or the taps
of a convolution. Weights of one unit at neighbouring places are alike: if one was pruned, so was
the other, more often than not, and they have the same sign. So elements are coded in classes by
what their neighbours hold that were coded before.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keras_deepcomp.container.errors import damaged

Neighbourhood = tuple[tuple[int, int, int], ...]
"""Neighbours as (rows of the grid down, columns to the right, weight)."""

WIDE: Neighbourhood = (
    (0, -1, 3),
    (-1, 0, 2),
    (-1, 1, 2),
    (-1, -1, 1),
    (0, -2, 1),
    (-2, 0, 1),
)
NEAR: Neighbourhood = ((0, -1, 2), (-1, 0, 2), (-1, 1, 1))

MAX_ROWS = 1 << 18
MAX_STEPS = 512
ELEMENTS_PER_STEP = 16
"""Each step takes time, however few elements it has, and a small tensor must not take long."""

_Places = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Grid:
    """How the rows of a matrix lie in a grid.

    Row r of the matrix is at place p = r // depth of the grid, which is column p % width of row
    p // width. Places are coded in steps: step 2y + x holds column x of row y. All of a place's
    neighbours in `WIDE` are in earlier steps, and those of one step do not depend on each other.

    Attributes:
        rows: The number of rows of the matrix.
        width: The number of columns of the grid.
        depth: How many rows of the matrix share a place.
    """

    rows: int
    width: int
    depth: int

    @property
    def size(self) -> int:
        """How many rows of the matrix share a row of the grid."""
        return self.width * self.depth

    @property
    def steps(self) -> int:
        """The number of steps."""
        height = -(-self.rows // self.size)
        return 2 * (height - 1) + self.width

    def is_allowed(self, columns: int) -> bool:
        """Return whether a file may have it for a matrix of so many columns."""
        most = min(MAX_STEPS, self.rows * columns // ELEMENTS_PER_STEP)
        return self.rows <= MAX_ROWS and self.size <= self.rows and self.steps <= most

    @functools.cached_property
    def step_of_row(self) -> npt.NDArray[np.int64]:
        """The step of each row, shape (rows,)."""
        places = np.arange(self.rows) // self.depth
        return 2 * (places // self.width) + places % self.width

    @functools.cached_property
    def _wide(self) -> list[npt.NDArray[np.int32]]:
        """The row that is each row's neighbour, `rows` where there is none, for each neighbour."""
        places = np.arange(self.rows) // self.depth
        y, x = places // self.width, places % self.width
        found = []
        for down, right, _ in WIDE:
            other = np.arange(self.rows) + (down * self.width + right) * self.depth
            exists = (y + down >= 0) & (x + right >= 0) & (x + right < self.width)
            found.append(np.where(exists, other, self.rows).astype(np.int32))
        return found

    def neighbours(self, rows: _Places) -> list[npt.NDArray[np.int32]]:
        """Return the rows that are the neighbours of rows, for each neighbour of `WIDE`."""
        return [neighbour[rows] for neighbour in self._wide]

    def votes(
        self, field: npt.NDArray[np.int8], rows: _Places, neighbourhood: Neighbourhood
    ) -> npt.NDArray[np.int8]:
        """Return the weighted sums of the neighbours' values in whole rows; see `votes_of`."""
        return votes_of(field, self.neighbours(rows), neighbourhood)

    def votes_at(
        self,
        field: npt.NDArray[np.int8],
        rows: _Places,
        columns: _Places,
        neighbourhood: Neighbourhood,
    ) -> npt.NDArray[np.int8]:
        """Return the same for single elements, shape (n,)."""
        return votes_of(field, self.neighbours(rows), neighbourhood, columns)


def votes_of(
    field: npt.NDArray[np.int8],
    neighbours: list[npt.NDArray[np.int32]],
    neighbourhood: Neighbourhood,
    columns: _Places | slice = slice(None),
) -> npt.NDArray[np.int8]:
    """Return the weighted sums of the neighbours' values.

    Args:
        field: Values of -1, 0 or 1 of all elements, shape (rows + 1, columns); the last row,
            which stands for neighbours that do not exist, is zero.
        neighbours: What `Grid.neighbours` returned for n rows.
        neighbourhood: Which of them, and their weights.
        columns: The column of each element, shape (n,), or all columns.

    Returns:
        The sums, shape (n,) or (n, columns).
    """
    # The near neighbours are the first of the wide ones, with other weights.
    (_, _, weight), *others = neighbourhood
    total = field[neighbours[0], columns] * np.int8(weight)
    for (_, _, weight), rows in zip(others, neighbours[1:], strict=False):
        votes = field[rows, columns]
        total += votes if weight == 1 else votes * np.int8(weight)
    return total


class Dealer:
    """Deals out the bits of several sequences, each in order, to elements as they come up.

    Args:
        ones: The places of the ones of each sequence, ascending.
        inverted: For each sequence, whether these are the zeros instead.
        what: What the sequences are, for error messages.
    """

    def __init__(self, ones: list[npt.NDArray[np.int64]], inverted: list[bool], what: str) -> None:
        self._what = what
        # Past its last listed place each sequence goes on with the more frequent bit for ever.
        self._sizes = np.array([places[-1] + 1 if places.size else 0 for places in ones])
        self._starts = np.cumsum(self._sizes + 1) - self._sizes - 1
        self._bits = np.repeat(np.array(inverted, np.uint8), self._sizes + 1)
        for start, places in zip(self._starts.tolist(), ones, strict=True):
            self._bits[start + places] ^= 1
        self._dealt = np.zeros(len(ones), np.int64)

    def deal(self, classes: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """Return the next bit of the sequence of each element.

        Args:
            classes: The number of each element's sequence, shape (n,).

        Returns:
            The bits, shape (n,).
        """
        order = classes.argsort(kind="stable")
        ordered = classes[order]
        counts = np.bincount(ordered, minlength=self._sizes.size)
        rank = np.arange(order.size) - np.repeat(counts.cumsum() - counts, counts)
        places = np.minimum(self._dealt[ordered] + rank, self._sizes[ordered])
        bits = np.empty(order.size, np.uint8)
        bits[order] = self._bits[self._starts[ordered] + places]
        self._dealt += counts
        return bits

    def finish(self) -> None:
        """Check that no sequence has a listed place that was not dealt out."""
        if (self._dealt < self._sizes).any():
            raise damaged(f"{self._what} has an entry past its last element")
