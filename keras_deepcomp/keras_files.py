"""Keras' own files, `.keras` and `.h5`, read without trust.

Keras' loader takes the configuration in a file as it comes, and safe mode has been got round more
than once. So we read the configuration ourselves, pass it through the allow-list, build the model
from it, and let Keras load only the weights, after the structure of their file was checked.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import h5py
import keras
import numpy as np
from keras.src.legacy.saving.saving_options import keras_option_scope
from keras.src.legacy.saving.saving_utils import model_from_config
from keras.src.saving.serialization_lib import ObjectSharingScope

from keras_deepcomp.architecture import MAX_TEXT, build_model, slim
from keras_deepcomp.architecture.allow_list import check, check_size
from keras_deepcomp.architecture.building import initialize
from keras_deepcomp.container import DEFAULT_MAX_BYTES, FormatError

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_MAX_OBJECTS = 1_000_000
_DEEPEST = 100


def load_keras_file(
    path: str | os.PathLike[str],
    custom_objects: dict[str, Any] | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> keras.Model:
    """Reads a model from a `.keras` or `.h5` file, as keras.models.load_model does.

    Args:
        path: The file.
        custom_objects: Name -> class, for custom layers that are not registered with Keras.
        max_bytes: The most memory that the file's arrays may take.

    Returns:
        The model, not compiled.

    Raises:
        FormatError: The file is damaged or hostile, or has what cannot be kept.
        OSError: The file cannot be read.
    """
    path = Path(path)
    with path.open("rb") as file:
        file.read(1)  # a file that cannot be read is no damaged file
    if path.suffix.lower() == ".keras":
        config, arrays = _read_archive(path, max_bytes)
    else:
        with _opened(path) as h5:
            config, arrays = _legacy_config(h5), _arrays(h5, max_bytes)
    legacy = path.suffix.lower() != ".keras"
    check_size(config)
    config = slim(config)
    check(config, custom_objects or {}, len(arrays), legacy)

    def make() -> Any:
        if not legacy:
            with ObjectSharingScope():
                return keras.saving.deserialize_keras_object(config, custom_objects=custom_objects)
        with keras_option_scope(use_legacy_config=True):
            return model_from_config(config, custom_objects=custom_objects)

    model = build_model(make, sum(arrays))
    for variable in model.variables:
        initialize(variable)
    try:
        model.load_weights(path)
    except Exception as error:  # Keras and h5py raise anything at all
        raise FormatError(f"{path}: the weights do not fit the architecture: {error}") from error
    return model


def _read_archive(path: Path, max_bytes: int) -> tuple[Any, list[int]]:
    """The configuration in a `.keras` file, and how many elements each of its arrays has."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if any(name.startswith("assets/") for name in names):
                raise FormatError(
                    f"{path}: a layer has a vocabulary from adapt(), which a .kdc file does not "
                    "keep. Make the layer anew with vocabulary= and save again."
                )
            with archive.open(_CONFIG) as member:
                config = _parse(member.read(MAX_TEXT + 1))
            size = archive.getinfo(_WEIGHTS).file_size
            if size > max_bytes:
                raise _too_large(size, max_bytes)
            with archive.open(_WEIGHTS) as member, _opened(member) as h5:
                return config, _arrays(h5, max_bytes)
    except FormatError:
        raise
    except Exception as error:  # zipfile raises half a dozen kinds for a damaged archive
        raise FormatError(f"{path}: not a .keras file: {error}") from error


def _opened(file: Path | IO[bytes]) -> h5py.File:
    try:
        return h5py.File(file, "r")
    except Exception as error:
        raise FormatError(f"{getattr(file, 'name', file)}: not an HDF5 file: {error}") from error


def _legacy_config(h5: h5py.File) -> Any:
    text = h5.attrs.get("model_config")
    if not isinstance(text, str | bytes):
        raise FormatError(f"{h5.filename}: it has weights at most, and no Keras model.")
    return _parse(text)


def _parse(text: str | bytes) -> Any:
    if len(text) > MAX_TEXT:
        raise FormatError(f"The configuration in the file has more than {MAX_TEXT:,} characters.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"The configuration in the file is not JSON: {error}.") from None


def _arrays(h5: h5py.File, max_bytes: int) -> list[int]:
    """How many elements each array in an HDF5 file has.

    Raises:
        FormatError: The arrays take too much memory, or are not all in the file.
    """
    sizes, total = [], 0
    try:
        for dataset in _datasets(h5, set(), 0):
            if dataset.external or dataset.is_virtual:
                raise FormatError(f"{dataset.name} would be read from another file.")
            sizes.append(int(np.prod(dataset.shape, dtype=object)))
            total += sizes[-1] * dataset.dtype.itemsize
            if total > max_bytes:
                raise _too_large(total, max_bytes)
    except FormatError:
        raise
    except Exception as error:
        raise FormatError(f"The weights in the file are damaged: {error}") from error
    return sizes


def _datasets(group: h5py.Group, seen: set[Any], depth: int) -> Iterator[h5py.Dataset]:
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise FormatError(f"{group.name}/{name} is a link to another place or file.")
        item = group[name]
        address = h5py.h5o.get_info(item.id).addr
        if isinstance(item, h5py.Dataset):
            yield item
        elif isinstance(item, h5py.Group) and address not in seen:
            seen.add(address)
            if depth > _DEEPEST or len(seen) > _MAX_OBJECTS:
                raise FormatError("The groups of arrays in the file are too many or too deep.")
            yield from _datasets(item, seen, depth + 1)


def _too_large(size: int, max_bytes: int) -> FormatError:
    return FormatError(
        f"The arrays in the file take {size:,} bytes, and {max_bytes:,} are allowed."
    )
