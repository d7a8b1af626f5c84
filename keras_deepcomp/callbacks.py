"""What moves during `fit`: the pruning schedule and the centroids, and their logs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_deepcomp.schedules import Plan
from keras_deepcomp.structures import Structure
from keras_deepcomp.wrappers.clustering import ClusterWeights
from keras_deepcomp.wrappers.pruning import PruneLowMagnitude
from keras_deepcomp.wrappers.substitution import find_wrappers

Member = tuple[PruneLowMagnitude, str]


@dataclass
class Driven:
    """A wrapper whose schedule is being carried out, and the step of its last update."""

    wrapper: PruneLowMagnitude
    plan: Plan
    updated: int


class UpdatePruningStep(keras.callbacks.Callback):
    """Carries out the pruning schedules of a model during `fit`.

    Steps are optimizer steps (`optimizer.iterations`). An update that is due at a step happens
    before the batch that starts at this step, as in tfmot; one that is due when training ends
    happens then. Nothing is touched in between. Fractions in a schedule refer to the training that
    is planned when pruning first runs; a training that was interrupted goes on with the plan that
    it had, whether with `initial_epoch=` or with fewer epochs.

    Adds to the logs, at the end of each epoch, `sparsity` over all pruned weights and
    `sparsity/<layer>` for each layer.

    Raises:
        ValueError: From `fit`: the model has no `PruneLowMagnitude` layer, or a schedule in
            fractions meets a training of unknown length.

    Example:
        >>> pruned.fit(x, y, callbacks=[keras_deepcomp.UpdatePruningStep()])
    """

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the wrappers."""
        wrappers: list[PruneLowMagnitude] = find_wrappers(self.model, PruneLowMagnitude)
        if not wrappers:
            raise ValueError(
                f"UpdatePruningStep found no PruneLowMagnitude layer in '{self.model.name}'. Fit "
                "the model that keras_deepcomp.prune_low_magnitude returned, or leave the callback "
                "out."
            )
        for wrapper in wrappers:
            wrapper.driven = True
        self._warned = False
        self._wrappers = wrappers
        self._driven: list[Driven] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Lays the schedules over the training, once it is known where it starts."""
        self._epoch_start = self._read_step()
        for wrapper in self._wrappers:  # another callback may have loaded an older state
            wrapper.driven = True
        if not self._driven:
            self._lay_out(epoch, self._epoch_start)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Updates the masks if that is due."""
        # The true step may be behind this one (gradient accumulation), but is costly to read under
        # JAX: ask for it only when something could be due.
        if self._due(self._epoch_start + batch):
            self._update(self._read_step())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Logs the sparsity."""
        if logs is not None:
            _sync(self.model)
            logs.update(sparsity_logs(self._wrappers))

    def on_train_end(self, logs: Any = None) -> None:
        """Does what is due at the last step; warns if the schedule is not done."""
        step = self._read_step()
        self._update(step)
        for driven in self._driven:
            driven.wrapper.driven = driven.plan.is_done(step)
        late = [driven for driven in self._driven if not driven.plan.is_done(step)]
        if late and not self._warned:
            warnings.warn(
                f"Training stopped at step {step}, and the pruning schedule of "
                f"'{late[0].wrapper.name}' ends at step {late[0].plan.end}: its sparsity is "
                f"{late[0].wrapper.sparsity:.1%} so far. Go on with fit and this callback, or give "
                "an earlier end=.",
                UserWarning,
                stacklevel=2,
            )

    def _read_step(self) -> int:
        _sync(self.model)
        return _as_int(self.model.optimizer.iterations)

    def _lay_out(self, epoch: int, step: int) -> None:
        first, last = self._planned(epoch, step)
        for wrapper in self._wrappers:
            begun, horizon_end = (int(x) for x in keras.ops.convert_to_numpy(wrapper.horizon))
            updated = _as_int(wrapper.pruning_step)
            plan = wrapper.plan()
            if plan is None or not max(begun, updated) <= step < horizon_end:
                plan = wrapper.pruning_schedule.plan(first, last)
                if last is not None:
                    wrapper.horizon.assign([first, last])
                if updated > step:  # a new optimizer counts from 0 again
                    updated = -1
            self._driven.append(Driven(wrapper, plan, updated))
        self._warn_if_unfinished(last)

    def _planned(self, epoch: int, step: int) -> tuple[int, int | None]:
        """First and last optimizer step of this training; None where it is of unknown length."""
        batches, epochs = self.params.get("steps"), self.params.get("epochs")
        if batches is None or epochs is None:
            return step, None
        steps = batches // (getattr(self.model.optimizer, "gradient_accumulation_steps", None) or 1)
        return max(0, step - epoch * steps), step + (epochs - epoch) * steps

    def _warn_if_unfinished(self, last: int | None) -> None:
        if last is None:
            return
        plans = [driven.plan for driven in self._driven]
        never = [plan.begin for plan in plans if plan.begin > last]
        late = [plan.end for plan in plans if plan.end is not None and plan.end > last]
        self._warned = bool(never or late)
        if never:
            warnings.warn(
                f"The pruning schedule begins at step {never[0]}, but this training ends at step "
                f"{last}: nothing will be pruned. Give an earlier begin= (or a fraction, such as "
                "begin=0.0), or train longer.",
                UserWarning,
                stacklevel=2,
            )
        elif late:
            warnings.warn(
                f"The pruning schedule ends at step {late[0]}, but this training ends at step "
                f"{last}: the final sparsity will not be reached. Give an earlier end= (or a "
                "fraction, such as end=0.7), or train longer.",
                UserWarning,
                stacklevel=2,
            )

    def _due(self, step: int) -> list[Driven]:
        # From our own note of the last update: during fit, JAX has the variables elsewhere.
        return [
            driven
            for driven in self._driven
            if (latest := driven.plan.latest_update(step)) is not None and latest > driven.updated
        ]

    def _update(self, step: int) -> None:
        due = self._due(step)
        shared: dict[tuple[float, Structure], list[PruneLowMagnitude]] = {}
        for driven in due:
            wrapper = driven.wrapper
            value = wrapper.pruning_schedule.value(step, driven.plan)
            if wrapper.scope == "global":
                shared.setdefault((value, wrapper.structure), []).append(wrapper)
            elif wrapper.pruning_schedule.target == "quality":
                _prune_by_deviation(wrapper, value)
            else:
                for name in wrapper.weight_variables:
                    _prune_by_rank([(wrapper, name)], value)
        for (value, _), wrappers in shared.items():
            _prune_by_rank([(w, name) for w in wrappers for name in w.weight_variables], value)
        for driven in due:
            driven.updated = step
            driven.wrapper.pruning_step.assign(step)


def _prune_by_rank(members: list[Member], sparsity: float) -> None:
    structure = members[0][0].structure
    masks = [wrapper.arranged(name, wrapper.mask(name)) for wrapper, name in members]
    if not members[0][0].pruning_schedule.may_fall:
        sparsity = max(sparsity, structure.present(masks))
    values = [wrapper.arranged(name, wrapper.pruned_value(name)) for wrapper, name in members]
    kept, threshold = structure.keep_largest(values, masks, sparsity)
    for (wrapper, name), mask in zip(members, kept, strict=True):
        # Where nothing more went, the threshold is still the one that the others fell under.
        wrapper.set_mask(name, wrapper.restored(name, mask), threshold or wrapper.threshold(name))


def _prune_by_deviation(wrapper: PruneLowMagnitude, quality: float) -> None:
    for name in wrapper.weight_variables:
        threshold = quality * wrapper.deviation(name)
        value, mask = wrapper.pruned_value(name), wrapper.mask(name)
        kept = wrapper.structure.keep_above(
            wrapper.arranged(name, value), wrapper.arranged(name, mask), threshold
        )
        wrapper.set_mask(name, wrapper.restored(name, kept), threshold)


def sparsity_logs(wrappers: list[PruneLowMagnitude]) -> dict[str, float]:
    """`sparsity` over all pruned weights together, and `sparsity/<layer>` for each layer."""
    each = [wrapper.sparsity for wrapper in wrappers]
    sizes = [sum(int(np.prod(v.shape)) for v in w.weight_variables.values()) for w in wrappers]
    total = sum(size * sparsity for size, sparsity in zip(sizes, each, strict=True)) / sum(sizes)
    names = [f"sparsity/{wrapper.layer.name}" for wrapper in wrappers]
    return {"sparsity": total, **dict(zip(names, each, strict=True))}


class UpdateCentroids(keras.callbacks.Callback):
    """Watches the centroids during `fit`, and reassigns weights to them where asked.

    Training moves the centroids by gradient and leaves the assignments alone, as the paper does;
    so this callback is not needed for training. It adds to the logs, at the end of each epoch,
    `centroid_shift`: the mean distance that the centroids have moved since the epoch began, over
    all layers.

    Args:
        reassign: Whether, at the end of each epoch, each weight goes to the present centroid that
            is nearest to its value from before sharing. Adds `reassigned` (a number of weights) to
            the logs.

    Raises:
        ValueError: From `fit`: the model has no `ClusterWeights` layer.
    """

    def __init__(self, reassign: bool = False) -> None:
        super().__init__()
        self.reassign = reassign

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the wrappers."""
        self._wrappers: list[ClusterWeights] = find_wrappers(self.model, ClusterWeights)
        if not self._wrappers:
            raise ValueError(
                f"UpdateCentroids found no ClusterWeights layer in '{self.model.name}'. Fit the "
                "model that keras_deepcomp.cluster_weights returned, or leave the callback out."
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Remembers where the centroids are."""
        self._before = self._all_centroids()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Logs how far they moved, and reassigns."""
        logs = {} if logs is None else logs
        shift = float(np.mean(np.abs(self._all_centroids() - self._before)))
        logs["centroid_shift"] = shift
        if self.reassign:
            logs["reassigned"] = float(
                sum(w.reassign(name) for w in self._wrappers for name in w.weight_variables)
            )

    def _all_centroids(self) -> np.ndarray:
        _sync(self.model)
        return np.concatenate(
            [
                w.centroids(name).astype(np.float64).ravel()
                for w in self._wrappers
                for name in w.weight_variables
            ]
        )


def _as_int(variable: Any) -> int:
    return int(keras.ops.convert_to_numpy(variable))


def _sync(model: keras.Model) -> None:
    """Brings the variables up to date under JAX, whose trainer keeps its own copy during `fit`.

    It also tells the trainer to read them again before the next batch.
    """
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()
