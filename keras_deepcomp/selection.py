"""Which layers and weights take part in compression, and why the others do not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras

from keras_deepcomp.naming import owners, variable_names

Purpose = Literal["prune", "cluster"]
Filters = str | Sequence[str] | Callable[[Any], bool] | None

SMALLEST_SIZE = 64
"""A weight with fewer elements is left alone: what it could save, its tables would cost."""

_NEVER = re.compile(r"bias|gamma|beta|mean|variance|scale")
_CUSTOM_METHOD = {"prune": "get_prunable_weights", "cluster": "get_clusterable_weights"}


@dataclass(frozen=True)
class Participation:
    """Whether one weight takes part.

    Attributes:
        layer: Name of its layer.
        weight: Its path within the layer, such as "kernel" or "query/kernel".
        shape: Its shape.
        takes_part: Whether it is compressed.
        reason: In words, why not; empty if it is.
    """

    layer: str
    weight: str
    shape: tuple[int, ...]
    takes_part: bool
    reason: str


def participation(layer: keras.Layer, purpose: Purpose) -> list[Participation]:
    """Says for each weight of a built layer whether it takes part.

    A layer that has tfmot's method for the purpose (`get_prunable_weights` or
    `get_clusterable_weights`) decides for itself. Otherwise float weights of two or more dimensions
    and at least 64 elements take part; biases, normalization, state, and what is quantized or has
    LoRA already do not.
    """
    names = variable_names(layer)
    method = getattr(layer, _CUSTOM_METHOD[purpose], None)
    asked = None if method is None else {id(variable) for variable in method()}
    if asked is not None and not asked <= names.keys():
        raise ValueError(
            f"{_CUSTOM_METHOD[purpose]}() of layer '{layer.name}' returned variables that are not "
            f"the layer's own. Return some of {sorted(names.values())}."
        )
    owner = owners(layer)
    trainable = {id(variable) for variable in layer.trainable_variables}
    result = []
    for variable in layer.weights:
        if asked is not None:
            reason = "" if id(variable) in asked else f"not in {_CUSTOM_METHOD[purpose]}()"
        else:
            reason = _reason_of_mode(owner[id(variable)], variable) or _reason_against(
                layer, variable, id(variable) in trainable
            )
        result.append(
            Participation(
                layer.name, names[id(variable)], tuple(variable.shape), not reason, reason
            )
        )
    return result


def _reason_of_mode(owner: keras.Layer, variable: Any) -> str:
    """Why a weight is what another technique has made of it, and not a kernel any more."""
    if len(variable.shape) < 2:
        return ""
    if owner.quantization_mode is not None:
        return f"quantized to {owner.quantization_mode} already: quantize after pruning and sharing"
    if getattr(owner, "lora_enabled", False):
        return "LoRA is enabled: prune and share before enable_lora()"
    return ""


def _reason_against(layer: keras.Layer, variable: Any, trainable: bool) -> str:
    if not layer.trainable:
        return "frozen (trainable=False)"
    if not trainable:
        return "state, not trained"
    if not keras.backend.is_float_dtype(variable.dtype):
        return f"{variable.dtype}, not a float type"
    if _NEVER.search(variable.name):
        return f"a {variable.name}, not a kernel"
    if len(variable.shape) < 2:
        return "a vector, not a kernel"
    size = 1
    for length in variable.shape:
        size *= length
    if size < SMALLEST_SIZE:
        return f"{size} elements, fewer than {SMALLEST_SIZE}"
    return ""


def with_biases(layer: keras.Layer, purpose: Purpose) -> list[str]:
    """The weights of a layer that take part, and their biases, by their paths within the layer.

    A bias takes part with the kernel of the same layer, if it trains and is a float vector.

    Returns:
        In the order of the layer's weights; none if no kernel takes part.
    """
    rows = participation(layer, purpose)
    owner, names = owners(layer), variable_names(layer)
    taking = {row.weight for row in rows if row.takes_part}
    with_kernel = {id(owner[id(v)]) for v in layer.weights if names[id(v)] in taking}
    trainable = {id(variable) for variable in layer.trainable_variables}
    return [
        names[id(variable)]
        for variable in layer.weights
        if names[id(variable)] in taking
        or (
            variable.name == "bias"
            and id(owner[id(variable)]) in with_kernel
            and id(variable) in trainable
            and keras.backend.is_float_dtype(variable.dtype)
        )
    ]


def layer_filter(filters: Filters, layers: Iterable[keras.Layer]) -> Callable[[keras.Layer], bool]:
    """Turns the `filters=` argument into a predicate on layers.

    Args:
        filters: None (every layer), a regular expression, a list of names or regular expressions
            (each matched against the whole layer name), or a predicate.
        layers: The layers of the model, to check the expressions against.

    Returns:
        A predicate.

    Raises:
        ValueError: An expression matches no layer or is not a valid one.
        TypeError: Something else was given.
    """
    if filters is None:
        return lambda layer: True
    if callable(filters):
        return lambda layer: bool(filters(layer))
    patterns = [filters] if isinstance(filters, str) else filters
    if not isinstance(patterns, Sequence) or not all(isinstance(p, str) for p in patterns):
        raise TypeError(
            "filters must be None, a regular expression, a list of layer names or regular "
            f"expressions, or a callable on the layer; got {filters!r}."
        )
    names = [layer.name for layer in layers]
    chosen = {name for pattern in patterns for name in matching(pattern, names, "filters")}
    return lambda layer: layer.name in chosen


def per_layer(
    setting: Any, layers: Iterable[keras.Layer], argument: str, check: Callable[[Any, str], Any]
) -> Callable[[keras.Layer], Any]:
    """Turns a setting that may differ from layer to layer into a function of the layer.

    Args:
        setting: One value for all; a dict from layer name or regular expression to value, where
            the first that matches counts; or a callable on the layer that gives a value or None.
        layers: The layers that can take part, to check the expressions against.
        argument: What the setting is called, for messages.
        check: Takes a value and what to call it; gives it back, or raises.

    Returns:
        A function from layer to value; None for a layer that is not to take part.

    Raises:
        ValueError: An expression matches no layer or is not a valid one; and what `check` raises.
    """
    if isinstance(setting, dict):
        names = [layer.name for layer in layers]
        values: dict[str, Any] = {}
        for pattern, value in setting.items():
            checked = check(value, f"{argument}[{pattern!r}]")
            for name in matching(pattern, names, argument):
                values.setdefault(name, checked)
        return lambda layer: values.get(layer.name)
    if callable(setting):

        def asked(layer: keras.Layer) -> Any:
            value = setting(layer)
            what = f"{argument}(layer '{layer.name}')"
            return None if value is None else check(value, what)

        return asked
    check(setting, argument)
    return lambda layer: setting


def matching(pattern: str, names: list[str], argument: str) -> list[str]:
    """The layer names that a name or regular expression matches as a whole.

    Raises:
        ValueError: There are none, or the expression is not a valid one; names `argument`.
    """
    if pattern in names:
        return [pattern]
    try:
        found = [name for name in names if re.fullmatch(pattern, name)]
    except re.error as error:
        raise ValueError(f"{argument}: {pattern!r} is not a regular expression: {error}.") from None
    if not found:
        raise ValueError(
            f"{argument}: {pattern!r} matches no layer that can take part. The model's are: "
            f"{', '.join(names) or '(none)'}."
        )
    return found
