"""`.kdc` files on disk. A file is either all there or not there: writing is atomic."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy.typing as npt

from keras_deepcomp.container.archive import DEFAULT_MAX_BYTES, Archive, FileSource
from keras_deepcomp.container.info import FileInfo
from keras_deepcomp.container.reading import describe_all, load_all
from keras_deepcomp.container.writing import DEFAULT_EFFORT, Progress, write

PathLike = str | os.PathLike[str]


def save_file(
    tensors: Mapping[str, npt.NDArray[Any]],
    path: PathLike,
    metadata: Mapping[str, str] | None = None,
    effort: int = DEFAULT_EFFORT,
    progress: Progress | None = None,
) -> int:
    """Write tensors to a `.kdc` file, which replaces an older file of that name at the end.

    Whatever goes wrong, a full disk or an interrupt included, the older file stays as it was.

    Args:
        tensors: Name -> array, as for `save`.
        path: Where to write.
        metadata: Key -> text, as for `save`.
        effort: As for `save`.
        progress: Called after each tensor with the bytes of the tensors done so far, and of all
            tensors, in memory.

    Returns:
        The size of the file in bytes.

    Raises:
        TypeError: As for `save`.
        ValueError: As for `save`.
        OSError: The file cannot be written, or `path` is a folder or a device.
    """
    with replacing(path) as file:
        return write(file, tensors, metadata, effort, progress)


def open_file(path: PathLike, max_bytes: int = DEFAULT_MAX_BYTES) -> Archive:
    """Open a `.kdc` file, to read tensors one by one.

    Only the directory and the metadata are read now. The checksum over all of the file is checked
    by `Archive.check`; without it, each block is checked by its own when it is read.

    Args:
        path: The file.
        max_bytes: The most memory, in bytes, that a tensor, or the metadata, may take.

    Returns:
        The open file; use it in a `with` statement, or close it.

    Raises:
        FormatError: As for `load`; the message names the file.
        OSError: The file cannot be read.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(path, "rb"))
        archive = Archive(FileSource(file), max_bytes, os.fspath(path), file.close)
        # From here on the archive closes the file.
        stack.pop_all()
    return archive


def load_file(
    path: PathLike,
    max_bytes: int = DEFAULT_MAX_BYTES,
    names: Iterable[str] | None = None,
    progress: Progress | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """Return the tensors of a `.kdc` file on disk.

    Args:
        path: The file.
        max_bytes: The most memory, in bytes, that the tensors and the metadata together may
            take.
        names: Which tensors; None for all of them. Of the others nothing is read.
        progress: Called after each tensor with the bytes done so far, and of all, in memory.

    Returns:
        Name -> array, as for `load`.

    Raises:
        FormatError: As for `load`; the message names the file.
        KeyError: There is no tensor of a name.
        ImportError: As for `load`.
        OSError: The file cannot be read.
    """
    with open_file(path, max_bytes) as archive:
        return load_all(archive, names, progress)[0]


def load_file_with_info(
    path: PathLike, max_bytes: int = DEFAULT_MAX_BYTES
) -> tuple[dict[str, npt.NDArray[Any]], FileInfo]:
    """Return the tensors of a `.kdc` file on disk and its description, in one pass.

    Args:
        path: The file.
        max_bytes: As for `load_file`.

    Returns:
        What `load_file` and `inspect_file` return.

    Raises:
        FormatError: As for `load`; the message names the file.
        ImportError: As for `load`.
        OSError: The file cannot be read.
    """
    with open_file(path, max_bytes) as archive:
        return load_all(archive)


def inspect_file(path: PathLike, max_bytes: int = DEFAULT_MAX_BYTES) -> FileInfo:
    """Describe a `.kdc` file on disk, as `inspect` does.

    Args:
        path: The file.
        max_bytes: As for `inspect`.

    Returns:
        The description, as for `inspect`.

    Raises:
        FormatError: As for `inspect`; the message names the file.
        OSError: The file cannot be read.
    """
    with open_file(path, max_bytes) as archive:
        return describe_all(archive)


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[IO[bytes]]:
    """Give a new file, which takes the place of the one at `path` when nothing went wrong."""
    # Through a symbolic link the file is replaced, not the link, as with an ordinary open().
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "There is no such folder", str(target.parent))
    mode = _mode_of(target)
    # In the same folder, because a rename is atomic only within one file system.
    temporary = target.with_name(f".kdc-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            if mode is not None:
                os.chmod(temporary, mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(target.parent)


def _mode_of(target: Path) -> int | None:
    """Return the permissions of the file that will be replaced, or None if there is none."""
    try:
        status = target.stat()
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "This is a folder, not a file", str(target))
    if not stat.S_ISREG(status.st_mode):
        # A rename would put a file in the place of the device or the pipe.
        raise OSError(errno.EINVAL, "This is not an ordinary file", str(target))
    return stat.S_IMODE(status.st_mode)


def _sync_folder(folder: Path) -> None:
    """Make the rename durable where the system can; the file itself is safe either way."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
