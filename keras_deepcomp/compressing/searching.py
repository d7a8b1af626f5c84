"""The loop of a search, from the first look at a model to the result."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from keras_deepcomp.compressing.compiling import compile_alike, seed_all
from keras_deepcomp.compressing.goals import Goal, Metrics
from keras_deepcomp.compressing.journal import Journal
from keras_deepcomp.compressing.progress import Show
from keras_deepcomp.compressing.result import CompressionResult, Point
from keras_deepcomp.compressing.rounds import Rounds, Task, TimeIsUp
from keras_deepcomp.compressing.sensitivity import (
    SAMPLES,
    Sensitivity,
    prunable,
    sensitivity,
    sparsity_of,
)
from keras_deepcomp.compressing.steering import Round, Steering, Stop
from keras_deepcomp.rebuilding import rebuild

FIRST_SHARE = 0.5
"""Density of the first round, as part of what is bearable without training."""


class Search:
    """The loop: steering says what to do, rounds do it, the journal keeps it.

    Args:
        task: What is asked for.
        journal: Where all of it is kept, and what was before.
        show: What people see.
    """

    goal: Goal
    rounds: Rounds
    measured: list[Point]

    def __init__(self, task: Task, journal: Journal, show: Show) -> None:
        self.task, self.journal, self.show = task, journal, show
        self.seconds_before = journal.seconds

    def prepare(self, goal_of: Callable[[Metrics], Goal]) -> None:
        """Measures the given model, and how much each layer minds being pruned; or remembers.

        Args:
            goal_of: Makes the goal, from the model's metrics.

        Raises:
            ValueError: Nothing can be pruned; and what `goal_of` raises.
        """
        task, journal = self.task, self.journal
        plain = compile_alike(rebuild(task.model), task.model)
        if not prunable(plain):
            raise ValueError(
                f"Nothing in '{task.model.name}' can be pruned: kernels need 64 elements, and "
                "frozen or quantized layers are left alone."
            )
        before = journal.before
        if before is None:
            before = task.measure(plain)
        self.goal = goal_of(before)
        if journal.sensitivity is None:
            seed_all(task.settings.seed)
            found = sensitivity(plain, lambda: task.measure(plain, SAMPLES)["loss"])
        else:
            found = Sensitivity.from_dict(journal.sensitivity)
        self.sensitivity = found
        self.rounds = Rounds(task, plain, self.goal, journal, found, self.show.stage)
        self.show.line(f"budget: {self.goal.in_words()}")
        if journal.start is None:
            start = self.rounds.coded(plain, "round-000.kdc", 0, sparsity_of(plain), 0)
            journal.begin(before, start, found.as_dict())
        else:
            self.show.line(f"going on after round {len(journal.rounds)} in {journal.directory}")
        self.measured = journal.points()
        journal.publish(self.best())

    def run(self, patience: int, max_rounds: int, deadline: float | None) -> str:
        """Carries out rounds until none is worth while; says why."""
        weights = sum(int(np.prod(v.shape)) for _, v in prunable(rebuild(self.task.model)).values())
        first = FIRST_SHARE * (1.0 - self.sensitivity.bearable)
        steering = Steering(self.goal, first, weights, patience, max_rounds)
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
        journal, before = self.journal, self.journal.before
        assert before is not None
        best, points = self.best(), journal.points()
        ordered = self.rounds.ordered(best)
        if ordered is not best:
            best, points = ordered, [*points, ordered]
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
            points=tuple(points),
            chosen=best.file,
            reason=sentence,
            errors=tuple(each.error for each in journal.rounds if each.error),
            sensitivity=self.sensitivity.as_dict(),
            seconds=round(self.seconds_before + seconds, 1),
        )
        self.show.line(str(found))
        return found
