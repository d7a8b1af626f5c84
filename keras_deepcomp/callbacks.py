"""What moves during `fit`: the pruning schedule and the centroids, and their logs."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np

from keras_deepcomp import training_logs
from keras_deepcomp.devices import check_strategy, sync, to_numpy
from keras_deepcomp.driver import PruningDriver, pruning_wrappers
from keras_deepcomp.ranking import has_second_moments, second_moments
from keras_deepcomp.wrappers.clustering import ClusterWeights
from keras_deepcomp.wrappers.substitution import find_wrappers


class UpdatePruningStep(keras.callbacks.Callback):
    """Carries out the pruning schedules of a model during `fit`.

    Steps are optimizer steps (`optimizer.iterations`): with gradient accumulation one for several
    batches, and none for a batch that a loss scale optimizer skips. An update that is due at a step
    happens before the batch that starts at this step, as in tfmot; with `steps_per_execution`,
    before the next execution; one that is due when training ends happens then. Nothing is touched
    in between. Fractions in a schedule refer to the training that is planned when pruning first
    runs; a training that was interrupted goes on with the plan that it had, whether with
    `initial_epoch=` or with fewer epochs.

    Adds to the logs, at the end of each epoch, `sparsity` over all pruned weights,
    `sparsity/<layer>` and `threshold/<layer>` for each layer (for each weight of a layer that has
    several: `threshold/<layer>/<weight>`), and `coded_bytes`, an estimate of what the tensors take
    in a file if the model is saved as it is.

    Args:
        optimizer: Whose steps count: None for `model.optimizer`. For models whose `train_step`
            has optimizers of its own.

    Raises:
        ValueError: From `fit`: the model has no `PruneLowMagnitude` layer, or no optimizer; or a
            schedule in fractions meets a training of unknown length.

    Example:
        >>> pruned.fit(x, y, callbacks=[keras_deepcomp.UpdatePruningStep()])
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer | None = None) -> None:
        super().__init__()
        self._given_optimizer = optimizer

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the wrappers and the optimizer."""
        model = self.model
        check_strategy(model)
        self._wrappers = pruning_wrappers(model, type(self).__name__)
        self._optimizer = self._given_optimizer or model.optimizer
        if self._optimizer is None:
            raise ValueError(
                f"'{model.name}' has no optimizer, whose steps would be counted. Give compile one, "
                "or pass the one that train_step uses: UpdatePruningStep(optimizer=...)."
            )
        # What loss scaling wraps is what accumulates.
        inner = getattr(self._optimizer, "inner_optimizer", self._optimizer)
        self._batches_per_step = getattr(inner, "gradient_accumulation_steps", None) or 1
        self._driver: PruningDriver | None = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Lays the schedules over the training, once it is known where it starts."""
        self._epoch_start = self._read_step()
        if self._driver is None:  # not at on_train_begin: others may load an older state there
            first, last = self._planned(epoch, self._epoch_start)
            self._started_at = self._epoch_start
            self._driver = PruningDriver(
                self.model, last, first, self._epoch_start, self._optimizer
            )
            self._driver.watch_fit()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Updates the masks if that is due."""
        assert self._driver is not None
        # The true step may be behind this one (gradient accumulation, loss scaling), but is costly
        # to read under JAX: ask for it only when something could be due.
        latest_step = self._epoch_start + -(-batch // self._batches_per_step)
        if self._driver.is_due(latest_step):
            self._driver.update(self._read_step())
        else:
            self._driver.announce()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Logs sparsity, thresholds and the estimated size."""
        if logs is not None:
            sync(self.model)
            logs.update(training_logs.sparsities(self._wrappers))
            logs.update(training_logs.thresholds(self._wrappers))
            logs["coded_bytes"] = training_logs.coded_bytes(self.model)["coded_bytes"]

    def on_train_end(self, logs: Any = None) -> None:
        """Does what is due at the last step; warns if the schedule is not done."""
        if self._driver is None:  # all epochs were done before
            return
        step = self._read_step()
        if step == self._started_at:
            warnings.warn(
                f"The optimizer '{self._optimizer.name}' took no step in this training, so the "
                "pruning schedule did not move. If train_step uses another one, pass that: "
                "UpdatePruningStep(optimizer=...). If it skips batches whose gradients are not "
                "finite, lower the learning rate or the initial loss scale.",
                UserWarning,
                stacklevel=2,
            )
        self._driver.finish(step)

    def _read_step(self) -> int:
        sync(self.model)
        return _as_int(self._optimizer.iterations)

    def _planned(self, epoch: int, step: int) -> tuple[int, int | None]:
        """First and last optimizer step of this training; None where it is of unknown length."""
        batches, epochs = self.params.get("steps"), self.params.get("epochs")
        if batches is None or epochs is None:
            return step, None

        def steps_in(epochs: int) -> int:  # accumulation goes on over the end of an epoch
            return batches * epochs // self._batches_per_step

        return max(0, step - steps_in(epoch)), step + steps_in(epochs - epoch)


