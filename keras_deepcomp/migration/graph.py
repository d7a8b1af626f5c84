"""The calls in a functional model, as Keras 2 and as Keras 3 write them down.

Keras 2 writes a call as a list of `[layer, call, output, arguments]`, one for each tensor of the
first argument, and refers to tensors in the other arguments by `[layer, call, output]`. It counts
the calls of a model inside from 1, as the model's own inputs are its call 0.

Keras 3 writes the arguments as they were, with marked references, and counts from 0; only among a
model's outputs it counts as before, for functional models.
"""

from __future__ import annotations

from typing import Any


def translate_calls(config: dict[str, Any]) -> None:
    """Translates the calls, inputs and outputs in the configuration of a functional model.

    Args:
        config: With "layers", whose own configurations may be translated already. It is changed.
    """
    kinds = {
        entry["config"]["name"]: entry["class_name"] if "layers" in entry["config"] else "Layer"
        for entry in config["layers"]
    }
    for entry in config["layers"]:
        entry["inbound_nodes"] = [_call(node, kinds) for node in entry["inbound_nodes"]]
    for ends in ("input_layers", "output_layers"):
        config[ends] = _ends(config[ends], kinds)


def rename_layers(nodes: Any, renamed: dict[str, str]) -> Any:
    """Replaces the layers' names in calls, inputs or outputs as Keras 2 writes them."""
    if isinstance(nodes, dict):
        return {key: rename_layers(value, renamed) for key, value in nodes.items()}
    if _is_reference(nodes):
        return [renamed.get(nodes[0], nodes[0]), *rename_layers(nodes[1:], renamed)]
    if isinstance(nodes, list):
        return [rename_layers(node, renamed) for node in nodes]
    return nodes


def _is_reference(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and isinstance(value[1], int)
        and isinstance(value[2], int)
    )


def _call(node: Any, kinds: dict[str, str]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    first = _tensors(node, kinds, arguments)
    if isinstance(first, list) and len(first) == 1:
        (first,) = first
    return {"args": [first], "kwargs": arguments}


def _tensors(value: Any, kinds: dict[str, str], arguments: dict[str, Any]) -> Any:
    """Marks the references; what goes with those of the first argument is added to `arguments`."""
    if _is_reference(value) and value[0] in kinds:
        for name, argument in (value[3] if len(value) == 4 else {}).items():
            arguments[name] = _tensors(argument, kinds, arguments)
        layer, call, output = value[:3]
        history = [layer, call - (kinds[layer] != "Layer"), output]
        # Keras only looks at the history.
        about = {"shape": [], "dtype": "float32", "keras_history": history}
        return {"class_name": "__keras_tensor__", "config": about}
    if isinstance(value, list):
        return [_tensors(each, kinds, arguments) for each in value]
    if isinstance(value, dict):
        return {key: _tensors(each, kinds, arguments) for key, each in value.items()}
    return value


def _ends(ends: Any, kinds: dict[str, str]) -> Any:
    if isinstance(ends, dict):
        return {name: _ends(end, kinds) for name, end in ends.items()}
    if _is_reference(ends):
        return [ends[0], ends[1] - (kinds[ends[0]] == "Sequential"), ends[2]]
    translated = [_ends(end, kinds) for end in ends]
    # A model with one input or output takes or gives a tensor, not a list of one.
    return translated[0] if len(translated) == 1 else translated
