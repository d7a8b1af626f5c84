"""The elements of a band of a matrix's columns as sequences, and back.

A band is coded on its own: nothing in it depends on other bands, so bands bound the memory that
coding takes, and can be coded side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp.container import runs, symbols
from keras_deepcomp.container.bits import BitReader, BitWriter
from keras_deepcomp.container.errors import damaged
from keras_deepcomp.container.grid import WIDE, Dealer, Grid, votes_of
from keras_deepcomp.container.matrix import Elements, Matrix
from keras_deepcomp.container.model import TensorModel
from keras_deepcomp.container.runs import BitSequences, Likelihood
from keras_deepcomp.container.scores import FixedClasses, Lines, Scores

_Ints = npt.NDArray[np.int64]
_Patterns = npt.NDArray[Any]

_NONE = BitSequences.of([], [])


@dataclass(frozen=True)
class Indices:
    """Codebook indices, band after band.

    Attributes:
        values: The indices, shape (n,).
        counts: How many each band has.
    """

    values: npt.NDArray[np.integer]
    counts: list[int]

    def each(self) -> list[npt.NDArray[np.integer]]:
        """Return the indices of each band."""
        return np.split(self.values, np.cumsum(self.counts)[:-1])


@dataclass
class Sequences:
    """All that the bits of a few neighbouring bands say, apart from how they say it.

    Attributes:
        values: How many values each band has.
        filled: For each band and class, which elements are not zero; empty if not sparse.
        wrong_signs: For each band and number of votes, where the sign is not the predicted one.
        indices: For each group and each half of the codebook, the indices.
        low: The low bits of each value, band after band, shape (values,).
    """

    values: list[int]
    filled: BitSequences = _NONE
    wrong_signs: BitSequences = _NONE
    indices: list[list[Indices]] = field(default_factory=list)
    low: _Patterns | None = None


@dataclass(frozen=True)
class _Values:
    """What is known of a band's values in coding order.

    Attributes:
        classes: Their classes, or None where all are in one group.
        rows: Their rows in the matrix; only with a grid.
        columns: Their live column numbers; only with a grid.
    """

    classes: npt.NDArray[np.integer] | None
    rows: npt.NDArray[np.integer] | None = None
    columns: npt.NDArray[np.integer] | None = None


def are_separate(model: TensorModel) -> bool:
    """Return whether bands can only be split one by one."""
    return not model.sparse or model.grid is not None


def split(
    model: TensorModel, elements: Elements, column_scores: Scores, widths: Sequence[int] = ()
) -> Sequences:
    """Return the sequences of a band, or of a few neighbouring ones unless they are separate.

    Many bands are narrow and have few elements, and each step takes some time however few there
    are, most of all while other threads want to take steps as well.

    Args:
        model: The model; its likelihoods and codes are not needed yet.
        elements: The elements that have a value, band after band.
        column_scores: The scores of all bands' columns.
        widths: How many columns each band has, if there are several.

    Returns:
        The sequences.
    """
    sequences = Sequences([elements.patterns.size])
    lines = Lines.of(model.live_rows, column_scores)
    patterns = elements.patterns
    if not model.sparse:
        values = _Values(_dense_classes(model, lines))
    elif model.grid is None:
        values = _split_fixed(sequences, elements, lines, model, widths)
    else:
        values, order = _split_grid(sequences, elements, lines, model.grid, model.classes)
        patterns = patterns[order]
    if model.low_bits:
        mask = (1 << model.low_bits) - 1
        sequences.low = (patterns >> _as(patterns, model.zero_bits)) & _as(patterns, mask)
    indices = model.lookup.indices(model.heads_of(patterns))
    lower = model.lower_half
    if model.sign_neighbourhood is not None and model.grid is not None:
        _split_signs(sequences, values, indices >= lower, lines, model)
    groups = _groups(model, values)
    for group in range(len(model.cuts) + 1):
        own = indices if groups is None else indices[groups == group]
        if model.sign_neighbourhood is None:
            sequences.indices.append([Indices(own, _counts(sequences, model, group, own.size))])
        else:
            upper = own >= lower
            halves = own[~upper], own[upper] - lower
            sequences.indices.append([Indices(half, [half.size]) for half in halves])
    return sequences


def _counts(sequences: Sequences, model: TensorModel, group: int, count: int) -> list[int]:
    """Return how many of the elements of a group each band has, of `count` in all."""
    if len(sequences.values) == 1:
        return [count]
    first, end = (0, *model.cuts)[group], (*model.cuts, model.classes)[group]
    of_classes = sequences.filled.counts.reshape(-1, model.classes)[:, first:end]
    return of_classes.sum(axis=1).tolist()


def _as(patterns: _Patterns, value: int) -> Any:
    return patterns.dtype.type(value)


def _dense_classes(model: TensorModel, lines: Lines) -> npt.NDArray[np.integer] | None:
    if not model.cuts:
        return None
    return np.minimum(lines.sums(), model.classes - 1).reshape(-1)


def _groups(model: TensorModel, values: _Values) -> npt.NDArray[np.integer] | None:
    if not model.cuts:
        return None
    assert values.classes is not None
    of_class = np.searchsorted(np.array(model.cuts), np.arange(model.classes), side="right")
    return of_class.astype(np.uint8)[values.classes]


def _split_fixed(
    sequences: Sequences,
    elements: Elements,
    lines: Lines,
    model: TensorModel,
    widths: Sequence[int],
) -> _Values:
    fixed = FixedClasses(lines, model.classes, widths)
    sequences.filled, of_elements = fixed.sequences(elements.rows, elements.columns)
    if len(widths) > 1:
        sequences.values = sequences.filled.counts.reshape(len(widths), -1).sum(axis=1).tolist()
        of_elements %= np.int8(model.classes)
    return _Values(of_elements if model.cuts else None)


def _split_grid(
    sequences: Sequences, elements: Elements, lines: Lines, grid: Grid, classes: int
) -> tuple[_Values, npt.NDArray[np.integer]]:
    """Return the values, and the elements in coding order."""
    rows = _in_steps(grid, lines)
    columns = lines.columns.numbers(elements.columns)
    # The number of each element from 1; what has none, or is past the last row, is zero.
    numbers = np.zeros((grid.rows + 1, lines.shape[1]), np.int32)
    numbers[elements.rows, columns] = np.arange(1, elements.rows.size + 1)
    votes = grid.votes((numbers != 0).astype(np.int8), rows, WIDE)
    sums = _row_scores(grid, lines)[rows, np.newaxis] + votes + lines.columns.scores
    class_of = np.minimum(sums, classes - 1).reshape(-1)
    number_of = numbers[rows].reshape(-1)
    is_filled = number_of != 0
    inside = [is_filled[class_of == number] for number in range(classes)]
    sequences.filled = _sequences(inside)
    places = np.flatnonzero(is_filled)
    return _grid_values(lines, rows, places, class_of[places]), number_of[places] - 1


def _sequences(bits: list[npt.NDArray[np.bool_]]) -> BitSequences:
    return BitSequences.of([np.flatnonzero(own) for own in bits], [own.size for own in bits])


def _in_steps(grid: Grid, lines: Lines) -> npt.NDArray[np.integer]:
    """Return the live rows in coding order."""
    return lines.rows.lines[np.argsort(grid.step_of_row[lines.rows.lines], kind="stable")]


def _row_scores(grid: Grid, lines: Lines) -> Scores:
    """Return the scores by row of the matrix; those of dead rows do not matter."""
    by_row = np.zeros(grid.rows, np.int8)
    by_row[lines.rows.lines] = lines.rows.scores
    return by_row


def _grid_values(
    lines: Lines, rows: npt.NDArray[np.integer], places: _Ints, classes: npt.NDArray[np.integer]
) -> _Values:
    at, columns = np.divmod(places, max(lines.shape[1], 1))
    return _Values(classes, rows[at], columns)


def _split_signs(
    sequences: Sequences,
    values: _Values,
    is_upper: npt.NDArray[np.bool_],
    lines: Lines,
    model: TensorModel,
) -> None:
    grid, neighbourhood = model.grid, model.sign_neighbourhood
    assert grid is not None and neighbourhood is not None
    assert values.rows is not None and values.columns is not None
    signs = np.zeros((grid.rows + 1, lines.shape[1]), np.int8)
    signs[values.rows, values.columns] = np.where(is_upper, -1, 1)
    votes = grid.votes_at(signs, values.rows, values.columns, neighbourhood)
    wrong = is_upper != (votes < 0)
    strength = np.minimum(np.abs(votes), model.sign_classes - 1)
    inside = [wrong[strength == number] for number in range(model.sign_classes)]
    sequences.wrong_signs = _sequences(inside)


def write(model: TensorModel, sequences: Sequences, writers: Sequence[BitWriter]) -> None:
    """Write the sequences of bands in the codes of a complete model, each band to its writer."""
    for group, likelihoods in (
        (sequences.filled, model.likelihoods),
        (sequences.wrong_signs, model.sign_likelihoods),
    ):
        if likelihoods:
            runs.encode(group, likelihoods, writers)
    for indices, codes in zip(sequences.indices, model.codes, strict=True):
        for half, code in zip(indices, codes, strict=True):
            if code is not None:
                symbols.encode(half.values, half.counts, code, writers)
    if sequences.low is not None:
        parts = np.split(sequences.low, np.cumsum(sequences.values)[:-1])
        for part, writer in zip(parts, writers, strict=True):
            _write_low(part, model.low_bits, writer)


def _write_low(low: _Patterns, width: int, writer: BitWriter) -> None:
    """Write the bits that do not fill a byte plane by plane, then byte by byte, from the top."""
    for bit in range(width - 1, width // 8 * 8 - 1, -1):
        writer.append((low >> _as(low, bit)) & _as(low, 1))
    for byte in range(width // 8 - 1, -1, -1):
        writer.append_bytes((low >> _as(low, 8 * byte)).astype(np.uint8))


@dataclass(frozen=True)
class Cost:
    """Bits by what they say; how many elements have a value, and how many are not zero."""

    places: int = 0
    signs: int = 0
    indices: int = 0
    low: int = 0
    values: int = 0
    nonzero: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.places + other.places,
            self.signs + other.signs,
            self.indices + other.indices,
            self.low + other.low,
            self.values + other.values,
            self.nonzero + other.nonzero,
        )


def read(
    model: TensorModel, reader: BitReader, matrix: Matrix, columns: slice, flat: _Patterns | None
) -> Cost:
    """Read a band.

    Args:
        model: The model.
        reader: The cursor, at the band.
        matrix: The matrix.
        columns: The band's columns.
        flat: Where to write the patterns: those of the whole tensor, flat, those of the band all
            zero; None to look at them only.

    Returns:
        What the band costs.

    Raises:
        FormatError: The bits break a rule of the format.
    """
    count = matrix.rows * (columns.stop - columns.start)
    if not model.sparse and model.codebook.size == 1 and model.low_bits == 0:
        return _fill(model, matrix, columns, flat, count)
    start = reader.position
    elements = is_upper = None
    if model.sparse:
        rare = _read_runs(model.likelihoods, reader, count)
        inverted = any(likelihood.inverted for likelihood in model.likelihoods)
        if not inverted and not any(places.size for places in rare) and not model.sign_likelihoods:
            # An empty band takes next to no bits, and so it must take next to no time.
            return Cost(places=reader.position - start)
        lines = Lines.of(model.live_rows, model.column_scores[columns])
        values, elements = _places(model, reader, lines, rare)
        count = elements.size
    else:
        lines = Lines.of(model.live_rows, model.column_scores[columns])
        values = _Values(_dense_classes(model, lines))
    after_places = reader.position
    if model.sign_neighbourhood is not None:
        is_upper = _read_signs(model, reader, lines, values)
    after_signs = reader.position
    indices = _read_indices(model, reader, values, count, is_upper)
    after_indices = reader.position
    patterns = (model.codebook << _as(model.codebook, model.low_bits + model.zero_bits))[indices]
    if model.low_bits:
        low = _read_low(reader, count, model.low_bits)
        patterns |= low.astype(patterns.dtype) << _as(patterns, model.zero_bits)
    if model.sparse and model.low_bits and not patterns.all():
        raise damaged(f"{reader.what} has a zero among its other values")
    if flat is not None:
        if elements is None:
            matrix.view(flat)[:, columns] = patterns.reshape(matrix.rows, -1)
        else:
            flat[matrix.flat_indices(elements, columns)] = patterns
    return Cost(
        after_places - start,
        after_signs - after_places,
        after_indices - after_signs,
        reader.position - after_indices,
        count,
        count if model.sparse else int(np.count_nonzero(patterns)),
    )


def _fill(
    model: TensorModel, matrix: Matrix, columns: slice, flat: _Patterns | None, count: int
) -> Cost:
    """Read a band of a constant tensor, which takes no bits, and so must take little time."""
    (pattern,) = model.codebook << _as(model.codebook, model.zero_bits)
    if flat is not None:
        matrix.view(flat)[:, columns] = pattern
    return Cost(values=count, nonzero=count if pattern else 0)


def _read_runs(likelihoods: list[Likelihood], reader: BitReader, most: int) -> list[_Ints]:
    """Return the places of the rarer bits in each class's sequence; `most` elements in all."""
    rare = []
    for likelihood in likelihoods:
        places = runs.decode(reader, most, likelihood)
        most -= places.size
        rare.append(places)
    return rare