class UpdateCentroids(keras.callbacks.Callback):
    """Watches the centroids during `fit`, and reassigns weights to them where asked.

    Training moves the centroids by gradient and leaves the assignments alone, as the paper does;
    so this callback is not needed for training. It adds to the logs, at the end of each epoch,
    `centroid_shift`, the mean distance that the centroids have moved since the epoch began, over
    all layers, `centroid_shift/<layer>` for each, and `coded_bytes`, an estimate of what
    the tensors take in a file if the model is saved as it is.

    Args:
        reassign: Whether, at the end of each epoch, each weight goes to the present centroid that
            is nearest to its value from before sharing. Adds `reassigned` (a number of weights) to
            the logs. A callback that saves the model should come after this one; of what was saved
            before, a training that goes on at a later epoch (`BackupAndRestore`, `initial_epoch=`)
            does the missing reassignment first.
        frequency: Batches between two reassignments, which also come at the end of each epoch;
            None for these alone.
        end: The share of the epochs after which weights stay where they are. With the last epochs
            for the centroids alone, the training comes to rest: weights between two centroids
            otherwise go to and fro (Nagel et al. 2022, arXiv:2203.11086).
        rate: What a bit of the file is worth when weights are reassigned, see
            `keras_deepcomp.rate_distortion.assign`: about 0.01 makes files smaller, at the cost of
            some accuracy. Where weights train straight through and the optimizer keeps second
            moments, an error counts by these.

    Raises:
        ValueError: A rate, frequency or end out of range; from `fit`: the model has no
            `ClusterWeights` layer.
    """

    def __init__(
        self,
        reassign: bool = False,
        frequency: int | None = None,
        rate: float = 0.0,
        end: float = 1.0,
    ) -> None:
        super().__init__()
        if frequency is not None and frequency < 1:
            raise ValueError(f"frequency counts batches, at least 1; got {frequency!r}.")
        if not 0.0 < end <= 1.0:
            raise ValueError(f"end is a share of the epochs, above 0 and at most 1; got {end!r}.")
        if not 0.0 <= rate < float("inf"):
            raise ValueError(f"rate is what a bit is worth, at least 0; got {rate!r}.")
        self.reassign = reassign
        self.frequency = frequency
        self.rate = rate
        self.end = end

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the wrappers."""
        check_strategy(self.model)
        self._wrappers: list[ClusterWeights] = find_wrappers(self.model, ClusterWeights)
        if not self._wrappers:
            raise ValueError(
                f"UpdateCentroids found no ClusterWeights layer in '{self.model.name}'. Fit the "
                "model that keras_deepcomp.cluster_weights returned, or leave the callback out."
            )
        self._is_first_epoch = True

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Remembers where the centroids are."""
        if self.reassign and self._is_first_epoch and self._moves(epoch - 1):
            self._reassign()  # nothing changes if the state was saved after it
        self._is_first_epoch = False
        self._is_moving = self.reassign and self._moves(epoch)
        self._before = self._all_centroids()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Reassigns if that is due."""
        if self._is_moving and self.frequency and (batch + 1) % self.frequency == 0:
            sync(self.model)
            self._reassign()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Logs how far they moved, and reassigns."""
        logs = {} if logs is None else logs
        logs.update(training_logs.centroid_shifts(self._before, self._all_centroids()))
        if self.reassign:
            logs["reassigned"] = float(self._reassign()) if self._is_moving else 0.0
        logs["coded_bytes"] = training_logs.coded_bytes(self.model)["coded_bytes"]

    def _moves(self, epoch: int) -> bool:
        """Whether weights are reassigned at the end of an epoch, counted from 0."""
        return epoch >= 0 and epoch + 1 <= max(1, round(self.end * self.params["epochs"]))

    def _reassign(self) -> int:
        return sum(
            w.reassign(name, self.rate, self._importance(w, variable))
            for w in self._wrappers
            for name, variable in w.weight_variables.items()
        )

    def _importance(self, wrapper: ClusterWeights, variable: Any) -> np.ndarray | None:
        optimizer = self.model.optimizer
        if not (self.rate and wrapper.straight_through and has_second_moments(optimizer)):
            return None
        moments = second_moments(optimizer, variable)
        return None if moments is None or not moments.any() else moments

    def _all_centroids(self) -> training_logs.Centroids:
        sync(self.model)
        return training_logs.centroids_of(self._wrappers)


def _as_int(variable: Any) -> int:
    return int(to_numpy(variable))
