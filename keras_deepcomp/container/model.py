"""What a file says of a tensor before its elements: codebook, classes of elements, codes."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp.container import grid as grids
from keras_deepcomp.container import scores
from keras_deepcomp.container.bits import BitReader, BitWriter, golomb_bits
from keras_deepcomp.container.dtypes import ElementType
from keras_deepcomp.container.errors import damaged
from keras_deepcomp.container.grid import Grid, Neighbourhood
from keras_deepcomp.container.huffman import MAX_SYMBOLS
from keras_deepcomp.container.lookup import Lookup
from keras_deepcomp.container.matrix import Matrix
from keras_deepcomp.container.runs import Likelihood, read_likelihoods, write_likelihoods
from keras_deepcomp.container.scores import Live, Scores
from keras_deepcomp.container.symbols import SymbolCode

SIGN_CLASSES = 8
MAX_GROUPS = 4
NEIGHBOURHOODS: tuple[Neighbourhood, ...] = (grids.NEAR, grids.WIDE)
_WIDTH_ORDER = 3


@dataclass
class TensorModel:
    """How the elements of a tensor are coded.

    An element's pattern has, from the top: a head, which is in the codebook, `low_bits` bits that
    are stored as they are, and `zero_bits` bits that are zero in all elements.

    Attributes:
        zero_bits: Bits at the lower end of all patterns that are zero.
        low_bits: Bits above those that are stored as they are.
        sparse: Whether zeros are left out: only the other elements then have a head.
        transposed: Whether the matrix is transposed.
        codebook: The heads, ascending, shape (clusters,).
        row_scores: A score for each row of the matrix.
        column_scores: A score for each column.
        grid: How the rows lie in a grid, or None.
        classes: The number of classes of elements; higher sums are in the last one.
        likelihoods: Of a non-zero element, for each class; only if sparse.
        sign_neighbourhood: Whose signs predict an element's sign; None if signs are part of the
            index. Only with a grid.
        lower_half: How many codebook values have the sign bit clear.
        sign_classes: The number of classes of signs likewise.
        sign_likelihoods: Of a wrong prediction, for each number of votes.
        cuts: The classes at which another group begins, ascending.
        codes: For each group, the codes of the indices: one, or with a `sign_neighbourhood` one
            for each half of the codebook. None stands for an alphabet of one symbol.
        codebook_bits: Bits of the codebook in the file, set by `read`.
    """

    zero_bits: int
    low_bits: int
    sparse: bool
    transposed: bool
    codebook: npt.NDArray[Any]
    row_scores: Scores
    column_scores: Scores
    grid: Grid | None = None
    classes: int = scores.CLASSES
    likelihoods: list[Likelihood] = field(default_factory=list)
    sign_neighbourhood: Neighbourhood | None = None
    lower_half: int = 0
    sign_classes: int = SIGN_CLASSES
    sign_likelihoods: list[Likelihood] = field(default_factory=list)
    cuts: tuple[int, ...] = ()
    codes: list[list[SymbolCode | None]] = field(default_factory=list)
    codebook_bits: int = 0

    def count_lower_half(self, element: ElementType) -> None:
        """Set `lower_half`."""
        sign_bit = 8 * element.itemsize - 1 - self.zero_bits - self.low_bits
        sign = (self.codebook >> self.codebook.dtype.type(sign_bit)) & self.codebook.dtype.type(1)
        self.lower_half = int(np.count_nonzero(sign == 0))

    def heads_of(self, patterns: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the heads of patterns, of the patterns' type."""
        return patterns >> patterns.dtype.type(self.zero_bits + self.low_bits)

    @functools.cached_property
    def live_rows(self) -> Live:
        """The rows that are not dead."""
        return Live.of(self.row_scores)

    @functools.cached_property
    def lookup(self) -> Lookup:
        """From heads to indices."""
        return Lookup(self.codebook)

    def largest_patterns(self) -> npt.NDArray[Any]:
        """Return the largest pattern of each codebook value, shape (clusters,)."""
        of_type = self.codebook.dtype.type
        heads = self.codebook << of_type(self.low_bits) | of_type((1 << self.low_bits) - 1)
        return heads << of_type(self.zero_bits)

    def halves(self) -> list[int]:
        """Return how many codebook values are in each half; a single one if signs are not apart."""
        if self.sign_neighbourhood is None:
            return [self.codebook.size]
        return [self.lower_half, self.codebook.size - self.lower_half]

    def write(self, writer: BitWriter, element: ElementType) -> None:
        """Write everything."""
        width = _width_bits(element)
        whole_patterns = self.zero_bits == self.low_bits == 0
        writer.number(not whole_patterns, 1)
        if not whole_patterns:
            writer.number(self.zero_bits, width)
            writer.number(self.low_bits, width)
        writer.number(self.sparse, 1)
        _write_codebook(self.codebook, writer, width)
        one_class = (
            self.grid is None
            and not self.transposed
            and not scores.has_scores(self.row_scores)
            and not scores.has_scores(self.column_scores)
        )
        writer.number(not one_class, 1)
        if not one_class:
            writer.number(self.transposed, 1)
            writer.number(self.grid is not None, 1)
            if self.grid is not None:
                writer.golomb(self.grid.width - 1, _WIDTH_ORDER)
                writer.golomb(self.grid.depth - 1, _WIDTH_ORDER)
            scores.write(self.row_scores, writer)
            scores.write(self.column_scores, writer)
        if self.sparse:
            if not one_class:
                writer.number(len(self.likelihoods) - 1, 4)
            write_likelihoods(self.likelihoods, writer)
        if self.grid is not None:
            writer.number(self.sign_neighbourhood is not None, 1)
            if self.sign_neighbourhood is not None:
                writer.number(NEIGHBOURHOODS.index(self.sign_neighbourhood), 1)
                writer.number(len(self.sign_likelihoods) - 1, 3)
                write_likelihoods(self.sign_likelihoods, writer)
        if not one_class:
            writer.number(len(self.cuts), 2)
        for cut in self.cuts:
            writer.number(cut, 4)
        for codes in self.codes:
            for code in codes:
                if code is not None:
                    code.write(writer)

    @classmethod
    def read(
        cls, reader: BitReader, element: ElementType, shape: tuple[int, ...], blocks: int
    ) -> TensorModel:
        """Read what `write` wrote, for a tensor of this type and shape, in so many blocks.

        Raises:
            FormatError: It breaks a rule of the format.
        """
        width = _width_bits(element)
        zero_bits = low_bits = 0
        if reader.flag():
            zero_bits, low_bits = reader.number(width), reader.number(width)
            if zero_bits == low_bits == 0:
                raise damaged(f"{reader.what} cuts patterns where it does not")
        head_bits = 8 * element.itemsize - zero_bits - low_bits
        if head_bits < 1:
            raise damaged(f"{reader.what} has patterns without a head")
        sparse = reader.flag()
        before = reader.position
        codebook = _read_codebook(reader, width, head_bits).astype(element.pattern)
        codebook_bits = reader.position - before
        if sparse and low_bits == 0 and codebook[0] == 0:
            raise damaged(f"{reader.what} has zero in a codebook of other values")
        several_classes = reader.flag()
        transposed = several_classes and reader.flag()
        matrix = Matrix.of(shape, transposed)
        if blocks != matrix.band_count:
            needed = matrix.band_count
            raise damaged(f"{reader.what} has {blocks:,} blocks, and its shape needs {needed:,}")
        grid = None
        if several_classes and reader.flag():
            grid = Grid(
                matrix.rows, reader.golomb(_WIDTH_ORDER) + 1, reader.golomb(_WIDTH_ORDER) + 1
            )
            if not sparse or not grid.is_allowed(matrix.columns):
                raise damaged(f"{reader.what} has a grid where none can be")
        row_scores = scores.no_scores(matrix.rows)
        column_scores = scores.no_scores(matrix.columns)
        if several_classes:
            row_scores = scores.read(reader, matrix.rows)
            column_scores = scores.read(reader, matrix.columns)
            scored = [lines for lines in (row_scores, column_scores) if scores.has_scores(lines)]
            if not (transposed or grid is not None or scored):
                raise damaged(f"{reader.what} claims several classes and has none")
            for lines in scored:
                if not sparse and (lines < 0).any():
                    raise damaged(f"{reader.what} has lines without elements in a dense tensor")
        model = cls(
            zero_bits, low_bits, sparse, transposed, codebook, row_scores, column_scores, grid
        )
        model.codebook_bits = codebook_bits
        if sparse:
            model.classes = reader.number(4) + 1 if several_classes else 1
            model.likelihoods = read_likelihoods(reader, model.classes)
        if grid is not None and reader.flag():
            model.sign_neighbourhood = NEIGHBOURHOODS[reader.number(1)]
            model.sign_classes = reader.number(3) + 1
            model.sign_likelihoods = read_likelihoods(reader, model.sign_classes)
        model.count_lower_half(element)
        halves = model.halves()
        if 0 in halves:
            raise damaged(f"{reader.what} has signs apart, and all signs are the same")
        if several_classes:
            model.cuts = tuple(reader.number(4) for _ in range(reader.number(2)))
        if any(b <= a for a, b in zip((0, *model.cuts), model.cuts, strict=False)):
            raise damaged(f"{reader.what} has groups that are not ascending")
        values = matrix.rows * matrix.columns
        model.codes = [
            [SymbolCode.read(reader, half, values) if half > 1 else None for half in halves]
            for _ in range(len(model.cuts) + 1)
        ]
        return model


