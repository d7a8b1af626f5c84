import math

import keras
import numpy as np
import pytest

from keras_deepcomp.compressing.data import Data
from keras_deepcomp.compressing.goals import Goal, Measure, Watched, goal_for


def two_outputs():
    inputs = keras.Input((4,))
    outputs = {name: keras.layers.Dense(2, name=name)(inputs) for name in ("kind", "size")}
    model = keras.Model(inputs, outputs)
    model.compile("sgd", {"kind": "mse", "size": "mse"},
                  metrics={"kind": ["accuracy"], "size": ["mae"]}, run_eagerly=True)  # fmt: skip
    return model


BEFORE = {"kind_accuracy": 0.9, "kind_loss": 0.1, "loss": 0.3, "size_loss": 0.2, "size_mae": 0.4}


def names(goal):
    return [(one.name, one.sign, one.drop) for one in goal.watched]


def test_each_output_of_several_is_held_to_the_budget():
    model = two_outputs()
    assert names(goal_for(model, BEFORE, 0.01, None)) == [
        ("kind_accuracy", 1.0, 0.01),
        ("size_mae", -1.0, 0.01),
    ]
    assert names(goal_for(model, BEFORE, None, 1000)) == [("loss", -1.0, None)]
    assert names(goal_for(model, BEFORE, 0.01, None, "size_mae")) == [("size_mae", -1.0, 0.01)]
    drops = {"kind_accuracy": 0.02, "size_loss": 0.5}
    assert names(goal_for(model, BEFORE, drops, None)) == [
        ("kind_accuracy", 1.0, 0.02),
        ("size_loss", -1.0, 0.5),
    ]


def test_the_first_metric_that_is_no_loss_is_the_default():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    assert names(goal_for(model, {"loss": 1.0, "mae": 2.0}, 0.1, None)) == [("mae", -1.0, 0.1)]
    assert names(goal_for(model, {"loss": 1.0}, 0.1, None)) == [("loss", -1.0, 0.1)]


def test_what_it_cannot_know_it_asks_for():
    model = two_outputs()
    with pytest.raises(ValueError, match=r"has no metric 'top'\. It was compiled with kind_acc"):
        goal_for(model, BEFORE, 0.01, None, "top")
    with pytest.raises(ValueError, match="more of 'oddity' is better"):
        goal_for(model, {"oddity": 1.0}, 0.01, None, "oddity")
    assert goal_for(model, {"oddity": 1.0}, 0.01, None, "oddity", "min").main.sign == -1.0
    with pytest.raises(ValueError, match='"max" or "min"; got \'up\''):
        goal_for(model, BEFORE, 0.01, None, None, "up")


@pytest.mark.parametrize(
    "name, sign",
    [
        ("accuracy", 1),
        ("sparse_top_k_categorical_accuracy", 1),
        ("auc_1", 1),
        ("r2_score", 1),
        ("cosine_similarity", 1),
        ("binary_io_u", 1),
        ("f1_score", 1),
        ("mean_absolute_percentage_error", -1),
        ("root_mean_squared_error", -1),
        ("binary_crossentropy", -1),
        ("false_negatives", -1),
        ("kl_divergence", -1),
    ],
)
def test_directions_of_the_metrics_that_keras_has(name, sign):
    model = two_outputs()
    assert goal_for(model, {name: 1.0}, 0.1, None, name).main.sign == sign


def test_ranks():
    goal = Goal((Watched("accuracy", 1.0, 0.9, 0.01), Watched("mae", -1.0, 2.0, 0.5)))
    good, also = {"accuracy": 0.89, "mae": 2.5}, {"accuracy": 0.95, "mae": 1.0}
    assert goal.keeps(100, good) and goal.keeps(100, also)
    assert not goal.keeps(1, {"accuracy": 0.889, "mae": 1.0})
    assert not goal.keeps(1, {"accuracy": 0.95, "mae": 2.51})
    assert not goal.keeps(1, {"accuracy": math.nan, "mae": 1.0})
    # The smallest that keeps it; then what is over by the smallest part of what may be lost.
    over, far_over = {"accuracy": 0.889, "mae": 2.5}, {"accuracy": 0.9, "mae": 4.0}
    order = [(90, good), (100, also), (5, over), (1, far_over)]
    assert sorted(order[::-1], key=lambda p: goal.rank(*p)) == order
    goal = Goal((Watched("mae", -1.0, 2.0, None),), 100)
    order = [(100, {"mae": 1.0}), (50, {"mae": 1.5}), (101, {"mae": 0.5}), (200, {"mae": 0.1})]
    assert sorted(order[::-1], key=lambda p: goal.rank(*p)) == order
    assert not goal.keeps(1, {"mae": math.nan})


def test_float32_metrics_on_the_budget_keep_it():
    goal = Goal((Watched("accuracy", 1.0, float(np.float32(0.9844)), 0.001),))
    assert goal.keeps(1, {"accuracy": float(np.float32(0.9834))})


def test_measure():
    model = two_outputs()
    x = np.ones((40, 4), np.float32)
    data = Data((x, {"kind": x[:, :2], "size": x[:, :2]}), "validation")
    measured = Measure(data, lambda model: 42)(model)
    assert measured.keys() == {*BEFORE, "<lambda>"} and measured["<lambda>"] == 42.0
    assert Measure(data, None)(model, 10).keys() == BEFORE.keys()
