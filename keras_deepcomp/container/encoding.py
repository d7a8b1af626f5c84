"""One tensor to blocks of bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp.container import bands, fitting, search
from keras_deepcomp.container.bits import BitWriter
from keras_deepcomp.container.dtypes import ElementType
from keras_deepcomp.container.huffman import MAX_SYMBOLS
from keras_deepcomp.container.lookup import Lookup
from keras_deepcomp.container.model import Matrix, TensorModel
from keras_deepcomp.container.search import Effort, Heads

# Elements looked at to choose low bits.
_SAMPLE = 1 << 18
_HEAD_BITS = 12

_Patterns = npt.NDArray[Any]


def encode(
    patterns: _Patterns, element: ElementType, shape: tuple[int, ...], effort: Effort
) -> list[bytes] | None:
    """Return a tensor in coded form.

    Args:
        patterns: The bit patterns, flat, of type `element.pattern`; not all are zero.
        element: The element type, which must be codable.
        shape: The tensor's shape.
        effort: What to try.

    Returns:
        The blocks, or None where the patterns as they are take less.
    """
    heads = _heads(patterns, element)
    if heads is None:
        return None
    model = search.best_model(patterns, element, shape, heads, effort)
    blocks = _code(model, patterns, element, shape)
    return blocks if sum(map(len, blocks)) < patterns.nbytes else None


def _code(
    model: TensorModel, patterns: _Patterns, element: ElementType, shape: tuple[int, ...]
) -> list[bytes]:
    """Return the blocks of a tensor under a model, which is completed here."""
    matrix = Matrix.of(shape, model.transposed)
    view = matrix.view(patterns)
    pieces = [(view[:, columns], model.column_scores[columns]) for columns in matrix.bands()]
    parts = fitting.complete(model, pieces, patterns.size)
    blocks = []
    writer = BitWriter()
    model.write(writer, element)
    for part in parts:
        bands.write(model, part, writer)
        blocks.append(writer.bits.tobytes())
        writer = BitWriter()
    return blocks


def _heads(patterns: _Patterns, element: ElementType) -> Heads | None:
    """Return how to cut the patterns, and the heads of all elements."""
    distinct, union = _distinct(patterns, 0)
    zero_bits = (union & -union).bit_length() - 1
    width = 8 * element.itemsize - zero_bits
    if distinct is None:
        low_bits = _best_low_bits(patterns, zero_bits, width, with_zero=False)
    elif distinct.size > 64 and 4 * distinct.size > patterns.size:
        # Many values for so few elements: perhaps they are better cut in two.
        low_bits = _best_low_bits(patterns, zero_bits, width, with_zero=True)
    else:
        low_bits = 0
    if low_bits:
        distinct, _ = _distinct(patterns, zero_bits + low_bits)
    elif distinct is not None:
        distinct = distinct >> _as(patterns, zero_bits)
    return None if distinct is None else Heads(zero_bits, low_bits, distinct)


def _as(patterns: _Patterns, value: int) -> Any:
    return patterns.dtype.type(value)


def _distinct(patterns: _Patterns, shift: int) -> tuple[_Patterns | None, int]:
    """Return the distinct patterns after a shift, and all bits that are set in any of them.

    The patterns are ascending, or None if they are too many for a codebook.
    """
    shifted = _as(patterns, shift)
    union = 0
    lookup: Lookup | None = Lookup(patterns[:1] >> shifted)
    for start in range(0, patterns.size, _SAMPLE):
        block = patterns[start : start + _SAMPLE]
        if not block.all():
            # Most often nearly all are zero, and zeros are soon dealt with.
            block = np.append(block[block != 0], _as(patterns, 0))
        block = block >> shifted
        union |= int(np.bitwise_or.reduce(block))
        if lookup is not None:
            new = lookup.others(block)
            if new.size:
                # Sorting is slow, and most often there is nothing new.
                lookup = Lookup(np.union1d(lookup.codebook, new))
            if lookup.codebook.size > MAX_SYMBOLS:
                lookup = None
    return (None if lookup is None else lookup.codebook), union


def _best_low_bits(patterns: _Patterns, zero_bits: int, width: int, with_zero: bool) -> int:
    """Return how many low bits leave heads whose entropy and table pay."""
    sample = patterns[:: max(1, patterns.size // _SAMPLE)]
    values = sample[sample != 0] >> _as(patterns, zero_bits)
    best, best_bits = width - 1, None
    candidates = [*range(max(0, width - _HEAD_BITS), width)]
    if with_zero and 0 not in candidates:
        candidates.insert(0, 0)
    for low_bits in candidates:
        heads = values >> _as(patterns, low_bits)
        counts = np.unique(heads, return_counts=True)[1].astype(np.int64)
        head_bits = width - low_bits
        # A codebook value takes about the bits between it and the next one.
        table = counts.size * (6 + max(0, head_bits - int(counts.size).bit_length()))
        bits = int(fitting.entropy_bits(counts)) + values.size * low_bits
        # What stands for all is scaled up to all; the table is not.
        bits = bits * patterns.size // sample.size + table
        if best_bits is None or bits < best_bits:
            best, best_bits = low_bits, bits
    return best
