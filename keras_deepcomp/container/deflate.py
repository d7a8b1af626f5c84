"""An encoder for raw DEFLATE streams (RFC 1951) whose bytes never depend on the platform.

Any decoder of DEFLATE reads its streams, and zlib's does here. zlib's encoder will not do: its
versions and builds differ in the bytes they make, and equal models are to give equal files. It
also leaves room, which counts in files of a few kilobytes. As in zopfli, a parse here is the
cheapest one under the costs of codes, which in turn come from the parse before.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from bitarray import bitarray
from bitarray.util import int2ba

from keras_deepcomp.container import lz77
from keras_deepcomp.container.deflate_header import (
    MIN_HEADER,
    Field,
    bounded_lengths,
    header,
    reversed_codes,
    width,
)
from keras_deepcomp.container.logarithm import FRACTION_BITS, log2_fixed

_Array = npt.NDArray[np.int64]

_STORED, _FIXED, _DYNAMIC = 0, 1, 2
_KIND_BITS = 3
_MAX_STORED = 65_535
# The kind of block, padding to a byte, and the length twice.
_STORED_BITS = _KIND_BITS + 7 + 32
_END = 256
# The last two literals never occur, but have their place in the fixed code.
_LITERAL_SYMBOLS, _DISTANCE_SYMBOLS = 288, 30

_LENGTH_BITS = np.array([0] * 8 + [bits for bits in range(1, 6) for _ in range(4)] + [0] * 3)
_LENGTH_BASES = lz77.MIN_MATCH + np.cumsum(1 << _LENGTH_BITS) - (1 << _LENGTH_BITS)
# The longest copy has a symbol of its own.
_LENGTH_BASES[28] = lz77.MAX_MATCH
_LENGTH_SYMBOL = np.searchsorted(_LENGTH_BASES, np.arange(lz77.MAX_MATCH + 1), "right") - 1
# One "distance" more, of no bits at all, so that literals are tokens like any other.
_DISTANCE_BITS = np.array([0, 0, *(bits for bits in range(14) for _ in range(2)), 0])
_DISTANCE_BASES = 1 + np.cumsum(1 << _DISTANCE_BITS) - (1 << _DISTANCE_BITS)
_DISTANCE_SYMBOL = np.searchsorted(_DISTANCE_BASES, np.arange(lz77.WINDOW + 1), "right") - 1
_DISTANCE_SYMBOL[0] = _DISTANCE_SYMBOLS

_FIXED_LITERALS = np.repeat([8, 9, 7, 8], [144, 112, 24, 8])
_FIXED_DISTANCES = np.full(_DISTANCE_SYMBOLS, 5)

# Text is parsed in pieces of this size, so that the memory for it stays small.
_PIECE = 1 << 18
# Texts up to the first size get the most rounds, and those above the second a greedy parse.
_SMALL, _LARGE = 1 << 14, 1 << 20
_ROUNDS_SMALL, _ROUNDS = 8, 3
# Costs are in this part of a bit.
_UNIT = 1 << FRACTION_BITS
# Blocks may end after this many tokens; the second is for large texts.
_CHUNK, _CHUNK_LARGE = 1 << 11, 1 << 14


class _Tokens(NamedTuple):
    """A parse in DEFLATE's symbols; all arrays but the last are of shape (tokens,).

    Attributes:
        literals: Symbols of the code for literals and lengths.
        literal_extra: The bits that follow them, as a number.
        distances: Symbols of the code for distances; one that is no such symbol for literals.
        distance_extra: The bits that follow them, as a number.
        bounds: Where each token begins in the text, and where the last ends.
    """

    literals: _Array
    literal_extra: _Array
    distances: _Array
    distance_extra: _Array
    bounds: _Array

    def slice(self, start: int, end: int) -> _Tokens:
        """Return the tokens from `start` up to `end`."""
        return _Tokens(
            self.literals[start:end],
            self.literal_extra[start:end],
            self.distances[start:end],
            self.distance_extra[start:end],
            self.bounds[start : end + 1],
        )


class _Block(NamedTuple):
    """How some tokens are to be written.

    Attributes:
        tokens: The tokens.
        kind: `_STORED`, `_FIXED` or `_DYNAMIC`.
        bits: What the block takes; at most that, if stored.
        header: What stands before the tokens.
        literal_lengths: Code lengths of literals and lengths.
        distance_lengths: Code lengths of distances.
    """

    tokens: _Tokens
    kind: int
    bits: int
    header: list[Field]
    literal_lengths: _Array
    distance_lengths: _Array


def deflate(text: bytes, dictionary: bytes) -> bytes:
    """Return `text` as a raw DEFLATE stream.

    Up to 1 MiB, the parse is the cheapest one that was found in a few rounds. Beyond, where that
    would take minutes, it is a greedy one.

    Args:
        text: Any bytes.
        dictionary: What the decoder has before the text, for copies of it.

    Returns:
        The stream, at most 5 bytes for each 65,535 of text and a few more larger than the text.
    """
    everything = np.frombuffer(dictionary[-lz77.WINDOW :] + text, np.uint8)
    before = everything.size - len(text)
    stream = bitarray(endian="little")
    for start in range(0, max(len(text), 1), _PIECE):
        piece = text[start : start + _PIECE]
        last = start + _PIECE >= len(text)
        oldest = max(before + start - lz77.WINDOW, 0)
        window = everything[oldest : before + start + len(piece)]
        blocks = _best_blocks(piece, window, len(text))
        for block in blocks:
            _write_block(stream, block, piece, last and block is blocks[-1])
    return stream.tobytes()


def stored(text: bytes) -> bytes:
    """Return `text` as a raw DEFLATE stream that is not compressed at all.

    Args:
        text: Any bytes.

    Returns:
        The stream, 5 bytes for each 65,535 of text larger than the text.
    """
    stream = bitarray(endian="little")
    _write_stored(stream, text, True)
    return stream.tobytes()


def _best_blocks(piece: bytes, window: npt.NDArray[np.uint8], size: int) -> list[_Block]:
    """Return the smallest blocks that were found for a piece of a text of `size` bytes."""
    start = window.size - len(piece)
    if size > _LARGE:
        matches = lz77.find_matches(window, start, lz77.LOW)
        return _split(_tokens(piece, lz77.greedy_parse(piece, matches)), _CHUNK_LARGE)
    effort, rounds = (lz77.HIGH, _ROUNDS_SMALL) if size <= _SMALL else (lz77.MEDIUM, _ROUNDS)
    matches = lz77.find_matches(window, start, effort)
    best: list[_Block] = []
    costs = _costs(_FIXED_LITERALS * _UNIT, _FIXED_DISTANCES * _UNIT)
    for _ in range(rounds):
        tokens = _tokens(piece, lz77.cheapest_parse(piece, matches, costs, effort))
        blocks = _split(tokens, _CHUNK)
        if best and _total(blocks) >= _total(best):
            break
        best = blocks
        costs = _costs(*map(_entropies, _counts(tokens)))
    return best


def _total(blocks: list[_Block]) -> int:
    return sum(block.bits for block in blocks)


def _tokens(piece: bytes, parse: lz77.Parse) -> _Tokens:
    """Return a parse in DEFLATE's symbols."""
    bounds = np.append(parse.starts, len(piece))
    is_copy = parse.distances > 0
    literals = np.frombuffer(piece, np.uint8)[parse.starts].astype(np.int64)
    symbols = _LENGTH_SYMBOL[parse.lengths]
    literals[is_copy] = symbols[is_copy] + _END + 1
    extra = np.where(is_copy, parse.lengths - _LENGTH_BASES[symbols], 0)
    distances = _DISTANCE_SYMBOL[parse.distances]
    distance_extra = np.where(is_copy, parse.distances - _DISTANCE_BASES[distances], 0)
    return _Tokens(literals, extra, distances, distance_extra, bounds)


