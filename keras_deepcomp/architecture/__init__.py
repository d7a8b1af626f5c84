"""A model's architecture as a little text in a file, and back without trust in the file.

A model's configuration is spelled shortly (`spelling`), by a table of Keras' classes and their
defaults that belongs to the format (`table`). What a file spells is expanded to a configuration as
Keras writes it, must pass an allow-list (`allow_list`), and is built without memory for its weights
(`building`) in a safe-mode scope of ours, which also holds if the process has switched safe mode
off.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import keras
from keras.src.saving.serialization_lib import SafeModeScope

from keras_deepcomp.architecture.allow_list import CustomObjects, check, check_size
from keras_deepcomp.architecture.building import build
from keras_deepcomp.architecture.spelling import expand, shorten
from keras_deepcomp.container import FormatError
from keras_deepcomp.naming import is_graph, models_in, sublayers
from keras_deepcomp.quantized import check_modes, complete_policies

SPELLING = 1
"""The version of the spelling and its table, which is the first thing in a text.

A text without it, a dictionary, is a configuration as Keras writes it, as in the first files.
"""

MAX_TEXT = 4 << 20
"""The longest text, in characters."""


def to_text(model: keras.Model) -> str:
    """The architecture of a model, as JSON without white space, the same for the same model.

    Left out is what loading does not need: how the model was compiled, and build configurations
    but those of subclassed models, since Sequential models with an input and functional ones build
    themselves.

    Raises:
        ValueError: Keras cannot serialize the model, or it could not be loaded again.
    """
    _check_adapted(model)
    _check_not_shared(model)
    check_modes(model)
    try:
        with complete_policies(model):
            serialized = keras.saving.serialize_keras_object(model)
        config = slim(json.loads(json.dumps(serialized)), built_by=_subclasses(model))
        text = json.dumps(
            [SPELLING, shorten(config)], sort_keys=True, separators=(",", ":"), allow_nan=False
        )
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ValueError(
            f"The architecture of '{model.name}' cannot be written: {error} Give its custom layers "
            "a get_config()."
        ) from error
    try:
        check(configuration(text), tensors=len(model.variables))
    except FormatError as error:
        raise ValueError(
            f"The architecture of '{model.name}' could not be loaded again: {error}"
        ) from None
    return text


def from_text(
    text: str,
    custom_objects: CustomObjects | None = None,
    *,
    tensors: int,
    elements: int,
) -> keras.Model:
    """The model of a text from a file, with variables that have no values yet.

    Args:
        text: What `to_text` gave.
        custom_objects: Name -> class, for custom layers that are not registered with Keras.
        tensors: How many tensors the file has.
        elements: How many elements these have together. More is refused.

    Returns:
        A model without values: see `building.initialize`.

    Raises:
        FormatError: The text is not an architecture, or names something that is not allowed.
    """
    config = configuration(text)
    check(config, custom_objects or {}, tensors)

    def make() -> Any:
        return keras.saving.deserialize_keras_object(config, custom_objects=custom_objects)

    return build_model(make, elements)


def build_model(make: Any, elements: int) -> keras.Model:
    """Builds a model in a safe-mode scope, its variables deferred.

    Args:
        make: Has Keras make the model of a configuration that was checked.
        elements: The most elements that its variables may have together.

    Raises:
        FormatError: Keras cannot make it, it is no model, or too large.
    """
    try:
        with SafeModeScope(True):
            model = build(make, elements)
    except FormatError:
        raise
    except Exception as error:  # Keras raises anything at all for a wrong configuration
        raise FormatError(
            f"Keras {keras.__version__} cannot build the architecture in the file: {error}"
        ) from error
    if not isinstance(model, keras.Model):
        raise FormatError(
            f"The architecture in the file is a {type(model).__name__}, not a Keras model."
        )
    return model


def configuration(text: str) -> Any:
    """The configuration that a text stands for, as Keras would write it. It is not checked.

    Raises:
        FormatError: The text is too long or not JSON, or wrongly spelled.
    """
    if len(text) > MAX_TEXT:
        raise FormatError(
            f"The architecture in the file has {len(text):,} characters, at most {MAX_TEXT:,}."
        )
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"The architecture in the file is not JSON: {error}.") from None
    check_size(config)
    if isinstance(config, dict):
        return config
    if not isinstance(config, list) or len(config) != 2 or type(config[0]) is not int:
        raise FormatError("The architecture in the file is neither of ours nor of Keras' spelling.")
    if config[0] != SPELLING:
        raise FormatError(
            f"The architecture in the file is in spelling {config[0]}, which this version of "
            f"keras_deepcomp does not know: it knows {SPELLING}. Update keras_deepcomp."
        )
    return expand(config[1])


def _subclasses(model: keras.Model) -> set[str]:
    """The names of the classes of those models in a model that do not know their own input."""
    return {
        type(layer).__name__
        for layer in model._flatten_layers()
        if isinstance(layer, keras.Model) and not is_graph(layer)
    }


def slim(config: Any, built_by: Collection[str] = ()) -> Any:
    """A configuration without what says how models were compiled and built.

    Args:
        config: What Keras writes, as JSON.
        built_by: The names of the classes whose build configuration stays.
    """
    if isinstance(config, dict):
        is_object = "class_name" in config and "config" in config
        return {
            key: slim(value, built_by)
            for key, value in config.items()
            if not (
                is_object
                and (
                    key == "compile_config"
                    or (key == "build_config" and config["class_name"] not in built_by)
                    or (key == "registered_name" and value is None)
                )
            )
        }
    if isinstance(config, list):
        return [slim(value, built_by) for value in config]
    return config


def _check_not_shared(model: keras.Model) -> None:
    """Refuses a layer that two graphs call: Keras makes two layers of it when it loads them."""
    homes: dict[int, keras.Model] = {}
    for graph in filter(is_graph, models_in(model)):
        for layer in sublayers(graph):
            home = homes.setdefault(id(layer), graph)
            if home is not graph:
                raise ValueError(
                    f"The architecture of '{model.name}' cannot be written: layer '{layer.name}' "
                    f"is shared by '{home.name}' and '{graph.name}', and Keras would make two "
                    "layers of it. Save with architecture=False, and load_weights() into the model "
                    "that your code makes."
                )


def _check_adapted(model: keras.Model) -> None:
    """Refuses a vocabulary that adapt() gave a layer: it is neither a variable nor an argument."""
    for layer in model._flatten_layers():
        get_vocabulary = getattr(layer, "get_vocabulary", None)
        if get_vocabulary is None or layer.get_config().get("vocabulary") is not None:
            continue
        if len(get_vocabulary()) > len(
            type(layer).from_config(layer.get_config()).get_vocabulary()
        ):
            raise ValueError(
                f"Layer '{layer.name}' has the vocabulary that adapt() gave it, which a file does "
                f"not keep. Make the layer anew with {type(layer).__name__}(..., "
                "vocabulary=layer.get_vocabulary(include_special_tokens=False))."
            )
