"""The bytes of a `.kdc` file back to tensors, metadata and a description."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy.typing as npt

from keras_deepcomp.container.archive import (
    DEFAULT_MAX_BYTES,
    Archive,
    BytesLike,
    MemorySource,
)
from keras_deepcomp.container.info import FileInfo
from keras_deepcomp.container.writing import Progress


def load(
    data: BytesLike, max_bytes: int = DEFAULT_MAX_BYTES, names: Iterable[str] | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Return the tensors of a `.kdc` file.

    Args:
        data: The file's bytes.
        max_bytes: The most memory, in bytes, that the tensors and the metadata together may
            take. A small file may hold a very large tensor of zeros.
        names: Which tensors, in this order; None for all of them. Of the others nothing is
            decoded, and nothing checked.

    Returns:
        Name -> array, in the order of saving. The arrays are bit for bit those that were saved,
        in native byte order, writable, and share memory with nothing.

    Raises:
        FormatError: The bytes are not a `.kdc` file, are damaged, were written by a newer
            format version, or need more than `max_bytes`.
        KeyError: There is no tensor of a name.
        TypeError: `names` is a str.
        ImportError: A tensor's type comes from ml_dtypes, which is not installed or too old.
    """
    return load_all(Archive(MemorySource(data), max_bytes), names)[0]


def load_with_info(
    data: BytesLike, max_bytes: int = DEFAULT_MAX_BYTES
) -> tuple[dict[str, npt.NDArray[Any]], FileInfo]:
    """Return the tensors of a `.kdc` file and what `inspect` returns, in one pass.

    Args:
        data: The file's bytes.
        max_bytes: The most memory, in bytes, that the tensors and the metadata together may
            take.

    Returns:
        The tensors as `load` returns them, and the description of the file.

    Raises:
        FormatError: As for `load`.
        ImportError: As for `load`.
    """
    return load_all(Archive(MemorySource(data), max_bytes))


def inspect(data: BytesLike, max_bytes: int = DEFAULT_MAX_BYTES) -> FileInfo:
    """Describe a `.kdc` file. All of it is decoded, and checked, but never a whole tensor at once.

    Args:
        data: The file's bytes.
        max_bytes: The most bytes that the tensors and the metadata may have when decoded. They
            are not all in memory at once, but decoding them takes time.

    Returns:
        The description.

    Raises:
        FormatError: The bytes are not a `.kdc` file, are damaged, were written by a newer format
            version, or declare more than `max_bytes`.
    """
    return describe_all(Archive(MemorySource(data), max_bytes))


def load_all(
    archive: Archive, names: Iterable[str] | None = None, progress: Progress | None = None
) -> tuple[dict[str, npt.NDArray[Any]], FileInfo]:
    """Return the tensors of an open file and its description.

    Args:
        archive: The file.
        names: As for `load`; the description is then of these tensors alone.
        progress: Called after each tensor.
    """
    if isinstance(names, str):
        raise TypeError(f"names must be a list of names, got the str {names!r}.")
    chosen = archive.keys() if names is None else list(names)
    total = archive.check_memory(None if names is None else chosen)
    if names is None:
        # Before the long work, and over all bytes: blocks have checksums, but short ones.
        archive.check()
    tensors, infos, done = {}, [], 0
    for name in chosen:
        tensors[name], info = archive.read(name)
        infos.append(info)
        done += info.decoded_bytes
        if progress is not None:
            progress(done, total)
    return tensors, archive.info(infos)


def describe_all(archive: Archive) -> FileInfo:
    """Return the description of an open file."""
    archive.check_memory()
    archive.check()
    return archive.info([archive.describe(name) for name in archive])
