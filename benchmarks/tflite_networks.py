"""Makes the networks that the conversion to TensorFlow Lite is measured on, into `build/tflite/`.

MobileNet, MobileNetV2 and EfficientNetB0 of `keras.applications`, without pretrained weights, for
MNIST at 32 x 32 pixels in three channels; trained for a short while on some of its training images,
pruned (but for depthwise kernels, which are small) and shared by this package's own stages.
What they score is not the point: the point is that activations and normalizations are those of
trained networks. LeNet-300-100 and LeNet-5 are those of the format's benchmark. Beside each file
lies `…-dense.kdc`, the network as it was before it was pruned (of the LeNets, one that was trained
on the same images).
"""

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from format_networks import train

import keras_deepcomp as kdc
from keras_deepcomp import demo, models

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "tflite"
LENETS = ROOT / "benchmarks" / "results" / "format"
SPARSITY, CLUSTERS = 0.7, 16
# Training images, and epochs of the baseline, of pruning and of sharing.
TRAINING = (20_000, 6, 5, 2)
LESS_TRAINING = {"EfficientNetB0": (12_000, 6, 4, 2)}
SHAPE = (32, 32, 3)


def small(application, **arguments):
    model = application(
        input_shape=SHAPE, weights=None, classes=10, classifier_activation=None, **arguments
    )
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # for a training of a few hundred steps
    return model


BASELINES = {
    "LeNet-300-100": models.lenet_300_100,
    "LeNet-5": models.lenet_5,
    "MobileNet 0.25": lambda: small(keras.applications.MobileNet, alpha=0.25, dropout=0.0),
    "MobileNetV2 0.35": lambda: small(keras.applications.MobileNetV2, alpha=0.35),
    "EfficientNetB0": lambda: small(keras.applications.EfficientNetB0),
}
FILES = {
    "LeNet-300-100": LENETS / "lenet-300-100-92.kdc",
    "LeNet-5": LENETS / "lenet-5-92.kdc",
    "MobileNet 0.25": FOLDER / "mobilenet.kdc",
    "MobileNetV2 0.35": FOLDER / "mobilenet-v2.kdc",
    "EfficientNetB0": FOLDER / "efficientnet-b0.kdc",
}


def images_for(name, vectors):
    """MNIST's vectors in 0..1 as the network wants them."""
    if name == "LeNet-300-100":
        return vectors
    images = vectors.reshape(-1, 28, 28, 1)
    if name == "LeNet-5":
        return images
    padded = np.repeat(np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0))), 3, axis=-1)
    return padded * 255 if name == "EfficientNetB0" else padded * 2 - 1


def dense_file(name):
    return FOLDER / f"{FILES[name].stem}-dense.kdc"


def make(name):
    keras.utils.set_random_seed(20)
    vectors, labels = demo.load_digits(ROOT / "data" / "mnist.npz").train
    count, baseline_epochs, prune_epochs, share_epochs = LESS_TRAINING.get(name, TRAINING)
    images, labels = images_for(name, vectors[:count]), labels[:count]
    baseline = BASELINES[name]()
    accuracy = [train(baseline, images, labels, baseline_epochs, 2e-3)]
    kdc.save_model(baseline, dense_file(name))
    path = FILES[name]
    if not path.exists():
        schedule = kdc.schedules.Polynomial(final_sparsity=SPARSITY, begin=0.0, end=0.6)
        pruned = kdc.prune_low_magnitude(
            baseline, schedule, filters=lambda layer: "Depthwise" not in type(layer).__name__
        )
        step = kdc.UpdatePruningStep()
        accuracy.append(train(pruned, images, labels, prune_epochs, 1e-3, step))
        shared = kdc.cluster_weights(pruned, CLUSTERS)
        step = kdc.UpdateCentroids()
        accuracy.append(train(shared, images, labels, share_epochs, 2e-4, step))
        kdc.save_model(shared, path)
    print(f"{name}: training accuracy {accuracy}", flush=True)


def make_missing(names):
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names:
        if not FILES[name].exists() or not dense_file(name).exists():
            make(name)


def chosen():
    """The networks of the command line; all of them if it names none."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "networks", nargs="*", choices=[*FILES, []], help="only these; the rest stays as it was"
    )
    return parser.parse_args().networks or list(FILES)


def with_others(rows, result):
    """The rows of a run, and those of a result file for networks that did not take part."""
    ran = {row["network"] for row in rows}
    before = json.loads(result.read_text())["rows"] if result.exists() else []
    rows = rows + [row for row in before if row["network"] not in ran]
    return sorted(rows, key=lambda row: list(FILES).index(row["network"]))


if __name__ == "__main__":
    make_missing(chosen())
