"""The recipe for ImageNet, end to end on a small made folder: coloured noise, a colour a class."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from support import run_python

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
COLOURS = {"blue": (0, 0, 255), "green": (0, 200, 0), "red": (255, 30, 0), "white": (240, 240, 255)}
TRAINING, TEST = 30, 9

RUN = """
    import sys
    sys.path.insert(0, sys.argv[1])
    import imagenet
    import keras

    class Interrupt(keras.callbacks.Callback):
        epoch = 0
        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch
        def on_train_batch_end(self, batch, logs=None):
            if self.epoch == 2 and batch == 1 and "pruned" in INTERRUPTED and is_pruned(self.model):
                raise KeyboardInterrupt

    def is_pruned(model):
        from keras_deepcomp.wrappers.substitution import find_wrappers
        return bool(find_wrappers(model, imagenet.kdc.PruneLowMagnitude))

    arguments = [*sys.argv[2:], "--network", "tiny", "--epochs", "4", "4", "2", "--batch", "16",
                 "--rate", "0.0005"]
    INTERRUPTED = ["pruned"] if "--interrupted" in arguments else []
    if INTERRUPTED:
        arguments.remove("--interrupted")
        try:
            imagenet.main(arguments, [Interrupt()])
            raise AssertionError("it was not interrupted")
        except KeyboardInterrupt:
            keras.backend.clear_session()
    imagenet.main(arguments, [Interrupt()] if not INTERRUPTED else [])
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Pictures in class folders."""
    import tensorflow as tf

    root, rng = tmp_path_factory.mktemp("made"), np.random.default_rng(0)
    for split, count in (("train", TRAINING), ("validation", TEST)):
        for name, colour in COLOURS.items():
            folder = root / "folders" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                shape = (int(rng.integers(34, 60)), int(rng.integers(34, 60)), 3)
                picture = np.clip(rng.normal(colour, 60, shape), 0, 255).astype(np.uint8)
                (folder / f"{number}.png").write_bytes(tf.io.encode_png(picture).numpy())
    return root


def check(out):
    """The result of a run that went well, against the files that it left."""
    import keras_deepcomp as kdc

    result = json.loads((out / "result.json").read_text())
    assert result["bytes"] == (out / "model.kdc").stat().st_size
    assert result["test_error_percent"]["decoded"] < 40  # of four colours
    sys.path.insert(0, str(EXAMPLES))
    try:
        import imagenet
    finally:
        sys.path.remove(str(EXAMPLES))
    network = imagenet.NETWORKS["tiny"]
    model = kdc.load_model(out / "model.kdc")
    for name, kept in network.kept.items():
        kernel = np.asarray(model.get_layer(name).kernel)
        assert np.count_nonzero(kernel) == pytest.approx(kept * kernel.size, abs=1)
        assert np.unique(kernel[kernel != 0]).size <= network.clusters()[name]
    assert "<html" in (out / "model.html").read_text()
    return result


def test_interrupted_in_the_middle_of_pruning(folders, tmp_path):
    run_python(RUN, EXAMPLES, "--data", folders / "folders", "--out", tmp_path, "--interrupted")
    check(tmp_path)
    # Two epochs before the interruption and two after it; none of a finished stage again.
    for stage, epochs in {"trained": 4, "pruned": 4, "shared": 2}.items():
        rows = (tmp_path / f"{stage}.csv").read_text().splitlines()
        numbers = [row.split(",")[0] for row in rows if row[0].isdigit()]
        assert numbers == [str(number) for number in range(epochs)]
        assert not any((tmp_path / f"{stage}-backup").glob("*"))


def test_every_option_is_on_the_page():
    options = re.findall(r'"(--[a-z-]+)"', (EXAMPLES / "imagenet.py").read_text())
    page = (ROOT / "docs" / "imagenet.md").read_text()
    assert len(options) > 10
    assert [option for option in options if f"`{option}" not in page] == []
