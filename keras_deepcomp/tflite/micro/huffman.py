"""Weights as Huffman codes (section 4 of the paper), as TensorFlow Lite Micro decodes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp.container import huffman
from keras_deepcomp.tflite.micro.code_lengths import limited_code_lengths
from keras_deepcomp.tflite.micro.decoding_tables import DecodingTables
from keras_deepcomp.tflite.micro.encoding import Encoding, Kind, header

_LONGEST_CODE = 24
_MAX_SYMBOLS = 4096
_WORD = 4


def encode(values: npt.NDArray[Any]) -> Encoding | None:
    """Encode a tensor.

    Of the codes with each limit to their lengths, that one is taken whose data and tables are
    smallest together: shorter codes need smaller tables.

    Args:
        values: The tensor, int8 or int16, not empty.

    Returns:
        The encoded tensor; None if its values are of another type, or too many different ones.
    """
    if values.dtype not in (np.int8, np.int16):
        return None
    symbols, places, counts = np.unique(values.ravel(), return_inverse=True, return_counts=True)
    if symbols.size > _MAX_SYMBOLS:
        return None
    if symbols.size == 1:
        # A code has at least one bit, and a table two entries.
        symbols, counts = np.repeat(symbols, 2), np.array([counts[0], 1])
    entry_bits = 16 if values.dtype == np.int8 else 32
    best: tuple[int, npt.NDArray[np.uint8], DecodingTables] | None = None
    fewest = max(1, int(symbols.size - 1).bit_length())
    for longest in range(fewest, _LONGEST_CODE + 1):
        lengths = limited_code_lengths(counts, longest)
        if int(lengths.max()) < longest:
            break
        tables = DecodingTables(lengths)
        bits = int((lengths.astype(np.int64) * counts).sum()) + tables.size * entry_bits
        if best is None or bits < best[0]:
            best = bits, lengths, tables
    assert best is not None
    _, lengths, tables = best
    stream, _ = huffman.encode(places.ravel(), [places.size], [huffman.Canonical(lengths)])
    coded = stream.tobytes()
    unsigned = symbols.view(f"u{values.itemsize}")
    own = bytes([(tables.width - 1) << 4 | (entry_bits == 32)])
    return Encoding(
        Kind.HUFFMAN,
        # Whole 32-bit words; the decoder reads one ahead.
        coded.ljust(-(-len(coded) // _WORD) * _WORD + _WORD, b"\0"),
        header(Kind.HUFFMAN, own) + tables.to_bytes(unsigned, entry_bits),
    )
