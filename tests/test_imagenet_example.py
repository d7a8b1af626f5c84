"""The recipe for ImageNet, end to end on a small made folder: coloured noise, a colour a class."""

import json
import re
import shutil
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
    import imagenet, keras

    class Interrupt(keras.callbacks.Callback):
        epoch = 0
        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch
        def on_train_batch_end(self, batch, logs=None):
            if self.epoch == 2 and batch == 1 and is_pruned(self.model):
                raise KeyboardInterrupt

    def is_pruned(model):
        from keras_deepcomp.wrappers.substitution import find_wrappers
        return bool(find_wrappers(model, imagenet.kdc.PruneLowMagnitude))

    arguments = [*sys.argv[2:], "--network", "tiny", "--epochs", "4", "4", "2", "--batch", "16",
                 "--rate", "0.0005"]
    if "--interrupted" in arguments:
        arguments.remove("--interrupted")
        try:
            imagenet.main(arguments, [Interrupt()])
        except KeyboardInterrupt:
            sys.exit()
        raise AssertionError("it was not interrupted")
    imagenet.main(arguments, [])
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The same pictures in class folders and in TFRecords."""
    import tensorflow as tf

    root, rng = tmp_path_factory.mktemp("made"), np.random.default_rng(0)
    for split, count in (("train", TRAINING), ("validation", TEST)):
        records = root / "records" / split
        records.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(records / f"{split}-00000-of-00001")) as writer:
            for label, (name, colour) in enumerate(COLOURS.items()):
                folder = root / "folders" / split / name
                folder.mkdir(parents=True)
                for number in range(count):
                    shape = (int(rng.integers(34, 60)), int(rng.integers(34, 60)), 3)
                    picture = np.clip(rng.normal(colour, 60, shape), 0, 255).astype(np.uint8)
                    encoded = tf.io.encode_png(picture).numpy()
                    (folder / f"{number}.png").write_bytes(encoded)
                    writer.write(_example(tf, encoded, label + 1))
    return root


def _example(tf, encoded, label):
    features = {
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded])),
        "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


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


def check_epochs(out):
    """Two epochs before the interruption and two after it; none of a finished stage again."""
    for stage, epochs in {"trained": 4, "pruned": 4, "shared": 2}.items():
        rows = (out / f"{stage}.csv").read_text().splitlines()
        numbers = [row.split(",")[0] for row in rows if row[0].isdigit()]
        assert numbers == [str(number) for number in range(epochs)]
        assert not any((out / f"{stage}-backup").glob("*"))


def test_interrupted_in_the_middle_of_pruning(folders, tmp_path):
    for how in (["--interrupted"], []):
        run_python(RUN, EXAMPLES, "--data", folders / "folders", "--out", tmp_path, *how)
    check(tmp_path)
    check_epochs(tmp_path)


def test_two_devices_records_and_mixed_precision(folders, tmp_path):
    shutil.copytree(folders / "records", tmp_path / "data")
    words = ["--data", tmp_path / "data", "--out", tmp_path / "out", "--classes", "4"]
    words += ["--logical-devices", "2", "--precision", "mixed_bfloat16"]
    for how in (["--interrupted"], []):
        run_python(RUN, EXAMPLES, *words, *how, KERAS_BACKEND="tensorflow")
    check(tmp_path / "out")
    check_epochs(tmp_path / "out")


def test_two_devices_on_jax(folders, tmp_path):
    run_python(
        RUN, EXAMPLES, "--data", folders / "folders", "--out", tmp_path,
        KERAS_BACKEND="jax", XLA_FLAGS="--xla_force_host_platform_device_count=2",
    )  # fmt: skip
    check(tmp_path)


def test_the_papers_networks_have_these_layers():
    """And the shares of tables 4 and 5 come to what stands there, about 11 and 7.5 percent."""
    printed = run_python(
        """
        import math, sys
        sys.path.insert(0, sys.argv[1])
        import imagenet
        from keras_deepcomp.architecture.building import build
        for name in ("alexnet", "vgg16"):
            network = imagenet.NETWORKS[name]
            model = build(lambda: network.make(1000), 140_000_000)
            layers = {each.name: each for each in model.layers if each.weights}
            assert list(layers) == list(network.kept)
            assert {n for n, k in network.clusters().items() if k == 32} == set(network.dense)
            sizes = {n: math.prod(each.kernel.shape) for n, each in layers.items()}
            kept = sum(sizes[n] * share for n, share in network.kept.items())
            print(round(100 * kept / sum(sizes.values()), 1), model.input_shape[1] == network.size)
        """,
        EXAMPLES,
        KERAS_BACKEND="tensorflow",
    )
    assert printed.splitlines()[-2:] == ["11.1 True", "7.6 True"]


def test_every_option_is_on_the_page():
    options = re.findall(r'"(--[a-z-]+)"', (EXAMPLES / "imagenet.py").read_text())
    page = (ROOT / "docs" / "imagenet.md").read_text()
    assert len(options) > 10
    assert [option for option in options if f"`{option}" not in page] == []
