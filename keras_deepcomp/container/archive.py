"""A `.kdc` file that is open: its tensors are decoded when they are asked for."""

from __future__ import annotations

import difflib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

import numpy.typing as npt

from keras_deepcomp.container import decoding, frame
from keras_deepcomp.container.dtypes import empty_array, to_native
from keras_deepcomp.container.errors import FormatError, naming
from keras_deepcomp.container.info import FileInfo, TensorInfo
from keras_deepcomp.container.version0 import reading as version0

DEFAULT_MAX_BYTES = 4 << 30

BytesLike = bytes | bytearray | memoryview


class MemorySource:
    """Bytes in memory."""

    def __init__(self, data: BytesLike) -> None:
        view = memoryview(data)
        # `cast` refuses views without elements.
        self._view = view.cast("B") if view.nbytes else memoryview(b"")

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return len(self._view)

    def read(self, start: int, length: int) -> memoryview:
        """Return `length` bytes from `start`."""
        return self._view[start : start + length]


class FileSource:
    """An open file. Threads may read it side by side."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lock = threading.Lock()
        self.size = file.seek(0, os.SEEK_END)

    def read(self, start: int, length: int) -> memoryview:
        """Return `length` bytes from `start`."""
        with self._lock:
            self._file.seek(start)
            data = self._file.read(length)
        if len(data) < length:
            raise FormatError("The file was cut off while it was read. Open it again.")
        return memoryview(data)


class Archive:
    """The tensors of a `.kdc` file by name, as arrays that are decoded when they are asked for.

    Iterating gives the names in the order of saving. As a context manager it closes the file.

    Example:
        >>> with keras_deepcomp.container.open_file("model.kdc") as file:
        ...     for name in file:
        ...         print(name, file.dtype(name), file.shape(name), file[name].mean())

    Args:
        source: The file's bytes.
        max_bytes: The most memory, in bytes, that a tensor, or the metadata, may take.
        path: The file's name, for error messages.
        close: What closes the file.

    Attributes:
        version: The format version.
        file_bytes: Bytes of the file.
        decoded_bytes: Bytes of all tensors and the metadata in memory.
        metadata: The metadata, key -> text.

    Raises:
        FormatError: The file is not a `.kdc` file or damaged; see `load`. Blocks are checked
            when they are read.
    """

    def __init__(
        self,
        source: frame.Source,
        max_bytes: int,
        path: str | None = None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._source = source
        self._max_bytes = max_bytes
        self._path = path
        self._close = close
        self.file_bytes = source.size
        with naming(path):
            self.version = frame.version(source)
            if self.version == 0:
                self._open_version0()
            else:
                self._open()

    def _open(self) -> None:
        self._frame = frame.read(self._source)
        self._numbers = {record.name: n for n, record in enumerate(self._frame.records)}
        self.decoded_bytes = self._frame.decoded_bytes
        self._metadata_bytes = self._frame.metadata_size
        self._check_size(self._metadata_bytes, "The metadata")
        self.metadata = self._frame.read_metadata(self._source)

    def _open_version0(self) -> None:
        """Decode all of an old file; what it holds is not to be had in pieces."""
        data = self._source.read(0, self._source.size)
        self._old_tensors, self._old_info = version0.load_with_info(data, self._max_bytes)
        self._numbers = {name: number for number, name in enumerate(self._old_tensors)}
        self.decoded_bytes = self._old_info.decoded_bytes
        self.metadata = self._old_info.metadata
        self._metadata_bytes = sum(len(text.encode()) for text in self.metadata.values())

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Reading tensors from it then raises `ValueError`."""
        self._close()

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, name: object) -> bool:
        return name in self._numbers

    def keys(self) -> list[str]:
        """Return the names, in the order of saving."""
        return list(self._numbers)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape; nothing is decoded for it."""
        if self.version == 0:
            return self._old_info.tensors[self._number(name)].shape
        return self._frame.records[self._number(name)].shape

    def dtype(self, name: str) -> str:
        """Return the name of a tensor's type, such as "float32"; nothing is decoded for it."""
        if self.version == 0:
            return self._old_info.tensors[self._number(name)].dtype
        return self._frame.records[self._number(name)].element.name

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """Return a tensor, as `load` returns it.

        Raises:
            KeyError: There is no such tensor.
            FormatError: The tensor is damaged, or needs more than `max_bytes`.
            ImportError: The tensor's type comes from ml_dtypes, which is not installed or too old.
        """
        return self.read(name)[0]

    def read(self, name: str) -> tuple[npt.NDArray[Any], TensorInfo]:
        """Return a tensor and its description.

        Raises:
            KeyError: There is no such tensor.
            FormatError: As for indexing.
            ImportError: As for indexing.
        """
        number = self._number(name)
        if self.version == 0:
            return self._old_tensors[name].copy(), self._old_info.tensors[number]
        record = self._frame.records[number]
        with naming(self._path):
            self._check_size(record.decoded_bytes, f"The tensor {name!r}")
            array, patterns = empty_array(record.shape, record.element)
            blocks = self._frame.read_blocks(self._source, number)
            info = decoding.decode(record, blocks, patterns)
        to_native(patterns, record.element)
        return array, info

    def describe(self, name: str) -> TensorInfo:
        """Return a tensor's description; it is decoded, but never as a whole in memory.

        Raises:
            KeyError: There is no such tensor.
            FormatError: The tensor is damaged.
        """
        number = self._number(name)
        if self.version == 0:
            return self._old_info.tensors[number]
        with naming(self._path):
            blocks = self._frame.read_blocks(self._source, number)
            return decoding.decode(self._frame.records[number], blocks, None)

    def info(self, tensors: Iterable[TensorInfo]) -> FileInfo:
        """Return the description of the file, given those of all its tensors."""
        if self.version == 0:
            return self._old_info
        stored = sum(record.stored_bytes for record in self._frame.records)
        metadata = self._frame.stored_metadata_bytes
        return FileInfo(
            version=self.version,
            file_bytes=self.file_bytes,
            decoded_bytes=self.decoded_bytes,
            header_bytes=self.file_bytes - stored - metadata,
            metadata=self.metadata,
            metadata_bytes=metadata,
            tensors=tuple(tensors),
        )

    def check(self) -> None:
        """Check the checksum over all bytes of the file.

        Raises:
            FormatError: It is wrong.
        """
        if self.version > 0:
            with naming(self._path):
                frame.check_file(self._source)

    def check_memory(self, names: Iterable[str] | None = None) -> int:
        """Check that tensors and metadata together take no more memory than `max_bytes`.

        Args:
            names: Which tensors; None for all of them.

        Returns:
            Bytes of the tensors in memory.

        Raises:
            FormatError: They take more.
        """
        metadata = self._metadata_bytes
        total = self.decoded_bytes - metadata
        if names is not None:
            total = sum(self._decoded_bytes_of(self._number(name)) for name in names)
        with naming(self._path):
            self._check_size(
                total + metadata, "The file" if names is None else "What was asked for"
            )
        return total

    def damaged(
        self, progress: Callable[[int, int], None] | None = None
    ) -> list[tuple[str, FormatError]]:
        """Return the tensors that cannot be decoded, each with what is wrong with it.

        Args:
            progress: Called with the bytes decoded so far, and with those of all tensors.
        """
        found, done, total = [], 0, self.decoded_bytes - self._metadata_bytes
        for name in self:
            try:
                self.describe(name)
            except FormatError as error:
                found.append((name, error))
            done += self._decoded_bytes_of(self._number(name))
            if progress is not None:
                progress(done, total)
        return found

    def _decoded_bytes_of(self, number: int) -> int:
        if self.version == 0:
            return self._old_info.tensors[number].decoded_bytes
        return self._frame.records[number].decoded_bytes

    def _number(self, name: str) -> int:
        try:
            return self._numbers[name]
        except KeyError:
            near = difflib.get_close_matches(str(name), self._numbers, 3)
            hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise KeyError(f"The file has no tensor {name!r}.{hint}") from None

    def _check_size(self, size: int, what: str) -> None:
        if size > self._max_bytes:
            raise FormatError(
                f"{what} holds {size:,} bytes when decoded, and max_bytes allows "
                f"{self._max_bytes:,}. If you trust the file, pass max_bytes={size} or more."
            )
