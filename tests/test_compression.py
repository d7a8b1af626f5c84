"""`kdc.compress`, on models so small that a search takes seconds."""

import json
import os
import random
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
QUICK = {"epochs": 1, "batch_size": 128, "verbose": False, "patience": 2, "seed": 5}
SEARCH = {"max_metric_drop": 0.05, "max_rounds": 3, **QUICK}


def data(kind="classes"):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2 * SAMPLES, INPUTS), np.float32)
    scores = x @ rng.standard_normal((INPUTS, CLASSES), np.float32)
    y = scores.argmax(axis=1) if kind == "classes" else np.tanh(scores)
    return (x[:SAMPLES], y[:SAMPLES]), (x[SAMPLES:], y[SAMPLES:])


def trained(optimizer="adam", loss="sparse_categorical_crossentropy", metric="accuracy"):
    """Eager: compiling a training step takes longer here than all its steps."""
    keras.utils.set_random_seed(0)
    classes = metric == "accuracy"
    # With names: those that Keras numbers would be others in another process.
    layers = [
        keras.layers.Dense(24, "relu", name="first"),
        keras.layers.Dense(4, "softmax" if classes else None, name="last"),
    ]
    model = keras.Sequential([keras.Input((INPUTS,), name="x"), *layers], name="small")
    model.compile(optimizer, loss, metrics=[metric], run_eagerly=True)
    model.optimizer.learning_rate = 0.01
    train = data("classes" if classes else "numbers")[0]
    model.fit(*train, batch_size=32, epochs=6, verbose=0)
    return model


@pytest.fixture(scope="module")
def model():
    return trained()


@pytest.fixture(scope="module")
def undisturbed(model, tmp_path_factory):
    """A whole search; and what is not its own is as it was before it."""

    def others():
        weights = [bits(array(v)) for v in (*model.variables, *model.optimizer.variables)]
        return weights, random.getstate(), np.random.get_state()[1].tolist()

    before = others()
    folder = tmp_path_factory.mktemp("undisturbed")
    result = kdc.compress(model, *data(), directory=folder, **SEARCH)
    assert others() == before
    return result


def test_the_smallest_file_that_keeps_a_metric(model, undisturbed):
    result = undisturbed
    assert result.keeps_budget and result.metric == "accuracy" and not result.errors
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
    measured = result.model.evaluate(x, y, verbose=0, return_dict=True)
    assert measured["accuracy"] == pytest.approx(correct)
    # Nothing that was measured is better.
    kept = [point for point in result.points if point.keeps_budget]
    assert result.bytes <= min(point.bytes for point in kept)
    for point in result.points:
        assert (result.path.parent / point.file).stat().st_size == point.bytes


def test_the_result_in_words(undisturbed):
    result = undisturbed
    assert str(result.path) in str(result) and result.reason in str(result)
    assert f"{result.bytes:,} bytes" in repr(result)
    assert json.loads(json.dumps(result.as_dict()))["bytes"] == result.bytes
    sizes = [point.bytes for point in result.frontier()]
    values = [point.metrics["accuracy"] for point in result.frontier()]
    assert sizes == sorted(sizes) and values == sorted(values)
    assert [len(losses) for losses in result.sensitivity["losses"].values()] == [3, 3]


KILLED = """
import sys
sys.path[:0] = sys.argv[2:]
import keras_deepcomp as kdc
from test_compression import SEARCH, data, trained
kdc.compress(trained(), *data(), directory=sys.argv[1], **{**SEARCH, "verbose": True})
"""


