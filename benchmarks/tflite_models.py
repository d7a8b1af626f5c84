"""Makes the `.tflite` files that packing is measured on, into `build/tflite/`.

Networks of the sizes that go to devices, each plain and pruned+shared, each converted in three
ways: float32, weights quantized ("dynamic"), and all of it in int8. Pruned+shared LeNets are the
trained ones of `benchmarks/results/format/`. The other networks are not trained: their weights are
random, normal and of a trained layer's scale, and their batch normalization has spread statistics
and scales, so that folding it into the kernels does to them what it does to trained ones.
Pruned+shared are then these weights by this package's own functions: each kernel, as that is what
the package takes by default, keeps its largest 15 % and those take 16 shared values.
"""

import argparse
import os
import re
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import keras_deepcomp as kdc
from keras_deepcomp import centroids, masks, tflite

ROOT = Path(__file__).resolve().parent.parent
TRAINED = ROOT / "benchmarks" / "results" / "format"
WAYS = ("float32", "dynamic", "int8")
SPARSITY, SHARED_VALUES = 0.85, 16

layers, applications = keras.layers, keras.applications


def keyword_spotter():
    """Depthwise separable convolutions over a spectrogram, the size of MLPerf Tiny's."""
    model = keras.Sequential([layers.Input((49, 10, 1)), layers.Conv2D(64, (10, 4), strides=2)])
    for _ in range(4):
        for layer in (layers.DepthwiseConv2D(3, padding="same"), layers.Conv2D(64, 1)):
            model.add(layer)
            model.add(layers.BatchNormalization())
            model.add(layers.ReLU())
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(12))
    return model


def recurrent(layer):
    """A recurrent network over twelve steps, unrolled, as int8 needs it."""
    return lambda: keras.Sequential(
        [layers.Input((12, 64)), layer(128, unroll=True), layers.Dense(20)]
    )


def small(make, **arguments):
    return lambda: make(weights=None, classes=100, **arguments)


NETWORKS = {
    "LeNet-300-100": kdc.models.lenet_300_100,
    "LeNet-5": kdc.models.lenet_5,
    "keyword spotter": keyword_spotter,
    "LSTM": recurrent(layers.LSTM),
    "GRU": recurrent(layers.GRU),
    "MobileNet 0.25": small(applications.MobileNet, input_shape=(96, 96, 3), alpha=0.25),
    "MobileNet": small(applications.MobileNet, input_shape=(96, 96, 3)),
    "MobileNetV2": small(applications.MobileNetV2, input_shape=(96, 96, 3)),
    "MobileNetV3 small": small(applications.MobileNetV3Small, input_shape=(96, 96, 3)),
    "EfficientNetB0": small(applications.EfficientNetB0, input_shape=(96, 96, 3)),
}


def give_weights(model, seed=0):
    """Give a network random weights with the spread of trained ones."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        name, shape = variable.name, variable.shape
        if len(shape) > 1:
            value = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:-1]))
        elif name in ("gamma", "moving_variance"):
            value = np.exp(rng.normal(0, 0.3, shape))
        elif name in ("beta", "bias", "moving_mean"):
            value = rng.normal(0, 0.1, shape)
        else:
            continue
        variable.assign(value.astype(np.float32))


def prune_and_share(model):
    """Prune each kernel by magnitude and share what is left, without training."""
    for variable in model.trainable_variables:
        weights = keras.ops.convert_to_numpy(variable)
        if weights.ndim < 2:
            continue
        (kept,), _ = masks.keep_largest([weights], [np.ones(weights.shape, bool)], SPARSITY)
        codebook = centroids.kmeans(weights[kept], SHARED_VALUES).astype(np.float32)
        variable.assign(np.where(kept, codebook[centroids.assign(weights, codebook)], 0))


def convert(model, way, shared, path):
    """Write a model as TensorFlow Lite, in one of the three ways.

    Shared values go to int8 by this package's own conversion, which keeps their number.
    """
    import tensorflow as tf

    rng = np.random.default_rng(0)
    samples = rng.random((8, *model.inputs[0].shape[1:]), np.float32)
    if shared and way == "int8":
        tflite.convert(model, path, quantize="int8", representative_data=samples, verbose=False)
        return
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if way != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if way == "int8":
        converter.representative_dataset = lambda: ([sample[np.newaxis]] for sample in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    path.write_bytes(converter.convert())


def models(name):
    """Yield (what it is, model) of a network, plain and pruned+shared."""
    model = NETWORKS[name]()
    give_weights(model)
    yield "plain", model
    trained = sorted(TRAINED.glob(f"{name.lower()}-*.kdc"))
    for path in trained:
        sparsity = re.search(r"-([\d.]+)\.kdc$", path.name).group(1)
        yield f"trained, pruned {sparsity} %, shared", kdc.load_model(path)
    if not trained:
        prune_and_share(model)
        yield f"pruned {100 * SPARSITY:g} %, shared", model


def make(folder, names):
    """Make the files that are not there yet; yield (network, weights, way, path)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        for weights, model in models(name):
            for way in WAYS:
                path = folder / (re.sub(r"[^\w.]+", "-", f"{name}-{weights}-{way}") + ".tflite")
                if not path.exists():
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        convert(model, way, "shared" in weights, path)
                yield name, weights, way, path
        keras.backend.clear_session()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    for *_, path in make(ROOT / "build" / "tflite", parser.parse_args().networks):
        print(f"{path.name}: {path.stat().st_size:,} bytes", flush=True)


if __name__ == "__main__":
    main()