def _counts(tokens: _Tokens) -> tuple[_Array, _Array]:
    """Return how often each symbol occurs, with the one that ends the block."""
    literals = np.bincount(tokens.literals, minlength=_LITERAL_SYMBOLS)
    literals[_END] += 1
    distances = np.bincount(tokens.distances, minlength=_DISTANCE_SYMBOLS + 1)
    return literals, distances[:_DISTANCE_SYMBOLS]


def _entropies(counts: _Array) -> _Array:
    """Return the information of each symbol in units, of one that never occurs as if it did."""
    return log2_fixed(counts.sum()) - log2_fixed(counts)


def _costs(literals: _Array, distances: _Array) -> lz77.Costs:
    """Return the costs of all choices in units, from those of the symbols."""
    lengths = literals[_END + 1 :] + _LENGTH_BITS * _UNIT
    distances = np.append(distances, 0) + _DISTANCE_BITS * _UNIT
    return lz77.Costs(
        literals[:_END].tolist(), lengths[_LENGTH_SYMBOL].tolist(), distances[_DISTANCE_SYMBOL]
    )


def _split(tokens: _Tokens, chunk: int) -> list[_Block]:
    """Return blocks for the tokens: a new one after a chunk where codes of its own pay."""
    blocks: list[_Block] = []
    start = 0
    for middle in range(0, max(tokens.literals.size, 1), chunk):
        end = min(middle + chunk, tokens.literals.size)
        block = _block(tokens.slice(middle, end))
        joined = _block(tokens.slice(start, end)) if blocks else block
        if blocks and joined.bits <= blocks[-1].bits + block.bits:
            blocks[-1] = joined
        else:
            blocks.append(block)
            start = middle
    return blocks


