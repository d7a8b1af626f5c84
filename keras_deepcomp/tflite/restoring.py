"""The bytes of a `.tflite` file from the `.kdc` file that holds it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from keras_deepcomp.container.archive import Archive
from keras_deepcomp.container.errors import FormatError, damaged
from keras_deepcomp.container.wire import CHECKSUM_BYTES, MAX_TENSORS, Reader
from keras_deepcomp.tflite import arrays, scaled, streams
from keras_deepcomp.tflite.segments import LAST_AXIS_FIRST, REPEATED, is_scaled

MARK = "tflite"
"""The metadata key that marks the file; its text is the number of the `.tflite` file's bytes."""

REST = "rest"
"""The tensor with all that is not coded as tensors of their own; the first one."""

# Each segment has up to three numbers, of at most nine bytes, and the list has one; and a side
# takes no more than twice the bytes of what it makes.
_LIST_BYTES = 27 * (MAX_TENSORS + 1)
_SIDES = 2


def restore(file: Archive, max_bytes: int) -> bytes:
    """Return the bytes of the `.tflite` file that a `.kdc` file holds.

    Args:
        file: The open file.
        max_bytes: The most bytes that there may be.

    Raises:
        FormatError: It holds no `.tflite` file, is damaged, or has more bytes.
        ImportError: It has a tensor of a type of ml_dtypes, which is not installed.
    """
    text = file.metadata.get(MARK)
    if text is None:
        raise FormatError(
            "It holds no .tflite file. Read a model with keras_deepcomp.load_model, tensors with "
            "keras_deepcomp.container.load_file."
        )
    size = declared_size(text)
    if size > max_bytes:
        raise FormatError(
            f"The .tflite file has {size:,} bytes, and max_bytes allows {max_bytes:,}. If you "
            f"trust the file, pass max_bytes={size} or more."
        )
    file.check_memory()
    file.check()
    names = file.keys()
    if not names or names[0] != REST or file.dtype(REST) != "uint8" or len(file.shape(REST)) != 1:
        raise damaged(f"its first tensor is not {REST!r}, a list of bytes")
    reader = Reader(memoryview(file[REST].tobytes()))
    length = reader.varint("the length of its stream")
    if length > (1 + _SIDES) * size + _LIST_BYTES:
        raise damaged(f"its stream has {length:,} bytes, more than the .tflite file")
    checksum = int.from_bytes(reader.take(CHECKSUM_BYTES, "a checksum"), "little")
    stream = bytes(reader.take(reader.remaining, "its stream"))
    pieces = _pieces(file, names[1:], Reader(memoryview(streams.decompress(stream, length))), size)
    data = b"".join(pieces)
    if zlib.crc32(data) != checksum:
        raise damaged("the checksum of the .tflite file in it is wrong")
    return data


def declared_size(text: str) -> int:
    """Return the number of the `.tflite` file's bytes, which stands in the metadata.

    Raises:
        FormatError: It is no number.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise damaged(f"its size of the .tflite file is {text[:80]!r}")
    return int(text)


def _pieces(file: Archive, names: list[str], reader: Reader, size: int) -> list[bytes | memoryview]:
    """Return the parts of the `.tflite` file, in its order; nothing is decoded before all fits."""
    segments = _segments(reader, names)
    kinds = {one.name: _kind(file, one) for one in segments if one.layout < REPEATED}
    sizes = [arrays.packed_size(file.shape(one.name), kinds[one.name]) for one in segments]
    total = reader.remaining + sum(sizes)
    if total != size:
        raise damaged(f"its parts have {total:,} bytes, and the .tflite file {size:,}")

    decoded: dict[str, bytes] = {}
    pieces: list[bytes | memoryview] = []
    for one in segments:
        pieces.append(reader.take(one.gap, "what is before a segment"))
        if one.layout < REPEATED:
            decoded[one.name] = _bytes_of(file, one, kinds[one.name])
        pieces.append(decoded[one.name])
    pieces.append(reader.take(reader.remaining, "the end"))
    return pieces


@dataclass(frozen=True)
class _Segment:
    """Where bytes of the file come from.

    Attributes:
        gap: How many bytes lie between it and the one before.
        layout: See `segments`.
        name: The name of its tensor.
        side: Its side, if it is scaled.
    """

    gap: int
    layout: int
    name: str
    side: bytes


def _segments(reader: Reader, names: list[str]) -> list[_Segment]:
    """Read the list of segments; each tensor is there once in its turn, and perhaps repeated."""
    count = reader.varint("the number of segments")
    if count > MAX_TENSORS:
        raise damaged(f"it has {count:,} segments, at most {MAX_TENSORS:,}")
    listed = []
    for _ in range(count):
        gap, layout = reader.varint("a gap"), reader.varint("a layout")
        length = reader.varint("the length of a side") if is_scaled(layout) else 0
        listed.append((gap, layout, length))
    segments: list[_Segment] = []
    used = 0
    for gap, layout, length in listed:
        side = bytes(reader.take(length, "a side"))
        if layout >= REPEATED + len(segments):
            raise damaged("a segment repeats one that comes later")
        if layout >= REPEATED:
            name = segments[layout - REPEATED].name
        elif used < len(names):
            name = names[used]
            used += 1
        else:
            raise damaged(f"it has more segments than its {len(names):,} tensors")
        segments.append(_Segment(gap, layout, name, side))
    if used < len(names):
        raise damaged(f"its segments use {used:,} tensors, and it has {len(names):,}")
    return segments


def _kind(file: Archive, segment: _Segment) -> str:
    """Return the type of a segment's elements in the `.tflite` file."""
    dtype, rank = file.dtype(segment.name), len(file.shape(segment.name))
    if is_scaled(segment.layout):
        dtype = scaled.type_of(segment.side) if dtype == "int8" else "none"
    if arrays.bits_of(dtype) is None or (segment.layout and rank < 2):
        raise damaged(f"the tensor {segment.name!r} is not of a type and shape that it can have")
    return dtype


def _bytes_of(file: Archive, segment: _Segment, dtype: str) -> bytes:
    array = file[segment.name]
    if segment.layout & LAST_AXIS_FIRST:
        array = np.moveaxis(array, -1, 0)
    if segment.side:
        array = scaled.restore(array, segment.side)
    return arrays.to_bytes(array, dtype)
