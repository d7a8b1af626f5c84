"""What `benchmarks/compress.py` compresses: a network on MNIST, and two on made data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_deepcomp as kdc
from keras_deepcomp import demo

ROOT = Path(__file__).resolve().parent.parent
VALIDATION = 10_000
"""MNIST's training pictures that are held out: a tenth of a point of error is ten of them."""


@dataclass(frozen=True)
class Case:
    """A trained, compiled model, and data; `data` says what the data is."""

    model: keras.Model
    train: Any
    validation: Any
    test: Any
    data: str


def digits():
    """MNIST with the last training pictures as validation data."""
    all_of_it = demo.load_digits(ROOT / "data" / "mnist.npz")
    parts = zip(all_of_it.train, all_of_it.validation, strict=True)
    x, y = (np.concatenate(each) for each in parts)
    cut = len(x) - VALIDATION
    return (x[:cut], y[:cut]), (x[cut:], y[cut:]), all_of_it.test


def lenet_300_100(seed=0, epochs=20):
    """LeNet-300-100, trained on MNIST as anyone would."""
    train, validation, test = digits()
    keras.utils.set_random_seed(seed)
    model = kdc.models.lenet_300_100()
    steps = epochs * -(-len(train[0]) // 128)
    rate = keras.optimizers.schedules.CosineDecay(1e-3, steps, alpha=0.02)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    model.fit(*train, batch_size=128, epochs=epochs, verbose=0)
    text = f"MNIST, {len(train[0]):,} training, {VALIDATION:,} validation and 10,000 test pictures"
    return Case(model, train, validation, test, text)


def _features(seed, samples):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, 16)).astype("float32")
    noise = rng.standard_normal((samples, 1)).astype("float32")
    size = np.sin(x[:, :1] * 2) + x[:, 1:2] * x[:, 2:3] + np.abs(x[:, 3:4]) + 0.1 * noise
    kind = (x[:, 4:8] + 0.5 * np.square(x[:, 8:12])).argmax(axis=1)
    return x, size, kind


def _thirds(parts, whole):
    return [whole[:parts], whole[parts : 2 * parts], whole[2 * parts :]]


def regression(seed=0, epochs=20, samples=8_000):
    """One number from 16, of which four matter."""
    keras.utils.set_random_seed(seed)
    x, size, _ = _features(seed, 3 * samples)
    splits = list(zip(_thirds(samples, x), _thirds(samples, size), strict=True))
    dense = keras.layers.Dense
    layers = [dense(128, "relu"), dense(64, "relu"), dense(1)]
    model = keras.Sequential([keras.Input((16,)), *layers], name="regression")
    model.compile(keras.optimizers.Adam(2e-3), "mse", metrics=["mae"])
    model.fit(*splits[0], batch_size=128, epochs=epochs, verbose=0)
    return Case(model, *splits, f"made, three times {samples:,} samples")


def two_outputs(seed=0, epochs=20, samples=8_000):
    """A number and one of four classes from 16 numbers."""
    keras.utils.set_random_seed(seed)
    x, size, kind = _features(seed, 3 * samples)
    targets = [
        {"size": a, "kind": b}
        for a, b in zip(_thirds(samples, size), _thirds(samples, kind), strict=True)
    ]
    splits = list(zip(_thirds(samples, x), targets, strict=True))
    dense = keras.layers.Dense
    inputs = keras.Input((16,))
    hidden = dense(64, "relu")(dense(128, "relu")(inputs))
    outputs = {"size": dense(1, name="size")(hidden), "kind": dense(4, name="kind")(hidden)}
    model = keras.Model(inputs, outputs, name="two_outputs")
    losses = {"size": "mse", "kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
    metrics = {"size": ["mae"], "kind": ["accuracy"]}
    model.compile(keras.optimizers.Adam(2e-3), losses, metrics=metrics)
    model.fit(*splits[0], batch_size=128, epochs=epochs, verbose=0)
    return Case(model, *splits, f"made, three times {samples:,} samples")