def test_killed_in_a_round_and_resumed(undisturbed, model, tmp_path):
    """Ends with the files of the search that nobody disturbed: so the seed decides, and no more."""
    command = [sys.executable, "-c", KILLED, str(tmp_path), os.path.dirname(__file__)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("round 2"):  # its first file is measured, and it goes on
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    state = json.loads((tmp_path / "search.json").read_text())
    assert len(state["rounds"]) == 1
    assert kdc.load_model(tmp_path / "best.kdc").count_params() == model.count_params()
    of_round_1 = tmp_path / undisturbed.points[1].file
    written = of_round_1.stat().st_mtime_ns
    resumed = kdc.compress(model, *data(), directory=tmp_path, **SEARCH)
    assert of_round_1.stat().st_mtime_ns == written
    assert resumed.points == undisturbed.points
    assert resumed.path.read_bytes() == undisturbed.path.read_bytes()
    assert not list(tmp_path.glob("*.tmp"))


def test_a_search_that_is_done_is_not_done_again(model, undisturbed, monkeypatch):
    monkeypatch.setattr(rounds_module, "fit", None)
    again = kdc.compress(model, *data(), directory=undisturbed.path.parent, **SEARCH)
    assert again.points == undisturbed.points and again.bytes == undisturbed.bytes


def test_a_directory_of_another_search(model, undisturbed, tmp_path):
    folder = undisturbed.path.parent
    with pytest.raises(kdc.ResumeError, match=r"max_metric_drop \(0.05 there, 0.1 here\)\. Give"):
        kdc.compress(model, *data(), directory=folder, **{**SEARCH, "max_metric_drop": 0.1})
    other = keras.models.clone_model(model)
    other.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    with pytest.raises(kdc.ResumeError, match=r"the model.*Give another directory"):
        kdc.compress(other, *data(), directory=folder, **SEARCH)
    (tmp_path / "search.json").write_text('{"version": 1}')
    with pytest.raises(kdc.ResumeError, match="is not the state of a search"):
        kdc.compress(model, *data(), directory=tmp_path, **SEARCH)


def test_bytes_as_the_budget(model, tmp_path):
    result = kdc.compress(model, *data(), max_bytes=600, directory=tmp_path, max_rounds=2, **QUICK)
    assert result.keeps_budget and result.bytes <= 600 and "2 rounds" in result.reason
    fitting = [point.metrics["accuracy"] for point in result.points if point.bytes <= 600]
    assert result.metric_after == max(fitting)


def test_a_budget_that_cannot_be_met(model, tmp_path):
    result = kdc.compress(model, *data(), max_bytes=60, directory=tmp_path, **QUICK)
    assert not result.keeps_budget and result.bytes <= min(p.bytes for p in result.points)
    assert "The budget was not met (at most 60 bytes): this is what comes closest" in result.reason
    assert result.path.stat().st_size == result.bytes


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, place):
        x, y = data("numbers")[0]
        return x[place * 128 :][:128], y[place * 128 :][:128]


def test_regression_on_a_data_set_with_an_optimizer_without_moments(tmp_path):
    model = trained("sgd", "mse", "mae")
    result = kdc.compress(
        model,
        Batches(),
        data("numbers")[1],
        max_metric_drop=0.1,
        directory=tmp_path,
        max_rounds=2,
        **QUICK,
    )
    assert result.metric == "mae" and result.metric_direction == "min" and result.keeps_budget
    assert result.metric_after <= result.metric_before + 0.1 + 1e-6
    assert len(result.points) > 2 and not result.errors


