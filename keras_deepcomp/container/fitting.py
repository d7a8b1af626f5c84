"""The parameters of a tensor's model: scores, likelihoods, groups and codes.

All of it is in whole numbers, so that the bytes of a file do not depend on the machine.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp.container import bands, runs
from keras_deepcomp.container import scores as score_lists
from keras_deepcomp.container.bands import Sequences
from keras_deepcomp.container.grid import WIDE
from keras_deepcomp.container.logarithm import ONE, log2_fixed
from keras_deepcomp.container.matrix import Elements
from keras_deepcomp.container.model import MAX_GROUPS, TensorModel
from keras_deepcomp.container.runs import BitSequences, Likelihood
from keras_deepcomp.container.scores import CLASSES, MAX_SCORE, Scores
from keras_deepcomp.container.symbols import SymbolCode, most_together

ROUNDS = 4
"""How often scores are chosen anew, given all others; the first two rounds save most."""

_LEVELS = MAX_SCORE + 1
# Scores of the other kind of line, and the votes of neighbours, add up to less than this.
_SUMS = _LEVELS
_SUMS_WITH_VOTES = _LEVELS + sum(weight for *_, weight in WIDE)
# A symbol's entry in a table takes about three bits, and a table some more for itself.
_TABLE_BITS_PER_SYMBOL = 3
_TABLE_BITS = 12
# A likelihood, and how many codes a sequence has.
_CLASS_BITS = 16
# Keys that are counted together: counting stops all other threads.
_COUNTED_TOGETHER = 1 << 19
# Lines whose costs are computed at a time.
_PART = 512
# Bands and elements that are split together, and their classes are numbered in 7 bits.
_MOST_BANDS, _MOST_TOGETHER = 3, 1 << 17
_MOST_ENTRIES = 1 << 21
# Bands whose joint symbols are counted to choose a code.
_STAND_FOR_ALL = 4

_Ints = npt.NDArray[np.int64]


def table_bits(symbols: int) -> int:
    """Return about how many bits the costs of an alphabet take."""
    return _TABLE_BITS_PER_SYMBOL * symbols + _TABLE_BITS


def symbol_bits(counts: _Ints) -> int:
    """Return about how many bits a sequence with these counts takes, its table included."""
    total = int(counts.sum())
    # A Huffman symbol takes a bit at least, however likely it is.
    together = most_together(counts.size, total)
    least = -(-total // together)
    return max(int(entropy_bits(counts)), least) + table_bits(counts.size)


def entropy_bits(counts: _Ints, axis: int = -1) -> _Ints:
    """Return the entropy in bits of sequences with these counts, rounded down."""
    totals = counts.sum(axis=axis)
    parts = np.where(counts > 0, counts * log2_fixed(counts), 0).sum(axis=axis)
    return (totals * log2_fixed(totals) - parts) // ONE


def initial_scores(filled: _Ints, step: int) -> Scores:
    """Return scores by the density of lines.

    Args:
        filled: How many elements of each line are not zero, shape (lines,).
        step: By how many times the fourth root of 2 densities differ from one score to the next.

    Returns:
        The scores: `DEAD` for a line that is all zero, else from 0 up.
    """
    mean = log2_fixed(2 * int(filled.sum()) // max(filled.size, 1) + 1)
    steps = (log2_fixed(2 * filled + 1) - mean) * 4 // (step * ONE) + 5
    result = np.clip(steps, 0, MAX_SCORE)
    live = filled > 0
    if live.any():
        result -= result[live].min()
    return np.where(live, np.maximum(result, 0), score_lists.DEAD).astype(np.int8)


def flat_scores(filled: _Ints) -> Scores:
    """Return scores of 0, and `DEAD` for lines that are all zero."""
    return np.where(filled == 0, score_lists.DEAD, 0).astype(np.int8)


Places = tuple[npt.NDArray[np.integer], npt.NDArray[np.integer], int]
"""Rows and columns of elements of some of a matrix's columns, and the first of these."""


