import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_deepcomp as kdc
from keras_deepcomp import demo

MNIST = Path(__file__).parent.parent / "data" / "mnist.npz"

SHORT = demo.Recipe(
    baseline=demo.Stage("baseline", 3, 2e-3),
    prune=demo.Stage("prune", 4, 2e-3),
    share=demo.Stage("share", 1, 2e-4),
)


@pytest.fixture(scope="module")
def digits():
    return demo.load_digits(MNIST)


def test_the_full_mnist(digits):
    assert [len(part[0]) for part in (digits.train, digits.validation, digits.test)] == [
        55_000, 5_000, 10_000,
    ]  # fmt: skip
    images, labels = digits.train
    assert images.dtype == np.float32 and images.shape[1] == 784
    assert images.min() == 0.0 and images.max() == 1.0
    assert sorted(set(labels)) == list(range(10))


def test_a_short_run(digits, tmp_path):
    few = dataclasses.replace(digits, train=tuple(part[:6000] for part in digits.train))
    lines = []
    report = demo.run(few, tmp_path / "new" / "folder", 1, SHORT, lines.append)
    folder = tmp_path / "new" / "folder"
    assert json.loads((folder / "report.json").read_text()) == json.loads(json.dumps(report))
    assert report["file_bytes"] == (folder / "lenet-300-100.kdc").stat().st_size
    assert report["float32_bytes"] == 266_610 * 4
    assert report["ratio"] == round(266_610 * 4 / report["file_bytes"], 2) > 40
    assert report["seed"] == 1 and "keras" in report["versions"]
    assert len(lines) == 3 + 4 + 1 and all("validation error" in line for line in lines)

    # The error is that of the file, evaluated here once more by other means.
    model = kdc.load_model(folder / "lenet-300-100.kdc")
    images, labels = digits.test
    wrong = keras.ops.convert_to_numpy(model(images)).argmax(axis=1) != labels
    assert report["test_error_percent"] == pytest.approx(100 * wrong.mean(), abs=0.011)
    assert report["test_error_percent"] < 20  # a guess would be wrong nine times in ten
    kernel = keras.ops.convert_to_numpy(model.layers[0].kernel + 0.0)
    assert np.unique(kernel[kernel != 0]).size <= SHORT.clusters
    zeros = sum(int((np.array(w) == 0).sum()) for w in model.get_weights() if w.ndim == 2)
    assert zeros / 266_200 == pytest.approx(SHORT.final_sparsity, abs=1e-4)


def test_the_committed_claim_is_what_the_committed_files_hold(digits):
    """The three files of `make bench-demo`, decoded and evaluated."""
    results = Path(__file__).parent.parent / "benchmarks" / "results"
    claim = json.loads((results / "demo.json").read_text())
    assert claim["held"] and len(claim["seeds"]) >= 3
    images, labels = digits.test
    for report in claim["seeds"]:
        path = results / f"demo-seed-{report['seed']}.kdc"
        assert path.stat().st_size == report["file_bytes"]
        assert 266_610 * 4 / path.stat().st_size >= 40
        logits = kdc.load_model(path).predict(images, batch_size=1000, verbose=0)
        error = 100 * (logits.argmax(axis=1) != labels).mean()
        # Another processor may round a sum the other way.
        assert error == pytest.approx(report["test_error_percent"], abs=0.03)
        assert error <= 1.64


def test_wrong_data(tmp_path):
    np.savez(tmp_path / "x.npz", images=np.zeros(3))
    with pytest.raises(ValueError, match=r"is not the MNIST archive.*Expected the arrays x_train"):
        demo.load_digits(tmp_path / "x.npz")
    with pytest.raises(FileNotFoundError):
        demo.load_digits(tmp_path / "nowhere.npz")