def test_two_outputs(tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((INPUTS,))
    hidden = keras.layers.Dense(24, "relu")(inputs)
    outputs = {name: keras.layers.Dense(CLASSES, name=name)(hidden) for name in ("kind", "size")}
    model = keras.Model(inputs, outputs)
    losses = {"kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "size": "mse"}
    metrics = {"kind": ["accuracy"], "size": [keras.metrics.MeanAbsoluteError(name="mae")]}
    model.compile(keras.optimizers.RMSprop(0.01), losses, metrics=metrics, run_eagerly=True)
    parts = [
        (x, {"kind": y, "size": numbers})
        for (x, y), (_, numbers) in zip(data(), data("numbers"), strict=True)
    ]
    model.fit(*parts[0], batch_size=32, epochs=3, verbose=0)
    drops = {"kind_accuracy": 0.1, "size_mae": 0.1}
    result = kdc.compress(
        model, *parts, max_metric_drop=drops, directory=tmp_path, max_rounds=2, **QUICK
    )
    before, after = result.metrics_before, result.metrics_after
    assert after["kind_accuracy"] >= before["kind_accuracy"] - 0.1 - 1e-6
    assert after["size_mae"] <= before["size_mae"] + 0.1 + 1e-6
    assert len(result.points) > 2 and not result.errors


def test_errors_in_rounds_lose_nothing(model, tmp_path, monkeypatch):
    """The first two trainings go well, the next one does not, and two rounds later none does."""
    real, calls = rounds_module.fit, []

    def fit(*arguments, **others):
        calls.append(None)
        if len(calls) == 3:
            raise MemoryError("no memory left for the optimizer")
        if len(calls) > 5:
            raise FloatingPointError("the loss became nan in epoch 1")
        real(*arguments, **others)

    monkeypatch.setattr(rounds_module, "fit", fit)
    result = kdc.compress(model, *data(), max_metric_drop=0.5, directory=tmp_path, **QUICK)
    assert result.keeps_budget and result.bytes < result.points[0].bytes
    assert result.errors[0] == "round 1: MemoryError: no memory left for the optimizer"
    assert "two rounds in a row failed" in result.reason and "became nan" in result.reason


def test_a_training_that_diverges_is_an_error_of_its_round(model, tmp_path):
    """And without validation data, a tenth is split off."""
    result = kdc.compress(
        model, data()[0], max_metric_drop=0.01, learning_rate=1e30, directory=tmp_path, **QUICK
    )
    assert result.keeps_budget and len(result.errors) == 2 and result.chosen == "round-000.kdc"
    correct = result.metric_after * round(SAMPLES / 10)
    assert correct == pytest.approx(round(correct), abs=1e-4)


def test_time(model, tmp_path):
    result = kdc.compress(model, *data(), directory=tmp_path, budget_minutes=1e-9, **SEARCH)
    assert "the time is up" in result.reason and len(result.points) == 1


def test_a_metric_of_ones_own(model, tmp_path):
    def worst_class(model):
        x, y = data()[1]
        right = model.predict(x, verbose=0).argmax(axis=1) == y
        return min(right[y == each].mean() for each in range(CLASSES))

    arguments = {"max_metric_drop": 0.2, "metric": worst_class, "teacher": False}
    with pytest.raises(ValueError, match="more of 'worst_class' is better"):
        kdc.compress(model, *data(), directory=tmp_path, **QUICK, **arguments)
    arguments |= {"metric_direction": "max", "max_rounds": 1}
    result = kdc.compress(model, *data(), directory=tmp_path, **QUICK, **arguments)
    assert result.metric_after == pytest.approx(worst_class(result.model))


def test_what_is_refused(model, tmp_path):
    def call(given=model, **arguments):
        return kdc.compress(given, *data(), directory=tmp_path, **{**QUICK, **arguments})

    with pytest.raises(ValueError, match=r"needs one budget: max_metric_drop=0\.002"):
        call()
    with pytest.raises(ValueError, match="needs one budget"):
        call(max_bytes=1000, max_metric_drop=0.1)
    plain = keras.Sequential.from_config(model.get_config())
    with pytest.raises(ValueError, match=r"'small' is not compiled.*Call model\.compile"):
        call(plain, max_bytes=1000)
    with pytest.raises(ValueError, match="not built"):
        call(keras.Sequential([keras.layers.Dense(2)]), max_bytes=1000)
    with pytest.raises(TypeError, match="Expected a Keras 3 model"):
        call("model.keras", max_bytes=1000)
    tiny = keras.Sequential([keras.Input((INPUTS,)), keras.layers.Dense(2)])
    tiny.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=True)
    with pytest.raises(ValueError, match=r"Nothing in .* can be pruned"):
        call(tiny, max_bytes=1000)


def test_the_module_is_not_in_the_way_of_the_function():
    assert callable(kdc.compress) and compression.compress is kdc.compress
