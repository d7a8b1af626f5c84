"""The bytes of a `.tflite` file from the `.kdc` file that holds it."""

from __future__ import annotations

import zlib

import numpy as np

from keras_deepcomp.container.archive import Archive
from keras_deepcomp.container.errors import FormatError, damaged
from keras_deepcomp.container.wire import CHECKSUM_BYTES, MAX_TENSORS, Reader
from keras_deepcomp.tflite import arrays, streams
from keras_deepcomp.tflite.segments import LAST_AXIS_FIRST, REPEATED

MARK = "tflite"
"""The metadata key that marks the file; its text is the number of the `.tflite` file's bytes."""

REST = "rest"
"""The tensor with all that is not coded as tensors of their own; the first one."""

# Each segment has two numbers, of at most nine bytes, and so has the list itself.
_LIST_BYTES = 18 * (MAX_TENSORS + 1)


def restore(file: Archive, max_bytes: int) -> bytes:
    """Return the bytes of the `.tflite` file that a `.kdc` file holds.

    Args:
        file: The open file.
        max_bytes: The most bytes that there may be.

    Raises:
        FormatError: It holds no `.tflite` file, is damaged, or has more bytes.
        ImportError: It has a tensor of a type of ml_dtypes, which is not installed.
    """
    size = _declared_size(file)
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
    if length > size + _LIST_BYTES:
        raise damaged(f"its stream has {length:,} bytes, more than the .tflite file")
    checksum = int.from_bytes(reader.take(CHECKSUM_BYTES, "a checksum"), "little")
    stream = bytes(reader.take(reader.remaining, "its stream"))
    pieces = _pieces(file, names[1:], Reader(memoryview(streams.decompress(stream, length))), size)
    data = b"".join(pieces)
    if zlib.crc32(data) != checksum:
        raise damaged("the checksum of the .tflite file in it is wrong")
    return data


def _declared_size(file: Archive) -> int:
    text = file.metadata.get(MARK)
    if text is None:
        raise FormatError(
            "It holds no .tflite file. Read a model with keras_deepcomp.load_model, tensors with "
            "keras_deepcomp.container.load_file."
        )
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise damaged(f"its size of the .tflite file is {text[:80]!r}")
    return int(text)


def _pieces(file: Archive, names: list[str], reader: Reader, size: int) -> list[bytes | memoryview]:
    """Return the parts of the `.tflite` file, in its order; nothing is decoded before all fits."""
    count = reader.varint("the number of segments")
    if count > MAX_TENSORS:
        raise damaged(f"it has {count:,} segments, at most {MAX_TENSORS:,}")
    numbers = [reader.varint("a segment's numbers") for _ in range(2 * count)]
    gaps, layouts = numbers[::2], numbers[1::2]
    sources = _sources(layouts, len(names))
    sizes = [_packed_size(file, name) for name in names]
    total = reader.remaining + sum(sizes[source] for source in sources)
    if total != size:
        raise damaged(f"its parts have {total:,} bytes, and the .tflite file {size:,}")

    decoded: dict[int, bytes] = {}
    pieces: list[bytes | memoryview] = []
    for gap, layout, source in zip(gaps, layouts, sources, strict=True):
        pieces.append(reader.take(gap, "what is before a segment"))
        if layout < REPEATED:
            decoded[source] = _bytes_of(file, names[source], layout)
        pieces.append(decoded[source])
    pieces.append(reader.take(reader.remaining, "the end"))
    return pieces


def _sources(layouts: list[int], tensors: int) -> list[int]:
    """Return for each segment the number of its tensor; each tensor is there once in its turn."""
    sources: list[int] = []
    used = 0
    for layout in layouts:
        if layout < REPEATED:
            sources.append(used)
            used += 1
        elif layout - REPEATED < len(sources):
            sources.append(sources[layout - REPEATED])
        else:
            raise damaged("a segment repeats one that comes later")
    if used != tensors:
        raise damaged(f"its segments use {used:,} tensors, and it has {tensors:,}")
    return sources


def _packed_size(file: Archive, name: str) -> int:
    dtype = file.dtype(name)
    if arrays.bits_of(dtype) is None:
        raise damaged(f"the tensor {name!r} is of type {dtype}, which .tflite files do not have")
    return arrays.packed_size(file.shape(name), dtype)


def _bytes_of(file: Archive, name: str, layout: int) -> bytes:
    array = file[name]
    if layout == LAST_AXIS_FIRST:
        if array.ndim < 2:
            raise damaged(f"the tensor {name!r} has no axes to exchange")
        array = np.moveaxis(array, -1, 0)
    return arrays.to_bytes(array, file.dtype(name))