def refine(
    filled: list[Places],
    votes: npt.NDArray[np.int8] | None,
    row_scores: Scores,
    column_scores: Scores,
    with_rows: bool,
    with_columns: bool,
    rounds: int = ROUNDS,
) -> tuple[Scores, Scores]:
    """Return scores under which the places of a matrix's elements take fewer bits.

    Row by row and column by column the cheapest score is taken, given all others; and again.

    Args:
        filled: The elements that are not zero, band by band.
        votes: The votes of the elements' neighbours, of all bands' columns together, or None.
        row_scores: Where to start from.
        column_scores: Where to start from.
        with_rows: Whether rows may have scores other than 0.
        with_columns: Whether columns may.
        rounds: How often, at most.

    Returns:
        The scores of rows and of columns.
    """
    for _ in range(rounds):
        before = row_scores, column_scores
        if with_rows:
            totals, ones = _by_line(filled, votes, row_scores.size, column_scores, True)
            row_scores = _cheapest(totals, ones, row_scores)
        if with_columns:
            totals, ones = _by_line(filled, votes, column_scores.size, row_scores, False)
            column_scores = _cheapest(totals, ones, column_scores)
        if all(map(np.array_equal, before, (row_scores, column_scores))):
            break
    return row_scores, column_scores


def _by_line(
    filled: list[Places],
    votes: npt.NDArray[np.int8] | None,
    lines: int,
    other: Scores,
    is_row: bool,
) -> tuple[_Ints, _Ints]:
    """Return what each line holds, by the sum of all scores and votes but its own.

    Returns:
        How many elements there are, of shape (lines, sums), or (1, sums) if all lines are alike;
        and how many of them are not zero, of shape (lines, sums).
    """
    sums_in_all = _SUMS if votes is None else _SUMS_WITH_VOTES
    scored = score_lists.has_scores(other)
    if scored:
        other_sums = np.maximum(other, 0).astype(np.int64)
        per_line = np.bincount(other_sums[other >= 0], minlength=sums_in_all)
    else:
        other_sums = np.broadcast_to(np.int64(0), other.shape)
        per_line = np.append(other.size, np.zeros(sums_in_all - 1, np.int64))
    if votes is None:
        totals = per_line[np.newaxis]
    else:
        votes_across = votes if is_row else votes.T
        live = np.flatnonzero(other >= 0)
        sums = votes_across[:, live] + other_sums[live]
        sums += np.arange(lines, dtype=np.int64)[:, np.newaxis] * sums_in_all
        totals = np.bincount(sums.reshape(-1), minlength=lines * sums_in_all).reshape(
            lines, sums_in_all
        )
    ones = np.zeros(lines * sums_in_all, np.int64)
    keys = np.empty(max(_COUNTED_TOGETHER, *(rows.size for rows, *_ in filled)), np.int64)
    end = 0
    for rows, columns, first in filled:
        if end + rows.size > keys.size:
            ones += np.bincount(keys[:end], minlength=ones.size)
            end = 0
        own = keys[end : end + rows.size]
        end += rows.size
        np.multiply(rows if is_row else columns, sums_in_all, out=own)
        if not is_row:
            own += first * sums_in_all
        if scored:
            own += other_sums[first:][columns] if is_row else other_sums[rows]
        if votes is not None:
            own += votes[rows, columns]
    ones += np.bincount(keys[:end], minlength=ones.size)
    return totals, ones.reshape(lines, sums_in_all)


def _cheapest(totals: _Ints, ones: _Ints, own: Scores) -> Scores:
    live = own >= 0
    sums = np.arange(totals.shape[1])
    # In floats, which hold these whole numbers exactly, the products are much faster.
    filled, everything = ones.astype(np.float64), totals.astype(np.float64)
    has_score = (own == np.arange(_LEVELS)[:, np.newaxis]).astype(np.float64)
    classes = np.minimum(sums + np.arange(_LEVELS)[:, np.newaxis], CLASSES - 1).reshape(-1)
    if everything.shape == filled.shape:
        everything_scored = has_score @ everything
    else:
        everything_scored = has_score.sum(axis=1, keepdims=True) * everything
    rare, size = (
        np.bincount(classes, weights=each.reshape(-1), minlength=CLASSES)
        for each in (has_score @ filled, everything_scored)
    )
    cost_one, cost_zero = _class_costs(rare.astype(np.int64), size.astype(np.int64))
    counts = np.bincount(own[live], minlength=_LEVELS)
    side = log2_fixed(2 * counts.sum() + 1) - log2_fixed(2 * counts + 1)
    at = np.minimum(sums[:, np.newaxis] + np.arange(_LEVELS), CLASSES - 1)
    costs = _product(filled, (cost_one - cost_zero)[at].astype(np.float64)) + side
    costs += _product(everything, cost_zero[at].astype(np.float64))
    best = costs.argmin(axis=1)
    if live.any():
        best -= best[live].min()
    return np.where(live, np.maximum(best, 0), score_lists.DEAD).astype(np.int8)