def _places(
    model: TensorModel, reader: BitReader, lines: Lines, rare: list[_Ints]
) -> tuple[_Values, _Ints]:
    """Return the values, and their flat indices in the band."""
    size = model.row_scores.size * lines.width
    if model.grid is not None:
        values = _place_grid(model, reader, lines, rare)
        assert values.rows is not None and values.columns is not None
        return values, values.rows * lines.width + lines.columns.lines[values.columns]
    fixed = FixedClasses(lines, model.classes)
    totals = fixed.totals
    if any(places.size and places[-1] >= end for places, end in zip(rare, totals, strict=True)):
        raise damaged(f"{reader.what} has an entry past its last element")
    ones = BitSequences.of(rare, totals).rarer(model.likelihoods)
    unsorted, classes = fixed.elements(ones)
    # The class of each element from 1, where it is not zero.
    class_at = np.zeros(size, np.int8)
    class_at[unsorted] = classes + np.int8(1)
    elements = np.flatnonzero(class_at != 0)
    return _Values(class_at[elements] - np.int8(1) if model.cuts else None), elements


def _place_grid(model: TensorModel, reader: BitReader, lines: Lines, rare: list[_Ints]) -> _Values:
    grid = model.grid
    assert grid is not None
    inverted = [likelihood.inverted for likelihood in model.likelihoods]
    dealer = Dealer(rare, inverted, reader.what)
    rows = _in_steps(grid, lines)
    row_scores = _row_scores(grid, lines)[rows]
    filled = np.zeros((grid.rows + 1, lines.shape[1]), np.int8)
    class_of = np.empty((rows.size, lines.shape[1]), np.int8)
    ends = np.flatnonzero(np.diff(grid.step_of_row[rows], append=-1)) + 1
    neighbours = grid.neighbours(rows)
    start = 0
    for end in ends.tolist():
        own = rows[start:end]
        sums = votes_of(filled, [each[start:end] for each in neighbours], WIDE)
        sums += row_scores[start:end, np.newaxis]
        sums += lines.columns.scores
        classes = np.minimum(sums, model.classes - 1)
        class_of[start:end] = classes
        filled[own] = dealer.deal(classes.reshape(-1)).reshape(classes.shape)
        start = end
    dealer.finish()
    places = np.flatnonzero(filled[rows])
    return _grid_values(lines, rows, places, class_of.reshape(-1)[places])


