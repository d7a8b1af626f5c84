"""The blocks of one tensor back to its bit patterns."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp.container import bands, threads
from keras_deepcomp.container.bits import BitReader
from keras_deepcomp.container.directory import CODED, RAW, Record
from keras_deepcomp.container.dtypes import ElementType
from keras_deepcomp.container.errors import damaged
from keras_deepcomp.container.info import TensorInfo
from keras_deepcomp.container.matrix import Matrix
from keras_deepcomp.container.model import TensorModel

_Patterns = npt.NDArray[Any]

# Bytes of bands that are more work than threads are.
_WORTH_THREADS = 1 << 16


def decode(record: Record, blocks: Iterator[memoryview], patterns: _Patterns | None) -> TensorInfo:
    """Decode a tensor.

    Args:
        record: What the directory says of it.
        blocks: Its blocks.
        patterns: Where to write the bit patterns, flat, of type `element.pattern`, all zero; None
            to look at them only.

    Returns:
        The tensor's description.

    Raises:
        FormatError: The blocks break a rule of the format.
    """
    info = TensorInfo(
        name=record.name,
        dtype=record.element.name,
        shape=record.shape,
        size=record.size,
        decoded_bytes=record.decoded_bytes,
        coding="raw" if record.coding == RAW else "coded",
        record_bytes=record.stored_bytes,
        nonzero=0,
    )
    if record.coding == RAW:
        return _read_raw(record, blocks, patterns, info)
    if record.coding == CODED:
        return _read_coded(record, blocks, patterns, info)
    return info


def _read_raw(
    record: Record, blocks: Iterator[memoryview], patterns: _Patterns | None, info: TensorInfo
) -> TensorInfo:
    element = record.element
    nonzero = start = 0
    for block in blocks:
        stored = np.frombuffer(block, element.pattern)
        _check_largest(stored, element, record.what)
        per_element = element.itemsize // stored.itemsize
        nonzero += int(np.count_nonzero(stored.reshape(-1, per_element).any(axis=1)))
        if patterns is not None:
            patterns[start : start + stored.size] = stored
        start += stored.size
    return dataclasses.replace(info, nonzero=nonzero)


def _read_coded(
    record: Record, blocks: Iterator[memoryview], patterns: _Patterns | None, info: TensorInfo
) -> TensorInfo:
    reader = BitReader(next(blocks), record.what)
    model = TensorModel.read(reader, record.element, record.shape, len(record.lengths))
    _check_largest(model.largest_patterns(), record.element, record.what)
    model_bits = reader.position
    matrix = Matrix.of(record.shape, model.transposed)
    readers = itertools.chain([reader], (BitReader(block, record.what) for block in blocks))

    def read(band: tuple[slice, BitReader]) -> bands.Cost:
        columns, own = band
        cost = bands.read(model, own, matrix, columns, patterns)
        own.finish()
        return cost

    work = zip(matrix.bands(), readers, strict=True)
    # Empty bands take next to no bytes, and so they must take next to no time.
    worth = matrix.band_count > 1 and record.stored_bytes >= _WORTH_THREADS
    cost = sum(threads.each(read, work) if worth else map(read, work), bands.Cost())
    return dataclasses.replace(
        info,
        nonzero=cost.nonzero,
        clusters=model.codebook.size,
        entries=cost.values,
        gap_bits=_gap_bits(record.size, cost.nonzero) if model.sparse else 0,
        index_bits=max(1, (model.codebook.size - 1).bit_length()) + model.low_bits,
        gap_huffman_bits=cost.places,
        index_huffman_bits=cost.signs + cost.indices + cost.low,
        codebook_bytes=-(-model.codebook_bits // 8),
        table_bytes=-(-(model_bits - model.codebook_bits) // 8),
    )


def _check_largest(patterns: _Patterns, element: ElementType, what: str) -> None:
    if element.largest is not None and patterns.size and patterns.max() > element.largest:
        raise damaged(
            f"{what} is {element.name} and has the byte {int(patterns.max())}, "
            f"at most {element.largest}"
        )


def _gap_bits(size: int, nonzero: int) -> int:
    """Return how many bits would hold a gap as in the paper's figure 2: up to four mean ones."""
    return max(1, (4 * size // max(nonzero, 1)).bit_length() - 1)
