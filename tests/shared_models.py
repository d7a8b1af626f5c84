"""Tiny networks with pruned weights that share few values, as training leaves them."""

import keras
import numpy as np

CLUSTERS = 12


def prune_and_share(model, clusters=CLUSTERS, sparsity=0.5, seed=0):
    """Gives each kernel zeros and a codebook; and normalizations factors unlike each other."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        shape = tuple(variable.shape)
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(rng.uniform(0.3, 3, shape))
        elif len(shape) < 2:
            variable.assign(rng.normal(scale=0.1, size=shape))
        else:
            size = np.sqrt(2 / max(np.prod(shape[:-1]), 1) / (1 - sparsity))
            codebook = size * rng.normal(size=clusters).astype(np.float32)
            values = codebook[rng.integers(clusters, size=shape)]
            variable.assign(values * (rng.random(shape) >= sparsity))
    return model


def inputs_for(model, samples=64, seed=4):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(samples, *model.inputs[0].shape[1:])).astype(np.float32)


def dense():
    layers = [
        keras.layers.Dense(32, activation="relu", name="first"),
        keras.layers.Dense(10, name="top"),
    ]
    return keras.Sequential([keras.layers.Input((48,)), *layers], name="dense")


def conv():
    """Each kind of convolution, with and without a normalization that is folded in."""
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.Conv2D(16, 3, padding="same", use_bias=False, name="folded"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise"),
            layers.BatchNormalization(name="norm_2"),
            layers.ReLU(name="relu_2"),
            layers.SeparableConv2D(16, 3, name="separable"),
            layers.Conv2D(24, 1, activation="relu", name="pointwise"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(10, name="top"),
        ],
        name="conv",
    )


def lstm():
    layers = [keras.layers.LSTM(16, name="lstm"), keras.layers.Dense(10, name="top")]
    return keras.Sequential([keras.layers.Input((5, 6)), *layers], name="recurrent")
