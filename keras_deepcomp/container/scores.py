"""Rows and columns by how densely they are filled, and the classes of elements that follow.

Some units of a network keep many more of their weights than others. Each row and each column of a
matrix may have a score, and elements with the same sum of scores, and of the votes of their
neighbours in a grid, make a class, in which ones come with the same probability. This is a
logistic model of where the weights are, in whole numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keras_deepcomp.container import symbols
from keras_deepcomp.container.bits import BitReader, BitWriter
from keras_deepcomp.container.errors import damaged
from keras_deepcomp.container.runs import BitSequences
from keras_deepcomp.container.symbols import SymbolCode

DEAD = -1
"""The score of a row or column that is all zero, and is not coded at all."""

MAX_SCORE = 14
"""One less than what `highest` holds in 4 bits, for dead lines are counted with it."""

MAX_LINES = 1 << 20
"""Of more lines than that none has a score, so that scores take little memory."""
CLASSES = 16

# Entries of a table for some classes and all rows.
_ENTRIES = 1 << 19

Scores = npt.NDArray[np.int8]


def no_scores(count: int) -> Scores:
    """Return as many zeros, without taking memory for each."""
    return np.broadcast_to(np.int8(0), (count,))


def has_scores(scores: Scores) -> bool:
    """Return whether there are other scores than 0."""
    return scores.strides != (0,) and bool(scores.any())


def write(scores: Scores, writer: BitWriter) -> None:
    """Write the scores of all rows or all columns."""
    if not has_scores(scores):
        writer.number(0, 4)
        return
    numbers = (scores + 1).astype(np.int64)
    highest = max(int(numbers.max()), 1)
    writer.number(highest, 4)
    counts = np.bincount(numbers, minlength=highest + 1)
    code = SymbolCode.fit([numbers], counts, numbers.size)
    code.write(writer)
    symbols.encode(numbers, [numbers.size], code, [writer])


def read(reader: BitReader, count: int) -> Scores:
    """Read what `write` wrote: `count` scores."""
    highest = reader.number(4)
    if highest == 0:
        return no_scores(count)
    if count > MAX_LINES:
        raise damaged(f"{reader.what} has scores of {count:,} lines, at most {MAX_LINES:,}")
    code = SymbolCode.read(reader, highest + 1, count)
    return symbols.decode(reader, count, code).astype(np.int8) - 1


@dataclass(frozen=True)
class Live:
    """The live ones among rows or columns.

    Attributes:
        lines: The live ones, ascending, shape (live,).
        scores: The score of each of them.
    """

    lines: npt.NDArray[np.integer]
    scores: Scores

    @classmethod
    def of(cls, scores: Scores) -> Live:
        """Return the live ones among scored rows or columns."""
        lines = np.flatnonzero(scores >= 0)
        return cls(lines, scores[lines])

    def numbers(self, lines: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
        """Return the places of live rows or columns among all live ones."""
        if self.lines.size == 0 or self.lines[-1] == self.lines.size - 1:
            # None is dead, or only the last ones are.
            return lines
        return self._numbers[lines]

    @functools.cached_property
    def _numbers(self) -> npt.NDArray[np.int32]:
        numbers = np.zeros(int(self.lines[-1]) + 1, np.int32)
        numbers[self.lines] = np.arange(self.lines.size)
        return numbers

    @functools.cached_property
    def kinds(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int8]]:
        """The scores that occur, ascending, and the place among them of each one's score."""
        occurring = np.flatnonzero(np.bincount(self.scores))
        places = np.zeros(MAX_SCORE + 1, np.int8)
        places[occurring] = np.arange(occurring.size)
        return occurring, places[self.scores]


@dataclass(frozen=True)
class Lines:
    """The live rows and columns of a matrix, or of a band of its columns.

    Attributes:
        rows: The live rows.
        columns: The live columns.
        width: The number of all columns.
    """

    rows: Live
    columns: Live
    width: int

    @classmethod
    def of(cls, rows: Live, column_scores: Scores) -> Lines:
        """Return live rows, which are the same for each band, with a band's live columns."""
        return cls(rows, Live.of(column_scores), column_scores.size)

    @property
    def shape(self) -> tuple[int, int]:
        """How many live rows and columns there are."""
        return self.rows.lines.size, self.columns.lines.size

    def sums(self) -> npt.NDArray[np.int8]:
        """Return the sums of scores of all elements, of this shape."""
        return self.rows.scores[:, np.newaxis] + self.columns.scores


