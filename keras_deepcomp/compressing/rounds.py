"""One round: prune to a density, share, train what is left, code, and measure the decoded file."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_deepcomp.callbacks import UpdateCentroids, UpdatePruningStep
from keras_deepcomp.compressing.codebooks import Codebooks
from keras_deepcomp.compressing.compiling import fit, seed_all
from keras_deepcomp.compressing.data import Data
from keras_deepcomp.compressing.goals import Goal, Measure
from keras_deepcomp.compressing.journal import Journal
from keras_deepcomp.compressing.result import Point
from keras_deepcomp.compressing.sensitivity import (
    Sensitivity,
    layer_sparsities,
    prunable,
    sparsity_of,
)
from keras_deepcomp.compressing.steering import Plan, Round
from keras_deepcomp.compressing.teaching import Teacher
from keras_deepcomp.conversion import cluster_weights, prune_low_magnitude, strip
from keras_deepcomp.devices import to_numpy
from keras_deepcomp.ordering import order_units
from keras_deepcomp.ranking import has_second_moments
from keras_deepcomp.rebuilding import rebuild
from keras_deepcomp.saving import load_weights, save_model
from keras_deepcomp.schedules import Polynomial

ORDERED = "ordered.kdc"

PRUNING_END = 0.6
"""Part of a round's pruning after which the sparsity is reached; the rest retrains."""

REASSIGN_FREQUENCY = 20
"""Batches after which weights go to the centroids that are nearest by then."""

SHARING_RATE = 0.2
"""Learning rate of centroid training, as part of that of pruning."""


class TimeIsUp(Exception):
    """The search has no time left."""


@dataclass(frozen=True)
class Settings:
    """What is the same in all rounds.

    Attributes:
        epochs: Of pruning.
        sharing_epochs: Of each training of centroids.
        rate: The learning rate at the beginning of pruning.
        seed: For all random numbers.
    """

    epochs: int
    sharing_epochs: int
    rate: float
    seed: int


Watch = Callable[[str, int], list[keras.callbacks.Callback]]
"""Gives the callbacks that watch a stage: called with its name and its epochs."""


@dataclass(frozen=True)
class Task:
    """What is asked for.

    Attributes:
        model: The user's model.
        train: The training data.
        measure: Measures a compiled model on the validation data.
        settings: What is the same in all rounds.
        teacher: What copies learn from beside the data, or None.
    """

    model: keras.Model
    train: Data
    measure: Measure
    settings: Settings
    teacher: Teacher | None


