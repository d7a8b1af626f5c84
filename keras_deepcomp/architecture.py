"""A model's configuration as text in a file, and back through an allow-list.

A Keras configuration names classes to import and call, and files come from anywhere. So a
configuration from a file is checked before Keras sees it: every class it names must be one of
Keras' own, found in a fixed table of modules, or one that the user handed over or registered.
Nothing in a file can name another module, carry code (Lambda layers and functions), or call out.
Then Keras loads it in a safe-mode scope of ours, which also holds if the process has switched
safe mode off.
"""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import keras
from keras.src.saving.serialization_lib import SafeModeScope

from keras_deepcomp.container import FormatError

_MODULES = (
    "keras",
    "keras.activations",
    "keras.constraints",
    "keras.dtype_policies",
    "keras.initializers",
    "keras.layers",
    "keras.models",
    "keras.quantizers",
    "keras.random",
    "keras.regularizers",
    "keras.src.models.functional",
    "keras.src.models.sequential",
    "keras.src.ops.core",
    "keras.src.ops.einops",
    "keras.src.ops.image",
    "keras.src.ops.linalg",
    "keras.src.ops.math",
    "keras.src.ops.nn",
    "keras.src.ops.numpy",
)

# Layers that run code or read files which the configuration names.
_REFUSED_CLASSES = frozenset(
    {"Lambda", "TFSMLayer", "TorchModuleWrapper", "FlaxLayer", "JaxLayer", "NnxLayer"}
)

# Keras' notation for plain values.
_VALUES = frozenset(
    {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"}
)

_DEEPEST = 100


def to_text(model: keras.Model) -> str:
    """The configuration of a model as canonical JSON: sorted keys, no white space.

    Left out is what loading does not need: how the model was compiled, and build configurations,
    since Sequential models with an input and functional ones build themselves.

    Raises:
        ValueError: Keras cannot serialize the model, or it has a layer that is never loaded.
    """
    try:
        config = _slim(keras.saving.serialize_keras_object(model))
        text = json.dumps(config, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ValueError(
            f"The architecture of '{model.name}' cannot be written: {error} Give its custom layers "
            "a get_config()."
        ) from error
    try:
        _check(json.loads(text), None, 0)
    except FormatError as error:
        raise ValueError(
            f"The architecture of '{model.name}' could not be loaded again: {error}"
        ) from None
    return text


def from_text(text: str, custom_objects: dict[str, Any] | None = None) -> keras.Model:
    """The model of a configuration from a file, with fresh weights.

    Args:
        text: What `to_text` gave.
        custom_objects: Name -> class, for custom layers that are not registered with Keras.

    Raises:
        FormatError: The text is not a configuration, or names something that is not allowed.
    """
    try:
        config = json.loads(text)
        _check(config, custom_objects or {}, 0)
    except FormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise FormatError(f"The architecture in the file is not JSON: {error}.") from None
    try:
        with SafeModeScope(True):
            model = keras.saving.deserialize_keras_object(config, custom_objects=custom_objects)
    except Exception as error:  # Keras raises anything at all for a wrong configuration
        raise FormatError(
            f"Keras {keras.__version__} cannot build the architecture in the file: {error}"
        ) from error
    if not isinstance(model, keras.Model):
        raise FormatError(
            f"The architecture in the file is a {type(model).__name__}, not a Keras model."
        )
    return model


def _slim(config: Any) -> Any:
    if isinstance(config, dict):
        is_object = "class_name" in config and "config" in config
        return {
            key: _slim(value)
            for key, value in config.items()
            if not (
                is_object
                and (
                    key in ("compile_config", "build_config")
                    or (key == "registered_name" and value is None)
                )
            )
        }
    if isinstance(config, list | tuple):
        return [_slim(value) for value in config]
    return config


def _check(config: Any, custom_objects: dict[str, Any] | None, depth: int) -> None:
    """Refuses what must not be loaded; with None for `custom_objects`, only what never may be."""
    if depth > _DEEPEST:
        raise FormatError(f"The architecture is nested more than {_DEEPEST} levels deep.")
    if isinstance(config, dict):
        if "class_name" in config:
            _check_object(config, custom_objects)
        for value in config.values():
            _check(value, custom_objects, depth + 1)
    elif isinstance(config, list):
        for value in config:
            _check(value, custom_objects, depth + 1)


def _check_object(config: dict[str, Any], custom_objects: dict[str, Any] | None) -> None:
    name, module = config["class_name"], config.get("module")
    registered = config.get("registered_name", name)
    if not isinstance(name, str) or not isinstance(module, str | None):
        raise FormatError(f"The architecture names a class in a wrong way: {name!r} of {module!r}.")
    if name in _VALUES and module is None:
        return
    if name == "function":
        if module == "builtins" and _is_activation(config.get("config")):
            return
        # Keras looks functions up by this name, whatever name they are registered under.
        if _is_known(config.get("config"), custom_objects):
            return
        raise FormatError(
            f"The architecture names the function {config.get('config')!r} of module {module!r}, "
            "which is not one of Keras' activations. If you trust it, register it with "
            "keras.saving.register_keras_serializable or pass it in custom_objects=."
        )
    if name in _REFUSED_CLASSES:
        raise FormatError(
            f"The architecture has a {name} layer, which runs code or reads files that the "
            "file names; it is never loaded. Write it as a layer class of your own and register "
            "that."
        )
    arguments = config.get("config")
    if isinstance(arguments, dict) and isinstance(arguments.get("vocabulary"), str):
        raise FormatError(
            f"The architecture has a {name} layer that would read its vocabulary from the file "
            f"{arguments['vocabulary']!r}; nothing is read for it. Save it with its vocabulary as "
            "a list."
        )
    if _is_known(registered, custom_objects):
        return
    if module in _MODULES and _is_keras_class(getattr(import_module(module), name, None)):
        return
    raise FormatError(
        f"The architecture names the class {name!r} of module {module!r}, which is not one of "
        "Keras' own. If you trust it, register it with keras.saving.register_keras_serializable "
        "or pass it in custom_objects=."
    )


def _is_known(name: Any, custom_objects: dict[str, Any] | None) -> bool:
    """Whether the user registered something under this name, or handed it over."""
    if custom_objects is None:
        return True
    if not isinstance(name, str):
        return False
    return keras.saving.get_registered_object(name, custom_objects) is not None


def _is_activation(name: Any) -> bool:
    return isinstance(name, str) and callable(getattr(keras.activations, name, None))


def _is_keras_class(value: Any) -> bool:
    bases = (
        keras.Operation,
        keras.Initializer,
        keras.Regularizer,
        keras.constraints.Constraint,
        keras.DTypePolicy,
        keras.Quantizer,
        keras.random.SeedGenerator,
    )
    return isinstance(value, type) and issubclass(value, bases)
