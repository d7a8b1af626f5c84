"""Configurations in the words of Keras 2, as Keras 3 says the same.

Keras 3 reads most of them itself. What it does not is here: arguments that have gone, which it
refuses even where they say nothing, another name for the shape of an input, and the places of
classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_deepcomp.migration.graph import translate_calls

_ANY = object()

# Argument -> the value at which it says nothing, so that it can be left out.
_GONE: dict[str, Any] = {
    "batch_input_shape": _ANY,  # a Sequential model has an InputLayer beside it
    "input_length": _ANY,  # for checks only
    "implementation": _ANY,  # how, not what
    "rng_type": _ANY,
    "ragged": False,
    "time_major": False,
    "softmax_robust_masking": False,
    "noise_shape": None,
    "query_shape": _ANY,  # found again when the layer is called
    "key_shape": _ANY,
    "value_shape": _ANY,
}
_STILL_THERE = {"Dropout": {"noise_shape"}, "AlphaDropout": {"noise_shape"}}

# The same for arguments that only some classes have lost.
_NO_GROUPS = {"groups": 1}
_TWO_KERNELS = {  # each has arguments of its own
    **_NO_GROUPS,
    "kernel_initializer": _ANY,
    "kernel_regularizer": _ANY,
    "kernel_constraint": _ANY,
}
_GONE_FROM: dict[str, dict[str, Any]] = {
    "Conv1DTranspose": _NO_GROUPS,
    "Conv2DTranspose": _NO_GROUPS,
    "Conv3DTranspose": _NO_GROUPS,
    "DepthwiseConv1D": _NO_GROUPS,
    "DepthwiseConv2D": _NO_GROUPS,
    "SeparableConv1D": _TWO_KERNELS,
    "SeparableConv2D": _TWO_KERNELS,
    "Discretization": {"trainable": _ANY},
}

_OPERATIONS = {"TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "ClassMethod"}


def translate(entry: dict[str, Any], knows: Callable[[str], bool]) -> dict[str, Any]:
    """Translates the configuration of a layer or model, with all that is inside.

    Args:
        entry: "module", "class_name" and "config" as tf-keras writes them; plain data.
        knows: Whether Keras 3 finds a custom class of this (registered) name.

    Returns:
        The same for Keras 3. What went in is not changed.

    Raises:
        ValueError: Something that Keras 3 cannot say: an operation of TensorFlow as a layer, a
            class that is gone or unknown, an argument that is gone.
    """
    return _translate(entry, knows)


def _translate(value: Any, knows: Callable[[str], bool]) -> Any:
    if isinstance(value, list):
        return [_translate(each, knows) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "Policy":
        return value["config"]["name"]
    value = {key: _translate(each, knows) for key, each in value.items() if key != "build_config"}
    if "class_name" in value and isinstance(value.get("config"), dict):
        _translate_object(value, knows)
    return value


def _translate_object(entry: dict[str, Any], knows: Callable[[str], bool]) -> None:
    kind, config = entry["class_name"], entry["config"]
    name = config.get("name", kind)
    if kind in _OPERATIONS:
        raise ValueError(
            f"'{name}' is an operation of TensorFlow in the graph of the model "
            f"({config.get('function', kind)}), which Keras 3 cannot read. Use a layer for it, "
            "such as Add, Multiply, Rescaling or Reshape, in the tf-keras model."
        )
    module = str(entry.get("module") or "")
    if module.split(".")[0] not in ("keras", "tf_keras", "builtins"):
        _find_custom(entry, knows)
        return
    if kind == "InputLayer" and "batch_input_shape" in config:
        config["batch_shape"] = config["batch_input_shape"]
    if kind == "BatchNormalization" and isinstance(config["axis"], list):
        (config["axis"],) = config["axis"]
    if kind == "Functional":
        entry["module"] = "keras.src.models.functional"
        translate_calls(config)
    if kind == "Lambda":
        raise ValueError(
            f"'{name}' is a Lambda layer: Python code for Keras 2. Make it a layer of its own with "
            "tf_keras.utils.register_keras_serializable, and pass its Keras 3 class in "
            "custom_objects."
        )
    if module.endswith("layers"):
        _leave_out(config, kind, name)


def _find_custom(entry: dict[str, Any], knows: Callable[[str], bool]) -> None:
    names = [entry.get("registered_name") or entry["class_name"], entry["class_name"]]
    found = next((name for name in names if knows(name)), None)
    if found is None:
        raise ValueError(
            f"Unknown class {entry['class_name']!r} (of {entry.get('module') or 'no module'}). "
            "Write it for Keras 3, with its weights in the same order, and pass it as "
            f"custom_objects={{{entry['class_name']!r}: the class}}."
        )
    # Without the old module, so that Keras does not import the Keras 2 class from there.
    entry.update(module=None, class_name=found, registered_name=found)
    entry["config"].pop("batch_input_shape", None)


def _leave_out(config: dict[str, Any], kind: str, name: str) -> None:
    for argument, nothing in {**_GONE, **_GONE_FROM.get(kind, {})}.items():
        if argument not in config or argument in _STILL_THERE.get(kind, ()):
            continue
        value = config.pop(argument)
        if nothing is not _ANY and value != nothing:
            raise ValueError(
                f"Layer '{name}' ({kind}) has {argument}={value!r}, and Keras 3 has no such "
                f"argument. Build the tf-keras model with {argument}={nothing!r}."
            )
