import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import run_python

from keras_deepcomp.schedules import (
    Constant,
    FromCallable,
    Plan,
    Polynomial,
    Threshold,
    as_schedule,
)


def test_polynomial_follows_zhu_and_gupta():
    schedule = Polynomial(0.9, initial_sparsity=0.1, begin=10, end=110, power=3)
    for step in range(0, 200, 7):
        p = min(max((step - 10) / 100, 0), 1)
        assert schedule(step) == pytest.approx(0.9 + (0.1 - 0.9) * (1 - p) ** 3)


def test_constant_and_threshold():
    assert Constant(0.5)(0, 100) == 0.5
    quality = Threshold(2.0, begin=0, end=100, power=1)
    assert [quality(step) for step in (0, 50, 100, 500)] == [0.0, 1.0, 2.0, 2.0]


def test_fractions_are_of_the_planned_training():
    plan = Polynomial(0.9, begin=0.25, end=0.75).plan(first=100, last=500)
    assert (plan.begin, plan.end) == (200, 400)
    assert Polynomial(0.9, begin=3, end=0.5).plan(100, 500).begin == 3


def test_fractions_need_a_training_of_known_length():
    with pytest.raises(ValueError, match="steps_per_epoch= to fit"):
        Polynomial(0.9).plan(0, None)
    assert Polynomial(0.9, begin=0, end=10).plan(0, None) == Plan(0, 10, 1)


@given(st.integers(0, 50), st.integers(0, 200), st.integers(1, 60), st.integers(0, 300))
def test_update_points(begin, length, frequency, step):
    plan = Polynomial(0.5, begin=begin, end=begin + length, frequency=frequency).plan(0, None)
    points = sorted({*range(begin, begin + length + 1, frequency), begin + length})
    done = [point for point in points if point <= step]
    assert plan.latest_update(step) == (done[-1] if done else None)


def test_short_schedules_update_often_enough():
    assert Polynomial(0.9, begin=0, end=40).plan(0, None).frequency == 2
    assert Polynomial(0.9, begin=0, end=10_000).plan(0, None).frequency == 100


@given(
    st.floats(0, 0.99),
    st.floats(0, 0.99),
    st.integers(0, 100),
    st.integers(0, 100),
    st.floats(1, 5),
)
def test_polynomial_stays_between_its_ends(initial, final, step, length, power):
    schedule = Polynomial(final, initial, begin=5, end=5 + length, power=power)
    low, high = sorted([initial, final])
    assert low - 1e-12 <= schedule(step) <= high + 1e-12


def test_configuration_round_trip():
    for schedule in (
        Polynomial(0.9, 0.1, 0.2, 0.8, 2, 7),
        Constant(0.5, 3),
        Threshold(1.5, end=100),
    ):
        again = type(schedule).from_config(json.loads(json.dumps(schedule.get_config())))
        assert repr(again) == repr(schedule)


@pytest.mark.parametrize("sparsity", [1.0, 1.5, -0.1, math.nan, math.inf])
@pytest.mark.parametrize("kind", [Polynomial, Constant])
def test_sparsity_out_of_range(kind, sparsity):
    with pytest.raises(ValueError, match=r"must be in \[0, 1\)"):
        kind(sparsity)


def test_percentages_are_recognized():
    with pytest.raises(ValueError, match=r"For 92 %, pass 0\.92"):
        Polynomial(92)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"begin": 0.8, "end": 0.2}, ValueError, "must end after it begins"),
        ({"end": 1.5}, ValueError, "such as end=1"),
        ({"end": 5000.0}, ValueError, "such as end=5000"),
        ({"begin": -1}, ValueError, "cannot be negative"),
        ({"begin": "0"}, TypeError, "an optimizer step"),
        ({"frequency": 0}, ValueError, "at least 1"),
        ({"frequency": True}, ValueError, "at least 1"),
        ({"power": "x"}, TypeError, "power must be a number"),
        ({"power": 0}, ValueError, "power"),
        ({"end": math.nan}, ValueError, "finite"),
    ],
)
def test_bad_arguments(arguments, error, says):
    with pytest.raises(error, match=says):
        Polynomial(0.9, **arguments)


def test_numpy_numbers():
    schedule = Polynomial(np.float32(0.5), begin=np.int64(3), end=np.float32(0.5))
    assert (schedule.begin, schedule.end) == (3, 0.5)
    assert json.loads(json.dumps(schedule.get_config()))["begin"] == 3


def test_threshold_needs_a_quality():
    with pytest.raises(TypeError, match="quality must be a number"):
        Threshold("high")
    with pytest.raises(ValueError, match="above 0"):
        Threshold(0)


def test_callables_are_schedules():
    schedule = as_schedule(lambda step: step / 1000)
    assert isinstance(schedule, FromCallable)
    assert schedule(250) == 0.25
    with pytest.raises(ValueError, match=r"the schedule <lambda>\(2000\)"):
        schedule(2000)


@pytest.mark.parametrize("wrong", [None, "polynomial", Polynomial])
def test_what_is_no_schedule(wrong):
    with pytest.raises(TypeError, match="Expected a schedule"):
        as_schedule(wrong)


def test_a_number_gets_a_hint():
    with pytest.raises(TypeError, match=r"schedules\.Constant\(0\.5\)"):
        as_schedule(0.5)


def test_tfmot_schedules_give_the_same_sparsity_at_the_same_step():
    printed = run_python(
        """
        import json, sys
        import tensorflow as tf
        tf.keras.version()
        import tensorflow_model_optimization as tfmot
        from keras_deepcomp.schedules import as_schedule

        theirs = tfmot.sparsity.keras
        class Own(theirs.PruningSchedule):
            def __init__(self): self.begin_step, self.end_step, self.frequency = 3, 90, 10
            def __call__(self, step):
                return self._should_prune_in_step(step, 3, 90, 10), step / 1000
            def get_config(self): return {}

        rows = []
        for schedule in (
            theirs.PolynomialDecay(0.1, 0.9, 20, 170, power=3, frequency=10),
            theirs.PolynomialDecay(0.0, 0.5, 0, 90, power=1, frequency=15),
            theirs.ConstantSparsity(0.7, 5),
            theirs.ConstantSparsity(0.7, 5, end_step=95, frequency=30),
            Own(),
        ):
            ours = as_schedule(schedule)
            plan = ours.plan(0, None)
            for step in range(0, 200):
                due, sparsity = schedule(step)
                latest = plan.latest_update(step)
                rows.append([type(schedule).__name__, step, bool(due), float(sparsity),
                             latest == step, ours.value(step, plan)])
        print(json.dumps(rows))
        """
    )
    rows = json.loads(printed.splitlines()[-1])
    assert len(rows) == 1000
    for name, step, due, theirs, our_due, ours in rows:
        assert ours == pytest.approx(theirs, abs=1e-6), (name, step)
        # Ours may update once more, at the end, where theirs stops short of the final sparsity.
        assert not due or our_due, (name, step)
    assert sum(row[4] for row in rows) - sum(row[2] for row in rows) == 1
