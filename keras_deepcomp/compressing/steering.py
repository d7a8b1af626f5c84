"""What to try next, from what was measured: a function of the rounds so far, and of nothing else.

So a search that was interrupted goes on as it would have gone on. Where a metric holds the budget,
the density (the share of weights that are not zero) is halved from round to round; after a round
that went too far, steps are half as long, in octaves, from the last one that did not. Where bytes
are the budget, the density follows from the sizes that were measured; once a file fits, rounds
try larger densities with smaller codebooks and the reverse, or train on, for a better metric.

Each round tries a few sizes of the codebooks (`keras_deepcomp.compressing.codebooks`).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from keras_deepcomp.compressing.codebooks import beside, density_for, estimated_bytes
from keras_deepcomp.compressing.goals import Goal
from keras_deepcomp.compressing.result import Point

FIRST_CLUSTERS = 16
FIRST_STEP = 0.5
LAST_STEP = 0.94
"""A step that would take away less than this leaves is not worth a round."""

SHRINK_ON_ERROR = 0.3
MOST_ROUNDS = 24
PATIENCE = 4
AIM = 0.97
"""Part of a budget of bytes that is aimed at: what the next round takes is an estimate."""


@dataclass(frozen=True)
class Plan:
    """One round to be carried out.

    Attributes:
        number: Its number, from 1.
        density: Share of weights that are to be left.
        start: The round whose pruned weights it starts from; 0 for the given model.
        clusters: Size of the codebooks that is tried first.
        rate: What the learning rate is multiplied with.
    """

    number: int
    density: float
    start: int
    clusters: int
    rate: float = 1.0


@dataclass
class Round:
    """One round that was carried out.

    Attributes:
        plan: What was to be done.
        points: The files that came out.
        error: What went wrong; empty if nothing did.
        seconds: How long it took.
    """

    plan: Plan
    points: list[Point] = field(default_factory=list)
    error: str = ""
    seconds: float = 0.0

    @property
    def keeps(self) -> bool:
        """Whether a file of it keeps the budget."""
        return any(point.keeps_budget for point in self.points)


@dataclass(frozen=True)
class Stop:
    """No round is worth while any more."""

    reason: str


class Steering:
    """Chooses rounds.

    Args:
        goal: The budget.
        first_density: Density of the first round.
        weights: How many weights can be pruned.
        patience: Rounds without a better file after which the search ends.
        most_rounds: Rounds after which it ends in any case.
    """

    def __init__(
        self,
        goal: Goal,
        first_density: float,
        weights: int,
        patience: int = PATIENCE,
        most_rounds: int = MOST_ROUNDS,
    ) -> None:
        self._goal = goal
        self._first = first_density
        self._weights, self._least = weights, 1.0 / weights
        self._patience, self._most_rounds = patience, most_rounds

    def next(self, rounds: list[Round]) -> Plan | Stop:
        """The next round, or why there is none.

        Args:
            rounds: All so far, in order.
        """
        if not rounds:
            return Plan(1, self._first, 0, FIRST_CLUSTERS)
        if len(rounds) >= self._most_rounds:
            return Stop(f"{len(rounds)} rounds are done")
        number = rounds[-1].plan.number + 1
        if rounds[-1].error:
            return self._after_error(rounds, number)
        if self._without_gain(rounds) >= self._patience:
            return Stop(f"the last {self._patience} rounds found nothing better")
        done = [each for each in rounds if each.points]
        if self._goal.max_bytes is None:
            return self._by_metric(done, number)
        return self._by_bytes(done, number, self._goal.max_bytes)

    def _after_error(self, rounds: list[Round], number: int) -> Plan | Stop:
        last = rounds[-1]
        if len(rounds) > 1 and rounds[-2].error:
            return Stop(f"two rounds in a row failed, the last one so: {last.error}")
        plan = last.plan
        return Plan(number, plan.density, plan.start, plan.clusters, plan.rate * SHRINK_ON_ERROR)

    def _without_gain(self, rounds: list[Round]) -> int:
        """How many rounds ago the best file was found."""
        best, ago = None, 0
        for each in rounds:
            ago += 1
            for point in each.points:
                rank = self._goal.rank(point.bytes, point.metrics)
                if best is None or rank < best:
                    best, ago = rank, 0
        return ago

    def _by_metric(self, rounds: list[Round], number: int) -> Plan | Stop:
        step, start, density = FIRST_STEP, 0, 1.0
        for each in rounds:
            if each.keeps:
                start, density = each.plan.number, each.plan.density
            else:
                step = math.sqrt(step)
        if step > LAST_STEP:
            return Stop("a step further in sparsity costs too much, however small")
        if not start:
            # The first one went too far at once: halfway back, in octaves, to the given model.
            tried = min(each.plan.density for each in rounds)
            nearer = max(each.plan.density for each in rounds) ** 0.5
            target, best = max(nearer, tried * 1.1), rounds[-1]
        else:
            target = density * step
            best = next(each for each in rounds if each.plan.number == start)
        if target <= self._least:
            return Stop("one weight is left")
        return Plan(number, target, start, self._clusters(best), rounds[-1].plan.rate)

    def _by_bytes(self, rounds: list[Round], number: int, budget: int) -> Plan | Stop:
        last = min(rounds, key=lambda each: min(self._rank(p) for p in each.points))
        rate, point = rounds[-1].plan.rate, min(last.points, key=self._rank)
        density, clusters = 1.0 - point.sparsity, point.clusters
        fixed = point.bytes - estimated_bytes(self._weights, density, clusters)
        if not last.keeps:
            if fixed >= budget * AIM or density <= self._least:
                return Stop(
                    f"what a file takes beside the weights, about {round(fixed):,} bytes, leaves "
                    "no room for them"
                )
            target = density_for(self._weights, budget * AIM - fixed, clusters)
            target = max(min(max(target, density * 0.1), density * 0.95), self._least)
            return Plan(number, target, last.plan.number, clusters, rate)
        known = {each.plan.clusters for each in rounds}
        for other in beside(clusters):
            if other not in known:
                target = density_for(self._weights, budget * AIM - fixed, other)
                return Plan(number, target, self._denser(rounds, target), other, rate)
        return Plan(number, density, last.plan.number, clusters, rate)

    def _denser(self, rounds: list[Round], density: float) -> int:
        """The sparsest round from whose weights a density can be reached by pruning."""
        found = [each for each in rounds if 1.0 - each.points[0].sparsity >= density]
        if not found:
            return 0
        return min(found, key=lambda each: each.plan.density).plan.number

    def _clusters(self, each: Round) -> int:
        return min(each.points, key=self._rank).clusters

    def _rank(self, point: Point) -> tuple[float, ...]:
        return self._goal.rank(point.bytes, point.metrics)


def round_as_dict(each: Round) -> dict[str, Any]:
    """A round as plain data."""
    return asdict(each)


def round_from_dict(data: dict[str, Any]) -> Round:
    """What `round_as_dict` came from."""
    points = [Point(**point) for point in data["points"]]
    return Round(Plan(**data["plan"]), points, data["error"], data["seconds"])
