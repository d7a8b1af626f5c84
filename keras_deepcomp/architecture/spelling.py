"""The short spelling of a Keras configuration.

Keras writes every argument of every object, four keys around each, and whole tensors where a layer
is called. Here an object is a list: its class, its main arguments in the order of the table, then
a dictionary of what else differs from the table's defaults.

    ["Dense", "ip1", 300, "relu"]
    ["Conv2D", "conv", 64, [3, 3], {"padding": "same", "<": [4]}]

- A list of data that begins with a string has an empty string put before it, so that it is no
  object.
- Objects that are not in the table stay as Keras writes them, as dictionaries.
- "<" says how a layer of a functional model is called: a list of calls, each the number of the
  layer whose output it takes, a list of such numbers, or {"args": ..., "kwargs": ...} with
  ["<", layer, node, tensor] for the tensors. Left out, it is one call with the output of the layer
  before. Left out as well are the inputs of the model if there is one, the first layer, and the
  outputs if there is one, the last.
"""

from __future__ import annotations

import json
from typing import Any

from keras_deepcomp.architecture.table import ENTRIES, SHORT_NAMES
from keras_deepcomp.container import FormatError

_OBJECT_KEYS = frozenset({"class_name", "config", "module", "registered_name"})
_CALLS = "<"

MAX_OBJECTS = 50_000
MAX_DEPTH = 100


def shorten(value: Any) -> Any:
    """The short spelling of a configuration that Keras wrote, as JSON gives it."""
    return _shorten(value, {})


def expand(value: Any) -> Any:
    """The configuration in Keras' own spelling.

    Raises:
        FormatError: The spelling is wrong, or what it stands for is too large.
    """
    return _Expansion().expand(value, [], 0)


def _same(one: Any, other: Any) -> bool:
    # == alone takes 1, 1.0 and True for the same.
    return one == other and json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _shorten(value: Any, layers: dict[str, int]) -> Any:
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            name, node, tensor = value["config"]["keras_history"]
            if name in layers:
                return _trimmed([_CALLS, layers[name], node, tensor])
        elif "class_name" in value and "config" in value:
            return _shorten_object(value, layers)
        return {key: _shorten(item, layers) for key, item in value.items()}
    if isinstance(value, list):
        items = [_shorten(item, layers) for item in value]
        return ["", *items] if value and isinstance(value[0], str) else items
    return value


def _trimmed(reference: list[Any]) -> list[Any]:
    while len(reference) > 2 and reference[-1] == 0:
        reference.pop()
    return reference


def _shorten_object(value: dict[str, Any], layers: dict[str, int]) -> Any:
    class_name, config = value["class_name"], value["config"]
    short = None
    if isinstance(class_name, str) and isinstance(config, dict) and set(value) <= _OBJECT_KEYS:
        short = SHORT_NAMES.get((value.get("module"), class_name))
    if short is None or value.get("registered_name") not in (None, class_name):
        rest = {key: _shorten(item, layers) for key, item in value.items() if key != "config"}
        return {**rest, "config": _shorten(config, layers)}
    entry = ENTRIES[short]
    if class_name == "Functional":
        arguments = _shorten_graph(config)
    else:
        arguments = {key: _shorten(item, layers) for key, item in config.items()}
    if class_name == "Sequential":
        _drop_input_shape(arguments, config)
    for key, default in entry.defaults.items():
        if key in arguments and _same(arguments[key], default):
            del arguments[key]
    spelled: list[Any] = [short]
    for key in entry.arguments:
        if key not in arguments or isinstance(arguments[key], dict):
            break
        spelled.append(arguments.pop(key))
    return [*spelled, arguments] if arguments else spelled


def _drop_input_shape(arguments: dict[str, Any], config: dict[str, Any]) -> None:
    """Leaves out what a Sequential model finds out from its input layer."""
    layers = config.get("layers") or [{}]
    first = layers[0].get("config")
    if isinstance(first, dict) and "batch_shape" in first:
        shape = first["batch_shape"]
        if _same(config.get("build_input_shape"), shape):
            arguments.pop("build_input_shape", None)


