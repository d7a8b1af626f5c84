"""A search for a model and data that lie in files, as the command line has them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_deepcomp.compression import compress

Arrays = tuple[np.ndarray, np.ndarray]


def compress_file(
    model: str | os.PathLike[str],
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    directory: str | os.PathLike[str] | None = None,
    **arguments: Any,
) -> dict[str, Any]:
    """Compresses a compiled `.keras` or `.h5` model, and writes the best file.

    Args:
        model: The model's file, saved with its optimizer.
        data: An `.npz` file with x_train and y_train, and x_val and y_val, or x_validation and
            y_validation, if there are such.
        out: The `.kdc` file to write.
        directory: As for `keras_deepcomp.compress`; None takes a folder beside `out`.
        **arguments: For `keras_deepcomp.compress`.

    Returns:
        The result as plain data.

    Raises:
        ValueError: The data is not such a file; and as for `keras_deepcomp.compress`.
        TypeError: As for `keras_deepcomp.compress`.
        OSError: A file cannot be read or written.
    """
    out = Path(out)
    train, validation = arrays_of(data)
    loaded = keras.models.load_model(model)
    if directory is None:
        directory = out.with_name(out.name + ".search")
    result = compress(loaded, train, validation, directory=directory, **arguments)
    shutil.copyfile(result.path, out)
    return {**result.as_dict(), "file": str(out), "directory": str(directory)}


def arrays_of(data: str | os.PathLike[str]) -> tuple[Arrays, Arrays | None]:
    """Training and validation data in an `.npz` file.

    Raises:
        ValueError: There is no training data in it.
        OSError: It cannot be read.
    """
    with np.load(data, allow_pickle=False) as file:
        for names in (("x_val", "y_val"), ("x_validation", "y_validation")):
            if all(name in file for name in names):
                validation = (file[names[0]], file[names[1]])
                break
        else:
            validation = None
        if "x_train" not in file or "y_train" not in file:
            raise ValueError(
                f"{os.fspath(data)} has the arrays {', '.join(sorted(file)) or '(none)'}. Expected "
                "x_train and y_train, and x_val and y_val if there is validation data."
            )
        return (file["x_train"], file["y_train"]), validation
