"""Tensors with models of all kinds, whether they fit well or not."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from keras_deepcomp.container import bands
from keras_deepcomp.container.dtypes import BY_NAME, ElementType
from keras_deepcomp.container.grid import NEAR, WIDE, Grid
from keras_deepcomp.container.matrix import Elements, Matrix
from keras_deepcomp.container.model import TensorModel
from keras_deepcomp.container.runs import Likelihood
from keras_deepcomp.container.symbols import SymbolCode


@dataclass
class Case:
    """A tensor, and a model under which it can be coded."""

    element: ElementType
    shape: tuple[int, ...]
    patterns: Any
    model: TensorModel

    @property
    def matrix(self):
        return Matrix.of(self.shape, self.model.transposed)

    @property
    def view(self):
        return self.matrix.view(self.patterns)

    def split(self, columns=slice(None)):
        """Return the sequences of some of the matrix's columns."""
        elements = Elements.of(self.view[:, columns], self.model.sparse)
        return bands.split(self.model, elements, self.model.column_scores[columns])

    def read(self, reader, columns):
        """Return the patterns of all elements as read from a band, and what it costs."""
        flat = np.zeros_like(self.patterns)
        cost = bands.read(self.model, reader, self.matrix, columns, flat)
        return self.matrix.view(flat), cost


def random_code(random, symbols, values):
    """Return a code for this many symbols that fits nothing in particular."""
    counts = random.integers(0, 50, symbols) ** random.integers(1, 4)
    return SymbolCode.fit([random.integers(0, symbols, 30)], counts, values)


def grids_of(matrix):
    """Return all grids that a matrix may have."""
    return [
        Grid(matrix.rows, width, depth)
        for width in range(1, matrix.rows + 1)
        for depth in range(1, matrix.rows // width + 1)
        if Grid(matrix.rows, width, depth).is_allowed(matrix.columns)
    ]


@st.composite
def cases(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    element = BY_NAME[draw(st.sampled_from(["uint8", "int16", "float32", "uint64"]))]
    width = 8 * element.itemsize
    shape = draw(
        st.one_of(
            st.tuples(st.integers(1, 18), st.integers(1, 9)),
            st.tuples(st.integers(6, 18), st.integers(12, 24)),
            st.tuples(st.integers(2, 3), st.integers(3, 5), st.integers(12, 30)),
            st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5)),
            st.tuples(st.integers(1, 60)),
        )
    )
    several_axes = len(shape) > 1
    transposed = several_axes and draw(st.booleans())
    sparse = draw(st.sampled_from([True, True, False]))
    matrix = Matrix.of(shape, transposed)

    low_bits = draw(st.sampled_from([0, 0, 1, 7, 8, 13, 31]).filter(lambda bits: bits < width))
    zero_bits = draw(st.sampled_from([0, 0, 3, 7]).filter(lambda bits: bits + low_bits < width))
    head_bits = width - zero_bits - low_bits
    first = int(sparse and low_bits == 0)
    clusters = min(int(random.integers(1, 20)), (1 << head_bits) - first)
    book = set()
    while len(book) < clusters:
        book.add(max(first, int.from_bytes(random.bytes(8), "big") >> (64 - head_bits)))
    codebook = np.array(sorted(book), np.uint64).astype(element.pattern)

    row_scores = np.zeros(matrix.rows, np.int8)
    column_scores = np.zeros(matrix.columns, np.int8)
    lowest = -1 if sparse else 0
    if draw(st.booleans()):
        row_scores = random.integers(lowest, draw(st.sampled_from([1, 8])), matrix.rows, np.int8)
    if draw(st.booleans()):
        column_scores = random.integers(lowest, 4, matrix.columns, np.int8)
    grid = None
    possible = grids_of(matrix) if sparse and random.random() < 0.7 else []
    if possible:
        grid = draw(st.sampled_from(possible))
    one_class = not (transposed or grid or row_scores.any() or column_scores.any())
    model = TensorModel(
        zero_bits, low_bits, sparse, transposed, codebook, row_scores, column_scores, grid
    )
    model.count_lower_half(element)
    if grid is not None and 0 < model.lower_half < clusters and random.random() < 0.7:
        model.sign_neighbourhood = draw(st.sampled_from([NEAR, WIDE]))
        model.sign_classes = draw(st.integers(1, 8))
    if sparse:
        model.classes = 1 if one_class else draw(st.integers(1, 16))
    if not one_class:
        model.cuts = tuple(sorted(draw(st.sets(st.integers(1, 15), max_size=3))))

    values = codebook[random.integers(0, clusters, matrix.rows * matrix.columns)].astype(np.uint64)
    values = values << np.uint64(low_bits)
    if low_bits:
        values |= random.integers(int(sparse), 1 << low_bits, values.size).astype(np.uint64)
    values <<= np.uint64(zero_bits)
    table = values.astype(element.pattern).reshape(matrix.rows, matrix.columns)
    if sparse:
        density = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
        table[random.random(table.shape) >= density] = 0
        table[row_scores < 0] = 0
        table[:, column_scores < 0] = 0
    patterns = np.zeros(matrix.rows * matrix.columns, element.pattern)
    matrix.view(patterns)[:] = table

    if sparse:
        places = random.integers(-64, 64, model.classes)
        model.likelihoods = [Likelihood.at(int(place)) for place in places]
    if model.sign_neighbourhood is not None:
        places = random.integers(-64, 64, model.sign_classes)
        model.sign_likelihoods = [Likelihood.at(int(place)) for place in places]
    model.codes = [
        [random_code(random, half, patterns.size) if half > 1 else None for half in model.halves()]
        for _ in range(len(model.cuts) + 1)
    ]
    return Case(element, shape, patterns, model)
