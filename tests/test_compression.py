"""`kdc.compress`, on models so small that a search takes seconds."""

import json
import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from support import array, bits

import keras_deepcomp as kdc
from keras_deepcomp import compression
from keras_deepcomp.compressing import rounds as rounds_module

SAMPLES, INPUTS, CLASSES = 256, 20, 4
QUICK = {"epochs": 1, "batch_size": 64, "verbose": False, "patience": 2, "seed": 5}


def data(kind="classes", samples=SAMPLES):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2 * samples, INPUTS), np.float32)
    scores = x @ rng.standard_normal((INPUTS, CLASSES), np.float32)
    y = scores.argmax(axis=1) if kind == "classes" else np.tanh(scores)
    return (x[:samples], y[:samples]), (x[samples:], y[samples:])


def trained(loss="sparse_categorical_crossentropy", metrics=("accuracy",), kind="classes"):
    """Eager: compiling a training step takes longer here than all its steps."""
    keras.utils.set_random_seed(0)
    last = "softmax" if kind == "classes" else None
    layers = [keras.Input((INPUTS,)), keras.layers.Dense(24, "relu"), keras.layers.Dense(4, last)]
    model = keras.Sequential(layers, name="small")
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=list(metrics), run_eagerly=True)
    model.fit(*data(kind)[0], batch_size=32, epochs=6, verbose=0)
    return model


@pytest.fixture(scope="module")
def model():
    return trained()


@pytest.fixture(scope="module")
def undisturbed(model, tmp_path_factory):
    """A whole search, and the bits of the model before it."""
    before = [bits(array(v)) for v in model.variables]
    folder = tmp_path_factory.mktemp("undisturbed")
    result = kdc.compress(model, *data(), max_metric_drop=0.05, directory=folder, **QUICK)
    return result, before


def test_the_smallest_file_that_keeps_a_metric(model, undisturbed):
    result, before = undisturbed
    assert [bits(array(v)) for v in model.variables] == before
    assert result.keeps_budget and result.metric == "accuracy"
    assert result.metric_after >= result.metric_before - 0.05 - 1e-6
    assert result.bytes == result.path.stat().st_size < result.points[0].bytes / 2
    elements = sum(int(np.prod(v.shape)) for v in model.variables)
    assert result.ratio == pytest.approx(4 * elements / result.bytes)
    # What was measured is what is in the file.
    again = kdc.load_model(result.path)
    for one, other in zip(again.variables, result.model.variables, strict=True):
        assert bits(array(one)) == bits(array(other))
    x, y = data()[1]
    correct = np.mean(again.predict(x, verbose=0).argmax(axis=1) == y)
    assert result.metric_after == pytest.approx(correct)
    assert result.model.evaluate(x, y, verbose=0, return_dict=True)["accuracy"] == pytest.approx(correct)
    # Nothing that was measured is better.
    kept = [point for point in result.points if point.keeps_budget]
    assert result.bytes == min(point.bytes for point in kept)
    for point in result.points:
        assert (result.path.parent / point.file).stat().st_size == point.bytes


def test_the_result_in_words(undisturbed):
    result, _ = undisturbed
    assert str(result.path) in str(result) and result.reason in str(result)
    assert f"{result.bytes:,} bytes" in repr(result)
    assert json.loads(json.dumps(result.as_dict()))["bytes"] == result.bytes
    sizes = [point.bytes for point in result.frontier()]
    values = [point.metrics["accuracy"] for point in result.frontier()]
    assert sizes == sorted(sizes) and values == sorted(values)
    assert set(result.sensitivity["losses"]) == {"dense/kernel", "dense_1/kernel"} or len(
        result.sensitivity["losses"]
    ) == 2


def test_the_same_seed_gives_the_same_files(model, undisturbed, tmp_path):
    first, _ = undisturbed
    random, numpy = keras.utils.set_random_seed(99), np.random.get_state()[1].tolist()
    second = kdc.compress(model, *data(), max_metric_drop=0.05, directory=tmp_path, **QUICK)
    assert second.points == first.points
    assert second.path.read_bytes() == first.path.read_bytes()
    assert np.random.get_state()[1].tolist() == numpy and random is None


KILLED = """
import sys
sys.path[:0] = sys.argv[2:]
import keras
import keras_deepcomp as kdc
from test_compression import QUICK, data, trained
kdc.compress(trained(), *data(), max_metric_drop=0.05, directory=sys.argv[1],
             **{**QUICK, "verbose": True})
"""


