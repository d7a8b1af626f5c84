"""The search for the model under which a tensor takes the fewest bytes.

Models are compared by what the likelihoods and the entropies say that they cost, which is within
a few in a thousand; the best with each grid are then coded, and the smallest is taken.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp.container import bands, fitting
from keras_deepcomp.container import scores as score_lists
from keras_deepcomp.container.bits import BitWriter
from keras_deepcomp.container.dtypes import ElementType
from keras_deepcomp.container.grid import MAX_ROWS, WIDE, Grid, Neighbourhood
from keras_deepcomp.container.huffman import MAX_SYMBOLS
from keras_deepcomp.container.matrix import Elements, Matrix
from keras_deepcomp.container.model import NEIGHBOURHOODS, SIGN_CLASSES, TensorModel
from keras_deepcomp.container.scores import CLASSES, Scores

# Elements of a matrix that stand for all of them.
_SAMPLE = 1 << 18

# What part of a tensor a grid must save.
_LEAST_GAIN = 250
# Rows at a distance are alike if that is so many standard deviations above chance.
_SURE = 4
_FARTHEST = 512
# Groups of a dense matrix's rows or columns.
_LEVELS = 4
# Shorter lines have no scores of their own.
_FEWEST_LINES = 8
# What scores start from; see `fitting.initial_scores`.
_STEPS = (3, 1, 2, 4, 5)
# Rounds with all elements of a large matrix, for they take time.
_ROUNDS_OF_ALL = 2
# Counts of symbols by line take memory.
_MOST_COUNTS = 1 << 22

_Patterns = npt.NDArray[Any]
_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Effort:
    """What a search tries.

    Attributes:
        scores: Whether rows and columns may have scores.
        each_kind_of_score: Whether scores of rows alone and of columns alone are tried as well.
        grids: How many grids are tried.
        signs: Whether signs may be apart.
        groups: Whether classes may have codes of their own.
        transposed: Whether the transposed matrix is tried.
    """

    scores: bool = True
    each_kind_of_score: bool = True
    grids: int = 1
    signs: bool = True
    groups: bool = True
    transposed: bool = False

    @classmethod
    def of(cls, level: int) -> Effort:
        """Return what is tried at a level from 0, nothing, to 9, everything."""
        return cls(
            scores=level >= 1,
            each_kind_of_score=level >= 4,
            grids=(0, 0, 0, 1, 1, 1, 2, 2, 4, 8)[level],
            groups=level >= 2,
            transposed=level >= 6,
        )


@dataclass(frozen=True)
class Heads:
    """How patterns are cut, and the heads that occur; see `TensorModel`.

    Attributes:
        zero_bits: Bits at the lower end of all patterns that are zero.
        low_bits: Bits above those that are stored as they are.
        codebook: The heads, that of zero included if it occurs, ascending.
    """

    zero_bits: int
    low_bits: int
    codebook: _Patterns


@dataclass(frozen=True)
class Tensor:
    """What is searched a model for.

    Attributes:
        patterns: The bit patterns, flat; not all are zero.
        matrix: The tensor as a matrix.
        nonzeros: The elements of each of its bands that are not zero.
        zeros: How many others there are.
        element: The element type.
        shape: The shape.
        heads: How patterns are cut.
    """

    patterns: _Patterns
    matrix: Matrix
    nonzeros: list[Elements]
    zeros: int
    element: ElementType
    shape: tuple[int, ...]
    heads: Heads

    def bands(self, matrix: Matrix, sparse: bool) -> list[Elements]:
        """Return the elements of each band of a matrix of the tensor that have a value."""
        if sparse:
            return self.nonzeros if matrix == self.matrix else matrix.nonzeros(self.patterns)
        view = matrix.view(self.patterns)
        return [Elements.of(view[:, columns], sparse=False) for columns in matrix.bands()]


def best_model(tensor: Tensor, effort: Effort) -> TensorModel:
    """Return the best model that is found, complete but for likelihoods and codes."""
    ways = [tensor.zeros > 0]
    if 0 < tensor.zeros < tensor.patterns.size // 2 and tensor.heads.codebook.size <= MAX_SYMBOLS:
        # Few zeros may be cheaper as a value like others.
        ways.append(False)
    candidates = []
    for matrix in matrices(tensor.shape)[: 2 if effort.transposed else 1]:
        for sparse in ways:
            candidates += _candidates(tensor, sparse, matrix, effort)
    if len(candidates) == 1:
        return candidates[0][1]
    best: tuple[int, TensorModel] | None = None
    for sample, model in candidates:
        bits = sample.exact_bits(model, tensor.element)
        if model.grid is not None:
            # A grid takes time to decode, and a little may be gained by chance.
            bits += bits // _LEAST_GAIN
        if best is None or bits < best[0]:
            best = bits, model
    assert best is not None
    return best[1]


def matrices(shape: tuple[int, ...]) -> list[Matrix]:
    """Return the matrices as which a tensor can be coded; one is, unless a search tries more."""
    both = [Matrix.of(shape, transposed) for transposed in (False, True)]
    possible = [matrix for matrix in both if matrix.band_count]
    return possible if len(shape) > 1 else possible[:1]


def _candidates(
    tensor: Tensor, sparse: bool, matrix: Matrix, effort: Effort
) -> list[tuple[_Sample, TensorModel]]:
    """Return models of one kind, the best with each grid, and the sample that they came from."""
    heads = tensor.heads
    codebook = heads.codebook
    if sparse and heads.low_bits == 0 and codebook[0] == 0:
        codebook = codebook[1:]
    base = TensorModel(
        heads.zero_bits,
        heads.low_bits,
        sparse,
        matrix.transposed,
        codebook,
        score_lists.no_scores(matrix.rows),
        score_lists.no_scores(matrix.columns),
    )
    base.count_lower_half(tensor.element)
    sample = _Sample(tensor, matrix, base)
    if not sparse:
        models = sample.dense_models(base, matrix.view(tensor.patterns), effort)
    else:
        grids: list[Grid | None] = [None]
        if effort.grids:
            grids += _grids(tensor.shape, matrix, sample.filled, effort.grids)
        models = [sample.best_with(grid, base, effort) for grid in grids]
    return [(sample, model) for model in models]


class _Sample:
    """Some of a matrix's columns, all its rows, and what they cost under various models.

    Args:
        tensor: The tensor.
        matrix: The tensor as a matrix.
        base: A model that says how patterns are cut.
    """

    def __init__(self, tensor: Tensor, matrix: Matrix, base: TensorModel) -> None:
        # How many elements of each line are not zero; None where lines are too short for scores.
        self._by_row: _Ints | None = None
        self._by_column: _Ints | None = None
        self.step = min(max(1, matrix.size // _SAMPLE), max(1, matrix.columns // 8))
        self.columns = slice(None, None, self.step)
        self._all_columns = matrix.columns
        self._shape = matrix.rows, -(-matrix.columns // self.step)
        if base.sparse:
            bands = tensor.bands(matrix, sparse=True)
            firsts = [columns.start for columns in matrix.bands()]
            self._bands = [
                (band.rows, band.columns, first) for band, first in zip(bands, firsts, strict=True)
            ]
            if matrix.columns >= _FEWEST_LINES:
                counts = (np.bincount(band.rows, minlength=matrix.rows) for band in bands)
                self._by_row = functools.reduce(np.add, counts)
            if matrix.rows >= _FEWEST_LINES and matrix.columns <= score_lists.MAX_LINES:
                self._by_column = np.concatenate(
                    [
                        np.bincount(band.columns, minlength=columns.stop - columns.start)
                        for band, columns in zip(bands, matrix.bands(), strict=True)
                    ]
                )
            values = matrix.every(self.step, bands)
        else:
            values = Elements.of(matrix.view(tensor.patterns)[:, self.columns], sparse=False)
        self._values = values
        # What `_start` found, for each grid starts from the same.
        self._starts: dict[tuple[str, str], tuple[Scores, Scores]] = {}
        self._indices = base.lookup.indices(base.heads_of(values.patterns)).astype(np.int64)

    @functools.cached_property
    def filled(self) -> npt.NDArray[np.bool_]:
        """Which elements of the sample are not zero, shape (rows, sampled columns)."""
        filled = np.zeros(self._shape, bool)
        filled[self._values.rows, self._values.columns] = True
        return filled

    def exact_bits(self, model: TensorModel, element: ElementType) -> int:
        """Return the bits of the matrix under a model, if it is like the sample."""
        model = dataclasses.replace(model)
        piece = self._values, model.column_scores[self.columns]
        (part,) = fitting.complete(model, [piece], self._shape[0] * self._shape[1])
        writer = BitWriter()
        model.write(writer, element)
        before = len(writer.bits)
        bands.write(model, part, [writer])
        return before + (len(writer.bits) - before) * self.step

    def best_with(self, grid: Grid | None, base: TensorModel, effort: Effort) -> TensorModel:
        """Return the best model of a sparse matrix with this grid."""
        votes = None
        if grid is not None:
            votes = grid.votes(self._bordered(self.filled), np.arange(grid.rows), WIDE)
        best: tuple[int, TensorModel] | None = None
        for row_kind, column_kind in self._kinds_of_scores(effort):
            if (row_kind, column_kind) not in self._starts:
                self._starts[row_kind, column_kind] = self._start(row_kind, column_kind, base)
            row_scores, column_scores = self._starts[row_kind, column_kind]
            kinds = row_kind == "scores", column_kind == "scores"
            if any(kinds):
                row_scores, column_scores = self._refined(votes, row_scores, column_scores, *kinds)
            model = dataclasses.replace(
                base, row_scores=row_scores, column_scores=column_scores, grid=grid
            )
            sums, bits = self._places(model, votes)
            classes = np.minimum(sums, model.classes - 1)
            bits += self._index_bits(model, classes, effort)
            if best is None or bits < best[0]:
                best = bits, model
        assert best is not None
        return best[1]

    def _bordered(self, field: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
        """Return a field with a row of zeros more, for neighbours that do not exist."""
        bordered = np.zeros((field.shape[0] + 1, field.shape[1]), np.int8)
        bordered[:-1] = field
        return bordered

    def _kinds_of_scores(self, effort: Effort) -> list[tuple[str, str]]:
        row, column = _plain_kind(self._by_row), _plain_kind(self._by_column)
        row_scores = row if self._by_row is None else "scores"
        column_scores = column if self._by_column is None else "scores"
        kinds = [("none", "none"), (row, column)]
        if effort.scores:
            kinds.append((row_scores, column_scores))
        if effort.each_kind_of_score and self.step == 1:
            # In a large matrix, scores that are all the same cost next to nothing.
            kinds += [(row_scores, column), (row, column_scores)]
        return list(dict.fromkeys(kinds))

    def _start(self, row_kind: str, column_kind: str, base: TensorModel) -> tuple[Scores, Scores]:
        """Return the scores of these kinds, by densities, under which the sample is smallest."""
        best: tuple[int, tuple[Scores, Scores]] | None = None
        for step in _STEPS if "scores" in (row_kind, column_kind) else _STEPS[:1]:
            found = self._scores(row_kind, True, step), self._scores(column_kind, False, step)
            model = dataclasses.replace(base, row_scores=found[0], column_scores=found[1])
            _, bits = self._places(model, None)
            if best is None or bits < best[0]:
                best = bits, found
        assert best is not None
        return best[1]

    def _refined(
        self,
        votes: npt.NDArray[np.int8] | None,
        row_scores: Scores,
        column_scores: Scores,
        with_rows: bool,
        with_columns: bool,
    ) -> tuple[Scores, Scores]:
        """Return better scores of rows, of columns, or of both."""
        # Of the few columns of a sample, rows would learn the noise; but votes are of those alone.
        use_all = votes is None or self.step == 1
        sample = self._values.rows, self._values.columns, 0
        row_scores, found = fitting.refine(
            self._bands if use_all and self.step > 1 else [sample],
            votes,
            row_scores,
            column_scores if use_all else column_scores[self.columns],
            with_rows,
            with_columns and use_all,
            _ROUNDS_OF_ALL if use_all and self.step > 1 else fitting.ROUNDS,
        )
        # Of columns that are not in the sample nothing more is known than their density.
        return row_scores, found if use_all else column_scores

    def _scores(self, kind: str, of_rows: bool, step: int) -> Scores:
        filled = self._by_row if of_rows else self._by_column
        if filled is None or kind == "none":
            return score_lists.no_scores(self._shape[0] if of_rows else self._all_columns)
        if kind == "scores":
            return fitting.initial_scores(filled, step)
        return fitting.flat_scores(filled)

    def _places(self, model: TensorModel, votes: npt.NDArray[np.int8] | None) -> tuple[Scores, int]:
        """Choose the number of classes, and set it in the model.

        Returns:
            The sums of scores and votes of each non-zero element, and the bits of where they are.
        """
        column_scores = model.column_scores[self.columns]
        of_elements = model.row_scores[self._values.rows]
        of_elements += column_scores[self._values.columns]
        rows, columns = np.flatnonzero(model.row_scores >= 0), np.flatnonzero(column_scores >= 0)
        if votes is not None:
            of_elements += votes[self._values.rows, self._values.columns]
            sums = model.row_scores[rows, np.newaxis] + column_scores[columns]
            sums += votes[rows[:, np.newaxis], columns]
            totals = np.bincount(sums.reshape(-1), minlength=CLASSES)
        else:
            totals = np.convolve(
                np.bincount(model.row_scores[rows], minlength=CLASSES),
                np.bincount(column_scores[columns], minlength=CLASSES),
            )
        ones = np.bincount(of_elements, minlength=CLASSES)
        totals[CLASSES - 1], ones[CLASSES - 1] = (
            totals[CLASSES - 1 :].sum(),
            ones[CLASSES - 1 :].sum(),
        )
        model.classes, bits = fitting.class_count(ones[:CLASSES], totals[:CLASSES])
        bits *= self.step
        for lines in (model.row_scores, model.column_scores):
            if score_lists.has_scores(lines):
                bits += fitting.symbol_bits(np.bincount(lines + 1))
        return of_elements, bits

    def _index_bits(self, model: TensorModel, classes: Scores, effort: Effort) -> int:
        """Choose how to code the indices, set it in the model, and return the bits."""
        symbols = model.codebook.size
        keys = classes * np.int64(symbols) + self._indices
        counts = np.bincount(keys, minlength=CLASSES * symbols).reshape(CLASSES, symbols)
        if not effort.groups:
            counts = counts.sum(axis=0, keepdims=True)
        model.cuts, best = fitting.cuts_for([counts])
        apart = effort.signs and model.grid is not None
        if not apart or not 0 < model.lower_half < symbols:
            return best * self.step
        halves = [counts[:, : model.lower_half], counts[:, model.lower_half :]]
        cuts, index_bits = fitting.cuts_for(halves)
        for neighbourhood in NEIGHBOURHOODS:
            sign_classes, sign_bits = self._sign_classes(model, neighbourhood)
            if index_bits + sign_bits < best:
                best = index_bits + sign_bits
                model.cuts, model.sign_neighbourhood = cuts, neighbourhood
                model.sign_classes = sign_classes
        return best * self.step

    def _sign_classes(self, model: TensorModel, neighbourhood: Neighbourhood) -> tuple[int, int]:
        """Return into how many classes to put signs, and the bits that they take."""
        assert model.grid is not None
        is_upper = self._indices >= model.lower_half
        signs = np.zeros(self._shape, np.int8)
        signs[self._values.rows, self._values.columns] = np.where(is_upper, -1, 1)
        votes = model.grid.votes_at(
            self._bordered(signs), self._values.rows, self._values.columns, neighbourhood
        )
        strength = np.minimum(np.abs(votes), SIGN_CLASSES - 1)
        totals = np.bincount(strength, minlength=SIGN_CLASSES)
        wrong = np.bincount(strength[is_upper != (votes < 0)], minlength=SIGN_CLASSES)
        return fitting.class_count(wrong, totals)

    def dense_models(self, base: TensorModel, view: _Patterns, effort: Effort) -> list[TensorModel]:
        """Return models of a dense matrix, with groups of rows, of columns, and without."""
        models = [base]
        if not (effort.scores and effort.groups) or min(view.shape) < _FEWEST_LINES:
            return models
        # All lines have a score, so of a large matrix the lines across are those that are sampled.
        step = max(1, view.size // _SAMPLE)
        for by_row in (False, True):
            lines = view.shape[0 if by_row else 1]
            if lines * base.codebook.size > _MOST_COUNTS:
                continue
            across = view[:, ::step] if by_row else view[::step]
            indices = base.lookup.indices(base.heads_of(np.ascontiguousarray(across)))
            scores = fitting.value_scores(indices, base.codebook.size, by_row, _LEVELS)
            model = dataclasses.replace(base, cuts=tuple(range(1, _LEVELS)))
            if by_row:
                model.row_scores = scores
            else:
                model.column_scores = scores
            models.append(model)
        return models


def _plain_kind(filled: _Ints | None) -> str:
    """Return "dead" if lines that are all zero can be left out, else "none"."""
    return "none" if filled is None or filled.all() else "dead"


def _grids(
    shape: tuple[int, ...],
    matrix: Matrix,
    filled: npt.NDArray[np.bool_],
    most: int,
) -> list[Grid]:
    """Return the grids that are worth a trial.

    These are the grid of a convolution's kernel, or those by which rows at some distance are alike.
    """
    if matrix.rows < 4 or matrix.rows > MAX_ROWS:
        return []
    if len(shape) <= 2 or matrix.transposed:
        return _alike_grids(matrix, filled, most)
    grid = Grid(matrix.rows, shape[-3], shape[-2])
    near = [distance for distance in (grid.depth, grid.size) if distance < matrix.rows]
    return [grid] if grid.is_allowed(matrix.columns) and _likeness(filled, near).any() else []


def _alike_grids(matrix: Matrix, filled: npt.NDArray[np.bool_], most: int) -> list[Grid]:
    rows = np.flatnonzero(filled.any(axis=1))
    if rows.size < 4:
        return []
    likeness = _likeness(filled, range(1, min(matrix.rows // 2, _FARTHEST) + 1))
    depth = int(likeness.argmax()) + 1
    if likeness[depth - 1] == 0:
        return []
    # The place above is a row of the grid away.
    multiples = np.arange(2 * depth, likeness.size + 1, depth)
    order = np.argsort(-likeness[multiples - 1], kind="stable")
    widths = [int(multiples[number]) // depth for number in order[:most]]
    widths.append(-(-matrix.rows // depth))
    grids = [Grid(matrix.rows, width, depth) for width in widths]
    return [grid for grid in grids if grid.is_allowed(matrix.columns)][:most]


def _likeness(filled: npt.NDArray[np.bool_], distances: Iterable[int]) -> _Ints:
    """Return for some distances of rows how often both elements of a pair are filled.

    Counted is what is more than by chance, or 0 where it may be chance.
    """
    per_row = np.count_nonzero(filled, axis=1)
    per_column = np.count_nonzero(filled, axis=0)
    # Elements of a dense column are more often both filled.
    pairs, total = int(per_column @ per_column), max(int(per_column.sum()), 1)
    result = []
    for distance in distances:
        both = int(np.count_nonzero(filled[distance:] & filled[:-distance]))
        by_chance = int(per_row[distance:] @ per_row[:-distance]) * pairs // total**2
        more = both - by_chance
        result.append(more if more * abs(more) > _SURE**2 * by_chance else 0)
    return np.array(result, np.int64)
