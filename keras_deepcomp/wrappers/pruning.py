"""Stage 1: a layer whose small weights are zero (paper section 2)."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np

from keras_deepcomp.devices import give, to_numpy
from keras_deepcomp.masks import Mask, standard_deviation
from keras_deepcomp.ranking import check_ranking
from keras_deepcomp.schedules import Plan, Schedule, as_schedule
from keras_deepcomp.structures import Groups, Structure, check_reaches, structure_of
from keras_deepcomp.wrappers.channels import input_axis, last_two
from keras_deepcomp.wrappers.substitution import WeightSubstitution, require_finite

SCOPES = ("layer", "global")


@keras.saving.register_keras_serializable("keras_deepcomp")
class PruneLowMagnitude(WeightSubstitution):
    """Wraps a layer so that it computes with `where(mask, weight, 0)`.

    Pruned weights are exactly +0.0 in everything the layer computes, and get no gradient, so no
    optimizer moves them: neither momentum nor weight decay reaches the effective value. The inner
    variable may hold something else there in between; `keras_deepcomp.strip` writes the zeros.

    All of the state is in variables: per weight a mask (bool, the weight's shape), the last
    threshold and the weight's standard deviation when pruning began; per layer the optimizer step
    of the last update and the training over which the schedule was laid. So a `.keras` file or a
    checkpoint from the middle of a schedule goes on where it stopped.

    `keras_deepcomp.UpdatePruningStep` moves the masks during `fit`, and
    `keras_deepcomp.PruningDriver` in a training loop of one's own.

    Args:
        layer: The layer to prune.
        pruning_schedule: A schedule, a tfmot schedule, or a callable step -> sparsity.
        scope: "layer" for one threshold per weight, "global" for one over all the weights of all
            the layers of the model that have this scope.
        block_size: Input and output channels of the blocks that are pruned as one, see
            `keras_deepcomp.structures.Blocks`.
        block_pooling_type: "AVG" or "MAX", how a block ranks by the magnitudes in it.
        sparsity_m_by_n: (m, n) for at least m zeros in each n consecutive input channels, see
            `keras_deepcomp.structures.Groups`.
        ranking: "magnitude" or "worth", see `keras_deepcomp.ranking`.
        **kwargs: For `keras.layers.Layer`.

    Raises:
        TypeError: Something that is not a schedule.
        ValueError: An unknown scope or ranking, a quality schedule with scope "global" or with
            "worth", a pattern that makes no sense, or a schedule that does not reach its sparsity.
    """

    purpose = "prune"

    def __init__(
        self,
        layer: keras.Layer,
        pruning_schedule: Any,
        scope: str = "layer",
        block_size: tuple[int, int] = (1, 1),
        block_pooling_type: str = "AVG",
        sparsity_m_by_n: tuple[int, int] | None = None,
        ranking: str = "magnitude",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("name", f"prune_low_magnitude_{layer.name}")
        super().__init__(layer, **kwargs)
        self.pruning_schedule: Schedule = as_schedule(pruning_schedule)
        if scope not in SCOPES:
            raise ValueError(f"scope must be one of {SCOPES}; got {scope!r}.")
        if scope == "global" and self.pruning_schedule.target == "quality":
            raise ValueError(
                "Threshold multiplies the standard deviation of each layer's own weights, so it "
                'has one threshold per layer; use scope="layer", or a sparsity schedule such as '
                "schedules.Polynomial for one global threshold."
            )
        self.scope = scope
        self.ranking = check_ranking(ranking, self.pruning_schedule.target)
        self.structure = structure_of(block_size, block_pooling_type, sparsity_m_by_n)
        self._pattern = {
            "block_size": list(block_size),
            "block_pooling_type": block_pooling_type,
            "sparsity_m_by_n": None if sparsity_m_by_n is None else list(sparsity_m_by_n),
        }
        check_reaches(self.pruning_schedule, self.structure)
        # Whether a keras_deepcomp.PruningDriver moves the masks, and whether the schedule is over.
        # Both are only for the warning in `call`: what is to be kept is in variables.
        self.driven = self.done = False
        self._state: dict[str, dict[str, Any]] = {}
        self._channels: dict[str, tuple[int, int]] = {}

    def build(self, input_shape: Any = None) -> None:
        """Builds the inner layer and the pruning state."""
        # -1: no step of a schedule, not even step 0, has been done.
        self.pruning_step = self.add_weight(
            name="pruning_step",
            shape=(),
            dtype="int32",
            initializer=keras.initializers.Constant(-1),
            trainable=False,
        )
        self.horizon = self.add_weight(
            name="horizon", shape=(2,), dtype="int32", initializer="zeros", trainable=False
        )
        super().build(input_shape)

    def add_state(self, name: str, variable: Any) -> None:
        """Adds mask, threshold and standard deviation for one weight."""
        prefix = name.replace("/", "_")

        def scalar(what: str) -> Any:
            return self.add_weight(
                name=f"{prefix}_{what}",
                shape=(),
                dtype="float32",
                initializer="zeros",
                trainable=False,
                autocast=False,
            )

        mask = self.add_weight(
            name=f"{prefix}_mask",
            shape=variable.shape,
            dtype="bool",
            initializer="ones",
            trainable=False,
        )
        if self.structure != Structure():
            self._channels[name] = last_two(self.layer, variable)
        self._state[name] = {
            "mask": mask,
            "threshold": scalar("threshold"),
            "deviation": scalar("deviation"),
        }

    def effective_value(self, name: str) -> Any:
        """The weight where the mask is True, +0.0 elsewhere."""
        value = self._substituted[name].value
        mask = self._state[name]["mask"].value
        # where, not a product: a product would give -0.0 for negative weights, and NaN for NaN.
        return keras.ops.where(mask, value, keras.ops.zeros_like(value))

    def call(self, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """Calls the inner layer with pruned weights; warns if it trains and nobody drives it."""
        if training and not self.driven and not self.done:
            self.driven = True  # warn once
            self.warn_that_nobody_drives()
        return super().call(*args, training=training, **kwargs)

    def warn_that_nobody_drives(self) -> None:
        """Warns that the schedule stands still, and names the mend."""
        warnings.warn(
            f"'{self.name}' trains, but nothing moves its pruning schedule, so its sparsity will "
            "not change. Pass keras_deepcomp.UpdatePruningStep() in fit's callbacks, or call "
            "keras_deepcomp.PruningDriver in a loop of your own.",
            UserWarning,
            stacklevel=3,
        )

    def takes_part(self, variable: Any) -> bool:
        """Whether the pattern has a sense for one weight: depthwise ones have no groups."""
        grouped = isinstance(self.structure, Groups)
        return not grouped or input_axis(self.layer, variable) is not None

    def arranged(self, name: str, array: np.ndarray) -> np.ndarray:
        """An array of a weight's shape with input and output channels last, for `structure`."""
        return np.moveaxis(array, self._channels[name], (-2, -1)) if self._channels else array

    def restored(self, name: str, array: np.ndarray) -> np.ndarray:
        """The inverse of `arranged`."""
        return np.moveaxis(array, (-2, -1), self._channels[name]) if self._channels else array

    def mask(self, name: str) -> Mask:
        """The present mask of a weight."""
        return to_numpy(self._state[name]["mask"])

    def threshold(self, name: str) -> float:
        """The threshold that the last update of a weight's mask used."""
        return float(to_numpy(self._state[name]["threshold"]))

    def pruned_value(self, name: str) -> np.ndarray:
        """The weight with its pruned elements at zero.

        Raises:
            ValueError: It has NaN or infinities.
        """
        value = self._pruned(name)
        require_finite(
            value,
            f"'{name}' of layer '{self.layer.name}'",
            "The training has diverged, or a wrong file was loaded: lower the learning rate or "
            "clip gradients, and start from a checkpoint before.",
        )
        return value

    def effective_weights(self) -> dict[str, np.ndarray]:
        """What the inner layer computes with, by the weight's path within the layer."""
        return {name: self._pruned(name) for name in self._substituted}

    def _pruned(self, name: str) -> np.ndarray:
        """As `effective_value`, in numpy, with no other copy of the weight."""
        value = to_numpy(self._substituted[name])
        value[~to_numpy(self._state[name]["mask"], copy=False)] = 0
        return value

    def deviation(self, name: str) -> float:
        """The standard deviation of the weight when pruning began; measured at the first call."""
        variable = self._state[name]["deviation"]
        known = float(to_numpy(variable))
        if known == 0.0:
            known = standard_deviation(self.pruned_value(name))
            variable.assign(known)
        return known

    def set_mask(self, name: str, mask: Mask, threshold: float) -> None:
        """Sets a weight's mask and threshold, and puts zeros where weights went or come back."""
        value = self.pruned_value(name)
        value[~mask] = 0
        self._state[name]["mask"].assign(mask)
        self._state[name]["threshold"].assign(threshold)
        give(self._substituted[name], value)

    @property
    def sparsity(self) -> float:
        """Share of the weights under the masks that are pruned."""
        masks = [self.mask(name) for name in self._state]
        kept = sum(int(np.count_nonzero(mask)) for mask in masks)
        return 1.0 - kept / sum(mask.size for mask in masks) if masks else 0.0

    def plan(self) -> Plan | None:
        """The schedule laid over the training; None before the first training."""
        first, last = (int(x) for x in to_numpy(self.horizon))
        return self.pruning_schedule.plan(first, last) if last > first else None

    def around(self, layer: keras.Layer) -> PruneLowMagnitude:
        """A wrapper with the masks of this one, whose schedule is over, for a layer of its kind.

        Args:
            layer: A built copy of the inner layer.
        """
        copy = type(self).from_config({**self.get_config(), "layer": layer})
        copy.build()
        own, others = ([*w._trainable_variables, *w._non_trainable_variables] for w in (copy, self))
        for target, source in zip(own, others, strict=True):
            target.assign(to_numpy(source))
        copy.done = True
        return copy

    def load_own_variables(self, store: Any) -> None:
        """Restores the state; a layer whose schedule is done needs no callback any more."""
        super().load_own_variables(store)
        plan = self.plan()
        step = int(to_numpy(self.pruning_step))
        self.done = plan is not None and plan.is_done(step)

    def get_config(self) -> dict[str, Any]:
        """The arguments, as plain data."""
        schedule = self.pruning_schedule
        return {
            **super().get_config(),
            "pruning_schedule": {
                "kind": type(schedule).__name__,
                **{
                    key: keras.saving.serialize_keras_object(value)
                    for key, value in schedule.get_config().items()
                },
            },
            "scope": self.scope,
            "ranking": self.ranking,
            **self._pattern,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> PruneLowMagnitude:
        """The wrapper that `get_config` came from, with its inner layer and schedule."""
        from keras_deepcomp import schedules

        config = dict(config)
        arguments = dict(config["pruning_schedule"])
        kinds = {
            kind.__name__: kind
            for kind in (
                schedules.Polynomial,
                schedules.Constant,
                schedules.Threshold,
                schedules.FromCallable,
            )
        }
        kind = kinds.get(arguments.pop("kind", None))
        if kind is None:
            raise ValueError(
                f"Unknown pruning schedule in the configuration: {config['pruning_schedule']!r}."
            )
        if "function" in arguments:
            arguments["function"] = keras.saving.deserialize_keras_object(
                arguments["function"], custom_objects=custom_objects
            )
        config["pruning_schedule"] = kind.from_config(arguments)
        return super().from_config(config, custom_objects)