def _block(tokens: _Tokens) -> _Block:
    """Return the smallest kind of block for the tokens."""
    literal_counts, distance_counts = _counts(tokens)
    extra = _LENGTH_BITS @ literal_counts[_END + 1 :] + _DISTANCE_BITS[:-1] @ distance_counts

    def coded(kind: int, literals: _Array, distances: _Array, fields: list[Field]) -> _Block:
        codes = literals @ literal_counts + distances @ distance_counts
        bits = _KIND_BITS + width(fields) + int(codes + extra)
        return _Block(tokens, kind, bits, fields, literals, distances)

    literals, distances = bounded_lengths(literal_counts), bounded_lengths(distance_counts)
    size = int(tokens.bounds[-1] - tokens.bounds[0])
    plain = 8 * size + _STORED_BITS * max(-(-size // _MAX_STORED), 1)
    best = min(
        coded(_FIXED, _FIXED_LITERALS, _FIXED_DISTANCES, []),
        _Block(tokens, _STORED, plain, [], literals, distances),
        key=lambda block: block.bits,
    )
    # The header takes some time, and no code of its own helps a short text.
    if coded(_DYNAMIC, literals, distances, []).bits + MIN_HEADER < best.bits:
        dynamic = coded(_DYNAMIC, literals, distances, header(literals, distances))
        best = min(best, dynamic, key=lambda block: block.bits)
    return best


def _write_block(stream: bitarray, block: _Block, piece: bytes, last: bool) -> None:
    """Append a block, as the last one of the stream or not."""
    if block.kind == _STORED:
        start, end = block.tokens.bounds[[0, -1]].tolist()
        _write_stored(stream, piece[start:end], last)
        return
    for value, bits in [(block.kind << 1 | last, _KIND_BITS), *block.header]:
        if bits:
            stream += int2ba(value, bits, endian="little")
    _write_tokens(stream, block)


def _write_stored(stream: bitarray, text: bytes, last: bool) -> None:
    """Append text as it is, in as many blocks as it takes."""
    for start in range(0, max(len(text), 1), _MAX_STORED):
        part = text[start : start + _MAX_STORED]
        is_last = last and start + _MAX_STORED >= len(text)
        stream += int2ba(int(is_last), _KIND_BITS, endian="little")
        stream.fill()
        stream.frombytes(len(part).to_bytes(2, "little"))
        stream.frombytes((len(part) ^ _MAX_STORED).to_bytes(2, "little"))
        stream.frombytes(part)


def _write_tokens(stream: bitarray, block: _Block) -> None:
    """Append the codes of a block, with the one that ends it."""
    tokens = block.tokens
    literals = np.append(tokens.literals, _END)
    distances = np.append(tokens.distances, _DISTANCE_SYMBOLS)
    length_bits = np.append(np.zeros(_END + 1, np.int64), _LENGTH_BITS)
    parts = (
        (reversed_codes(block.literal_lengths)[literals], block.literal_lengths[literals]),
        (np.append(tokens.literal_extra, 0), length_bits[literals]),
        (
            np.append(reversed_codes(block.distance_lengths), 0)[distances],
            np.append(block.distance_lengths, 0)[distances],
        ),
        (np.append(tokens.distance_extra, 0), _DISTANCE_BITS[distances]),
    )
    # At most 15 + 5 + 15 + 13 bits each.
    values, widths = np.zeros(literals.size, np.int64), np.zeros(literals.size, np.int64)
    for value, bits in parts:
        values |= value << widths
        widths += bits
    stream += _joined(values.astype(np.uint64), widths)


def _joined(values: npt.NDArray[np.uint64], widths: _Array) -> bitarray:
    """Return numbers of up to 48 bits one after the other, the lowest bit of each first."""
    ends = np.cumsum(widths)
    starts = ends - widths
    words, shifts = starts >> 6, (starts & 63).astype(np.uint64)
    packed = np.zeros(int(ends[-1] >> 6) + 2, np.uint64)
    # No two numbers share a bit, so adding is joining. Half of what goes on in the next word is
    # shifted out before the other half, since a shift by all 64 bits is not defined.
    np.add.at(packed, words, values << shifts)
    np.add.at(packed, words + 1, values >> np.uint64(1) >> (np.uint64(63) - shifts))
    bits = bitarray(endian="little")
    bits.frombytes(packed.astype("<u8").tobytes())
    del bits[int(ends[-1]) :]
    return bits
