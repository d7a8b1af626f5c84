"""What can be drawn: arrays, files, models and results, each as tensors by name."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp import container
from keras_deepcomp.printable import printable
from keras_deepcomp.reporting.summary import Summary, summary

Array = npt.NDArray[Any]


def path_of(source: Any) -> str | None:
    """The path of the file that a source is or has; None if it has none."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    path = getattr(source, "path", None)
    # A Keras variable has a path too, which is none of a file.
    return os.fspath(path) if isinstance(path, os.PathLike) else None


def tensor(source: Any, name: str | None) -> tuple[str, Array]:
    """One tensor of a source.

    Args:
        source: An array; a mapping from name to array; the path of a `.kdc` file; a result of
            `compress`; or a Keras model.
        name: Its name. None takes the only one, or the one with the most elements.

    Returns:
        Its name, "" for an array, and the array.

    Raises:
        KeyError: There is no tensor of that name.
        TypeError: It is nothing of all this.
        FormatError: The file is damaged.
    """
    path = path_of(source)
    if path is not None:
        with container.open_file(path) as file:
            shapes = {key: file.shape(key) for key in file}
            found = _chosen(shapes, name)
            return found, file[found]
    if not isinstance(source, Mapping) and not hasattr(source, "variables"):
        array = np.asarray(source)
        if array.dtype == object:
            raise TypeError(
                "Expected an array, a mapping from name to array, the path of a .kdc file, a Keras "
                f"model or a result of compress, got {type(source).__name__}."
            )
        return name or "", array
    tensors = source if isinstance(source, Mapping) else _of_model(source)
    found = _chosen({key: np.shape(value) for key, value in tensors.items()}, name)
    return found, np.asarray(tensors[found])


def summary_of(source: Any) -> Summary:
    """The summary of a file, a model or a result."""
    if isinstance(source, Summary):
        return source
    return summary(path_of(source) or source, verbose=False)


def _of_model(model: Any) -> Mapping[str, Array]:
    from keras_deepcomp.saving import contents_of

    return contents_of(model, architecture=False)[0]


def _chosen(shapes: Mapping[str, tuple[int, ...]], name: str | None) -> str:
    if not shapes:
        raise KeyError("There are no tensors to draw.")
    if name is None:
        return max(shapes, key=lambda key: int(np.prod(shapes[key], dtype=object)))
    if name not in shapes:
        near = difflib.get_close_matches(name, shapes, 3) or list(shapes)[:6]
        raise KeyError(
            f"There is no tensor {name!r}. Did you mean one of "
            f"{', '.join(repr(printable(one)) for one in near)}?"
        )
    return name