def _product(lines: npt.NDArray[np.float64], table: npt.NDArray[np.float64]) -> Any:
    """Return `lines @ table`, in parts for which BLAS starts no threads.

    It would gain little, and its threads take whole cores for a tenth of a second after each
    product, waiting for the next one.
    """
    product = np.empty((lines.shape[0], table.shape[1]))
    for start in range(0, lines.shape[0], _PART):
        part = slice(start, start + _PART)
        np.matmul(lines[part], table, out=product[part])
    return product


def _class_costs(ones: _Ints, totals: _Ints) -> tuple[_Ints, _Ints]:
    """Return what a one and a zero cost in each class, somewhat smoothed."""
    # An empty class is like the one before it; the first one is like all together.
    known = np.where(totals > 0, np.arange(1, CLASSES + 1), 0)
    like = np.maximum.accumulate(known)
    shares = 2 * np.append(ones.sum(), ones)[like] + 1
    sizes = 2 * np.append(totals.sum(), totals)[like] + 2
    whole = log2_fixed(sizes)
    return whole - log2_fixed(shares), whole - log2_fixed(sizes - shares)


def value_scores(
    indices: npt.NDArray[np.integer], symbols: int, by_row: bool, levels: int
) -> Scores:
    """Return scores of a dense matrix's rows or columns by which values are in them.

    Args:
        indices: Codebook indices, shape (rows, columns).
        symbols: The size of the codebook.
        by_row: Whether to score rows rather than columns.
        levels: How many scores to use.

    Returns:
        The scores, from 0 for lines with the most common values in the middle of the codebook.
    """
    lines = indices if by_row else indices.T
    keys = lines + np.arange(lines.shape[0])[:, np.newaxis] * symbols
    counts = np.bincount(keys.reshape(-1), minlength=lines.shape[0] * symbols)
    counts = counts.reshape(lines.shape[0], symbols)
    # How rare a line's values are among all values puts lines in a first order.
    everywhere = counts.sum(axis=0)
    rarity = counts @ (log2_fixed(2 * everywhere.sum() + 1) - log2_fixed(2 * everywhere + 1))
    order = np.argsort(rarity, kind="stable")
    scores = np.empty(lines.shape[0], np.int64)
    scores[order] = np.arange(order.size) * levels // max(order.size, 1)
    for _ in range(ROUNDS):
        costs = np.empty((lines.shape[0], levels), np.int64)
        for level in range(levels):
            table = 2 * counts[scores == level].sum(axis=0) + 1
            costs[:, level] = counts @ (log2_fixed(table.sum()) - log2_fixed(table))
        scores = costs.argmin(axis=1)
    return scores.astype(np.int8)


def cuts_for(counts: list[_Ints]) -> tuple[tuple[int, ...], int]:
    """Return where to cut the classes into groups with codes of their own.

    Args:
        counts: For each alphabet how often each symbol occurs in each class, shape
            (classes, symbols).

    Returns:
        The classes at which another group begins, ascending, none if one group is best; and about
        how many bits the symbols and the tables take.
    """
    classes = counts[0].shape[0]
    costs = sum(_group_costs(alphabet) for alphabet in counts if alphabet.shape[1] > 1)
    if isinstance(costs, int):
        return (), 0
    # Best cost of the first `end` classes in `number` groups, and where these are cut.
    best: dict[tuple[int, int], tuple[int, tuple[int, ...]]] = {
        (1, end): (int(costs[0, end]), ()) for end in range(1, classes + 1)
    }
    for number in range(2, MAX_GROUPS + 1):
        for end in range(number, classes + 1):
            best[number, end] = min(
                (best[number - 1, cut][0] + int(costs[cut, end]), (*best[number - 1, cut][1], cut))
                for cut in range(number - 1, end)
            )
    bits, cuts = min(best[number, classes] for number in range(1, min(MAX_GROUPS, classes) + 1))
    return cuts, bits


