"""Models of a class of the user's own, with wrapped layers inside.

Their class cannot be made from its configuration with wrappers inside, as it knows nothing of them.
So a converted model remembers the plain model it came from, and is stored as that and its wrappers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import keras
from keras.src.saving.serialization_lib import SafeModeScope

from keras_deepcomp.naming import models_in
from keras_deepcomp.quantized import complete_policies
from keras_deepcomp.wrappers.substitution import WeightSubstitution, find_wrappers


@dataclass(frozen=True)
class Origin:
    """The class and configuration of a plain model.

    Attributes:
        kind: The model's class.
        config: What its `get_config` gave.
        build_config: What its `get_build_config` gave.
    """

    kind: type[keras.Model]
    config: dict[str, Any]
    build_config: Any

    def make(self) -> keras.Model:
        """A new model of the class; whether it is built depends on its `__init__`."""
        return from_own_config(self.kind, self.config)


def origin_of(model: keras.Model) -> Origin:
    """The origin of a converted model, or of a plain model as it is."""
    if isinstance(model, ConvertedModel):
        return model._origin
    with not_compiled(model):
        return Origin(type(model), own_config(model), model.get_build_config())


def own_config(layer: keras.Layer) -> dict[str, Any]:
    """What `get_config` gives.

    Raises:
        ValueError: It fails; says what to do.
    """
    try:
        with complete_policies(layer):
            config = layer.get_config()
    except Exception as error:  # whatever the class's own code raises
        raise _cannot_be_made(type(layer), layer.name, error) from error
    if lost := _arguments_not_kept(layer):
        raise _cannot_be_made(
            type(layer),
            layer.name,
            f"Keras does not keep the arguments {', '.join(lost)} of a model.",
        )
    return config


def _arguments_not_kept(layer: keras.Layer) -> list[str]:
    """The arguments of `__init__` of which a model's own `get_config` knows the defaults at most.

    Keras keeps the arguments of a layer without a `get_config`, but not those of a model.
    """
    if not isinstance(layer, keras.Model) or not getattr(layer.get_config, "_is_default", False):
        return []
    parameters = inspect.signature(type(layer).__init__).parameters.values()
    return [
        parameter.name
        for parameter in list(parameters)[1:]
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and parameter.name not in ("name", "trainable", "dtype", "autocast")
    ]


def from_own_config(kind: type[keras.Layer], config: dict[str, Any]) -> Any:
    """A new layer or model from what `get_config` gave.

    Raises:
        ValueError: It fails; says what to do.
    """
    try:
        # The class is the user's own and in this process: what is in it runs already.
        with SafeModeScope(False):
            return kind.from_config(deepcopy(config))  # which some change while they read it
    except Exception as error:  # whatever the class's own code raises
        raise _cannot_be_made(kind, config.get("name", "?"), error) from error


def _cannot_be_made(kind: type, name: str, error: Any) -> ValueError:
    what, base = ("Model", "Model") if issubclass(kind, keras.Model) else ("Layer", "layers.Layer")
    return ValueError(
        f"{what} '{name}' ({kind.__name__}) cannot be made anew from its configuration: {error} "
        f"Give it a get_config() with all the arguments of its __init__, and pass **kwargs on to "
        f"keras.{base}."
    )


class ConvertedModel:
    """What a converted model's class adds to the class it came from: its configuration."""

    _origin: Origin

    def get_config(self) -> dict[str, Any]:
        """The plain model, and for each of its leaves the wrapper around it or None."""
        from keras_deepcomp.rebuilding import leaves

        plain = {
            "module": self._origin.kind.__module__,
            "class_name": self._origin.kind.__name__,
            "config": self._origin.config,
            "registered_name": keras.saving.get_registered_name(self._origin.kind),
            "build_config": self._origin.build_config,
        }
        return {"plain": plain, "wrappers": [_wrapper_config(leaf) for leaf in leaves(self)]}

    def get_build_config(self) -> None:
        """None: `from_config` builds it."""

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> keras.Model:
        """A model with the same wrappers, which get their state as weights are loaded."""
        from keras_deepcomp.rebuilding import leaves, rebuild

        plain = keras.saving.deserialize_keras_object(config["plain"], custom_objects)
        pairs = zip(leaves(plain), config["wrappers"], strict=True)
        wrappings = {id(leaf): _wrapping(wrapper, custom_objects) for leaf, wrapper in pairs}
        return rebuild(plain, lambda leaf: wrappings[id(leaf)])


def mark_converted(model: keras.Model, origin: Origin) -> keras.Model:
    """Makes a model that has wrappers inside a converted model; any other stays what it is."""
    if find_wrappers(model):
        model._origin = origin
        model.__class__ = _converted_class(origin.kind)
    return model


_CLASSES: dict[type[keras.Model], type[keras.Model]] = {}


def _converted_class(kind: type[keras.Model]) -> type[keras.Model]:
    if kind in _CLASSES:
        return _CLASSES[kind]
    converted = type(kind.__name__, (ConvertedModel, kind), {"__module__": kind.__module__})
    # All of them under one name: from_config is the same for all, and makes what it is told to.
    register = keras.saving.register_keras_serializable("keras_deepcomp", "ConvertedModel")
    _CLASSES[kind] = register(converted)
    return _CLASSES[kind]


def _wrapper_config(leaf: keras.Layer) -> dict[str, Any] | None:
    if not isinstance(leaf, WeightSubstitution):
        return None
    serialized = keras.saving.serialize_keras_object(leaf)
    del serialized["config"]["layer"]  # it is in the plain model
    return serialized


def _wrapping(
    serialized: dict[str, Any] | None, custom_objects: dict[str, Any] | None
) -> Callable[[keras.Layer], WeightSubstitution] | None:
    if serialized is None:
        return None
    kind = keras.saving.get_registered_object(serialized["registered_name"])

    def wrap(layer: keras.Layer) -> WeightSubstitution:
        return kind.from_config({**serialized["config"], "layer": layer}, custom_objects)

    return wrap


@contextmanager
def not_compiled(model: keras.Model) -> Iterator[None]:
    """Hides that a model and those inside it are compiled.

    Cloning would compile the clone as well, which fails for losses that are not registered, and
    keeps an optimizer that is right for one stage in the next.
    """
    models = [each for each in models_in(model) if each.compiled]
    for each in models:
        each.compiled = False
    try:
        yield
    finally:
        for each in models:
            each.compiled = True