class Rounds:
    """Carries rounds out.

    Args:
        task: What is asked for.
        decoded: A plain, compiled copy of the model, into which files are decoded to be measured.
        goal: The budget.
        journal: Where files go.
        sensitivity: How weights of different layers rank.
        watch: Callbacks for each stage.
    """

    def __init__(
        self,
        task: Task,
        decoded: keras.Model,
        goal: Goal,
        journal: Journal,
        sensitivity: Sensitivity,
        watch: Watch,
    ) -> None:
        self._task, self._decoded, self._goal = task, decoded, goal
        self._journal, self._sensitivity, self._watch = journal, sensitivity, watch

    def run(self, plan: Plan, on_point: Callable[[Point], None]) -> Round:
        """Carries one out. What goes wrong is kept in the round; what it has by then counts.

        Args:
            plan: The round.
            on_point: Called with each file that was measured.

        Raises:
            TimeIsUp: Before there was anything that counts.
        """
        began, done = time.monotonic(), Round(plan)
        try:
            with warnings.catch_warnings():
                # Of fewer distinct values than clusters, and the like: nobody has to mend it.
                warnings.simplefilter("ignore", UserWarning)
                self._run(plan, done.points, on_point)
        except TimeIsUp:
            if not done.points:
                raise
        except Exception as error:  # hours of work are not to be lost for whatever went wrong
            done.error = f"round {plan.number}: {type(error).__name__}: {_first_line(error)}"
        done.seconds = round(time.monotonic() - began, 3)
        return done

    def _run(self, plan: Plan, points: list[Point], on_point: Callable[[Point], None]) -> None:
        settings = self._task.settings
        rate = settings.rate * plan.rate
        seed_all(settings.seed, plan.number, 0)
        pruned = self._to_be_pruned(plan)
        callbacks = [UpdatePruningStep(), *self._watch("pruning", settings.epochs)]
        self._fit(pruned, settings.epochs, rate, callbacks)
        plain = strip(pruned)
        save_model(plain, self._journal.pruned(plan.number), architecture=False, effort=0)
        sparsity, codebooks = sparsity_of(plain), Codebooks(self._goal, plan.clusters)
        while (clusters := codebooks.next(points)) is not None:
            seed_all(settings.seed, plan.number, clusters)
            shared = cluster_weights(
                pruned,
                clusters,
                bias_clusters=clusters,
                straight_through=True,
                verbose=False,
            )
            callbacks = [
                UpdateCentroids(reassign=True, frequency=REASSIGN_FREQUENCY),
                *self._watch(f"{clusters} values", settings.sharing_epochs),
            ]
            self._fit(shared, settings.sharing_epochs, rate * SHARING_RATE, callbacks)
            name = f"round-{plan.number:03}-{clusters}.kdc"
            points.append(self.coded(strip(shared), name, plan.number, sparsity, clusters))
            on_point(points[-1])

    def _fit(self, model: keras.Model, epochs: int, rate: float, callbacks: list[Any]) -> None:
        task = self._task
        teach = None if task.teacher is None else task.teacher.teach
        fit(model, task.model, task.train, epochs, rate, callbacks, teach)

    def _to_be_pruned(self, plan: Plan) -> keras.Model:
        """The model that a round starts from, with a schedule from its sparsity to the plan's."""
        model = rebuild(self._task.model)
        if plan.start:
            load_weights(model, self._journal.pruned(plan.start))
        final = 1.0 - plan.density
        if has_second_moments(self._task.model.optimizer):
            return prune_low_magnitude(
                model,
                _rising(sparsity_of(model), final),
                scope="global",
                ranking="worth",
                biases=True,
                verbose=False,
            )
        if self._sensitivity.by_magnitude:
            schedule = _rising(sparsity_of(model), final)
            return prune_low_magnitude(model, schedule, scope="global", verbose=False)
        present = _layer_zeros(model)
        targets = layer_sparsities(model, self._sensitivity.scales, final)
        schedules = {name: _rising(present[name], target) for name, target in targets.items()}
        return prune_low_magnitude(model, schedules, verbose=False)

    def coded(
        self, model: keras.Model, name: str, number: int, sparsity: float, clusters: int
    ) -> Point:
        """Writes a plain model into a file, and measures what is decoded from it."""
        if clusters:
            shorten(model)
        path = self._journal.path(name)
        size = save_model(model, path)
        metrics = self._task.measure(self.decode(name))
        return Point(
            number, sparsity, clusters, size, metrics, self._goal.keeps(size, metrics), name
        )

    def ordered(self, point: Point) -> Point:
        """The same weights with hidden units in the order in which the file is smallest.

        Returns:
            A new point, or the given one where no order is better or nothing was compressed.
        """
        if not point.clusters:
            return point
        model = order_units(self.decode(point.file))
        other = self.coded(model, ORDERED, point.round, point.sparsity, point.clusters)
        ranks = [self._goal.rank(each.bytes, each.metrics) for each in (other, point)]
        return other if ranks[0] < ranks[1] else point

    def decode(self, name: str) -> keras.Model:
        """Decodes a file; always into the same model."""
        load_weights(self._decoded, self._journal.path(name))
        return self._decoded


def shorten(model: keras.Model) -> None:
    """Rounds what is not shared, such as biases and statistics, to values that take two bytes.

    The file stores float32 values that float16 has too in half the space. Only where float16 can
    hold the value to 11 bits; what that costs is measured with the decoded file.
    """
    compressed = {id(variable) for _, variable in prunable(model).values()}
    for variable in model.variables:
        if (
            id(variable) in compressed
            or keras.backend.standardize_dtype(variable.dtype) != "float32"
        ):
            continue
        value = to_numpy(variable)
        magnitudes = np.abs(value[value != 0])
        if magnitudes.size and magnitudes.min() >= 2.0**-14 and magnitudes.max() < 65_504.0:
            variable.assign(value.astype(np.float16).astype(np.float32))


def _rising(initial: float, final: float) -> Polynomial:
    return Polynomial(final, initial_sparsity=min(initial, final), end=PRUNING_END)


def _layer_zeros(model: keras.Model) -> dict[str, float]:
    """Share of zeros among the weights of each layer that take part."""
    zeros: dict[str, list[int]] = {}
    for layer, variable in prunable(model).values():
        value = to_numpy(variable)
        count = zeros.setdefault(layer, [0, 0])
        count[0] += value.size - int(np.count_nonzero(value))
        count[1] += value.size
    return {layer: gone / size for layer, (gone, size) in zeros.items()}


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:300]
