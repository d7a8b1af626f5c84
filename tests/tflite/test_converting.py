import json
import re

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from shared_models import CLUSTERS, conv, dense, inputs_for, lstm, prune_and_share

import keras_deepcomp as kdc
from keras_deepcomp import cli, tflite
from keras_deepcomp.tflite import graph

KERNELS = {
    "dense": {"first/kernel", "top/kernel"},
    "conv": {
        "folded/kernel",
        "depthwise/kernel",
        "separable/depthwise_kernel",
        "separable/pointwise_kernel",
        "pointwise/kernel",
        "top/kernel",
    },
    "recurrent": {"lstm/lstm_cell/kernel", "lstm/lstm_cell/recurrent_kernel", "top/kernel"},
}


@pytest.fixture(scope="session", params=[dense, conv, lstm], ids=["dense", "conv", "lstm"])
def model(request):
    keras.utils.set_random_seed(0)
    keras.backend.clear_session()
    return prune_and_share(request.param())


@pytest.fixture(scope="session")
def float_report(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("float") / "m.tflite"
    return tflite.convert(model, path, None, inputs_for(model), verbose=False), path


@pytest.fixture(scope="session")
def int8_report(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "m.tflite"
    return tflite.convert(model, path, "int8", inputs_for(model), verbose=False), path


def test_floats_keep_zeros_and_values(model, float_report):
    report, path = float_report
    assert {row.name for row in report.tensors} == KERNELS[model.name]
    assert report.not_found == ()
    assert report.file_bytes == path.stat().st_size == report.converter_bytes
    assert report.fidelity.error < 1e-5 and report.fidelity.agreement == 1
    for row in report.tensors:
        assert row.choice == "float" and row.scales == 0 and row.dtype == "float32"
        assert row.zeros_after == row.zeros_before > 0.3 * row.size
        assert row.values_per_channel <= row.values_before == CLUSTERS + 1
        assert row.kept == (not row.folded)
    assert [row.name for row in report.tensors if row.folded] == [
        name for name in ("folded/kernel", "depthwise/kernel") if name in KERNELS[model.name]
    ]


def test_int8_keeps_zeros_and_values(model, int8_report):
    report, path = int8_report
    assert {row.name for row in report.tensors} == KERNELS[model.name]
    assert report.kept
    assert report.file_bytes == path.stat().st_size
    assert report.fidelity.error <= 1.25 * report.converter_fidelity.error < 0.1
    assert report.fidelity.agreement > 0.9
    assert any(row.values_of_converter > CLUSTERS + 1 for row in report.tensors)
    for row in report.tensors:
        assert row.dtype == "int8"
        assert row.choice == ("in proportion" if row.folded else "one")
        assert row.values_after <= CLUSTERS + 1
    # What the report says is in the file.
    weights = graph.weights(graph.read(path.read_bytes()))
    assert [len(np.unique(weight.values)) for weight in weights] == [
        row.values_after for row in report.tensors
    ]


def test_weights_with_one_scale_have_it_once(model, int8_report):
    report, _ = int8_report
    for row in report.tensors:
        if row.choice == "one" and "depthwise" not in row.name:
            assert row.scales == 1


def test_an_int8_file_runs_in_any_interpreter_as_reported(model, int8_report):
    _, path = int8_report
    x = inputs_for(model, samples=8)
    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    (given,), (taken,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert given["dtype"] == taken["dtype"] == np.int8 and given["shape"][0] == 1
    outputs = []
    for sample in x:
        scale, zero = given["quantization"]
        q = np.clip(np.round(sample / scale + zero), -128, 127).astype(np.int8)
        interpreter.set_tensor(given["index"], q[None])
        interpreter.invoke()
        scale, zero = taken["quantization"]
        outputs.append((interpreter.get_tensor(taken["index"])[0].astype(float) - zero) * scale)
    wanted = np.asarray(model(x))
    assert np.abs(np.array(outputs) - wanted).max() < 0.3 * wanted.std()


def test_dynamic_range(tmp_path):
    model = prune_and_share(
        keras.Sequential([keras.layers.Input((64,)), keras.layers.Dense(64), keras.layers.Dense(4)])
    )
    report = tflite.convert(model, tmp_path / "m", "dynamic", inputs_for(model), verbose=False)
    large, small = report.tensors
    assert (large.dtype, large.choice, small.dtype) == ("int8", "one", "float32")
    assert large.values_after <= CLUSTERS + 1 < large.values_of_converter
    assert report.kept and report.fidelity.error < 0.02


def test_dynamic_range_without_data_goes_by_the_weights(tmp_path):
    model = prune_and_share(keras.Sequential([keras.layers.Input((64,)), keras.layers.Dense(64)]))
    report = tflite.convert(model, tmp_path / "m", "dynamic", verbose=False)
    assert report.fidelity is None and report.converter_fidelity is None
    assert any("Without representative data" in note for note in report.notes)
    (row,) = report.tensors
    assert row.choice in ("one", "converter's, for accuracy")


def test_wrapped_models_are_stripped(tmp_path):
    keras.utils.set_random_seed(0)
    shared = kdc.cluster_weights(dense(), 6, verbose=False)
    report = tflite.convert(shared, tmp_path / "m.tflite", verbose=False)
    assert [row.values_after for row in report.tensors] == [6, 6]


def test_any_batch(tmp_path):
    model = prune_and_share(conv())
    tflite.convert(model, tmp_path / "m.tflite", batch=None, verbose=False)
    runner = Interpreter(model_path=str(tmp_path / "m.tflite")).get_signature_runner()
    x = inputs_for(model, samples=7)
    (name,) = runner.get_input_details()
    outputs = runner(**{name: x})["output_0"]
    np.testing.assert_allclose(outputs, np.asarray(model(x)), atol=1e-4)


def test_loops_are_said_to_be_there(tmp_path):
    report = tflite.convert(prune_and_share(lstm()), tmp_path / "m", verbose=False)
    assert any("loops" in note for note in report.notes)


def test_recurrent_layers_are_unrolled_for_int8_and_left_as_they_were(tmp_path):
    model = lstm()
    report = tflite.convert(model, tmp_path / "m", "int8", inputs_for(model, 8), verbose=False)
    assert any("unrolled" in note for note in report.notes)
    assert not model.get_layer("lstm").unroll


def test_several_inputs_and_outputs(tmp_path):
    first, second = keras.layers.Input((6,), name="first"), keras.layers.Input((4,), name="second")
    joined = keras.layers.Concatenate()([first, second])
    outputs = [keras.layers.Dense(3, name="a")(joined), keras.layers.Dense(1, name="b")(joined)]
    model = prune_and_share(keras.Model([second, first], outputs))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 4)).astype(np.float32)
    y = rng.normal(scale=30, size=(20, 6)).astype(np.float32)
    listed, named, called = (
        tflite.convert(model, tmp_path / "m", "int8", data, verbose=False)
        for data in (
            [x, y],
            {"first": y, "second": x},
            lambda: ([a[None], b[None]] for a, b in zip(x, y, strict=True)),
        )
    )
    assert listed == named == called
    assert listed.fidelity.error < 0.05
    runner = Interpreter(model_path=str(tmp_path / "m")).get_signature_runner()
    assert set(runner.get_input_details()) == {"first", "second"}


def test_inputs_of_one_shape_are_calibrated_each(tmp_path):
    """The ranges are far apart, so that exchanged ones would be seen."""
    inputs = [keras.layers.Input((4,), name=name) for name in "zab"]
    dense = [keras.layers.Dense(3, name=f"of_{each.name}")(each) for each in inputs]
    model = keras.Model(inputs, keras.layers.Concatenate()(dense))
    rng = np.random.default_rng(0)
    data = [rng.normal(scale=s, size=(20, 4)).astype(np.float32) for s in (1, 0.1, 10)]
    tflite.convert(model, tmp_path / "m", "int8", data, verbose=False)
    runner = Interpreter(model_path=str(tmp_path / "m")).get_signature_runner()
    scales = {n: each["quantization"][0] for n, each in runner.get_input_details().items()}
    assert scales["a"] < scales["z"] / 4 < scales["b"] / 16


def test_subclassed_models(tmp_path):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = keras.layers.Dense(5)

        def call(self, x):
            return self.inner(x)

    model = Own()
    x = np.random.default_rng(0).normal(size=(9, 7)).astype(np.float32)
    model(x)
    report = tflite.convert(model, tmp_path / "m", None, x, verbose=False)
    assert report.fidelity.error < 1e-5
    with pytest.raises(ValueError, match="give a list of arrays"):
        tflite.convert(model, tmp_path / "m", None, {"x": x})


def test_labels_make_accuracy_the_measure(tmp_path):
    model = prune_and_share(dense())
    x = inputs_for(model)
    labels = np.asarray(model(x)).argmax(axis=1)
    report = tflite.convert(model, tmp_path / "m", "int8", (x, labels), verbose=False)
    assert report.fidelity.accuracy == report.fidelity.agreement
    assert report.fidelity.accuracy >= report.converter_fidelity.accuracy


def test_dense_weights_without_a_codebook_stay_as_converted(tmp_path):
    keras.utils.set_random_seed(0)
    model = dense()
    report = tflite.convert(model, tmp_path / "m", "int8", inputs_for(model), verbose=False)
    assert {row.choice for row in report.tensors} == {"converter's"}
    assert report.file_bytes == report.converter_bytes


def test_what_is_no_weight_of_the_file_is_named(tmp_path):
    layers = [keras.layers.Embedding(20, 8, name="words"), keras.layers.Dense(3, name="top")]
    model = keras.Sequential([keras.layers.Input((4,), dtype="int32"), *layers])
    x = np.random.default_rng(0).integers(20, size=(30, 4))
    for mode in (None, "int8"):
        report = tflite.convert(model, tmp_path / "m", mode, x, verbose=False)
        assert report.not_found == ("words/embeddings",)
        assert report.fidelity.error < 0.05


def test_equal_weights_have_each_their_name(tmp_path):
    layers = [keras.layers.Dense(8, kernel_initializer="zeros", name=name) for name in "abc"]
    model = keras.Sequential([keras.layers.Input((8,)), *layers])
    report = tflite.convert(model, tmp_path / "m", verbose=False)
    assert report.not_found == ()
    assert {row.name for row in report.tensors} <= {"a/kernel", "b/kernel", "c/kernel"}
    assert len({row.name for row in report.tensors}) == len(report.tensors)


def test_the_report_prints_and_goes_into_json(int8_report, float_report, capsys):
    for report, _ in (int8_report, float_report):
        report.print()
        printed = capsys.readouterr().out
        assert f"{report.file_bytes:,} bytes" in printed and "agreement" in printed
        for row in report.tensors:
            assert row.name.split("/")[0][:4] in printed
        again = json.loads(json.dumps(report.as_dict()))
        assert again["tensors"][0]["values_after"] == report.tensors[0].values_after
        assert again["kept"] == report.kept


def test_the_command(tmp_path, capsys):
    model = prune_and_share(dense())
    kdc.save_model(model, tmp_path / "m.kdc")
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", inputs_for(model))
    np.save(tmp_path / "y.npy", np.zeros(64, np.int64))
    out = str(tmp_path / "m.tflite")
    common = [out, "--quantize", "int8", "--data", str(tmp_path / "x.npy")]
    command = ["tflite", "convert"]
    assert cli.main([*command, str(tmp_path / "m.kdc"), *common]) == 0
    assert "first/kernel" in capsys.readouterr().out
    labels = ["--labels", str(tmp_path / "y.npy"), "--json"]
    assert cli.main([*command, str(tmp_path / "m.keras"), *common, *labels]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["file"] == out and printed["fidelity"]["accuracy"] is not None
    assert cli.main([*command, str(tmp_path / "m.kdc"), out, "--quantize", "int8"]) == 1
    assert "representative_data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"quantize": "int8"}, ValueError, "needs representative_data"),
        ({"quantize": "int4"}, ValueError, "quantize is one of"),
        ({"batch": 0}, ValueError, "positive int"),
        ({"representative_data": np.zeros((3, 5))}, ValueError, "takes ('samples', 48)"),
        ({"representative_data": [np.zeros((3, 48))] * 2}, ValueError, "has 2 arrays"),
        ({"representative_data": np.zeros((0, 48))}, ValueError, "no samples"),
        ({"representative_data": lambda: iter(())}, ValueError, "no samples"),
        ({"representative_data": {"x": np.zeros((3, 48))}}, ValueError, "the inputs are"),
        ({"representative_data": "x.npy"}, TypeError, "numbers in arrays"),
        ({"representative_data": (1, 2, 3)}, TypeError, "(inputs, labels)"),
        (
            {"representative_data": (np.zeros((3, 48)), np.zeros(4))},
            ValueError,
            "one class per sample",
        ),
    ],
)
def test_what_is_asked_wrongly(tmp_path, arguments, error, words):
    with pytest.raises(error, match=re.escape(words)):
        tflite.convert(dense(), tmp_path / "m.tflite", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_not_a_model(tmp_path):
    with pytest.raises(TypeError, match="Keras 3 model"):
        tflite.convert("m.keras", tmp_path / "m.tflite")
    with pytest.raises(ValueError, match="not built"):
        tflite.convert(keras.Sequential([keras.layers.Dense(2)]), tmp_path / "m.tflite")


def test_what_the_converter_does_not_take(tmp_path):
    with pytest.raises(tflite.ConversionError, match="batch=1"):
        tflite.convert(lstm(), tmp_path / "m.tflite", batch=None)
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, dtype="bfloat16")])
    with pytest.raises(tflite.ConversionError, match="have to be float32"):
        tflite.convert(model, tmp_path / "m.tflite")
    old = b"an older file"
    (tmp_path / "m.tflite").write_bytes(old)
    with pytest.raises(tflite.ConversionError):
        tflite.convert(lstm(), tmp_path / "m.tflite", batch=None)
    assert (tmp_path / "m.tflite").read_bytes() == old
    assert len(list(tmp_path.iterdir())) == 1


def test_other_backends_are_told_what_to_do(tmp_path, monkeypatch):
    model = dense()
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(tflite.ConversionError, match=r"runs on jax.*KERAS_BACKEND=tensorflow"):
        tflite.convert(model, tmp_path / "m.tflite")