def _shorten_graph(config: dict[str, Any]) -> dict[str, Any]:
    layers = {layer["name"]: number for number, layer in enumerate(config["layers"])}
    arguments = {
        key: _shorten(item, layers)
        for key, item in config.items()
        if key not in ("layers", "input_layers", "output_layers")
    }
    names = list(layers)
    for key, name in (("input_layers", names[0]), ("output_layers", names[-1])):
        if not _same(config[key], [name, 0, 0]):
            arguments[key] = _shorten(config[key], layers)
    arguments["layers"] = [_shorten_layer(layer, layers) for layer in config["layers"]]
    return arguments


def _shorten_layer(layer: dict[str, Any], layers: dict[str, int]) -> Any:
    own = layers[layer["name"]]
    calls = [_shorten_call(node, layers) for node in layer["inbound_nodes"]]
    usual: list[Any] = [] if _is_input(layer) else [own - 1]
    value = {key: item for key, item in layer.items() if key != "inbound_nodes"}
    if value["config"].get("name") == value["name"]:
        del value["name"]
    spelled = _shorten_object(value, layers)
    if not _same(calls, usual):
        if isinstance(spelled, dict):
            spelled[_CALLS] = calls
        elif isinstance(spelled[-1], dict):
            spelled[-1][_CALLS] = calls
        else:
            spelled.append({_CALLS: calls})
    return spelled


def _is_input(layer: dict[str, Any]) -> bool:
    return bool(layer["class_name"] == "InputLayer")


def _shorten_call(node: dict[str, Any], layers: dict[str, int]) -> Any:
    args = [_shorten(item, layers) for item in node["args"]]
    kwargs = {key: _shorten(item, layers) for key, item in node["kwargs"].items()}
    if kwargs == {"mask": None}:  # Keras writes it for layers that take a mask and are given none
        kwargs = {}
    if not kwargs and len(args) == 1:
        if _is_plain_reference(args[0]):
            return args[0][1]
        if isinstance(args[0], list) and args[0] and all(map(_is_plain_reference, args[0])):
            return [reference[1] for reference in args[0]]
    return {"args": args, **({"kwargs": kwargs} if kwargs else {})}


