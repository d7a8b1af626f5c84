"""What a Keras configuration from a file must be before Keras sees it.

A configuration names classes to import and call, and how much of everything to make. So each class
must be in our table, or one that the user handed over or registered; functions must be Keras'
activations; and all values are of plain types and bounded. Nothing in a file can name another
module, carry code (Lambda layers and functions), or name a file to read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import keras

from keras_deepcomp.architecture.spelling import MAX_DEPTH
from keras_deepcomp.architecture.table import ACTIVATIONS, ALLOWED, LEGACY_ALLOWED
from keras_deepcomp.container import FormatError

CustomObjects = dict[str, Any]

MAX_VALUES = 1_000_000
MAX_STRING = 100_000
MAX_LIST = 1_000
MAX_INTEGER = 2**31
MAX_LONG_INTEGER = 2**64
MAX_COUNT = 2**16

# Layers and calls allowed beyond those that the number of tensors accounts for, and for each of it.
FREE_LAYERS, LAYERS_PER_TENSOR = 2_000, 20
FREE_CALLS, CALLS_PER_TENSOR = 20_000, 100

# Keras goes through all layers of a graph again for each layer that is called after its place.
MAX_LATE = 200_000

# Keras layers that run code, or read what the file names. They would be refused in any case, and
# get a word of advice.
_NEVER = frozenset(
    {"Lambda", "TFSMLayer", "TorchModuleWrapper", "FlaxLayer", "JaxLayer", "NnxLayer"}
)

# Keras' notation for plain values.
_VALUES = frozenset(
    {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"}
)
# numpy would make gigabytes of a few strings of type "S100000000".
_DTYPES = frozenset({
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
    "float32", "float64", "bfloat16", "complex64", "complex128", "string",
})  # fmt: skip

# What is as long as the data that it holds. Other lists say a few things about shapes.
_LONG = frozenset({
    "layers", "inbound_nodes", "input_layers", "output_layers", "cells", "vocabulary",
    "idf_weights", "bin_boundaries", "mean", "variance", "value", "scale", "offset", "args",
    "kwargs", "policy_map",
})  # fmt: skip
_LONG_INTEGERS = frozenset(
    {"seed", "salt", "vocabulary", "mask_token", "oov_token", "value", "shared_object_id"}
)
# Keras counts up to these, one by one.
_COUNTED = frozenset(
    {"indices_or_sections", "ngrams", "num", "num_chains", "num_oov_indices", "num_ops"}
)
# Strings here would be names of files to read.
_NO_STRINGS = frozenset({"vocabulary", "idf_weights"})


def check_size(config: Any) -> None:
    """Refuses what is nested too deep, or has too many values, for anything to go through it.

    Args:
        config: Any JSON.

    Raises:
        FormatError: It is too deep or too large.
    """
    count, left = 0, [(config, 0)]
    while left:
        value, depth = left.pop()
        count += 1
        if depth > MAX_DEPTH:
            raise FormatError(f"The architecture is nested more than {MAX_DEPTH} levels deep.")
        if count > MAX_VALUES:
            raise FormatError(f"The architecture has more than {MAX_VALUES:,} values.")
        items = value.values() if isinstance(value, dict) else value
        if isinstance(value, dict | list):
            left += [(item, depth + 1) for item in items]


def check(
    config: Any,
    custom_objects: CustomObjects | None = None,
    tensors: int | None = None,
    legacy: bool = False,
) -> None:
    """Refuses a configuration that must not be loaded.

    Args:
        config: The configuration in Keras' spelling, as JSON gives it.
        custom_objects: Name -> class, what the user handed over. None allows every name that is
            not forbidden outright: that is for the configuration of a model at hand.
        tensors: How many tensors the file has, which bounds the number of layers.
        legacy: The configuration is from an .h5 file, which names classes without their modules.

    Raises:
        FormatError: It names or holds something that is not allowed.
    """
    _Check(custom_objects, legacy).value(config, "", 0)
    many = 0 if tensors is None else tensors
    layers, calls = _effort(config)
    for number, bound, what in (
        (layers, FREE_LAYERS + LAYERS_PER_TENSOR * many, "layers"),
        (calls, FREE_CALLS + CALLS_PER_TENSOR * many, "calls of layers within layers"),
    ):
        if number > bound:
            raise FormatError(f"The architecture has {number:,} {what} for {many} tensors.")


class _Check:
    def __init__(self, custom_objects: CustomObjects | None, legacy: bool) -> None:
        self.custom_objects = custom_objects
        self.legacy = legacy

    def value(self, value: Any, key: str, depth: int) -> None:
        """Checks a value that stands under `key` in its configuration."""
        if depth > MAX_DEPTH:
            raise FormatError(f"The architecture is nested more than {MAX_DEPTH} levels deep.")
        if isinstance(value, dict):
            if "class_name" in value:
                self.object(value)
            self.items(value, depth)
        elif isinstance(value, list):
            if len(value) > MAX_LIST and key not in _LONG:
                raise FormatError(f"The architecture has {len(value):,} values for {key!r}.")
            for item in value:
                self.value(item, key, depth + 1)
        elif isinstance(value, str):
            if len(value) > MAX_STRING:
                raise FormatError(f"The architecture has {len(value):,} characters for {key!r}.")
        elif isinstance(value, int):
            bound = MAX_LONG_INTEGER if key in _LONG_INTEGERS else MAX_INTEGER
            bound = MAX_COUNT if key in _COUNTED else bound
            if not -bound < value < bound:
                bits = value.bit_length()
                # Too large a number is none that could be printed as a float.
                number = f"{value:.3e}" if bits < 1000 else f"of {bits} bits"
                raise FormatError(f"The architecture has the number {number} for {key!r}.")
        elif value is not None and not isinstance(value, float):
            raise FormatError(f"The architecture has a {type(value).__name__} for {key!r}.")

    def items(self, value: dict[Any, Any], depth: int) -> None:
        _check_graph(value.get("layers"))
        for key, item in value.items():
            if not isinstance(key, str):
                raise FormatError(f"The architecture has the key {key!r}, which is no string.")
            if key in _NO_STRINGS and isinstance(item, str):
                raise FormatError(
                    f"The architecture would read a {key} from the file {item!r}; nothing is read "
                    "for it. Save the layer with a list."
                )
            self.value(item, key, depth + 1)
            if key == "policy_map" and isinstance(item, dict):
                _check_patterns(item)

    def object(self, value: dict[Any, Any]) -> None:
        name, module = value["class_name"], value.get("module")
        registered = value.get("registered_name", name)
        if not isinstance(name, str) or not isinstance(module, str | None):
            raise FormatError(
                f"The architecture names a class in a wrong way: {name!r} of {module!r}."
            )
        if name in _VALUES and module is None:
            self.plain(name, value.get("config"))
        elif name == "function":
            self.function(value.get("config"), module)
        elif name in _NEVER:
            raise FormatError(
                f"The architecture has a {name} layer, which runs code or reads files that the "
                "file names; it is never loaded. Write it as a layer class of your own and "
                "register that."
            )
        elif not self.known(registered) and not self.allowed(module, name):
            raise FormatError(
                f"The architecture names the class {name!r} of module {module!r}, which is not "
                "one of Keras' own. If you trust it, register it with "
                "keras.saving.register_keras_serializable or pass it in custom_objects=."
            )

    def allowed(self, module: str | None, name: str) -> bool:
        if self.legacy and module is None:
            return name in LEGACY_ALLOWED
        return (module, name) in ALLOWED

    def function(self, name: Any, module: str | None) -> None:
        if not isinstance(name, str):
            raise FormatError(f"The architecture names a function in a wrong way: {name!r}.")
        if module in ("builtins", "keras.activations") and name in ACTIVATIONS:
            return
        # Keras looks functions up by this name, whatever name they are registered under.
        if not self.known(name):
            raise FormatError(
                f"The architecture names the function {name!r} of module {module!r}, which is not "
                "one of Keras' activations. If you trust it, register it with "
                "keras.saving.register_keras_serializable or pass it in custom_objects=."
            )

    def plain(self, name: str, config: Any) -> None:
        """Checks the type that a value is to be made of."""
        dtype = config.get("dtype", "float32") if isinstance(config, dict) else "float32"
        if not isinstance(dtype, str) or dtype not in _DTYPES:
            raise FormatError(f"The architecture has a {name} of type {dtype!r}.")

    def known(self, name: Any) -> bool:
        """Whether the user registered something under this name, or handed it over."""
        if self.custom_objects is None:
            return True
        if not isinstance(name, str):
            return False
        return keras.saving.get_registered_object(name, self.custom_objects) is not None


def _check_patterns(policy_map: dict[Any, Any]) -> None:
    """Refuses regular expressions, which Keras matches with paths of layers, for hours if need be.

    Allowed are names of layers, after "(.*/)?" if it does not matter where they stand.
    """
    for pattern in policy_map:
        name = pattern.removeprefix("(.*/)?") if isinstance(pattern, str) else ""
        if set(re.sub(r"\\.", "", name)) & set("()[]{}*+?|^$"):
            raise FormatError(f"The architecture has the pattern {pattern!r} for a layer's path.")


def _check_graph(layers: Any) -> None:
    """Refuses a graph that Keras would search for hours, or in which it would compute at once."""
    if not isinstance(layers, list):
        return
    names = [layer.get("name") if isinstance(layer, dict) else None for layer in layers]
    places = {name: place for place, name in enumerate(names) if isinstance(name, str)}
    late = 0
    for place, layer in enumerate(layers):
        calls = layer.get("inbound_nodes") if isinstance(layer, dict) else None
        for call in calls if isinstance(calls, list) else ():
            taken = list(_referred(call))
            if not taken:
                # Without a symbolic tensor among its arguments an operation runs, and may make an
                # array of any size.
                raise FormatError(f"The architecture calls {names[place]!r} without a tensor.")
            late += sum(places.get(name, 0) > place for name in taken)
    if late * len(layers) > MAX_LATE:
        raise FormatError(f"The architecture calls {late:,} layers before those that they take.")


def _referred(call: Any) -> Iterator[str]:
    """The names of the layers whose tensors a call takes."""
    if isinstance(call, list) and all(isinstance(item, list) for item in call):  # as in .h5 files
        yield from (item[0] for item in call if item and isinstance(item[0], str))
    elif isinstance(call, dict):
        yield from _tensors([call.get("args"), call.get("kwargs")])


def _tensors(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        config = value.get("config")
        history = config.get("keras_history") if isinstance(config, dict) else None
        if isinstance(history, list) and history and isinstance(history[0], str):
            yield history[0]
    elif isinstance(value, dict) and "class_name" not in value:
        yield from _tensors(list(value.values()))


def _effort(config: Any) -> tuple[int, int]:
    """How many layers a configuration has, and how many calls it takes to run it once.

    A model that calls a model twice, that calls a model twice, and so on, is short to write and
    takes for ever to build.
    """
    if isinstance(config, list):
        parts = [_effort(item) for item in config]
        return sum(layers for layers, _ in parts), sum(calls for _, calls in parts)
    if not isinstance(config, dict):
        return 0, 0
    layers, calls = _effort(list(config.values()))
    nodes = config.get("inbound_nodes")
    if "class_name" in config and isinstance(config.get("config"), dict):
        # Keras may call what is inside twice for one call, as Bidirectional does.
        own = "name" in config["config"]
        layers, calls = layers + own, (2 * calls if _holds_one(config["config"]) else calls) + own
    return layers, calls * max(1, len(nodes) if isinstance(nodes, list) else 1)


def _holds_one(config: dict[str, Any]) -> bool:
    return any(isinstance(config.get(key), dict) for key in ("layer", "cell"))