def _read_signs(
    model: TensorModel, reader: BitReader, lines: Lines, values: _Values
) -> npt.NDArray[np.bool_]:
    grid, neighbourhood = model.grid, model.sign_neighbourhood
    assert grid is not None and neighbourhood is not None
    assert values.rows is not None and values.columns is not None
    count = values.rows.size
    rare = _read_runs(model.sign_likelihoods, reader, count)
    inverted = [likelihood.inverted for likelihood in model.sign_likelihoods]
    dealer = Dealer(rare, inverted, reader.what)
    signs = np.zeros((grid.rows + 1, lines.shape[1]), np.int8)
    is_upper = np.empty(count, bool)
    ends = np.flatnonzero(np.diff(grid.step_of_row[values.rows], append=-1)) + 1
    neighbours = grid.neighbours(values.rows)
    start = 0
    for end in ends.tolist() if count else []:
        rows, columns = values.rows[start:end], values.columns[start:end]
        own = [each[start:end] for each in neighbours]
        votes = votes_of(signs, own, neighbourhood, columns)
        strength = np.minimum(np.abs(votes), model.sign_classes - 1)
        upper = (dealer.deal(strength) != 0) != (votes < 0)
        is_upper[start:end] = upper
        signs[rows, columns] = np.where(upper, -1, 1)
        start = end
    dealer.finish()
    return is_upper


