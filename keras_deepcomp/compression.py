"""`keras_deepcomp.compress`: the smallest file within a budget, in one call."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import keras
import numpy as np

from keras_deepcomp.compressing.compiling import (
    check_compiled,
    compile_alike,
    peak_rate,
    seeded,
)
from keras_deepcomp.compressing.data import Data
from keras_deepcomp.compressing.goals import Goal, Measure, Metric, goal_for, name_of
from keras_deepcomp.compressing.journal import Journal, digest_of
from keras_deepcomp.compressing.progress import Show
from keras_deepcomp.compressing.result import CompressionResult, Point
from keras_deepcomp.compressing.rounds import Rounds, Settings, TimeIsUp
from keras_deepcomp.compressing.sensitivity import (
    SAMPLES,
    Sensitivity,
    prunable,
    sensitivity,
    sparsity_of,
)
from keras_deepcomp.compressing.steering import PATIENCE, Round, Steering, Stop
from keras_deepcomp.rebuilding import rebuild

FIRST_SHARE = 0.5
"""Density of the first round, as part of what is bearable without training."""


def compress(
    model: keras.Model,
    train: Any,
    validation: Any = None,
    *,
    max_metric_drop: float | Mapping[str, float] | None = None,
    max_bytes: int | None = None,
    metric: Metric = None,
    metric_direction: str | None = None,
    budget_minutes: float | None = None,
    directory: str | os.PathLike[str] | None = None,
    epochs: int = 10,
    sharing_epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    patience: int = PATIENCE,
    seed: int = 0,
    verbose: bool = True,
) -> CompressionResult:
    """Looks for the smallest file within a budget: prunes, shares, trains and codes, in rounds.

    The first look is at how much each layer minds losing its small weights. Then each round makes
    the model sparser by gradual pruning, lets its weights share few values, trains these, codes
    the model and measures what is decoded from the file on the validation data. What was measured
    decides on the next round. The given model is not changed.

    Args:
        model: A trained and compiled Keras model of any kind, with any loss.
        train: Training data: `(x, y)`, `(x, y, sample_weight)`, a `tf.data.Dataset`, a `PyDataset`
            or a `DataLoader`.
        validation: The same for validation; None takes a tenth of the arrays in `train`, drawn at
            random.
        max_metric_drop: The budget is a metric, and the file is to be as small as it can be: by how
            much the metric may get worse, in its own units. A dict from metric name to number holds
            several.
        max_bytes: The budget is the size of the whole file, and the metric is to be as good as it
            can be.
        metric: Name of a compiled metric, as `evaluate` calls it; or a callable from a compiled
            model to a number. None takes the first compiled metric that is not a loss, of each
            output of a model with several; the loss where there is none, and for `max_bytes` of a
            model with several outputs.
        metric_direction: "max" if more of the metric is better, "min" if less is. None goes by its
            name.
        budget_minutes: Ends the search after so many minutes, interrupted runs included. None lets
            it end by itself.
        directory: Where all of the search is kept, the best file so far as `best.kdc`. A search
            that was interrupted goes on if the call is repeated. None takes a new folder among the
            system's temporary ones.
        epochs: Of pruning in each round.
        sharing_epochs: Of each training of shared values; None takes a third of `epochs`.
        batch_size: For arrays. None takes 32, or 128 from 10,000 samples on.
        learning_rate: At the beginning of each round. None takes the largest that the model was
            trained with.
        patience: Rounds without a better file after which the search ends.
        seed: For all random numbers. The same seed gives the same files, where the backend computes
            the same and no time limit ends a round early.
        verbose: Whether to show the progress: a bar on a terminal, and a line for each file.

    Returns:
        The best model, its file, all that was measured, and why the search ended. A budget that
        was not met is said there, with what comes closest.

    Raises:
        TypeError: Not a Keras model, or data that can be gone through only once.
        ValueError: The model is not built or not compiled, or cannot be pruned or written into a
            file; not exactly one budget was given; there is no such metric, or its direction is
            unknown.
        ResumeError: The directory holds another search.

    Example:
        >>> result = keras_deepcomp.compress(model, (x, y), (x_val, y_val), max_metric_drop=0.002)
        >>> print(result)
    """
    began = time.monotonic()
    check_compiled(model)
    if (max_metric_drop is None) == (max_bytes is None):
        raise ValueError(
            "compress needs one budget: max_metric_drop=0.002 for the smallest file at that cost, "
            "or max_bytes=20_000 for the best model of that size."
        )
    settings = Settings(
        epochs,
        sharing_epochs or max(1, epochs // 3),
        learning_rate or peak_rate(model.optimizer),
        seed,
    )
    training = Data(train, "train", batch_size)
    if validation is None:
        training, validating = training.split(0.1, seed)
    else:
        validating = Data(validation, "validation", batch_size)
    budget: Any = dict(max_metric_drop) if isinstance(max_metric_drop, Mapping) else max_metric_drop
    identity = {
        "model": digest_of(model),
        "training data": training.fingerprint(),
        "validation data": validating.fingerprint(),
        "max_metric_drop": budget,
        "max_bytes": max_bytes,
        "metric": None if metric is None else name_of(metric),
        "metric_direction": metric_direction,
        "patience": patience,
        **asdict(settings),
    }
    if directory is None:
        directory = tempfile.mkdtemp(prefix="keras_deepcomp-")
    journal = Journal(directory, identity)
    deadline = None if budget_minutes is None else began + 60.0 * budget_minutes - journal.seconds
    measure = Measure(validating, metric if callable(metric) else None)
    with Show(verbose, deadline) as show:
        search = _Search(model, training, measure, journal, settings, show)
        search.prepare(lambda before: goal_for(
            model, before, max_metric_drop, max_bytes, metric, metric_direction))  # fmt: skip
        reason = search.run(patience, deadline)
        return search.result(reason, time.monotonic() - began)


class _Search:
    """The loop: steering says what to do, rounds do it, the journal keeps it."""

    goal: Goal
    rounds: Rounds
    measured: list[Point]

    def __init__(
        self,
        model: keras.Model,
        train: Data,
        measure: Measure,
        journal: Journal,
        settings: Settings,
        show: Show,
    ) -> None:
        self.model, self.train, self.measure = model, train, measure
        self.journal, self.settings, self.show = journal, settings, show
        self.seconds_before = journal.seconds

    def prepare(self, goal_of: Any) -> None:
        """Measures the given model, and how much each layer minds being pruned; or remembers."""
        journal, plain = self.journal, compile_alike(rebuild(self.model), self.model)
        if not prunable(plain):
            raise ValueError(
                f"Nothing in '{self.model.name}' can be pruned: kernels need 64 elements, and "
                "frozen or quantized layers are left alone."
            )
        before = journal.before
        if before is None:
            before = self.measure(plain)
        self.goal = goal_of(before)
        if journal.sensitivity is None:
            with seeded(self.settings.seed):
                found = sensitivity(plain, lambda: self.measure(plain, SAMPLES)["loss"])
        else:
            found = Sensitivity.from_dict(journal.sensitivity)
        self.sensitivity = found
        self.rounds = Rounds(
            self.model, plain, self.train, self.measure, self.goal, journal, found, self.settings,
            self.show.stage,
        )  # fmt: skip
        self.show.line(f"budget: {self.goal.in_words()}")
        if journal.start is None:
            start = self.rounds.coded(plain, "round-000.kdc", 0, sparsity_of(plain), 0)
            journal.begin(before, start, found.as_dict())
        else:
            self.show.line(f"going on after round {len(journal.rounds)} in {journal.directory}")
        self.measured = journal.points()
        journal.publish(self.best())

    def run(self, patience: int, deadline: float | None) -> str:
        """Carries out rounds until none is worth while; says why."""
        weights = sum(int(np.prod(v.shape)) for _, v in prunable(rebuild(self.model)).values())
        first = FIRST_SHARE * (1.0 - self.sensitivity.bearable)
        steering = Steering(self.goal, first, weights, patience)
        rounds = self.journal.rounds
        while not isinstance(plan := steering.next(rounds), Stop):
            if deadline is not None and time.monotonic() > deadline:
                return "the time is up"
            self.show.round(plan.number)
            try:
                done = self.rounds.run(plan, self._announce)
            except TimeIsUp:
                return "the time is up"
            self._keep(done)
        return plan.reason

    def _announce(self, point: Point) -> None:
        """A file is worth having as soon as it is measured, also if its round is never done."""
        self.measured.append(point)
        best = self.best()
        self.journal.publish(best)
        self.show.point(point, self.goal, best)

    def _keep(self, done: Round) -> None:
        self.journal.add(done)
        if done.error:
            self.show.line(done.error)

    def best(self) -> Point:
        """The best file so far."""
        return min(self.measured, key=self._rank)

    def _rank(self, point: Point) -> tuple[float, ...]:
        return self.goal.rank(point.bytes, point.metrics)

    def result(self, reason: str, seconds: float) -> CompressionResult:
        """What was found."""
        journal, best, before = self.journal, self.best(), self.journal.before
        assert before is not None
        path = journal.publish(best)
        model = self.rounds.decode(best.file)
        sentence = f"The search ended because {reason}."
        if not best.keeps_budget:
            sentence = (
                f"The budget was not met ({self.goal.in_words()}): this is what comes closest. "
                f"{sentence}"
            )
        main = self.goal.main
        elements = sum(int(np.prod(variable.shape)) for variable in model.variables)
        found = CompressionResult(
            model=model,
            path=path,
            bytes=best.bytes,
            ratio=4.0 * elements / best.bytes,
            metric=main.name,
            metric_direction="max" if main.sign > 0 else "min",
            metrics_before=before,
            metrics_after=best.metrics,
            keeps_budget=best.keeps_budget,
            points=tuple(journal.points()),
            chosen=best.file,
            reason=sentence,
            errors=tuple(each.error for each in journal.rounds if each.error),
            sensitivity=self.sensitivity.as_dict(),
            seconds=round(self.seconds_before + seconds, 1),
        )
        self.show.line(str(found))
        return found
