"""Stage 3: a Keras model as one `.kdc` file, and back with the same bits (paper section 4)."""

from __future__ import annotations

import os
from typing import Any

import keras
import numpy as np

from keras_deepcomp import architecture, container
from keras_deepcomp.container import FormatError
from keras_deepcomp.conversion import strip
from keras_deepcomp.naming import variable_names

ARCHITECTURE = "keras"
"""The metadata key under which the file holds the model's configuration."""


def save_model(model: keras.Model, path: str | os.PathLike[str]) -> int:
    """Writes a model into a `.kdc` file: Huffman-coded where that is smaller, raw elsewhere.

    What is stored is `strip(model)`: every variable bit for bit, and the architecture. The file
    replaces an older one only when it is complete.

    Args:
        model: A pruned, shared or plain model; compiled or not (how it was compiled is not kept).
        path: The file to write.

    Returns:
        The size of the file in bytes.

    Raises:
        ValueError: The model is not built, or its architecture cannot be written.
        OSError: The file cannot be written; an older one is as it was.
    """
    tensors, metadata = contents_of(model)
    return container.save_file(tensors, path, metadata)


def load_model(
    path: str | os.PathLike[str],
    custom_objects: dict[str, Any] | None = None,
    max_bytes: int = container.DEFAULT_MAX_BYTES,
) -> keras.Model:
    """Reads a model from a `.kdc` file.

    Args:
        path: The file.
        custom_objects: Name -> class, for custom layers that are not registered with Keras.
        max_bytes: The most memory that the decoded tensors may take.

    Returns:
        An ordinary Keras model, not compiled, with every variable bit-identical to the one saved.

    Raises:
        FormatError: The file is damaged, hostile, or not a Keras model.
        OSError: The file cannot be read.
    """
    tensors, info = container.load_file_with_info(path, max_bytes)
    text = info.metadata.get(ARCHITECTURE)
    if text is None:
        raise FormatError(
            f"'{os.fspath(path)}' holds tensors but no Keras architecture. Read it with "
            "keras_deepcomp.container.load_file."
        )
    model = architecture.from_text(text, custom_objects)
    _assign(model, tensors)
    return model


def contents_of(model: keras.Model) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What the file of a model holds: tensors and metadata of the stripped model.

    The tensors are all its variables, in its own order, named by where they stand in it. Loading
    goes by the order; names are for people.
    """
    plain = strip(model)
    if not plain.built:
        raise ValueError(
            f"'{model.name}' is not built, so it has no weights to save. Call "
            "model.build(input_shape) or fit it first."
        )
    names = variable_names(plain)
    tensors = {
        names[id(variable)]: np.asarray(keras.ops.convert_to_numpy(variable))
        for variable in plain.variables
    }
    return tensors, {ARCHITECTURE: architecture.to_text(plain)}


def _assign(model: keras.Model, tensors: dict[str, np.ndarray]) -> None:
    variables = model.variables
    if len(variables) != len(tensors):
        raise FormatError(
            f"The architecture has {len(variables)} variables and the file {len(tensors)} tensors."
        )
    for variable, (name, tensor) in zip(variables, tensors.items(), strict=True):
        wanted = (tuple(variable.shape), keras.backend.standardize_dtype(variable.dtype))
        found = (tensor.shape, tensor.dtype.name)
        if wanted != found:
            raise FormatError(
                f"Tensor '{name}' is {found[1]} of shape {found[0]}; the architecture's "
                f"'{variable.path}' is {wanted[1]} of shape {wanted[0]}."
            )
        variable.assign(tensor)
