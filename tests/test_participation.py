import keras
import numpy as np
import pytest
from support import dense_model

import keras_deepcomp as kdc
from keras_deepcomp import participation
from keras_deepcomp.wrappers.substitution import find_wrappers

CONSTANT = kdc.schedules.Constant(0.5, begin=0)


class WithOwnWeight(keras.Model):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.dense = keras.layers.Dense(16, name="dense")
        self.norm = keras.layers.BatchNormalization(name="norm")
        self.places = self.add_weight(name="places", shape=(16, 16))

    def call(self, inputs):
        return keras.ops.matmul(self.norm(self.dense(inputs)), self.places)


def test_what_takes_part_is_printed_with_the_reasons(capsys):
    model = WithOwnWeight(name="own")
    model(np.zeros((2, 20), np.float32))
    kdc.prune_low_magnitude(model, CONSTANT)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "'own', to be pruned: 1 of 7 weights take part, with 320 of 656 elements: dense/kernel"
    )
    assert lines[1:] == [
        "  left alone, a bias, not a kernel: dense/bias",
        "  left alone, a gamma, not a kernel: norm/gamma",
        "  left alone, a beta, not a kernel: norm/beta",
        "  left alone, state, not trained: norm/moving_mean, norm/moving_variance",
        "  left alone, the model's own, in no layer: own/places",
    ]


class Holding(keras.layers.Layer):
    """A layer with a model inside."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.inner = WithOwnWeight(name="own")

    def call(self, inputs):
        return self.inner(inputs)


def test_a_model_inside_a_layer_is_of_that_layer_and_listed_once():
    model = keras.Sequential([keras.Input((20,)), Holding(name="holding")])
    rows = [(row.layer, row.weight) for row in participation.of_model(model, "prune")]
    assert len(rows) == len(model.weights) == 7
    assert {layer for layer, _ in rows} == {"holding"}


def test_nothing_is_printed_when_not_asked_for(capsys):
    kdc.cluster_weights(
        kdc.prune_low_magnitude(dense_model(), CONSTANT, verbose=False), 4, verbose=False
    )
    assert capsys.readouterr().out == ""


def test_long_lists_are_cut():
    model = dense_model((10,) * 9)
    wrapped = kdc.prune_low_magnitude(model, CONSTANT, verbose=False)
    text = participation.in_words(participation.of_model(wrapped, "prune"), "net")
    assert "d5/kernel and 3 more" in text and "d5/bias and 3 more" in text


def test_the_summary_of_a_model_has_it(capsys):
    wrapped = kdc.cluster_weights(dense_model(), 4, filters="d0", verbose=False)
    summary = kdc.summary(wrapped)
    rows = {f"{row.layer}/{row.weight}": row for row in summary.participation}
    assert rows["d0/kernel"].takes_part and not rows["d0/kernel"].reason
    assert rows["d1/kernel"].reason == participation.NOT_CHOSEN
    assert summary.as_dict()["participation"][0] == {
        "layer": "d0", "weight": "kernel", "shape": [20, 32], "takes_part": True, "reason": "",
    }  # fmt: skip
    assert "left alone, a bias, not a kernel: d0/bias, d1/bias" in capsys.readouterr().out


def test_a_plain_model_and_a_file_have_none(tmp_path):
    assert kdc.summary(dense_model(), verbose=False).participation == ()
    kdc.save_model(dense_model(), tmp_path / "m.kdc")
    assert kdc.summary(tmp_path / "m.kdc", verbose=False).participation == ()


def test_schedules_by_layer():
    schedules = {"d0": kdc.schedules.Constant(0.5, begin=0), "d[12]": CONSTANT}
    wrapped = kdc.prune_low_magnitude(dense_model((32, 32, 32, 32)), schedules, verbose=False)
    found = {w.layer.name: w.pruning_schedule for w in find_wrappers(wrapped)}
    assert found == {"d0": schedules["d0"], "d1": CONSTANT, "d2": CONSTANT}


@pytest.mark.parametrize(
    ("schedules", "error", "says"),
    [
        ({"d9": CONSTANT}, ValueError, "pruning_schedule: 'd9' matches no layer"),
        ({"d0": 0.5}, TypeError, "Expected a schedule"),
        ({}, ValueError, "Nothing in 'net' can be pruned"),
    ],
)
def test_wrong_schedules_by_layer(schedules, error, says):
    with pytest.raises(error, match=says):
        kdc.prune_low_magnitude(dense_model(), schedules)


class Counting(keras.layers.Layer):
    """Its kernel is of integers, though it says that it is trained."""

    def build(self, shape):
        self.kernel = self.add_weight(
            name="counts", shape=(shape[-1], 8), dtype="int32", initializer="ones"
        )

    def call(self, inputs):
        return keras.ops.matmul(inputs, keras.ops.cast(self.kernel, inputs.dtype))


def test_weights_that_are_not_float_are_left_alone_and_it_is_said():
    model = keras.Sequential([keras.Input((20,)), Counting(name="counting")], name="net")
    with pytest.raises(ValueError, match=r"counting/counts: int32, not a float type"):
        kdc.prune_low_magnitude(model, CONSTANT)
