"""Models that Keras' own `quantize` changed, as their configuration has to describe them.

`quantize` swaps the variables of a layer in place and notes it in the layer's dtype policy. Where a
layer makes others inside itself (attention), their policies are not in its configuration; and a
layer made anew may order its variables differently. Both are mended here, when a model is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from keras_deepcomp.naming import sublayers

SUPPORTED = ("int8", "int4", "float8")
"""The modes whose layers can be made anew from a configuration."""


def is_quantized(model: keras.Layer) -> bool:
    """Whether some layer in a model, at any depth, is quantized."""
    return any(layer.quantization_mode is not None for layer in model._flatten_layers())


def check_modes(model: keras.Model) -> None:
    """Refuses the modes whose layers cannot be made anew.

    Raises:
        ValueError: There is one; names the layer and what to do.
    """
    for layer in model._flatten_layers():
        mode = layer.quantization_mode
        if mode is not None and mode not in SUPPORTED:
            raise ValueError(
                f"Layer '{layer.name}' is quantized by {mode}, whose calibration Keras keeps "
                f"outside the variables. Quantize to one of {', '.join(SUPPORTED)}, or save the "
                "variables alone with architecture=False."
            )


@contextmanager
def complete_policies(model: keras.Layer) -> Iterator[None]:
    """Within this, configurations tell the dtype policies of layers inside layers as well."""
    changed: list[tuple[keras.Layer, Any]] = []
    for layer in model._flatten_layers():
        # Models and wrappers have the configurations of what is inside in theirs.
        if isinstance(layer, keras.Model | keras.layers.Wrapper) or not sublayers(layer):
            continue
        policies = dict(_policies_inside(layer, ""))
        if policies and not isinstance(layer._dtype_policy, keras.dtype_policies.DTypePolicyMap):
            # Where the layer will stand is not known yet, so what leads to it is left open.
            policy_map = {f"(.*/)?{re.escape(path)}": p for path, p in policies.items()}
            changed.append((layer, layer._dtype_policy))
            layer._dtype_policy = keras.dtype_policies.DTypePolicyMap(
                layer._dtype_policy, policy_map
            )
    try:
        yield
    finally:
        for layer, policy in changed:
            layer._dtype_policy = policy


def _policies_inside(layer: keras.Layer, prefix: str) -> Iterator[tuple[str, Any]]:
    for inner in sublayers(layer):
        if inner.quantization_mode is not None:
            yield f"{prefix}{inner.name}", inner.dtype_policy
        yield from _policies_inside(inner, f"{prefix}{inner.name}/")