class FixedClasses:
    """The classes of elements where only scores count; known before anything is decoded.

    Args:
        lines: The live rows and columns.
        count: The number of classes; higher sums of scores are in the last one.
        widths: Where the columns are those of several bands, how many each has. Then each band has
            classes of its own, the first of which is after the last one of the band before.
    """

    def __init__(self, lines: Lines, count: int, widths: Sequence[int] = ()) -> None:
        self._lines = lines
        self._count = count * max(len(widths), 1)
        # Only scores that rows have: so the tables have no more entries than the band elements.
        scores, self._kinds = lines.rows.kinds
        # For rows of each score: the class of each live column, the live columns class by class,
        # and how many there are of each class.
        sums = scores[:, np.newaxis] + lines.columns.scores
        self._classes = np.minimum(sums, count - 1).astype(np.int8)
        if len(widths) > 1:
            first = np.arange(0, self._count, count, dtype=np.int8)
            self._classes += np.repeat(first, widths)[lines.columns.lines]
        self._by_class = np.argsort(self._classes, axis=1, kind="stable").astype(np.int32)
        keys = self._classes + np.arange(scores.size)[:, np.newaxis] * self._count
        counts = np.bincount(keys.reshape(-1), minlength=scores.size * self._count)
        self._counts = counts.reshape(scores.size, self._count)
        self._starts = np.cumsum(self._counts, axis=1) - self._counts
        self._totals = np.bincount(self._kinds, minlength=scores.size) @ self._counts

    @property
    def totals(self) -> list[int]:
        """How many elements of each class there are."""
        return self._totals.tolist()

    def _ends(self, classes: slice = slice(None)) -> npt.NDArray[np.int32]:
        """Return how many elements of some classes there are up to the end of each live row.

        Returns:
            The numbers, shape (classes, live rows): a band's elements can be counted in 32 bits.
        """
        ends = self._counts.T[classes].astype(np.int32).take(self._kinds, axis=1)
        return np.cumsum(ends, axis=1, out=ends)

    def sequences(
        self, rows: npt.NDArray[np.integer], columns: npt.NDArray[np.integer]
    ) -> tuple[BitSequences, npt.NDArray[np.int8]]:
        """Return a sequence for each class, with a one for each of some elements.

        Args:
            rows: The rows of the elements, which are live, shape (n,). Those of a band are in
                row-major order, one band after the other.
            columns: Their columns.

        Returns:
            The sequences, and the classes of the elements.
        """
        # The place of an element: those of its class up to the end of its row, less those of its
        # row, and its place among these.
        offsets = np.empty_like(self._by_class)
        own = np.arange(offsets.shape[1], dtype=np.int32)
        np.put_along_axis(offsets, self._by_class, own[np.newaxis], axis=1)
        offsets -= np.take_along_axis(self._starts + self._counts, self._classes, axis=1)
        numbers = self._lines.rows.numbers(rows)
        # Where elements are in the flat tables for rows of each score.
        cells = self._kinds[numbers] * np.int32(self._classes.shape[1])
        cells += self._lines.columns.numbers(columns)
        classes = self._classes.reshape(-1)[cells]
        places = self._ends().reshape(-1)[classes * np.int32(self._kinds.size) + numbers]
        places += offsets.reshape(-1)[cells]
        order = np.argsort(classes, kind="stable")  # linear for numbers of 8 bits
        counts = np.bincount(classes, minlength=self._count)
        return BitSequences(places[order], counts, self._totals), classes

    def elements(
        self, sequences: BitSequences
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int8]]:
        """Return the elements of the ones in the sequences of all classes.

        Args:
            sequences: The sequences, with no ones past the ends of their classes.

        Returns:
            Flat indices in the matrix, in the order of the sequences; and the classes.
        """
        rows_of, ends_of = [], []
        ones = sequences.each()
        # With many rows, the numbers of all classes would take much memory.
        step = max(1, _ENTRIES // max(self._kinds.size, 1))
        for first in range(0, self._count, step):
            ends_of_some = self._ends(slice(first, first + step))
            for ends, places in zip(ends_of_some, ones[first : first + step], strict=True):
                rows_of.append(ends.searchsorted(places, side="right"))
                ends_of.append(ends[rows_of[-1]])
        rows = np.concatenate(rows_of)
        classes = np.repeat(np.arange(self._count, dtype=np.int8), sequences.counts)
        kinds = self._kinds[rows]
        # Places among the live columns of a kind of row, in the order of their classes.
        places = sequences.ones - np.concatenate(ends_of)
        cells = kinds * np.int32(self._count) + classes
        places += (self._starts + self._counts).reshape(-1)[cells]
        places += kinds * np.int64(self._classes.shape[1])
        columns = self._by_class.reshape(-1)[places]
        lines = self._lines
        return lines.rows.lines[rows] * lines.width + lines.columns.lines[columns], classes
