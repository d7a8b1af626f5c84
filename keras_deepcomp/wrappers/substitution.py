"""Run a layer with other values in place of its weights.

The one mechanism behind pruning and sharing. The inner layer is called inside a
`keras.StatelessScope` that maps each of its variables to a value: the substitute for those that are
compressed, the present value for all others. The layer computes as ever, and automatic
differentiation goes through the expression that made the substitute: `where(mask, kernel, 0)` gives
pruned weights a gradient of exactly zero, `take(centroids, assignments)` gives a centroid the sum
of its members' gradients (Deep Compression, equation 3).

All variables are mapped, not only the substituted ones, because the scope hides the one that the
JAX trainer opens around the whole model. What the layer updates itself while it runs (batch
statistics, the state of seed generators) is collected in the scope and written back after.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import keras
import numpy as np

from keras_deepcomp.naming import sublayers, variable_names
from keras_deepcomp.selection import Purpose, participation


def call_with(
    layer: keras.Layer, substitutes: Mapping[int, Any], *args: Any, **kwargs: Any
) -> tuple[Any, list[Any]]:
    """Calls a built layer with substitutes for some of its variables.

    Args:
        layer: A built layer; may have sublayers.
        substitutes: `id(variable)` -> tensor of the variable's shape.
        *args: For the layer's call.
        **kwargs: For the layer's call.

    Returns:
        What the layer returned, and the losses that it added, which the scope would swallow.
    """
    variables = layer.variables
    scope = keras.StatelessScope(
        state_mapping=[(v, substitutes.get(id(v), v)) for v in variables], collect_losses=True
    )
    before = {id(v): scope.get_current_value(v) for v in variables}
    with scope:
        outputs = layer(*args, **kwargs)
    for variable in variables:
        after = scope.get_current_value(variable)
        if after is not before[id(variable)] and id(variable) not in substitutes:
            variable.assign(after)
    return outputs, _pass_outward(scope)


def _pass_outward(scope: keras.StatelessScope) -> list[Any]:
    """Hands losses to the scope around this one; returns those that have no scope to go to.

    The inner layers already know these losses as theirs, so within an outer scope (the JAX trainer)
    handing them on is enough; a layer that added them once more would have them counted twice.
    """
    if scope.original_scope is None:
        return list(scope.losses)
    if scope.original_scope.collect_losses:
        for loss in scope.losses:
            scope.original_scope.add_loss(loss)
    return []


class WeightSubstitution(keras.layers.Wrapper):
    """A wrapper whose inner layer computes with `effective_value(variable)` for chosen weights.

    What pruning and sharing have in common: choosing the weights, keeping state per weight in
    variables of the wrapper, and being invisible otherwise: masks, losses, mixed precision,
    training flag, saving.

    Args:
        layer: The layer to wrap, built or not.
        **kwargs: For `keras.layers.Wrapper`; `dtype` defaults to the inner layer's policy.
    """

    purpose: Purpose

    def __init__(self, layer: keras.Layer, **kwargs: Any) -> None:
        kwargs.setdefault("dtype", getattr(layer, "dtype_policy", None))
        kwargs.setdefault("autocast", getattr(layer, "autocast", True))
        super().__init__(layer, **kwargs)
        self.supports_masking = layer.supports_masking
        self._substituted: dict[str, Any] = {}

    def build(self, input_shape: Any = None) -> None:
        """Builds the inner layer where needed, then the state for each weight that takes part."""
        super().build(input_shape)
        taking_part = {p.weight for p in participation(self.layer, self.purpose) if p.takes_part}
        names = variable_names(self.layer)
        for variable in self.layer.variables:
            name = names[id(variable)]
            if name in taking_part:
                self._substituted[name] = variable
                self.add_state(name, variable)
        self.built = True

    def add_state(self, name: str, variable: Any) -> None:
        """Makes the wrapper's own variables for one weight of the inner layer."""
        raise NotImplementedError

    def effective_value(self, name: str) -> Any:
        """The tensor that stands in for one weight."""
        raise NotImplementedError

    @property
    def weight_variables(self) -> dict[str, Any]:
        """The inner layer's variables that are substituted, by their path within the layer."""
        return dict(self._substituted)

    def effective_weights(self) -> dict[str, np.ndarray]:
        """What the inner layer computes with, by the weight's path within the layer."""
        return {
            name: keras.ops.convert_to_numpy(self.effective_value(name))
            for name in self._substituted
        }

    def call(self, inputs: Any, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """Calls the inner layer; it learns of `training` as any inner layer does."""
        substitutes = {id(v): self.effective_value(name) for name, v in self._substituted.items()}
        outputs, losses = call_with(self.layer, substitutes, inputs, *args, **kwargs)
        for loss in losses:
            self.add_loss(loss)
        return outputs

    def compute_output_spec(
        self, inputs: Any, *args: Any, training: bool | None = None, **kwargs: Any
    ) -> Any:
        """That of the inner layer."""
        return self.layer.compute_output_spec(inputs, *args, **kwargs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the inner layer."""
        return self.layer.compute_output_shape(input_shape)

    def compute_mask(self, *args: Any, **kwargs: Any) -> Any:
        """That of the inner layer."""
        return self.layer.compute_mask(*args, **kwargs)

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Self:
        """The wrapper that `get_config` came from, with its inner layer."""
        config = dict(config)
        layer = keras.saving.deserialize_keras_object(
            config.pop("layer"), custom_objects=custom_objects
        )
        return cls(layer, **config)


def find_wrappers(
    model: keras.Layer, kind: type[WeightSubstitution] = WeightSubstitution
) -> list[Any]:
    """All wrappers of a kind in a model, in order, each once, nested models included."""
    found: dict[int, Any] = {}

    def visit(layer: keras.Layer) -> None:
        if isinstance(layer, kind):
            found.setdefault(id(layer), layer)
        else:
            for inner in sublayers(layer):
                visit(inner)

    visit(model)
    return list(found.values())


def require_finite(values: np.ndarray, weight: str, what_to_do: str) -> None:
    """Refuses NaN and infinity, in which magnitudes and means have no sense.

    Raises:
        ValueError: There are some; says how many, where, and what to do.
    """
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if bad:
        raise ValueError(
            f"{weight} has {bad} values that are NaN or infinite among {values.size}; expected "
            f"finite weights. {what_to_do}"
        )
