"""The search is a function of what was measured; here a made-up network is measured."""

import pytest

from keras_deepcomp.compressing.codebooks import Codebooks, density_for, estimated_bytes
from keras_deepcomp.compressing.goals import Goal, Watched
from keras_deepcomp.compressing.result import Point
from keras_deepcomp.compressing.steering import (
    MOST_ROUNDS,
    SHRINK_ON_ERROR,
    Plan,
    Round,
    Steering,
    Stop,
    round_as_dict,
    round_from_dict,
)

WEIGHTS = 100_000
ACCURACY = Watched("accuracy", 1.0, 0.99, 0.002)


def by_metric(drop=0.002):
    return Goal((Watched("accuracy", 1.0, 0.99, drop),))


def by_bytes(size):
    return Goal((ACCURACY,), size)


def network(density, clusters, needs=0.04, fixed=500):
    """A network that needs so many weights, and a few values; the fewer, the worse it gets."""
    accuracy = 0.99 - 0.02 * max(0.0, needs / density - 1.0) - 0.01 * max(0, 5 - clusters)
    return round(fixed + estimated_bytes(WEIGHTS, density, clusters)), {"accuracy": accuracy}


def search(goal, first=0.3, patience=4, **kind):
    steering = Steering(goal, first, WEIGHTS, patience)
    rounds = []
    while not isinstance(plan := steering.next(rounds), Stop):
        done, codebooks = Round(plan), Codebooks(goal, plan.clusters)
        while (clusters := codebooks.next(done.points)) is not None:
            size, metrics = network(plan.density, clusters, **kind)
            keeps = goal.keeps(size, metrics)
            sparsity = 1 - plan.density
            done.points.append(Point(plan.number, sparsity, clusters, size, metrics, keeps, ""))
        rounds.append(done)
    points = [point for each in rounds for point in each.points]
    return min(points, key=lambda p: goal.rank(p.bytes, p.metrics)), rounds, plan.reason


@pytest.mark.parametrize("needs", [0.5, 0.1, 0.03, 0.004])
def test_a_metric_as_the_budget_is_approached_from_any_first_density(needs):
    best, rounds, _ = search(by_metric(), first=0.3, needs=needs)
    assert best.keeps_budget and best.clusters == 5
    # 0.002 of accuracy is a tenth of the weights that it needs; steps end at 6 %.
    assert needs / 1.1 <= 1 - best.sparsity <= needs * 1.06
    assert len(rounds) <= MOST_ROUNDS


@pytest.mark.parametrize("size", [20_000, 5_000, 2_000])
def test_bytes_as_the_budget_are_used(size):
    best, _, _ = search(by_bytes(size), needs=1e-4)
    assert best.keeps_budget and best.bytes > 0.8 * size


def test_density_is_exchanged_for_codebook_size():
    """With 16 values, the budget leaves fewer weights than the network needs."""
    budget = round(500 + estimated_bytes(WEIGHTS, 0.04, 5)) + 50
    best, rounds, _ = search(by_bytes(budget), needs=0.04)
    assert best.keeps_budget and best.clusters < 12
    first_that_fits = next(each for each in rounds if each.keeps)
    assert best.metrics["accuracy"] > first_that_fits.points[-1].metrics["accuracy"]


def test_what_cannot_be_met_ends():
    best, rounds, reason = search(by_bytes(400))
    assert not best.keeps_budget and "leaves no room" in reason and len(rounds) < 10
    best, rounds, _ = search(by_metric(-0.1))
    assert not best.keeps_budget and len(rounds) < 10


def test_an_error_lowers_the_rate_once_and_then_ends_the_search():
    steering = Steering(by_metric(), 0.3, WEIGHTS, 4)
    failed = Round(Plan(1, 0.3, 0, 16), error="NaN")
    again = steering.next([failed])
    assert (again.number, again.density, again.rate) == (2, 0.3, SHRINK_ON_ERROR)
    end = steering.next([failed, Round(again, error="NaN again")])
    assert "two rounds in a row failed" in end.reason and "NaN again" in end.reason


def test_patience():
    _, _, reason = search(by_bytes(20_000), needs=1e-4, patience=2)
    assert reason == "the last 2 rounds found nothing better"


def test_rounds_come_back_from_plain_data():
    _, rounds, _ = search(by_metric())
    assert [round_from_dict(round_as_dict(each)) for each in rounds] == rounds


def test_estimates():
    assert estimated_bytes(8_000, 0.5, 16) == pytest.approx(1000 + 500 * 4)
    assert estimated_bytes(8_000, 1.0, 16) == pytest.approx(4000)
    for density in (0.001, 0.1, 0.6):
        assert density_for(8_000, estimated_bytes(8_000, density, 4), 4) == pytest.approx(density)
