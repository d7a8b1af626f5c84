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
from keras_deepcomp.container.matrix import Matrix
from keras_deepcomp.container.model import TensorModel
from keras_deepcomp.container.search import Effort, Heads, Tensor

# Elements looked at to choose low bits.
_SAMPLE = 1 << 18
_HEAD_BITS = 12
# Elements looked at together for distinct values: first a few that have most of them, then so many
# as the cache holds.
_FIRST_LOOK, _MOST_LOOKED_AT = 1 << 12, 1 << 16

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
    matrix = search.matrices(shape)[0]
    nonzeros = matrix.nonzeros(patterns)
    values = [band.patterns for band in nonzeros]
    zeros = patterns.size - sum(part.size for part in values)
    heads = _heads(patterns, values, zeros > 0, element)
    if heads is None:
        return None
    tensor = Tensor(patterns, matrix, nonzeros, zeros, element, shape, heads)
    model = search.best_model(tensor, effort)
    blocks = _code(model, tensor)
    return blocks if sum(map(len, blocks)) < patterns.nbytes else None


def _code(model: TensorModel, tensor: Tensor) -> list[bytes]:
    """Return the blocks of a tensor under a model, which is completed here."""
    matrix = Matrix.of(tensor.shape, model.transposed)
    scores = [model.column_scores[columns] for columns in matrix.bands()]
    pieces = list(zip(tensor.bands(matrix, model.sparse), scores, strict=True))
    parts = fitting.complete(model, pieces, matrix.size)
    head = BitWriter()
    model.write(head, tensor.element)
    blocks: list[bytes] = []
    for part in parts:
        writers = [BitWriter() for _ in part.values]
        if not blocks:
            writers[0] = head
        bands.write(model, part, writers)
        blocks += [writer.bits.tobytes() for writer in writers]
    return blocks


def _heads(
    patterns: _Patterns, parts: list[_Patterns], with_zero: bool, element: ElementType
) -> Heads | None:
    """Return how to cut the patterns, and the heads that occur.

    Args:
        patterns: The patterns, flat.
        parts: Those that are not zero, in any order.
        with_zero: Whether there are zeros besides.
        element: The element type.
    """
    union = int(np.bitwise_or.reduce([np.bitwise_or.reduce(part) for part in parts]))
    zero_bits = (union & -union).bit_length() - 1
    width = 8 * element.itemsize - zero_bits
    distinct = _distinct(parts, zero_bits)
    if distinct is None:
        low_bits = _best_low_bits(patterns[patterns != 0], zero_bits, width, whole_too=False)
    elif distinct.size > 64 and 4 * distinct.size > sum(part.size for part in parts):
        # Many values for so few elements: perhaps they are better cut in two.
        low_bits = _best_low_bits(patterns[patterns != 0], zero_bits, width, whole_too=True)
    else:
        low_bits = 0
    if low_bits:
        distinct = _distinct(parts, zero_bits + low_bits)
    if distinct is None:
        return None
    if with_zero and distinct[0] != 0:
        distinct = np.append(_as(distinct, 0), distinct)
    return Heads(zero_bits, low_bits, distinct)


def _as(patterns: _Patterns, value: int) -> Any:
    return patterns.dtype.type(value)


def _distinct(parts: list[_Patterns], low_bits: int) -> _Patterns | None:
    """Return the distinct values without low bits, or None if too many for a codebook."""
    shift = _as(parts[0], low_bits)
    lookup = Lookup(np.concatenate([part[:1] for part in parts])[:1] >> shift)
    size = _FIRST_LOOK
    for part in parts:
        start = 0
        while start < part.size:
            new = lookup.others(part[start : start + size] >> shift)
            start += size
            size = min(2 * size, _MOST_LOOKED_AT)
            if new.size:
                # Sorting is slow, and most often there is nothing new.
                lookup = Lookup(np.union1d(lookup.codebook, new))
            if lookup.codebook.size > MAX_SYMBOLS:
                return None
    return lookup.codebook


def _best_low_bits(values: _Patterns, zero_bits: int, width: int, whole_too: bool) -> int:
    """Return how many low bits leave heads whose entropy and table pay."""
    sample = values[:: max(1, values.size // _SAMPLE)] >> _as(values, zero_bits)
    best, best_bits = width - 1, None
    candidates = [*range(max(0, width - _HEAD_BITS), width)]
    if whole_too and 0 not in candidates:
        candidates.insert(0, 0)
    for low_bits in candidates:
        heads = sample >> _as(values, low_bits)
        counts = np.unique(heads, return_counts=True)[1].astype(np.int64)
        head_bits = width - low_bits
        # A codebook value takes about the bits between it and the next one.
        table = counts.size * (6 + max(0, head_bits - int(counts.size).bit_length()))
        bits = int(fitting.entropy_bits(counts)) + sample.size * low_bits
        # What stands for all is scaled up to all; the table is not.
        bits = bits * values.size // sample.size + table
        if best_bits is None or bits < best_bits:
            best, best_bits = low_bits, bits
    return best