def _is_plain_reference(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and value[0] == _CALLS


def _wrong(what: str) -> FormatError:
    return FormatError(f"The architecture in the file is spelled wrongly: {what}.")


def _without_calls(layer: Any) -> Any:
    if isinstance(layer, dict):
        return {key: value for key, value in layer.items() if key != _CALLS}
    return layer


class _Expansion:
    """One expansion, which counts what it makes."""

    def __init__(self) -> None:
        self.objects = 0

    def expand(self, value: Any, layers: list[str], depth: int) -> Any:
        """Expands a value; `layers` has the names of the graph's layers that it stands in."""
        if depth > MAX_DEPTH:
            raise FormatError(f"The architecture is nested more than {MAX_DEPTH} levels deep.")
        if isinstance(value, dict):
            return {key: self.expand(item, layers, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            if value and isinstance(value[0], str):
                if value[0] == _CALLS:
                    return self.reference(value[1:], layers)
                if value[0] != "":
                    return self.object(value, layers, depth)
                value = value[1:]
            return [self.expand(item, layers, depth + 1) for item in value]
        return value

    def reference(self, numbers: list[Any], layers: list[str]) -> dict[str, Any]:
        padded = [*numbers, 0, 0][:3]
        right = 1 <= len(numbers) <= 3 and all(type(n) is int and n >= 0 for n in padded)
        if not right or padded[0] >= len(layers):
            raise _wrong(f"{numbers} is no tensor of a graph with {len(layers)} layers")
        history = [layers[padded[0]], *padded[1:]]
        # Keras asks for a shape and a type here, and goes by the history alone.
        config = {"shape": [], "dtype": "float32", "keras_history": history}
        return {"class_name": "__keras_tensor__", "config": config}

    def object(self, value: list[Any], layers: list[str], depth: int) -> dict[str, Any]:
        self.objects += 1
        if self.objects > MAX_OBJECTS:
            raise FormatError(f"The architecture has more than {MAX_OBJECTS:,} objects.")
        entry = ENTRIES.get(value[0])
        if entry is None:
            raise FormatError(
                f"The architecture names the class {value[0]!r}, which this version of "
                "keras_deepcomp does not know."
            )
        arguments = self.arguments(value, entry.arguments)
        arguments.pop(_CALLS, None)
        for key, default in entry.defaults.items():
            arguments.setdefault(key, default)
        if entry.class_name == "Functional":
            config = self.graph(arguments, depth)
        else:
            config = {k: self.expand(v, layers, depth + 1) for k, v in arguments.items()}
        if entry.module is None:
            config = {key: config.get(key) for key in entry.arguments}
            return {"class_name": entry.class_name, "config": config}
        return {"module": entry.module, "class_name": entry.class_name, "config": config}

    def arguments(self, value: list[Any], names: tuple[str, ...]) -> dict[str, Any]:
        """The arguments of an object by name, not yet expanded."""
        spelled, keywords = value[1:], {}
        if spelled and isinstance(spelled[-1], dict):
            spelled, keywords = spelled[:-1], spelled[-1]
        if len(spelled) > len(names):
            raise _wrong(f"{value[0]} has {len(spelled)} arguments without a name")
        arguments = dict(zip(names, spelled, strict=False))
        if twice := arguments.keys() & keywords.keys():
            raise _wrong(f"{value[0]} has {min(twice)!r} twice")
        return {**arguments, **keywords}

    def graph(self, arguments: dict[str, Any], depth: int) -> dict[str, Any]:
        spelled = arguments.pop("layers", None)
        if not isinstance(spelled, list) or not spelled or isinstance(spelled[0], str):
            raise _wrong("a functional model has a list of layers")
        # Calls refer to the graph's layers, which are not known yet.
        layers = [self.expand(_without_calls(layer), [], depth + 1) for layer in spelled]
        for layer in layers:
            config = layer.get("config") if isinstance(layer, dict) else None
            if not isinstance(config, dict):
                raise _wrong("a layer of a functional model is no object")
            layer.setdefault("name", config.get("name"))
            if not isinstance(layer["name"], str):
                raise _wrong("a layer of a functional model has no name")
        names = [layer["name"] for layer in layers]
        for number, (layer, short) in enumerate(zip(layers, spelled, strict=True)):
            last = short if isinstance(short, dict) else short[-1]
            calls = last.get(_CALLS) if isinstance(last, dict) else None
            if calls is None:
                calls = [] if layer.get("class_name") == "InputLayer" else [number - 1]
            if not isinstance(calls, list):
                raise _wrong(f"the calls of {names[number]!r} are no list")
            layer["inbound_nodes"] = [self.call(call, names, depth + 1) for call in calls]
        config = {key: self.expand(item, names, depth + 1) for key, item in arguments.items()}
        config.setdefault("input_layers", [names[0], 0, 0])
        config.setdefault("output_layers", [names[-1], 0, 0])
        return {**config, "layers": layers}

    def call(self, call: Any, layers: list[str], depth: int) -> dict[str, Any]:
        if type(call) is int:
            return {"args": [self.reference([call], layers)], "kwargs": {}}
        if isinstance(call, list):
            return {"args": [[self.reference([n], layers) for n in call]], "kwargs": {}}
        if not isinstance(call, dict) or not call.keys() <= {"args", "kwargs"}:
            raise _wrong(f"{call!r} is no call of a layer")
        args = self.expand(call.get("args", []), layers, depth)
        return {"args": args, "kwargs": self.expand(call.get("kwargs", {}), layers, depth)}
