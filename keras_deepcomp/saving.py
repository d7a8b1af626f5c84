"""Stage 3: a Keras model as one `.kdc` file, and back with the same bits (paper section 4)."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

import keras
import numpy as np

from keras_deepcomp import container
from keras_deepcomp.architecture import from_text, to_text
from keras_deepcomp.architecture.building import initialize, initialize_states
from keras_deepcomp.container import FormatError
from keras_deepcomp.conversion import strip
from keras_deepcomp.devices import on_this_process, to_numpy
from keras_deepcomp.naming import aligned, variable_names
from keras_deepcomp.progress import counting_bytes
from keras_deepcomp.quantized import is_quantized
from keras_deepcomp.rebuilding import finalize
from keras_deepcomp.tflite import restoring

ARCHITECTURE = "keras"
"""The metadata key under which the file holds the model's architecture."""

_SEED_STATE = "seed_generator_state"
"""What Keras names the state of a random number generator."""

_SEED_TYPES = ("int32", "uint32", "int64", "uint64")
"""The types that such a state has, depending on the backend."""


def save_model(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    architecture: bool = True,
    effort: int = container.DEFAULT_EFFORT,
    verbose: bool = False,
) -> int:
    """Writes a model into a `.kdc` file: Huffman-coded where that is smaller, raw elsewhere.

    What is stored is `strip(model)`: every variable bit for bit, and the architecture. The file
    replaces an older one only when it is complete.

    In a training over several processes, one of them may save alone if each has all of the weights
    (`keras.distribution.DataParallel`). Where the weights are spread over the processes
    (`ModelParallel`), all of them have to call this.

    Args:
        model: A pruned, shared or plain model; compiled or not (how it was compiled is not kept).
        path: The file to write.
        architecture: Whether to store the architecture. Without it the file holds the weights
            alone, for `load_weights`.
        effort: How long to search for a smaller file, 0 (no search) to 9.
        verbose: Whether to show the progress on standard error: a bar with the time left on a
            terminal, and elsewhere a line every ten seconds.

    Returns:
        The size of the file in bytes.

    Raises:
        ValueError: The model is not built, or its architecture cannot be written, or there is no
            such effort.
        OSError: The file cannot be written; an older one is as it was.
    """
    tensors, metadata = contents_of(model, architecture)
    with counting_bytes(verbose, "Saving") as progress:
        return container.save_file(tensors, path, metadata, effort, progress)


def load_model(
    path: str | os.PathLike[str],
    custom_objects: dict[str, Any] | None = None,
    max_bytes: int = container.DEFAULT_MAX_BYTES,
    verbose: bool = False,
) -> keras.Model:
    """Reads a model from a `.kdc` file.

    Nothing that the file declares takes memory before it has been compared with the rest. Then one
    tensor after the other is decoded and given to its variable.

    Args:
        path: The file.
        custom_objects: Name -> class, for custom layers that are not registered with Keras.
        max_bytes: The most memory that the decoded tensors may take.
        verbose: Whether to show the progress on standard error: a bar with the time left on a
            terminal, and elsewhere a line every ten seconds.

    Returns:
        An ordinary Keras model, not compiled, with every variable bit-identical to the one saved.
        On another backend the states of random number generators (of `Dropout` and the like) take
        the integer type that they have there.

    Raises:
        FormatError: The file is damaged, hostile, or not a Keras model.
        OSError: The file cannot be read.
    """
    with (
        container.open_file(path, max_bytes) as file,
        counting_bytes(verbose, "Loading") as progress,
    ):
        text = file.metadata.get(ARCHITECTURE)
        if text is None:
            if restoring.MARK in file.metadata:
                raise FormatError(
                    f"'{os.fspath(path)}' holds a .tflite file, not a Keras model. Bring it back "
                    "with keras_deepcomp.tflite.unpack(path, tflite_path)."
                )
            raise FormatError(
                f"'{os.fspath(path)}' holds tensors but no Keras architecture. Build the model and "
                "call keras_deepcomp.load_weights(model, path), or read the tensors with "
                "keras_deepcomp.container.load_file."
            )
        file.check_memory()
        file.check()
        elements = sum(math.prod(file.shape(name)) for name in file)
        model = from_text(text, custom_objects, tensors=len(file), elements=elements)
        if misfit := _misfit(model.variables, file):
            raise FormatError(f"The architecture and the tensors in the file differ: {misfit}")
        for variable, tensor in zip(model.variables, _decoded(file, progress), strict=True):
            initialize(variable, _of_this_backend(variable, tensor))
    initialize_states(model)
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
    with container.open_file(path, max_bytes) as file:
        file.check_memory()
        file.check()
        variables = aligned(model, list(file)) if is_quantized(model) else model.variables
        if misfit := _misfit(variables, file):
            raise ValueError(
                f"The weights in '{os.fspath(path)}' do not fit '{model.name}': {misfit} What is "
                "saved is the stripped model: load into a model without wrappers, as it was built "
                "for saving."
            )
        for variable, tensor in zip(variables, _decoded(file, None), strict=True):
            variable.assign(_of_this_backend(variable, tensor))
    finalize(model)


