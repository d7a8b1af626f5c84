"""Rows and columns by how densely they are filled, and the classes of elements that follow.

Some units of a network keep many more of their weights than others. Each row and each column of a
matrix may have a score, and elements with the same sum of scores, and of the votes of their
neighbours in a grid, make a class, in which ones come with the same probability. This is a
logistic model of where the weights are, in whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keras_deepcomp.container import symbols
from keras_deepcomp.container.bits import BitReader, BitWriter
from keras_deepcomp.container.symbols import SymbolCode

DEAD = -1
"""The score of a row or column that is all zero, and is not coded at all."""

MAX_SCORE = 7
CLASSES = 16

Scores = npt.NDArray[np.int8]


def write(scores: Scores, writer: BitWriter) -> None:
    """Write the scores of all rows or all columns."""
    numbers = (scores + 1).astype(np.int64)
    highest = int(numbers.max(initial=1))
    if (numbers == 1).all():
        highest = 0
    writer.number(highest, 4)
    if highest:
        counts = np.bincount(numbers, minlength=highest + 1)
        code = SymbolCode.fit([numbers], counts, numbers.size)
        code.write(writer)
        symbols.encode(numbers, code, writer)


def read(reader: BitReader, count: int) -> Scores:
    """Read what `write` wrote: `count` scores."""
    highest = reader.number(4)
    if highest == 0:
        return np.zeros(count, np.int8)
    code = SymbolCode.read(reader, highest + 1, count)
    return symbols.decode(reader, count, code).astype(np.int8) - 1


@dataclass(frozen=True)
class Lines:
    """The live rows and columns of a matrix, or of a band of its columns.

    Attributes:
        rows: The live rows, ascending, shape (live rows,).
        columns: The live columns, ascending, shape (live columns,).
        row_scores: The score of each live row.
        column_scores: The score of each live column.
        width: The number of all columns.
    """

    rows: npt.NDArray[np.intp]
    columns: npt.NDArray[np.intp]
    row_scores: Scores
    column_scores: Scores
    width: int

    @classmethod
    def of(cls, row_scores: Scores, column_scores: Scores) -> Lines:
        """Return the live ones among scored rows and columns."""
        rows, columns = np.flatnonzero(row_scores >= 0), np.flatnonzero(column_scores >= 0)
        return cls(rows, columns, row_scores[rows], column_scores[columns], column_scores.size)

    def numbers(
        self, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return the live row and live column numbers of elements."""
        return np.searchsorted(self.rows, rows), np.searchsorted(self.columns, columns)


class FixedClasses:
    """The classes of elements where only scores count; known before anything is decoded.

    Args:
        lines: The live rows and columns.
        count: The number of classes; higher sums of scores are in the last one.
    """

    def __init__(self, lines: Lines, count: int) -> None:
        self._lines = lines
        self._count = count
        scores = np.arange(MAX_SCORE + 1, dtype=np.int64)[:, np.newaxis]
        # For rows of each score: the class of each live column, its rank within the class, and the
        # live columns class by class.
        self._classes = np.minimum(scores + lines.column_scores, count - 1)
        self._by_class = np.argsort(self._classes, axis=1, kind="stable")
        self._counts = np.stack([np.bincount(row, minlength=count) for row in self._classes])
        self._starts = np.cumsum(self._counts, axis=1) - self._counts
        per_row = self._counts[lines.row_scores]
        self._offsets = np.cumsum(per_row, axis=0) - per_row
        self.totals = per_row.sum(axis=0)
        """The number of elements of each class, shape (count,)."""

    def classes_at(
        self, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]
    ) -> npt.NDArray[np.int64]:
        """Return the classes of elements, given by live row and live column numbers."""
        return self._classes[self._lines.row_scores[rows], columns]

    def sequences(
        self, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]
    ) -> list[npt.NDArray[np.int64]]:
        """Return the places of elements in the sequences of their classes.

        Args:
            rows: Live row numbers of the elements in row-major order, shape (n,).
            columns: Live column numbers.

        Returns:
            For each class the places, ascending.
        """
        ranks = np.empty_like(self._by_class)
        np.put_along_axis(ranks, self._by_class, np.arange(ranks.shape[1])[np.newaxis], axis=1)
        scores = self._lines.row_scores[rows]
        classes = self._classes[scores, columns]
        places = (
            self._offsets[rows, classes] + ranks[scores, columns] - self._starts[scores, classes]
        )
        return [places[classes == number] for number in range(self._count)]

    def elements(self, number: int, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the elements at places of a class's sequence, as flat indices of the matrix."""
        rows = np.searchsorted(self._offsets[:, number], places, side="right") - 1
        scores = self._lines.row_scores[rows]
        ranks = places - self._offsets[rows, number] + self._starts[scores, number]
        columns = self._by_class[scores, ranks]
        return self._lines.rows[rows] * self._lines.width + self._lines.columns[columns]
