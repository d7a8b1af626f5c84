"""The index arrays that the format is measured on: trained, quantized, and of VGG-16's size.

An index array holds a small signed integer for each weight: 0 for zero, negative numbers for the
negative values of the codebook and positive ones for the positive values, in ascending order.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np

from keras_deepcomp import container

ROOT = Path(__file__).resolve().parent.parent
NETWORKS = ROOT / "benchmarks" / "results" / "format"
OWN_ROW = 1000
TRAINED = "trained"

# The paper's table 5: the share of weights kept, and the bits of an index (8 for convolutions, 5
# for dense layers), of each layer under its Keras name.
VGG16 = {
    "block1_conv1": ((3, 3, 3, 64), 0.58, 8),
    "block1_conv2": ((3, 3, 64, 64), 0.22, 8),
    "block2_conv1": ((3, 3, 64, 128), 0.34, 8),
    "block2_conv2": ((3, 3, 128, 128), 0.36, 8),
    "block3_conv1": ((3, 3, 128, 256), 0.53, 8),
    "block3_conv2": ((3, 3, 256, 256), 0.24, 8),
    "block3_conv3": ((3, 3, 256, 256), 0.42, 8),
    "block4_conv1": ((3, 3, 256, 512), 0.32, 8),
    "block4_conv2": ((3, 3, 512, 512), 0.27, 8),
    "block4_conv3": ((3, 3, 512, 512), 0.34, 8),
    "block5_conv1": ((3, 3, 512, 512), 0.35, 8),
    "block5_conv2": ((3, 3, 512, 512), 0.29, 8),
    "block5_conv3": ((3, 3, 512, 512), 0.36, 8),
    "fc1": ((25088, 4096), 0.04, 5),
    "fc2": ((4096, 4096), 0.04, 5),
    "predictions": ((4096, 1000), 0.23, 5),
}
# The layers that are measured, and how many of their first rows: with all rows of the two largest,
# fc1 and fc2 (the paper's fc6 and fc7), brotli and xz would take most of an hour.
VGG16_ROWS = {
    "block4_conv2": None,
    "block5_conv3": None,
    "fc1": 3136,
    "fc2": 1024,
    "predictions": None,
}


@dataclass(frozen=True)
class Subject:
    """One row of the table: index arrays that lie in one file."""

    name: str
    source: str
    arrays: dict[str, np.ndarray]

    @property
    def nonzero(self):
        """The non-zero elements of all arrays."""
        return sum(int(np.count_nonzero(array)) for array in self.arrays.values())


def narrowest(integers):
    widest = np.abs(integers).max(initial=0)
    return integers.astype(np.int8 if widest <= 127 else np.int16)


def indices(values):
    """The index array of a tensor with few distinct values."""
    codebook = np.unique(values[values != 0])
    below = np.count_nonzero(codebook < 0)
    ranks = np.searchsorted(codebook, values) - below
    return narrowest(np.where(values < 0, ranks, np.where(values > 0, ranks + 1, 0)))


def trained_networks():
    """Each large kernel as a subject of its own, the small ones of a network as one."""
    for path in sorted(NETWORKS.glob("*.kdc")):
        kernels = {
            name: indices(values)
            for name, values in container.load_file(path).items()
            if values.ndim > 1
        }
        large = {name for name, array in kernels.items() if np.count_nonzero(array) > OWN_ROW}
        for name in sorted(large):
            yield Subject(f"{path.stem} {name}", TRAINED, {name: kernels[name]})
        rest = {name: array for name, array in kernels.items() if name not in large}
        if rest:
            yield Subject(f"{path.stem} the rest", TRAINED, rest)


def share(values, clusters):
    """Clusters values around centroids, at first linearly spaced on either side of zero."""
    ordered = np.sort(values.astype(np.float64))
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    below, above = ordered[ordered < 0], ordered[ordered > 0]
    centroids = np.concatenate([
        np.linspace(below[0], below[-1], clusters // 2),
        np.linspace(above[0], above[-1], clusters - clusters // 2),
    ])  # fmt: skip
    for _ in range(20):
        edges = np.searchsorted(ordered, (centroids[1:] + centroids[:-1]) / 2)
        edges = np.concatenate([[0], edges, [len(ordered)]])
        members = np.diff(edges)
        centroids = np.diff(sums[edges])[members > 0] / members[members > 0]
    return centroids, np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values)


def chances_of(shape, density, rng, spread=1.0, rounds=3):
    """The probability of each weight of a layer to be kept, shape (rows, output channels).

    Densities are log-normal by input channel, by position in a window, and by output channel, as
    they are in trained layers; the more widely, the larger `spread`.
    """
    inputs, outputs = shape[-2:]
    positions = int(np.prod(shape[:-2]))
    by_position, by_input = rng.normal(0, 0.2, (positions, 1)), rng.normal(0, 0.6, (1, inputs))
    by_row = np.exp(spread * (by_position + by_input)).ravel()
    by_column = np.exp(spread * rng.normal(0, 0.4, outputs))
    chances = np.outer(by_row, by_column).astype(np.float32)
    chances *= density / chances.mean()
    for _ in range(rounds):
        np.minimum(chances, 0.98, out=chances)
        chances *= density / chances.mean()
    return chances


def kept_weights(shape, density, rng, **spreading):
    """The flat places of weights that are kept, and the scale of each weight there.

    Scales go with the densities of rows and columns, less widely.
    """
    chances = chances_of(shape, density, rng, **spreading)
    kept = np.flatnonzero(rng.random(chances.shape, dtype=np.float32) < chances)
    return kept, (chances.ravel()[kept] / density) ** 0.25


def pruned_and_shared(shape, density, bits, seed):
    """A synthetic layer, float32, as pruning by magnitude and sharing would leave it.

    See `kept_weights`. Weights that are kept have the tail of a normal distribution, beyond a
    threshold of 1.
    """
    rng = np.random.default_rng(seed)
    kept, scales = kept_weights(shape, density, rng)
    scales = scales / NormalDist().inv_cdf(1 - density / 2)
    values = np.sqrt(1 + 2 * scales**2 * rng.exponential(size=len(kept)))
    values *= rng.choice([-1, 1], len(kept))
    centroids, assignments = share(values, 2**bits - 1)
    tensor = np.zeros(int(np.prod(shape)), np.float32)
    tensor[kept] = centroids[assignments]
    return tensor.reshape(shape)


def vgg16_layer(name):
    shape, density, bits = VGG16[name]
    return pruned_and_shared(shape, density, bits, seed=list(VGG16).index(name))


def vgg16_layers():
    for name, rows in VGG16_ROWS.items():
        array = indices(vgg16_layer(name)[:rows])
        part = f", first {rows:,} rows" if rows else ""
        yield Subject(f"VGG-16 {name}{part}", "synthetic", {name: array})


def dense_clusters(rows=512, columns=2048, clusters=32, seed=100):
    """A dense layer that was shared but not pruned: no zeros, columns of different scale."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, columns)) * np.exp(rng.normal(0, 0.3, columns))
    centroids, assignments = share(values.ravel(), clusters)
    return Subject(
        f"dense, {clusters} clusters",
        "synthetic",
        {"w": indices(centroids[assignments].reshape(rows, columns))},
    )


def quantize(values):
    """Symmetric int8 with a scale for each output channel, as TensorFlow Lite has it."""
    scales = np.abs(values).max(axis=tuple(range(values.ndim - 1))) / 127
    return np.rint(values / scales).astype(np.int8)


def int8_tensors(seed=200):
    yield Subject("int8 of a baseline", "trained, int8", {"w": quantize(baseline_kernel())})
    rng = np.random.default_rng(seed)
    shape = (3, 3, 256, 256)
    values = rng.laplace(size=shape) * np.exp(rng.normal(0, 0.3, (256, 1)))
    yield Subject("int8 convolution", "synthetic", {"w": quantize(values)})


def baseline_kernel(seed=0):
    """The first kernel of a LeNet-300-100 after two epochs of MNIST, neither pruned nor shared."""
    import keras

    from keras_deepcomp import demo, models

    keras.utils.set_random_seed(seed)
    images, labels = demo.load_digits(ROOT / "data" / "mnist.npz").train
    model = models.lenet_300_100()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images.reshape(-1, 784), labels, batch_size=128, epochs=2, verbose=0)
    return model.weights[0].numpy()


def subjects():
    return [*trained_networks(), *vgg16_layers(), dense_clusters(), *int8_tensors()]
