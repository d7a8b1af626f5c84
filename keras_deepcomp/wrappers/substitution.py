"""Run a layer with other values in place of its weights.

The one mechanism behind pruning and sharing. The inner layer is called inside a
`keras.StatelessScope` that holds a substitute for each variable that is compressed; all others have
their present value. The layer computes as ever, and automatic
differentiation goes through the expression that made the substitute: `where(mask, kernel, 0)` gives
pruned weights a gradient of exactly zero, `take(centroids, assignments)` gives a centroid the sum
of its members' gradients (Deep Compression, equation 3).

The scope hides the one that the JAX trainer opens around the whole model, so it asks that one for
what it does not hold itself. What the layer updates while it runs (batch statistics, seed
generators, the states of a stateful RNN) is collected in the scope and written back after.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np

from keras_deepcomp.devices import laid_out_as, to_numpy
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
    variables = [variable for variable in layer.variables if id(variable) in substitutes]
    scope = _SubstitutionScope([(v, substitutes[id(v)]) for v in variables])
    with scope:
        outputs = layer(*args, **kwargs)
    for variable in scope.updated.values():
        if id(variable) not in substitutes:
            variable.assign(scope.get_current_value(variable))
    return outputs, _pass_outward(scope)


class _SubstitutionScope(keras.StatelessScope):
    def __init__(self, state_mapping: list[tuple[Any, Any]]) -> None:
        super().__init__(state_mapping, collect_losses=True)
        self.original_scope: keras.StatelessScope | None = None
        self.updated: dict[int, Any] = {}

    def add_update(self, update: tuple[Any, Any]) -> None:
        super().add_update(update)
        self.updated[id(update[0])] = update[0]

    def get_current_value(self, variable: Any) -> Any:
        value = super().get_current_value(variable)
        if value is None and self.original_scope is not None:
            value = self.original_scope.get_current_value(variable)
        return value


def _pass_outward(scope: _SubstitutionScope) -> list[Any]:
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
        weight_names: The weights that take part, by their path within the layer such as "kernel".
            None takes those that `keras_deepcomp.selection` finds.
        **kwargs: For `keras.layers.Wrapper`; `dtype` defaults to the inner layer's policy.

    Raises:
        ValueError: The layer is wrapped already; from `build`: it has no weight of such a name.
    """

    purpose: Purpose

    def __init__(
        self, layer: keras.Layer, weight_names: Sequence[str] | None = None, **kwargs: Any
    ) -> None:
        if isinstance(layer, WeightSubstitution):
            raise ValueError(
                f"'{layer.name}' is a {type(layer).__name__} already, and {type(self).__name__} "
                "goes around a plain layer. Prune first, then share: cluster_weights takes a "
                "pruned model as it is."
            )
        kwargs.setdefault("dtype", getattr(layer, "dtype_policy", None))
        kwargs.setdefault("autocast", getattr(layer, "autocast", True))
        super().__init__(layer, **kwargs)
        # Arguments go by the inner layer's names: attention has several, and none is "inputs".
        self._call_signature = inspect.signature(layer.call)
        self.supports_masking = layer.supports_masking
        self.weight_names = None if weight_names is None else list(weight_names)
        self._substituted: dict[str, Any] = {}

    def build(self, input_shape: Any = None) -> None:
        """Builds the inner layer where needed, then the state for each weight that takes part."""
        if getattr(self.layer.build, "_is_default", False) and not is_wholly_built(self.layer):
            # A layer that only has sublayers builds them when it is called.
            self.layer(keras.KerasTensor(input_shape, dtype=self.compute_dtype))
        super().build(input_shape)
        for name, variable in self.taking_part().items():
            self._substituted[name] = variable
            with laid_out_as(variable):
                self.add_state(name, variable)
        self.built = True

    def taking_part(self) -> dict[str, Any]:
        """The weights of the built inner layer that are to be substituted, by their path in it."""
        names = variable_names(self.layer)
        chosen = self._chosen(set(names.values()))
        return {
            names[id(variable)]: variable
            for variable in self.layer.variables
            if names[id(variable)] in chosen and self.takes_part(variable)
        }

    def takes_part(self, variable: Any) -> bool:
        """Whether one weight that can be compressed is, with what this wrapper was asked for."""
        return True

    def _chosen(self, there: set[str]) -> set[str]:
        if self.weight_names is None:
            return {p.weight for p in participation(self.layer, self.purpose) if p.takes_part}
        if absent := set(self.weight_names) - there:
            raise ValueError(
                f"weight_names: layer '{self.layer.name}' has no {sorted(absent)}. Its weights are "
                f"{sorted(there)}."
            )
        return set(self.weight_names)

    def add_state(self, name: str, variable: Any) -> None:
        """Makes the wrapper's own variables for one weight of the inner layer."""
        raise NotImplementedError

    def effective_value(self, name: str) -> Any:
        """The tensor that stands in for one weight."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        """What the wrapper lacks is the inner layer's, such as its `units`.

        A weight that is substituted reads as its effective value, so that code which ties weights
        by reading another layer's (`self.embedding.embeddings`) computes with the same values.
        """
        inherited = getattr(super(), "__getattr__", None)
        if inherited is not None:  # where torch finds the layers
            with contextlib.suppress(AttributeError):
                return inherited(name)
        if name == "layer" or name.startswith("_"):  # also while the wrapper is being made
            raise AttributeError(f"'{type(self).__name__}' object has no attribute {name!r}")
        value = getattr(self.layer, name)
        for weight, variable in vars(self).get("_substituted", {}).items():
            if value is variable:
                return self.effective_value(weight)
        return value

    @property
    def weight_variables(self) -> dict[str, Any]:
        """The inner layer's variables that are substituted, by their path within the layer."""
        return dict(self._substituted)

    def effective_weights(self) -> dict[str, np.ndarray]:
        """What the inner layer computes with, by the weight's path within the layer."""
        return {name: to_numpy(self.effective_value(name)) for name in self._substituted}

    def call(self, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """Calls the inner layer; it learns of `training` as any inner layer does."""
        substitutes = {id(v): self.effective_value(name) for name, v in self._substituted.items()}
        outputs, losses = call_with(self.layer, substitutes, *args, **kwargs)
        for loss in losses:
            self.add_loss(loss)
        return outputs

    def compute_output_spec(self, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """That of the inner layer."""
        return self.layer.compute_output_spec(*args, **kwargs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the inner layer."""
        return self.layer.compute_output_shape(input_shape)

    def compute_mask(self, *args: Any, **kwargs: Any) -> Any:
        """That of the inner layer."""
        return self.layer.compute_mask(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """The arguments, as plain data."""
        chosen = {} if self.weight_names is None else {"weight_names": self.weight_names}
        return {**super().get_config(), **chosen}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Self:
        """The wrapper that `get_config` came from, with its inner layer."""
        config = dict(config)
        layer = config.pop("layer")
        if not isinstance(layer, keras.Layer):
            layer = keras.saving.deserialize_keras_object(layer, custom_objects=custom_objects)
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


def is_wholly_built(layer: keras.Layer) -> bool:
    """Whether a layer and all layers inside it have their variables."""
    return bool(layer.built) and all(is_wholly_built(inner) for inner in sublayers(layer))


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
