import json

import keras
import numpy as np
import pytest

from keras_deepcomp import cli, container


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((128, 20), np.float32)
    y = x[:, :4].argmax(axis=1)
    dense = keras.layers.Dense
    layers = [dense(16, "relu", name="dense"), dense(4, "softmax", name="last")]
    model = keras.Sequential([keras.Input((20,)), *layers])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=True)
    model.fit(x, y, verbose=0)  # or its optimizer has no state to be saved
    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_val=x[:50], y_val=y[:50])
    return tmp_path


def run(capsys, folder, *words):
    code = cli.main(["compress", str(folder / "m.keras"), *words])
    return code, *capsys.readouterr()


def test_a_file_is_compressed(files, capsys):
    words = ["--data", str(files / "d.npz"), "--max-bytes", "10000", "--epochs", "1", "--json"]
    code, out, err = run(capsys, files, *words, "--minutes", "1e-6", "-o", str(files / "o.kdc"))
    assert code == 0, err
    assert "budget: at most 10,000 bytes" in err
    result = json.loads(out)
    assert result["bytes"] == (files / "o.kdc").stat().st_size <= 10_000
    assert (files / "o.kdc.search" / "search.json").exists()
    assert container.load_file(files / "o.kdc")["dense/kernel"].shape == (20, 16)
    # Each of the 50 validation samples counts, and no sample of the training data.
    accuracy = result["metrics_after"]["accuracy"] * 50
    assert accuracy == pytest.approx(round(accuracy), abs=1e-4)


def test_a_budget_that_cannot_be_kept(files, capsys):
    words = ["--data", str(files / "d.npz"), "--max-bytes", "10", "--epochs", "1"]
    code, out, _ = run(capsys, files, *words, "--minutes", "1e-6", "-o", str(files / "o.kdc"))
    assert code == 3 and (files / "o.kdc").stat().st_size > 10
    assert "o.kdc" in out and " B, over the budget: " in out


def test_what_is_wrong_is_said_in_a_line(files, capsys):
    np.savez(files / "e.npz", x=np.zeros(3))
    for words, message in (
        (["--data", str(files / "e.npz")], "has the arrays x. Expected x_train and y_train"),
        (["--data", str(files / "no.npz")], "no.npz: no such file"),
    ):
        code, out, err = run(capsys, files, *words, "--max-metric-drop", "0.1")
        assert code == 1 and out == "" and message in err and err.count("\n") == 1
    with pytest.raises(SystemExit):
        run(capsys, files, "--data", str(files / "d.npz"))
    assert "--max-metric-drop --max-bytes is required" in capsys.readouterr().err
