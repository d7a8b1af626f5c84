"""Bytes of no known kind under the best of the standard library's codecs."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterator
from typing import Any

from keras_deepcomp.container.errors import damaged

STORED, DEFLATE, BZIP2, LZMA, LZMA2 = range(5)

_PRESET = 9 | lzma.PRESET_EXTREME
# (literal context, literal position and position bits): for text, for bytes, for items of four.
_LZMA_MODELS = ((3, 0, 2), (3, 0, 0), (0, 0, 0), (0, 2, 2))
_MOST_LITERAL_BITS = 4
_DICTIONARY = 1 << 26
_LEAST_DICTIONARY = 1 << 12
# What is longer is tried with `xz`'s own model alone: each trial takes its time.
_LONG = 1 << 18
# More than LZMA's mark of the end takes.
_TAIL = 16

Filters = list[dict[str, Any]]


def compress_as_xz(data: bytes) -> bytes:
    """Return what `xz -9e` makes of some bytes, without its frame, after a byte for the codec."""
    filters = _filters(LZMA2, len(data), preset=_PRESET)
    return bytes([LZMA2]) + lzma.compress(data, lzma.FORMAT_RAW, filters=filters)


def compress(data: bytes) -> bytes:
    """Return the shortest of what the codecs make of some bytes, after a byte for the codec."""
    return min(_candidates(data), key=len)


def _candidates(data: bytes) -> Iterator[bytes]:
    yield bytes([STORED]) + data
    yield compress_as_xz(data)
    if len(data) >= _LONG:
        return
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9)
    yield bytes([DEFLATE]) + deflate.compress(data) + deflate.flush()
    yield bytes([BZIP2]) + bz2.compress(data)
    for context, place, period in _LZMA_MODELS:
        yield _lzma(data, (period * 5 + place) * 9 + context)


def _lzma(data: bytes, properties: int) -> bytes:
    filters = _filters(LZMA, len(data), properties, preset=_PRESET)
    coded = lzma.compress(data, lzma.FORMAT_RAW, filters=filters)
    # The length is known, so the mark of the end can go.
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_filters(LZMA, len(data), properties))
    needed = max(0, len(coded) - _TAIL)
    left = len(data) - len(decoder.decompress(coded[:needed], len(data)))
    while left:
        left -= len(decoder.decompress(coded[needed : needed + 1], left))
        needed += 1
    return bytes([LZMA, properties]) + coded[:needed]


def decompress(stream: bytes, size: int) -> bytes:
    """Return the bytes of a stream.

    Args:
        stream: What one of the functions above returned.
        size: How many bytes there are; not much more memory is taken.

    Raises:
        FormatError: The stream is of no known codec or damaged, or there are not so many bytes.
    """
    codec, coded = stream[0] if stream else None, stream[1:]
    if codec == STORED:
        data, complete = coded, True
    elif codec in (DEFLATE, BZIP2, LZMA, LZMA2):
        try:
            data, complete = _decompress(codec, coded, size)
        except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError) as error:
            raise damaged(f"its stream does not decode: {error}") from None
    else:
        raise damaged(f"its stream has the unknown codec {codec}")
    if len(data) != size or not complete:
        raise damaged(f"its stream does not have the {size:,} bytes that it should")
    return data


def _decompress(codec: int, coded: bytes, size: int) -> tuple[bytes, bool]:
    """Return the bytes, and whether the stream ends there; streams of LZMA do not say."""
    # A limit of 0 would be none.
    limit = max(size, 1)
    if codec == DEFLATE:
        deflate = zlib.decompressobj(-zlib.MAX_WBITS)
        data = deflate.decompress(coded, limit)
        data += deflate.decompress(deflate.unconsumed_tail, 1)
        return data, deflate.eof and not deflate.unused_data
    if codec == LZMA:
        if not coded:
            raise ValueError("it is cut off")
        properties, coded = coded[0], coded[1:]
        lzma1 = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_filters(LZMA, size, properties))
        return lzma1.decompress(coded, limit), True
    decoder: Any
    if codec == BZIP2:
        decoder = bz2.BZ2Decompressor()
    else:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_filters(LZMA2, size))
    data = decoder.decompress(coded, limit)
    if not decoder.eof and not decoder.needs_input:
        data += decoder.decompress(b"", 1)
    return data, decoder.eof and not decoder.unused_data


def _filters(codec: int, size: int, properties: int = 0, **more: Any) -> Filters:
    """Return liblzma's description of a stream of so many bytes."""
    dictionary = min(max(size, _LEAST_DICTIONARY), _DICTIONARY)
    if codec == LZMA2:
        return [{"id": lzma.FILTER_LZMA2, "dict_size": dictionary, **more}]
    period, rest = divmod(properties, 45)
    place, context = divmod(rest, 9)
    if period > _MOST_LITERAL_BITS or place + context > _MOST_LITERAL_BITS:
        raise ValueError("it has unknown properties")
    model = {"lc": context, "lp": place, "pb": period}
    return [{"id": lzma.FILTER_LZMA1, "dict_size": dictionary, **model, **more}]
