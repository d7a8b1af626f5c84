"""The bytes of one tensor back to its bit patterns.

`parse` checks everything that can be checked without decoding the Huffman streams, and `expand`
decodes them and fills in the patterns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp.container.dtypes import ElementType
from keras_deepcomp.container.errors import damaged
from keras_deepcomp.container.version0 import gaps as gap_lists
from keras_deepcomp.container.version0 import huffman
from keras_deepcomp.container.version0.wire import CODED, MAX_CLUSTERS, RAW, bytes_of_bits
from keras_deepcomp.container.wire import Reader

# Entries expanded at a time, so that the memory for them stays small.
_BLOCK = 1 << 18

_Patterns = npt.NDArray[Any]
_Lengths = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Stream:
    """One Huffman stream of a file, with its code.

    Attributes:
        lengths: The code lengths, shape (alphabet,), checked.
        bits: How many bits of the stream count.
        data: The stream's bytes.
        table_bytes: Bytes of the code lengths in the file.
        what: What the stream is, for error messages.
    """

    lengths: _Lengths
    bits: int
    data: memoryview
    table_bytes: int
    what: str

    def decoder(self) -> huffman.Decoder:
        """Return a decoder at the start of the stream."""
        return huffman.Decoder(self.data, self.bits, self.lengths, self.what)


@dataclass(frozen=True)
class Entries:
    """The coded form of a tensor that is not all zero.

    Attributes:
        gap_bits: The bound b.
        nonzero: The number of entries that hold a codebook value.
        fillers: The number of entries that hold a filler zero.
        codebook: The patterns of the codebook, shape (clusters,), ascending.
        gaps: The stream of gaps, or None where b is 0.
        indices: The stream of codebook symbols.
    """

    gap_bits: int
    nonzero: int
    fillers: int
    codebook: _Patterns
    gaps: Stream | None
    indices: Stream

    @property
    def count(self) -> int:
        """The number of entries."""
        return self.nonzero + self.fillers


@dataclass(frozen=True)
class Payload:
    """A parsed payload: everything checked that needs no decoding of the streams.

    Attributes:
        what: What the payload is of, for error messages.
        element: The element type.
        size: The number of elements.
        raw: The patterns as they are, flat, or None if coded.
        entries: The coded form, or None if raw or all zero.
    """

    what: str
    element: ElementType
    size: int
    raw: _Patterns | None = None
    entries: Entries | None = None

    def count_nonzero(self) -> int:
        """Return the number of elements whose bit pattern is not all zero."""
        if self.raw is not None:
            per_element = self.element.itemsize // self.raw.itemsize
            return int(np.count_nonzero(self.raw.reshape(-1, per_element).any(axis=1)))
        return self.entries.nonzero if self.entries else 0


def parse(reader: Reader, element: ElementType, size: int, what: str) -> Payload:
    """Read one payload and check its structure, without expanding it.

    Args:
        reader: The cursor, at the payload.
        element: The element type.
        size: The number of elements that the payload must have.
        what: What the payload is of, for error messages.

    Returns:
        The payload; it refers to the reader's bytes.

    Raises:
        FormatError: The payload breaks a rule of the format.
    """
    coding = reader.byte(f"the coding of {what}")
    length = reader.varint(f"the payload length of {what}")
    body = reader.take(length, f"the payload of {what}")
    if coding == RAW:
        if length != size * element.itemsize:
            raise damaged(
                f"{what} has {length:,} raw bytes, and its shape and type need "
                f"{size * element.itemsize:,}"
            )
        raw = np.frombuffer(body, element.pattern)
        _check_largest(raw, element, what)
        return Payload(what, element, size, raw=raw)
    if coding != CODED:
        raise damaged(f"{what} has coding {coding}, and version 0 knows 0 (raw) and 1 (coded)")
    return _parse_coded(body, element, size, what)


def _parse_coded(body: memoryview, element: ElementType, size: int, what: str) -> Payload:
    if not element.codable:
        raise damaged(f"{what} is coded, and {element.name} tensors are always raw")
    reader = Reader(body)
    bits = reader.byte(f"the gap bits of {what}")
    if bits > gap_lists.MAX_GAP_BITS:
        raise damaged(f"{what} has gaps of {bits} bits, at most {gap_lists.MAX_GAP_BITS}")
    nonzero = reader.varint(f"the number of non-zero elements of {what}")
    fillers = reader.varint(f"the number of fillers of {what}")
    count = nonzero + fillers
    if count > size:
        raise damaged(f"{what} has {count:,} entries for {size:,} elements")
    if nonzero == 0:
        if bits or fillers:
            raise damaged(f"{what} has no non-zero elements, and yet gaps or fillers")
        reader.end(f"the empty list of entries of {what}")
        return Payload(what, element, size)

    clusters = reader.varint(f"the codebook size of {what}")
    if not 1 <= clusters <= min(nonzero, MAX_CLUSTERS):
        raise damaged(f"{what} has a codebook of {clusters:,} for {nonzero:,} non-zero elements")
    stored = reader.take(clusters * element.itemsize, f"the codebook of {what}")
    codebook = np.frombuffer(stored, element.pattern)
    if codebook[0] == 0 or (codebook[1:] <= codebook[:-1]).any():
        raise damaged(f"the codebook of {what} is not strictly ascending from above zero")
    _check_largest(codebook, element, what)

    gap_stream, index_stream = f"the gap stream of {what}", f"the index stream of {what}"
    gap_lengths = np.zeros(0, np.uint8)
    if bits:
        alphabet = reader.varint(f"the number of gap code lengths of {what}")
        if not 1 <= alphabet <= 1 << bits:
            raise damaged(f"{what} has {alphabet:,} gap code lengths for gaps of {bits} bits")
        gap_lengths = _read_lengths(reader, alphabet, gap_stream)
        if gap_lengths[-1] == 0:
            raise damaged(f"the last code length of {gap_stream} is zero")
    index_lengths = _read_lengths(reader, clusters + 1, index_stream)
    if not index_lengths[1:].all():
        raise damaged(f"a codebook value of {what} has no code")
    if (index_lengths[gap_lists.FILLER] != 0) != (fillers != 0):
        raise damaged(f"the filler of {what} must have a code exactly if there are fillers")
    gap_stream_bits = _read_bits(reader, count, gap_stream) if bits else 0
    index_stream_bits = _read_bits(reader, count, index_stream)
    gaps = _read_stream(reader, gap_stream_bits, gap_lengths, gap_stream) if bits else None
    indices = _read_stream(reader, index_stream_bits, index_lengths, index_stream)
    reader.end(index_stream)
    entries = Entries(bits, nonzero, fillers, codebook, gaps, indices)
    return Payload(what, element, size, entries=entries)


def _check_largest(patterns: _Patterns, element: ElementType, what: str) -> None:
    if element.largest is not None and patterns.size and patterns.max() > element.largest:
        raise damaged(
            f"{what} is {element.name} and has the byte {int(patterns.max())}, "
            f"at most {element.largest}"
        )


def _read_lengths(reader: Reader, symbols: int, what: str) -> _Lengths:
    packed = reader.take(huffman.packed_size(symbols), f"the code lengths of {what}")
    lengths = huffman.unpack_lengths(packed, symbols, what)
    huffman.check_lengths(lengths, what)
    return lengths


def _read_bits(reader: Reader, entries: int, what: str) -> int:
    bits = reader.varint(f"the length of {what}")
    # Each code has at least one bit, so the number of entries, and with it the work of decoding
    # them, is bounded by the length of the file.
    if bits < entries:
        raise damaged(f"{what} has {bits:,} bits for {entries:,} entries")
    return bits


def _read_stream(reader: Reader, bits: int, lengths: _Lengths, what: str) -> Stream:
    data = reader.take(bytes_of_bits(bits), what)
    return Stream(lengths, bits, data, huffman.packed_size(lengths.size), what)


def expand(payload: Payload, patterns: _Patterns) -> None:
    """Fill in the bit patterns of a payload.

    Args:
        payload: The parsed payload.
        patterns: Where to write, flat, of type `element.pattern`, all zero.

    Raises:
        FormatError: The streams break a rule of the format.
    """
    if payload.raw is not None:
        patterns[:] = payload.raw
        return
    if payload.entries is None:
        return
    what, entries = payload.what, payload.entries
    bound = (1 << entries.gap_bits) - 1
    # Symbol 0 is the filler, which writes the zero that is already there.
    values = np.concatenate((np.zeros(1, patterns.dtype), entries.codebook))
    indices = entries.indices.decoder()
    gaps = entries.gaps.decoder() if entries.gaps is not None else None
    position, fillers, last = -1, 0, 0
    for start in range(0, entries.count, _BLOCK):
        count = min(_BLOCK, entries.count - start)
        symbols = indices.read(count)
        is_filler = symbols == gap_lists.FILLER
        fillers += int(np.count_nonzero(is_filler))
        last = int(symbols[-1])
        if gaps is None:
            # Without gaps each entry is the next element, and `parse` saw that they fit.
            patterns[start : start + count] = values[symbols]
            continue
        block = gaps.read(count)
        if (block[is_filler] != bound).any():
            raise damaged(f"{what} has a filler that does not come after {bound:,} zeros")
        places = gap_lists.positions_of(block, position)
        position = int(places[-1])
        if position >= payload.size:
            raise damaged(f"{what} has an entry past its {payload.size:,} elements")
        patterns[places] = values[symbols]
    indices.finish()
    if gaps is not None:
        gaps.finish()
    if fillers != entries.fillers:
        raise damaged(f"{what} has {fillers:,} fillers, and declares {entries.fillers:,}")
    if last == gap_lists.FILLER:
        raise damaged(f"the last entry of {what} is a filler")
