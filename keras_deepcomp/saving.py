"""Stage 3: a Keras model as one `.kdc` file, and back with the same bits (paper section 4)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_deepcomp import container
from keras_deepcomp.architecture import from_text, to_text
from keras_deepcomp.architecture.building import finalize, initialize
from keras_deepcomp.container import FormatError
from keras_deepcomp.conversion import strip
from keras_deepcomp.naming import variable_names

ARCHITECTURE = "keras"
"""The metadata key under which the file holds the model's architecture."""


def save_model(
    model: keras.Model, path: str | os.PathLike[str], *, architecture: bool = True
) -> int:
    """Writes a model into a `.kdc` file: Huffman-coded where that is smaller, raw elsewhere.

    What is stored is `strip(model)`: every variable bit for bit, and the architecture. The file
    replaces an older one only when it is complete.

    Args:
        model: A pruned, shared or plain model; compiled or not (how it was compiled is not kept).
        path: The file to write.
        architecture: Whether to store the architecture. Without it the file holds the weights
            alone, for `load_weights`.

    Returns:
        The size of the file in bytes.

    Raises:
        ValueError: The model is not built, or its architecture cannot be written.
        OSError: The file cannot be written; an older one is as it was.
    """
    tensors, metadata = contents_of(model, architecture)
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
    tensors, metadata = _read(path, max_bytes)
    text = metadata.get(ARCHITECTURE)
    if text is None:
        raise FormatError(
            f"'{os.fspath(path)}' holds tensors but no Keras architecture. Build the model and "
            "call keras_deepcomp.load_weights(model, path), or read the tensors with "
            "keras_deepcomp.container.load_file."
        )
    elements = sum(int(np.prod(tensor.shape, dtype=object)) for tensor in tensors)
    model = from_text(text, custom_objects, tensors=len(tensors), elements=elements)
    if misfit := _misfit(model.variables, tensors):
        raise FormatError(f"The architecture and the tensors in the file differ: {misfit}")
    for variable, tensor in zip(model.variables, tensors, strict=True):
        initialize(variable, tensor.read())
    finalize(model)
    return model


def load_weights(
    model: keras.Model,
    path: str | os.PathLike[str],
    max_bytes: int = container.DEFAULT_MAX_BYTES,
) -> None:
    """Reads the weights in a `.kdc` file into a model that is there already.

    The file may have been saved with its architecture or without. All shapes and types are compared
    before the model is changed.

    Args:
        model: A built, plain model with the variables of the one saved, in the same order. Names
            need not be the same.
        path: The file.
        max_bytes: The most memory that the decoded tensors may take.

    Raises:
        ValueError: The model is not built, or the weights are not of its shapes and types.
        FormatError: The file is damaged or hostile.
        OSError: The file cannot be read.
    """
    _check_built(model, "load")
    tensors, _ = _read(path, max_bytes)
    if misfit := _misfit(model.variables, tensors):
        raise ValueError(
            f"The weights in '{os.fspath(path)}' do not fit '{model.name}': {misfit} What is saved "
            "is the stripped model: load into a model without wrappers, as it was built for saving."
        )
    for variable, tensor in zip(model.variables, tensors, strict=True):
        variable.assign(tensor.read())
    finalize(model)


def contents_of(
    model: keras.Model, architecture: bool = True
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What the file of a model holds: tensors and metadata of the stripped model.

    The tensors are all its variables, in its own order, named by where they stand in it. Loading
    goes by the order; names are for people.
    """
    plain = strip(model)
    _check_built(plain, "save")
    names = variable_names(plain)
    tensors = {
        names[id(variable)]: np.asarray(keras.ops.convert_to_numpy(variable))
        for variable in plain.variables
    }
    return tensors, {ARCHITECTURE: to_text(plain)} if architecture else {}


class _Tensor(NamedTuple):
    """A tensor of a file: what it is, and a way to get it, once."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


def _read(path: str | os.PathLike[str], max_bytes: int) -> tuple[Sequence[_Tensor], dict[str, str]]:
    """The tensors and the metadata of a file, checked. Each `read` gives its array away."""
    arrays, info = container.load_file_with_info(path, max_bytes)
    tensors = [
        _Tensor(name, array.dtype.name, array.shape, partial(arrays.pop, name))
        for name, array in arrays.items()
    ]
    return tensors, info.metadata


def _misfit(variables: Sequence[keras.Variable], tensors: Sequence[_Tensor]) -> str | None:
    """Where variables and tensors differ first, in words."""
    if len(variables) != len(tensors):
        return f"{len(variables)} variables and {len(tensors)} tensors."
    for variable, tensor in zip(variables, tensors, strict=True):
        shape, dtype = tuple(variable.shape), keras.backend.standardize_dtype(variable.dtype)
        if (shape, dtype) != (tensor.shape, tensor.dtype):
            return (
                f"tensor '{tensor.name}' is {tensor.dtype} of shape {tensor.shape}, and variable "
                f"'{variable.path}' is {dtype} of shape {shape}."
            )
    return None


def _check_built(model: keras.Model, purpose: str) -> None:
    if not model.built:
        raise ValueError(
            f"'{model.name}' is not built, so it has no weights to {purpose}. Call "
            "model.build(input_shape) or fit it first."
        )
