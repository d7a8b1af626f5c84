"""What a report is about: a file, a model or a result, opened."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_deepcomp import container
from keras_deepcomp.container import Archive
from keras_deepcomp.container.archive import DEFAULT_MAX_BYTES, MemorySource
from keras_deepcomp.plot.sources import path_of
from keras_deepcomp.printable import printable
from keras_deepcomp.reporting.summary import Summary, from_info, participation_of

FIRST_FILE = "round-000.kdc"
"""The given model, as a search keeps it beside its other files."""


@dataclass(frozen=True)
class Subject:
    """A file, or what a model would be as one, ready to be read.

    Attributes:
        name: What to call it.
        path: Where it is; None for a model.
        summary: Its numbers.
        archive: Its tensors.
        result: The result of `compress` that it comes from, if it does.
    """

    name: str
    path: Path | None
    summary: Summary
    archive: Archive
    result: Any = None

    @property
    def kind(self) -> str:
        """How it can be loaded: "keras", "tflite" or "arrays"."""
        kinds = [key for key in ("keras", "tflite") if key in self.archive.metadata]
        return kinds[0] if kinds else "arrays"


@contextlib.contextmanager
def opened(source: Any) -> Iterator[Subject]:
    """Opens a source and reads its numbers.

    Args:
        source: The path of a `.kdc` file, a result of `compress`, or a Keras model.

    Raises:
        FormatError: The file is damaged.
        OSError: It cannot be read.
        TypeError: It is something else.
    """
    path = path_of(source)
    if path is not None:
        with container.open_file(path) as archive:
            archive.check_memory()
            archive.check()
            found = from_info(archive.info([archive.describe(name) for name in archive]))
            result = None if isinstance(source, str | os.PathLike) else source
            yield Subject(printable(Path(path).name), Path(path), found, archive, result)
        return
    if not hasattr(source, "variables"):
        raise TypeError(
            "A report is about the path of a .kdc file, a result of compress or a Keras model, got "
            f"{type(source).__name__}."
        )
    from keras_deepcomp.saving import contents_of

    data = container.save(*contents_of(source))
    found = from_info(container.inspect(data), participation_of(source))
    archive = Archive(MemorySource(data), DEFAULT_MAX_BYTES)
    yield Subject(printable(source.name), None, found, archive)


def given_model_of(subject: Subject) -> Path | None:
    """The file of the model that a search began with, where it is still there."""
    if subject.result is None or subject.path is None:
        return None
    path = subject.path.parent / FIRST_FILE
    return path if path.is_file() else None