def contents_of(
    model: keras.Model, architecture: bool = True
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What the file of a model holds: tensors and metadata of the stripped model.

    The tensors are all its variables, in the order that the model has when it is made anew, named
    by where they stand in it. Loading goes by the order; names are for people.
    """
    with on_this_process():
        plain = strip(model)
    _check_built(plain, "save")
    names, variables = variable_names(plain), list(plain.variables)
    metadata = {ARCHITECTURE: to_text(plain)} if architecture else {}
    if architecture and is_quantized(plain):
        variables = _as_made_anew(plain, metadata[ARCHITECTURE])
    return {names[id(variable)]: to_numpy(variable, copy=False) for variable in variables}, metadata


def _as_made_anew(model: keras.Model, text: str) -> list[keras.Variable]:
    """The variables of a quantized model in the order in which its architecture has them."""
    classes = {type(layer).__name__: type(layer) for layer in model._flatten_layers()}
    elements = sum(math.prod(variable.shape) for variable in model.variables)
    made = from_text(text, classes, tensors=len(model.variables), elements=elements)
    variables = aligned(model, list(variable_names(made).values()))
    for one, other in zip_longest(variables, made.variables):
        if one is None or other is None or (one.shape, one.dtype) != (other.shape, other.dtype):
            where = other if one is None else one
            raise ValueError(
                f"'{where.path}' is of a quantized layer that is not made anew as it is: the layer "
                "around it does not pass its dtype on. Quantize without that layer (filters=), or "
                "save the variables alone with architecture=False."
            )
    return variables


def _decoded(
    file: container.Archive, progress: Callable[[int, int], None] | None
) -> Iterator[np.ndarray]:
    """The tensors of a file, each decoded when it is its turn."""
    done, total = 0, file.check_memory()
    for name in file:
        tensor = file[name]
        done += tensor.nbytes
        yield tensor
        # The caller has taken it over; nothing here keeps it while the next one is decoded.
        del tensor
        if progress is not None:
            progress(done, total)


def _misfit(variables: Sequence[keras.Variable], file: container.Archive) -> str | None:
    """Where the variables and the tensors of a file differ first, in words."""
    if len(variables) != len(file):
        return f"{len(variables)} variables and {len(file)} tensors."
    for variable, name in zip(variables, file, strict=True):
        shape, dtype = tuple(variable.shape), keras.backend.standardize_dtype(variable.dtype)
        if (shape, dtype) == (file.shape(name), file.dtype(name)):
            continue
        if shape != file.shape(name) or not _is_seed_state(variable, file.dtype(name)):
            return (
                f"tensor '{name}' is {file.dtype(name)} of shape {file.shape(name)}, and variable "
                f"'{variable.path}' is {dtype} of shape {shape}."
            )
    return None


def _is_seed_state(variable: keras.Variable, dtype: str) -> bool:
    """Whether this is the state of a random number generator, and what is to go into it fits."""
    return variable.name == _SEED_STATE and dtype in _SEED_TYPES


def _of_this_backend(variable: keras.Variable, tensor: np.ndarray) -> np.ndarray:
    """The tensor, in this backend's type if it is the state of a random number generator.

    A seed beyond that type loses its upper bits: the numbers drawn from it differ between the
    backends in any case.
    """
    if not _is_seed_state(variable, tensor.dtype.name):
        return tensor
    return tensor.astype(keras.backend.standardize_dtype(variable.dtype), copy=False)


def _check_built(model: keras.Model, purpose: str) -> None:
    if not model.built:
        raise ValueError(
            f"'{model.name}' is not built, so it has no weights to {purpose}. Call "
            "model.build(input_shape) or fit it first."
        )