def test_killed_in_a_round_and_resumed(undisturbed, model, tmp_path):
    first, _ = undisturbed
    here = os.path.dirname(__file__)
    command = [sys.executable, "-c", KILLED, str(tmp_path), here]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("round 2"):  # its first file is measured, and it goes on
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    state = json.loads((tmp_path / "search.json").read_text())
    assert len(state["rounds"]) == 1
    assert kdc.load_model(tmp_path / "best.kdc").count_params() == model.count_params()
    done = (tmp_path / first.points[1].file).stat().st_mtime_ns
    second = kdc.compress(model, *data(), max_metric_drop=0.05, directory=tmp_path, **QUICK)
    assert (tmp_path / first.points[1].file).stat().st_mtime_ns == done  # not done again
    assert second.points == first.points
    assert second.path.read_bytes() == first.path.read_bytes()
    assert not list(tmp_path.glob("*.tmp"))


def test_a_search_that_is_done_is_not_done_again(model, undisturbed, monkeypatch):
    first, _ = undisturbed
    monkeypatch.setattr(rounds_module, "fit", None)
    again = kdc.compress(
        model, *data(), max_metric_drop=0.05, directory=first.path.parent, **QUICK
    )
    assert again.points == first.points and again.bytes == first.bytes


def test_a_directory_of_another_search(model, undisturbed, tmp_path):
    folder = undisturbed[0].path.parent
    with pytest.raises(kdc.ResumeError, match=r"max_metric_drop \(0.05 there, 0.1 here\). Give an"):
        kdc.compress(model, *data(), max_metric_drop=0.1, directory=folder, **QUICK)
    other = trained(loss="categorical_crossentropy") if False else keras.models.clone_model(model)
    other.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    with pytest.raises(kdc.ResumeError, match="the model.*Give another directory"):
        kdc.compress(other, *data(), max_metric_drop=0.05, directory=folder, **QUICK)
    (tmp_path / "search.json").write_text('{"version": 1}')
    with pytest.raises(kdc.ResumeError, match="is not the state of a search"):
        kdc.compress(model, *data(), max_metric_drop=0.05, directory=tmp_path, **QUICK)


def test_bytes_as_the_budget(model, tmp_path):
    result = kdc.compress(
        model, *data(), max_bytes=700, directory=tmp_path, max_rounds=4, **QUICK
    )
    assert result.keeps_budget and result.bytes <= 700 and "4 rounds" in result.reason
    fitting = [point.metrics["accuracy"] for point in result.points if point.bytes <= 700]
    assert result.metric_after == max(fitting)


def test_a_budget_that_cannot_be_met(model, tmp_path):
    result = kdc.compress(model, *data(), max_bytes=60, directory=tmp_path, **QUICK)
    assert not result.keeps_budget and result.bytes == min(p.bytes for p in result.points)
    assert "The budget was not met (at most 60 bytes): this is what comes closest" in result.reason
    assert result.path.stat().st_size == result.bytes


def test_regression_on_a_data_set(tmp_path):
    model = trained("mse", ["mae"], kind="numbers")

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 4

        def __getitem__(self, place):
            x, y = data("numbers")[0]
            return x[place * 64 : place * 64 + 64], y[place * 64 : place * 64 + 64]

    result = kdc.compress(
        model, Batches(), data("numbers")[1], max_metric_drop=0.05, directory=tmp_path,
        max_rounds=3, **QUICK,
    )  # fmt: skip
    assert result.metric == "mae" and result.metric_direction == "min" and result.keeps_budget
    assert result.metric_after <= result.metric_before + 0.05 + 1e-6
    assert len(result.points) > 1 and not result.errors


