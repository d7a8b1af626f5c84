"""A `.tflite` file as a `.kdc` file, and back byte for byte.

The file's buffers become tensors of their own types, where that is smaller; everything else is one
stream of bytes. `docs/tflite.md` describes it.
"""

from __future__ import annotations

import io
import os
import zlib
from pathlib import Path

import numpy as np

from keras_deepcomp.container.archive import DEFAULT_MAX_BYTES, Archive, MemorySource
from keras_deepcomp.container.disk import open_file, replacing
from keras_deepcomp.container.errors import naming
from keras_deepcomp.container.wire import CHECKSUM_BYTES, varint
from keras_deepcomp.container.writing import (
    DEFAULT_EFFORT,
    CodedTensor,
    Progress,
    leave_raw,
    write,
)
from keras_deepcomp.progress import counting_bytes
from keras_deepcomp.tflite import buffers, segments, streams
from keras_deepcomp.tflite.restoring import MARK, REST, restore

PathLike = str | os.PathLike[str]

# Elements of a quarter of a byte take a byte in memory; small files have lists as well.
_MEMORY = 5
_ROOM = 1 << 20


def pack(
    tflite_path: PathLike,
    kdc_path: PathLike,
    effort: int = DEFAULT_EFFORT,
    verbose: bool = False,
) -> int:
    """Codes a `.tflite` file as a `.kdc` file, from which `unpack` brings back the same bytes.

    Weights that are pruned, shared or quantized get smaller than general-purpose compressors make
    them; what such a compressor codes better is left to one. The result is unpacked and compared
    before it is written.

    Args:
        tflite_path: The `.tflite` file. Nothing in it is run.
        kdc_path: The file to write; an older one is replaced only when it is complete.
        effort: How long to search for a smaller file, 0 (no search) to 9.
        verbose: Whether to show the progress on standard error: a bar with the time left on a
            terminal, and elsewhere a line every ten seconds.

    Returns:
        The size of the `.kdc` file in bytes.

    Raises:
        FormatError: The first file is not a `.tflite` file, or damaged.
        ImportError: The package ai-edge-litert, which reads it, is not installed.
        OSError: A file cannot be read or written.

    Example:
        >>> size = keras_deepcomp.tflite.pack("model.tflite", "model.kdc")
        >>> keras_deepcomp.tflite.unpack("model.kdc", "again.tflite")
    """
    data = Path(tflite_path).read_bytes()
    with naming(os.fspath(tflite_path)), counting_bytes(verbose, "Packing") as progress:
        packed = to_kdc(data, effort, progress)
    with replacing(kdc_path) as file:
        file.write(packed)
    return len(packed)


def unpack(kdc_path: PathLike, tflite_path: PathLike, max_bytes: int = DEFAULT_MAX_BYTES) -> int:
    """Brings back the `.tflite` file that `pack` coded.

    Args:
        kdc_path: The `.kdc` file.
        tflite_path: The file to write; an older one is replaced only when it is complete.
        max_bytes: The most bytes that the file, and its tensors in memory, may take.

    Returns:
        The size of the `.tflite` file in bytes.

    Raises:
        FormatError: The `.kdc` file is damaged, hostile, or holds no `.tflite` file.
        ImportError: It has tensors of a type of ml_dtypes, such as int4, which is not installed.
        OSError: A file cannot be read or written.
    """
    with open_file(kdc_path, max_bytes) as file, naming(os.fspath(kdc_path)):
        data = restore(file, max_bytes)
    with replacing(tflite_path) as target:
        target.write(data)
    return len(data)


def to_kdc(data: bytes, effort: int = DEFAULT_EFFORT, progress: Progress | None = None) -> bytes:
    """Return the bytes of the `.kdc` file of a `.tflite` file's bytes; see `pack`."""
    found = buffers.find(data)
    chosen = segments.choose(data, found, effort, progress)
    rest = segments.remainder(data, chosen)
    start = varint(len(rest)) + zlib.crc32(data).to_bytes(CHECKSUM_BYTES, "little")
    stream = np.frombuffer(start + streams.compress(rest), np.uint8)
    tensors: dict[str, CodedTensor] = {REST: leave_raw(stream)}
    for segment in chosen:
        if segment.tensor is not None:
            tensors[f"buffer {segment.source.number}"] = segment.tensor
    out = io.BytesIO()
    write(out, tensors, {MARK: str(len(data))}, effort)
    packed = out.getvalue()
    file = Archive(MemorySource(packed), _MEMORY * (len(data) + _ROOM))
    if restore(file, len(data)) != data:
        raise RuntimeError("The packed file does not give the .tflite file back.")
    return packed
