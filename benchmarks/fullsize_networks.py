"""AlexNet and VGG-16 with synthetic weights like those of the paper's tables 4 and 5.

For each layer the tables say how many weights are kept, the bits of an index, and what Huffman
coding makes of the indices and of the gaps between kept weights. The weights here have the same:

- so many of them lie beyond a threshold, and pruning by it keeps these;
- the densities of rows and columns spread as widely as it takes for the gaps, coded as in the
  paper, to have the bits of the tables;
- and their magnitudes have a tail as heavy as it takes for the indices to have them, when k-means
  finds the codebook from the paper's linear start.

So a file of them is as hard to make small as the paper's, though nobody trained them.
"""

from dataclasses import dataclass

import keras
import numpy as np
from format_tensors import VGG16, chances_of, kept_weights

from keras_deepcomp import models
from keras_deepcomp.centroids import assign, kmeans

_MARGIN = 1e-3
"""How far above the threshold all is that is kept."""
_CALIBRATING = 1 << 21
_ROUNDS = 20


@dataclass(frozen=True)
class Layer:
    """One layer of the paper's tables.

    Attributes:
        shape: The kernel's shape.
        density: The share of weights kept.
        bits: Bits of an index into the codebook.
        weight_bits: Bits of an index after Huffman coding.
        gap_bits: Bits of a gap before Huffman coding: one that is longer takes a filler zero.
        coded_gap_bits: Bits of a gap after Huffman coding.
        percent: What the layer takes in the end, in percent of its size as float32.
    """

    shape: tuple[int, ...]
    density: float
    bits: int
    weight_bits: float
    gap_bits: int
    coded_gap_bits: float
    percent: float


# The paper's table 5, in the last three columns.
_VGG16 = {
    "block1_conv1": (6.8, 1.7, 29.97),
    "block1_conv2": (6.5, 2.6, 6.99),
    "block2_conv1": (5.6, 2.4, 8.91),
    "block2_conv2": (5.9, 2.3, 9.31),
    "block3_conv1": (4.8, 1.8, 11.15),
    "block3_conv2": (4.6, 2.9, 5.67),
    "block3_conv3": (4.6, 2.2, 8.96),
    "block4_conv1": (4.6, 2.6, 7.29),
    "block4_conv2": (4.2, 2.9, 5.93),
    "block4_conv3": (4.4, 2.5, 7.47),
    "block5_conv1": (4.7, 2.5, 8.00),
    "block5_conv2": (4.6, 2.7, 6.52),
    "block5_conv3": (4.6, 2.3, 7.79),
    "fc1": (3.6, 3.5, 1.10),
    "fc2": (4.0, 4.3, 1.25),
    "predictions": (4.0, 3.4, 5.24),
}


@dataclass(frozen=True)
class Network:
    """A network of the paper.

    Attributes:
        title: Its name.
        make: Builds it.
        layers: Its layers with weights, by name.
        paper_bytes: What the paper made of it (table 1).
        paper_ratio: And how many times smaller that is.
    """

    title: str
    make: object
    layers: dict[str, Layer]
    paper_bytes: float
    paper_ratio: int


NETWORKS = {
    "alexnet": Network(
        "AlexNet",
        models.alexnet,
        {  # table 4
            "conv1": Layer((11, 11, 3, 96), 0.84, 8, 6.3, 4, 1.2, 20.53),
            "conv2": Layer((5, 5, 48, 256), 0.38, 8, 5.5, 4, 2.3, 9.43),
            "conv3": Layer((3, 3, 256, 384), 0.35, 8, 5.1, 4, 2.6, 8.44),
            "conv4": Layer((3, 3, 192, 384), 0.37, 8, 5.2, 4, 2.5, 9.11),
            "conv5": Layer((3, 3, 192, 256), 0.37, 8, 5.6, 4, 2.5, 9.43),
            "fc6": Layer((9216, 4096), 0.09, 5, 3.9, 4, 3.2, 2.39),
            "fc7": Layer((4096, 4096), 0.09, 5, 3.6, 4, 3.7, 2.46),
            "fc8": Layer((4096, 1000), 0.25, 5, 4.0, 4, 3.2, 5.85),
        },
        6.9e6,
        35,
    ),
    "vgg16": Network(
        "VGG-16",
        lambda: keras.applications.VGG16(weights=None),
        {
            name: Layer(*VGG16[name], weight_bits, 5, gap_bits, percent)
            for name, (weight_bits, gap_bits, percent) in _VGG16.items()
        },
        11.3e6,
        49,
    ),
}