def _read_indices(
    model: TensorModel,
    reader: BitReader,
    values: _Values,
    count: int,
    is_upper: npt.NDArray[np.bool_] | None,
) -> npt.NDArray[np.uint16]:
    groups = _groups(model, values)
    indices = np.zeros(count, np.uint16)
    for group, codes in enumerate(model.codes):
        inside = None if groups is None else groups == group
        for half, code in enumerate(codes):
            chosen = inside
            if is_upper is not None:
                own = is_upper if half else ~is_upper
                chosen = own if inside is None else inside & own
            offset = model.lower_half if half else 0
            if chosen is None:
                if code is not None:
                    indices = symbols.decode(reader, indices.size, code)
                continue
            inside_count = int(np.count_nonzero(chosen))
            own_indices = np.zeros(inside_count, np.uint16)
            if code is not None:
                own_indices = symbols.decode(reader, inside_count, code)
            indices[chosen] = own_indices + np.uint16(offset)
    return indices


def _read_low(reader: BitReader, count: int, width: int) -> npt.NDArray[np.uint64]:
    if count * width > reader.remaining:
        raise damaged(f"{reader.what} ends before its last low bits")
    low = np.zeros(count, np.uint64)
    for _ in range(width % 8):
        low = low << np.uint64(1) | reader.array(count)
    for _ in range(width // 8):
        low = low << np.uint64(8) | reader.byte_array(count)
    return low