def _width_bits(element: ElementType) -> int:
    """Return how many bits hold a number of bits of a pattern, itself excluded."""
    return (8 * element.itemsize - 1).bit_length()


def _write_codebook(codebook: npt.NDArray[Any], writer: BitWriter, width: int) -> None:
    steps = np.append(codebook[:1], np.diff(codebook) - codebook.dtype.type(1))
    # The best order is near the bits of a step in the middle.
    middle = int(np.sort(steps)[steps.size // 2]).bit_length()
    orders = range(max(0, middle - 4), min(middle + 4, 1 << width))
    order = min(orders, key=lambda order: golomb_bits(steps, order))
    writer.golomb(steps.size - 1, 3)
    writer.number(order, width)
    writer.golombs(steps, order)


def _read_codebook(reader: BitReader, width: int, head_bits: int) -> npt.NDArray[np.uint64]:
    clusters = reader.golomb(3) + 1
    order = reader.number(width)
    # Each value takes at least a bit; checked before memory is taken.
    if clusters > min(MAX_SYMBOLS, reader.remaining):
        raise damaged(f"{reader.what} has a codebook of {clusters:,} values")
    values, value = [], -1
    for _ in range(clusters):
        value += reader.golomb(order) + 1
        values.append(value)
    if value >> head_bits:
        raise damaged(f"{reader.what} has a codebook value that is too large")
    return np.array(values, np.uint64)