def _group_costs(counts: _Ints) -> _Ints:
    """Return what a group of classes costs in bits, for its first class and the one after it."""
    running = np.concatenate((np.zeros((1, counts.shape[1]), np.int64), counts.cumsum(axis=0)))
    first, end = np.triu_indices(running.shape[0])
    entropies = entropy_bits(running[end] - running[first])
    # Huffman codes of a few symbols together lose about 1 in 256.
    bits = np.zeros((running.shape[0], running.shape[0]), np.int64)
    bits[first, end] = entropies + entropies // 256 + table_bits(counts.shape[1])
    return bits


def class_count(ones: _Ints, totals: _Ints) -> tuple[int, int]:
    """Return into how many classes to put elements, the upper ones together in the last one.

    Args:
        ones: How many ones there are in each class, shape (classes,).
        totals: How many elements there are in each class.

    Returns:
        The number of classes, and about how many bits the sequences and their likelihoods take.
    """
    upper_ones, upper_totals = ones[::-1].cumsum()[::-1], totals[::-1].cumsum()[::-1]
    own = runs.least_bits(ones, totals) + _CLASS_BITS * ONE
    bits = own.cumsum() - own + runs.least_bits(upper_ones, upper_totals) + _CLASS_BITS * ONE
    best = int(bits.argmin())
    return best + 1, int(bits[best]) // ONE


def _fit_likelihoods(sequences: list[BitSequences], classes: int) -> list[Likelihood]:
    """Return the likelihood of ones in each class, given the sequences of each band and class."""
    if not any(bands.counts.size for bands in sequences):
        return []
    ones = np.concatenate([bands.counts for bands in sequences]).reshape(-1, classes).sum(axis=0)
    totals = np.concatenate([bands.lengths for bands in sequences]).reshape(-1, classes).sum(axis=0)
    return [Likelihood.fit(*counts) for counts in zip(ones.tolist(), totals.tolist(), strict=True)]


Piece = tuple[Elements, Scores]
"""Elements of some columns of a matrix that have a value, and the columns' scores."""


def complete(model: TensorModel, pieces: list[Piece], values: int) -> list[Sequences]:
    """Set the likelihoods and the codes of a model to those that fit a matrix best.

    Args:
        model: The model.
        pieces: The bands of the matrix.
        values: The number of elements of the tensor.

    Returns:
        The sequences of all bands, of a few bands together.
    """
    parts = [_split(model, together) for together in _together(model, pieces)]
    model.likelihoods = _fit_likelihoods([part.filled for part in parts], model.classes)
    model.sign_likelihoods = _fit_likelihoods(
        [part.wrong_signs for part in parts], model.sign_classes
    )
    fit_indices(model, parts, values)
    return parts


def _together(model: TensorModel, pieces: list[Piece]) -> Iterator[list[Piece]]:
    """Yield the bands that are split together."""
    # There are tables of all rows and classes of all bands.
    most = min(_MOST_BANDS, _MOST_ENTRIES // (model.row_scores.size * model.classes))
    if bands.are_separate(model):
        most = 1
    together: list[Piece] = []
    for piece in pieces:
        count = sum(elements.rows.size for elements, _ in (*together, piece))
        if together and (len(together) >= most or count > _MOST_TOGETHER):
            yield together
            together = []
        together.append(piece)
    yield together


def _split(model: TensorModel, pieces: list[Piece]) -> Sequences:
    widths = [column_scores.size for _, column_scores in pieces]
    elements = Elements.side_by_side([elements for elements, _ in pieces], widths)
    column_scores = np.concatenate([column_scores for _, column_scores in pieces])
    return bands.split(model, elements, column_scores, widths)


def fit_indices(model: TensorModel, parts: list[Sequences], values: int) -> None:
    """Set the codes of the indices.

    Args:
        model: The model.
        parts: The sequences of all bands.
        values: The number of elements of the tensor.
    """
    halves = model.halves()
    model.codes = []
    for group in range(len(model.cuts) + 1):
        codes: list[SymbolCode | None] = []
        for half, size in enumerate(halves):
            if size == 1:
                codes.append(None)
                continue
            indices = [part.indices[group][half] for part in parts]
            counts = np.zeros(size, np.int64)
            for each in indices:
                counts += np.bincount(each.values, minlength=size)
            sequences = itertools.chain.from_iterable(each.each() for each in indices)
            some = list(itertools.islice(sequences, _STAND_FOR_ALL))
            codes.append(SymbolCode.fit(some, counts, values))
        model.codes.append(codes)
