"""What to try next, from what was measured: a function of the rounds so far, and of nothing else.

So a search that was interrupted goes on as it would have gone on. Where a metric holds the budget,
the density (the share of weights that are not zero) is halved from round to round until it is too
small, and then looked for between, in octaves; the smallest that failed gets a second training.
Where bytes are the budget, the density follows from the sizes that were measured; once a file fits,
rounds try larger densities with smaller codebooks and the reverse, or train on.

Each round but those that train on starts from the given model: pruned gradually in one go, a
network keeps more than in several rounds of the same length together.

Each round tries a few sizes of the codebooks (`keras_deepcomp.compressing.codebooks`).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from keras_deepcomp.compressing.codebooks import beside, density_for, estimated_bytes
from keras_deepcomp.compressing.goals import Goal
from keras_deepcomp.compressing.result import Point

FIRST_CLUSTERS = 8
FIRST_STEP = 0.5
LAST_STEP = 0.88
"""A step that would leave more than this part is not worth a round."""

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
        start: The round whose pruned weights it trains on; 0 for the given model.
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
        first_density: Density of the first round, where a metric is the budget.
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
            return Plan(1, self._first_density(), 0, FIRST_CLUSTERS)
        if len(rounds) >= self._most_rounds:
            return Stop(f"max_rounds={len(rounds)} is reached")
        number = rounds[-1].plan.number + 1
        if rounds[-1].error:
            return self._after_error(rounds, number)
        if self._without_gain(rounds) >= self._patience:
            return Stop(f"the last {self._patience} rounds found nothing better")
        done = [each for each in rounds if each.points]
        if self._goal.max_bytes is None:
            return self._by_metric(done, number)
        return self._by_bytes(done, number, self._goal.max_bytes)

    def _first_density(self) -> float:
        if self._goal.max_bytes is None:
            return self._first
        return max(density_for(self._weights, self._goal.max_bytes, FIRST_CLUSTERS), self._least)

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
        kept = min((each for each in rounds if each.keeps), key=_density, default=None)
        upper = 1.0 if kept is None else kept.plan.density
        over = [each for each in rounds if not each.keeps and each.plan.density < upper]
        rate, clusters = rounds[-1].plan.rate, self._clusters(kept or rounds[-1])
        if not over:
            target = upper * FIRST_STEP
            if target <= self._least:
                return Stop("hardly a weight is left")
            return Plan(number, target, 0, clusters, rate)
        nearest = max(over, key=_density)
        lower = nearest.plan.density
        if lower / upper < LAST_STEP:
            return Plan(number, math.sqrt(lower * upper), 0, clusters, rate)
        if any(each.plan.start and each.plan.density == lower for each in rounds):
            return Stop("a step further in sparsity costs too much, however small")
        return Plan(number, lower, nearest.plan.number, self._clusters(nearest), rate)

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
            return Plan(number, target, 0, clusters, rate)
        known = {each.plan.clusters for each in rounds}
        for other in beside(clusters):
            if other not in known:
                target = density_for(self._weights, budget * AIM - fixed, other)
                return Plan(number, target, 0, other, rate)
        return Plan(number, density, last.plan.number, clusters, rate)

    def _clusters(self, each: Round) -> int:
        return min(each.points, key=self._rank).clusters

    def _rank(self, point: Point) -> tuple[float, ...]:
        return self._goal.rank(point.bytes, point.metrics)


def _density(each: Round) -> float:
    return each.plan.density


def round_as_dict(each: Round) -> dict[str, Any]:
    """A round as plain data."""
    return asdict(each)


def round_from_dict(data: dict[str, Any]) -> Round:
    """What `round_as_dict` came from."""
    points = [Point(**point) for point in data["points"]]
    return Round(Plan(**data["plan"]), points, data["error"], data["seconds"])