def test_two_outputs(tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((INPUTS,))
    hidden = keras.layers.Dense(24, "relu")(inputs)
    outputs = {
        "kind": keras.layers.Dense(CLASSES, name="kind")(hidden),
        "size": keras.layers.Dense(CLASSES, name="size")(hidden),
    }
    model = keras.Model(inputs, outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("rmsprop", {"kind": loss, "size": "mse"}, run_eagerly=True,
                  metrics={"kind": ["accuracy"], "size": [keras.metrics.MeanAbsoluteError(name="mae")]})  # fmt: skip
    parts = [
        (x, {"kind": y, "size": numbers})
        for (x, y), (_, numbers) in zip(data(), data("numbers"), strict=True)
    ]
    model.fit(*parts[0], batch_size=32, epochs=3, verbose=0)
    drops = {"kind_accuracy": 0.06, "size_mae": 0.1}
    result = kdc.compress(
        model, *parts, max_metric_drop=drops, directory=tmp_path, max_rounds=3, **QUICK
    )
    before, after = result.metrics_before, result.metrics_after
    assert after["kind_accuracy"] >= before["kind_accuracy"] - 0.06 - 1e-6
    assert after["size_mae"] <= before["size_mae"] + 0.1 + 1e-6
    assert len(result.points) > 1 and not result.errors


def test_errors_in_rounds_lose_nothing(model, tmp_path, monkeypatch):
    """The first training goes well, the second one not, and so on."""
    real, calls = rounds_module.fit, []

    def fit(*arguments, **others):
        calls.append(len(calls))
        if len(calls) == 4:
            raise MemoryError("no memory left for the optimizer")
        if len(calls) > 6:
            raise FloatingPointError("the loss became nan in epoch 1")
        real(*arguments, **others)

    monkeypatch.setattr(rounds_module, "fit", fit)
    result = kdc.compress(model, *data(), max_metric_drop=0.5, directory=tmp_path, **QUICK)
    assert result.keeps_budget and result.bytes < result.points[0].bytes
    assert "MemoryError: no memory left" in result.errors[0]
    assert "two rounds in a row failed" in result.reason and "became nan" in result.reason


def test_a_training_that_diverges_is_an_error_of_its_round(tmp_path):
    model = trained()
    result = kdc.compress(
        model, *data(), max_metric_drop=0.01, learning_rate=1e30, directory=tmp_path, **QUICK
    )
    assert result.keeps_budget and len(result.errors) == 2 and result.chosen == "round-000.kdc"


def test_time(model, undisturbed, tmp_path, monkeypatch):
    result = kdc.compress(
        model, *data(), max_metric_drop=0.05, directory=tmp_path, budget_minutes=1e-9, **QUICK
    )
    assert "the time is up" in result.reason and len(result.points) == 1
    # With more time, the same call goes on.
    more = kdc.compress(model, *data(), max_metric_drop=0.05, directory=tmp_path,
                        budget_minutes=100, max_rounds=1, **QUICK)  # fmt: skip
    first = [point for point in undisturbed[0].points if point.round < 2]
    assert list(more.points) == first


def test_a_metric_of_ones_own(model, tmp_path):
    def worst_class(model):
        x, y = data()[1]
        right = model.predict(x, verbose=0).argmax(axis=1) == y
        return min(right[y == each].mean() for each in range(CLASSES))

    arguments = {"max_metric_drop": 0.2, "metric": worst_class, "directory": tmp_path, **QUICK}
    with pytest.raises(ValueError, match="more of 'worst_class' is better"):
        kdc.compress(model, *data(), **arguments)
    result = kdc.compress(model, *data(), metric_direction="max", max_rounds=1, **arguments)
    assert result.metric_after == pytest.approx(worst_class(result.model))


def test_without_validation_data_a_tenth_is_split_off(model, tmp_path):
    result = kdc.compress(
        model, data()[0], max_metric_drop=0.1, directory=tmp_path, max_rounds=1, teacher=False,
        **QUICK,
    )  # fmt: skip
    correct = result.metric_after * 26
    assert correct == pytest.approx(round(correct), abs=1e-4)


def test_what_is_refused(model, tmp_path):
    def call(given=model, **arguments):
        return kdc.compress(given, *data(), directory=tmp_path, **{**QUICK, **arguments})

    with pytest.raises(ValueError, match="needs one budget: max_metric_drop=0.002"):
        call()
    with pytest.raises(ValueError, match="needs one budget"):
        call(max_bytes=1000, max_metric_drop=0.1)
    plain = keras.models.clone_model(model)
    with pytest.raises(ValueError, match="'small' is not compiled.*Call model.compile"):
        call(plain, max_bytes=1000)
    with pytest.raises(ValueError, match="not built"):
        call(keras.Sequential([keras.layers.Dense(2)]), max_bytes=1000)
    with pytest.raises(TypeError, match="Expected a Keras 3 model"):
        call("model.keras", max_bytes=1000)
    tiny = keras.Sequential([keras.Input((INPUTS,)), keras.layers.Dense(2)])
    tiny.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=True)
    with pytest.raises(ValueError, match="Nothing in .* can be pruned"):
        call(tiny, max_bytes=1000)


def test_the_module_is_not_in_the_way_of_the_function():
    assert callable(kdc.compress) and compression.compress is kdc.compress
