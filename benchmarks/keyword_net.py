"""Makes a keyword-spotting-sized network, into `benchmarks/results/micro/ds-cnn.kdc`.

The smallest depthwise-separable network of Zhang et al., "Hello Edge: Keyword Spotting on
Microcontrollers" (arXiv:1711.07128): 49 frames of 10 features in, 12 words out. **The data are
made**, not speech: each word is a few formants that glide, at a random time, loudness and speed, in
noise. So its accuracy says nothing of keyword spotting; what it is for is its layers, which are
depthwise and quantized per channel, and its size. Pruned to 80 % and shared among 16 values.
"""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import keras_deepcomp as kdc

PATH = Path(__file__).resolve().parent / "results" / "micro" / "ds-cnn.kdc"
FRAMES, FEATURES, WORDS, FORMANTS = 49, 10, 12, 3
SPARSITY, CLUSTERS = 0.8, 16
EPOCHS = (6, 6, 2)
# Who speaks which set; the words are the same.
SEEDS = {"train": (0, 3000), "test": (1, 1000)}


def made_words(which):
    """Inputs, float32 of shape (samples, 49, 10, 1), and the word of each."""
    seed, count = SEEDS[which]
    words = np.random.default_rng(100)
    start, end = words.uniform(0, FEATURES, (2, WORDS, FORMANTS))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, WORDS, count)
    length = rng.uniform(18, 30, (count, 1))
    begin = rng.uniform(2, FRAMES - 2 - length)
    progress = (np.arange(FRAMES) - begin) / length
    inside = (progress >= 0) & (progress <= 1)
    # Where each formant is in each frame, shape (samples, frames, formants).
    at = start[labels, None] + (end - start)[labels, None] * progress[..., None]
    at += rng.normal(0, 0.4, (count, 1, FORMANTS))
    energy = np.exp(-((np.arange(FEATURES) - at[..., None]) ** 2)).sum(axis=2)
    loud = rng.uniform(0.7, 1.5, (count, 1, 1))
    inputs = loud * energy * inside[..., None] + rng.normal(0, 0.5, energy.shape)
    return inputs[..., None].astype(np.float32), labels.astype(np.int32)


def ds_cnn():
    layers = keras.layers
    model = keras.Sequential([keras.Input((FRAMES, FEATURES, 1))], name="ds_cnn")

    def add(layer):
        model.add(layer)
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())

    add(layers.Conv2D(64, (10, 4), strides=2, padding="same", use_bias=False))
    for _ in range(4):
        add(layers.DepthwiseConv2D(3, padding="same", use_bias=False))
        add(layers.Conv2D(64, 1, use_bias=False))
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(WORDS))
    return model


def train(model, epochs, rate, *callbacks):
    inputs, labels = made_words("train")
    model.compile(
        keras.optimizers.Adam(rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(inputs, labels, 64, epochs, verbose=2, callbacks=list(callbacks))


def main():
    keras.utils.set_random_seed(0)
    model = ds_cnn()
    train(model, EPOCHS[0], 2e-3)
    schedule = kdc.schedules.Polynomial(final_sparsity=SPARSITY, begin=0.0, end=0.6)
    # Layer by layer: before a batch normalization the size of weights means nothing, so that one
    # threshold for all layers would empty some of them.
    pruned = kdc.prune_low_magnitude(model, schedule)
    train(pruned, EPOCHS[1], 1e-3, kdc.UpdatePruningStep())
    shared = kdc.cluster_weights(pruned, CLUSTERS)
    train(shared, EPOCHS[2], 2e-4, kdc.UpdateCentroids())
    PATH.parent.mkdir(parents=True, exist_ok=True)
    print(f"{PATH.name}: {kdc.save_model(shared, PATH):,} bytes")
    inputs, labels = made_words("test")
    right = kdc.load_model(PATH).predict(inputs, verbose=0).argmax(axis=1) == labels
    print(f"accuracy {right.mean():.3f}")


if __name__ == "__main__":
    main()