def dense_weights(network, name):
    """A layer before pruning: kernel and bias, float32, and the threshold to prune it by."""
    layer = NETWORKS[network].layers[name]
    seed = _seed(network, name)
    rng = np.random.default_rng(seed)
    spread = _spread(layer, seed)
    places, values = _kept(layer, seed, spread, _tail(layer, seed, spread))
    rows = int(np.prod(layer.shape[:-1]))
    # As He et al. (2015) would have it for what is kept, so that activations stay in range.
    unit = float(np.sqrt(2 * layer.shape[-1] / np.square(values, dtype=np.float64).sum()))
    kernel = rng.random(rows * layer.shape[-1], np.float32)
    kernel -= 0.5
    kernel *= 2 * unit
    kernel[places] = unit * values
    bias = rng.normal(scale=0.01, size=layer.shape[-1]).astype(np.float32)
    return kernel.reshape(layer.shape), bias, (1 + _MARGIN / 2) * unit


def _seed(network, name):
    return [*NETWORKS, *NETWORKS[network].layers].index(name)


def _spread(layer, seed):
    """How widely densities spread in a layer, so that gaps have the bits of the table."""
    # A part of a large layer will do.
    positions = int(np.prod(layer.shape[:-2]))
    part = max(1, min(layer.shape[-2], _CALIBRATING // positions // layer.shape[-1]))
    shape = (*layer.shape[:-2], part, layer.shape[-1])

    def gap_bits(spread):
        rng = np.random.default_rng(seed)
        chances = chances_of(shape, layer.density, rng, spread, _ROUNDS)
        kept = rng.random(chances.shape, dtype=np.float32) < chances
        return plain_gap_bits(np.flatnonzero(kept), 1 << layer.gap_bits)

    return _bisect(gap_bits, layer.coded_gap_bits, 3.0, 0.0, steps=10)


def _tail(layer, seed, spread):
    """How heavy the tail of the magnitudes is, so that indices have the bits of the table."""

    def weight_bits(tail):
        _, values = _kept(layer, seed, spread, tail)
        indices = assign(values, kmeans(values, 1 << layer.bits))
        return entropy(np.bincount(indices))

    return _bisect(weight_bits, layer.weight_bits, 4.0, 0.0, steps=8)


def source_bits(network, name, kernel):
    """What a coded kernel takes at the least, if it is known how the weights were made.

    Args:
        network: The network's name.
        name: The layer's name.
        kernel: Its kernel, pruned and shared.

    Returns:
        Bits of the positions, each kept with the probability that it had; and of the codebook
        indices at their entropy, codebook included.
    """
    layer, seed = NETWORKS[network].layers[name], _seed(network, name)
    rng = np.random.default_rng(seed)
    chances = chances_of(layer.shape, layer.density, rng, _spread(layer, seed), _ROUNDS)
    kept = kernel.reshape(chances.shape) != 0
    np.minimum(chances, 1, out=chances)
    np.subtract(1, chances, out=chances, where=~kept)
    positions = -float(np.log2(chances, out=chances).sum(dtype=np.float64))
    counts = np.unique(kernel[kernel != 0], return_counts=True)[1]
    return positions, entropy(counts) * counts.sum() + 32 * counts.size


def plain_gap_bits(places, longest):
    """The entropy of a gap, coded as in the paper: longer ones take filler zeros."""
    gaps = np.diff(places, prepend=-1) - 1
    counts = np.bincount(gaps % longest, minlength=longest)
    counts[-1] += (gaps // longest).sum()
    return entropy(counts)


def entropy(counts):
    """Bits of a symbol."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def _kept(layer, seed, spread, tail):
    """The weights that are kept, in units of the threshold: their places and values."""
    rng = np.random.default_rng(seed)
    places, scales = kept_weights(layer.shape, layer.density, rng, spread=spread, rounds=_ROUNDS)
    values = 1 + _MARGIN + scales * rng.exponential(size=len(places)) ** tail
    return places, (values * rng.choice([-1, 1], len(places))).astype(np.float32)


def _bisect(function, wanted, low, high, steps):
    """Where a function that falls from `high` to `low` has a value, or the nearer end."""
    for _ in range(steps):
        middle = (low + high) / 2
        if function(middle) < wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2
