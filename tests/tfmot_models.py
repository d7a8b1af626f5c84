"""Models of tfmot for tests/test_from_tfmot.py, made in a process that has tf-keras.

`python tfmot_models.py FOLDER` makes each model, trains it, and writes into the folder: what it
predicts, what `from_tfmot` made of it (as a Keras 3 file, with what that predicts here), and some
of the models as files of tf-keras.
"""

import sys
import warnings
from pathlib import Path

import numpy as np

import keras_deepcomp as kdc

warnings.simplefilter("ignore")  # of tf-keras and tfmot; what from_tfmot says is tested elsewhere

import tensorflow as tf  # noqa: E402
import tensorflow_model_optimization as tfmot  # noqa: E402
import tf_keras  # noqa: E402

pruning, clustering = tfmot.sparsity.keras, tfmot.clustering.keras
layers = tf_keras.layers
LINEAR = clustering.CentroidInitialization.LINEAR
SCHEDULE = pruning.PolynomialDecay(0.0, 0.5, begin_step=0, end_step=8, frequency=1)


@tf_keras.utils.register_keras_serializable("tests")
class Scaled(layers.Layer, pruning.PrunableLayer, clustering.ClusterableLayer):
    """A layer of one's own: a kernel and a gain per unit."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.kernel = self.add_weight("kernel", (input_shape[-1], self.units))
        self.gain = self.add_weight("gain", (self.units,), initializer="ones")

    def call(self, inputs):
        return tf.matmul(inputs, self.kernel) * self.gain

    def get_prunable_weights(self):
        return [self.kernel]

    def get_clusterable_weights(self):
        return [("kernel", self.kernel)]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def convolutional():
    return tf_keras.Sequential(
        [
            layers.Conv2D(6, 3, activation="relu", input_shape=(8, 8, 3), name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.SeparableConv2D(8, 3, name="separable"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Flatten(name="flat"),
            layers.Dense(5, name="small"),
            layers.Dense(4, name="smaller"),
        ],
        name="convolutional",
    )


def nested():
    """Two inputs, a Sequential and a functional model inside, and a layer that is used twice."""
    block_in = tf_keras.Input((16,), name="block_in")
    block_out = layers.Add(name="sum")([layers.Dense(16, name="within")(block_in), block_in])
    block = tf_keras.Model(block_in, block_out, name="block")
    branch = tf_keras.Sequential(
        [layers.Dense(16, activation="relu", input_shape=(6,), name="first"), layers.ReLU(0.5)],
        name="branch",
    )
    left = tf_keras.Input((16,), name="left")
    right = tf_keras.Input((6,), name="right")
    twice = layers.Dense(16, activation="tanh", name="twice")
    joined = layers.Concatenate(name="join")([block(twice(twice(left))), branch(right)])
    outputs = [layers.Dense(7, name="a")(joined), layers.Dense(9, name="b")(joined)]
    return tf_keras.Model([left, right], outputs, name="nested")


def recurrent():
    words = tf_keras.Input((6,), dtype="int32", name="words")
    hidden = layers.Embedding(20, 8, name="embed")(words)
    hidden = layers.LSTM(8, return_sequences=True, name="lstm")(hidden)
    return tf_keras.Model(words, layers.GRU(4, name="gru")(hidden), name="recurrent")


def bidirectional():
    return tf_keras.Sequential(
        [layers.Bidirectional(layers.LSTM(8, name="lstm"), input_shape=(6, 8), name="both")],
        name="bidirectional",
    )


def attention():
    inputs = tf_keras.Input((6, 8), name="sequence")
    hidden = layers.MultiHeadAttention(2, 4, name="attend")(inputs, inputs)
    hidden = layers.LayerNormalization(name="norm")(hidden)
    return tf_keras.Model(inputs, layers.Dense(8, name="out")(hidden))


def mixed_precision():
    return tf_keras.Sequential(
        [
            layers.Dense(
                16, input_shape=(12,), dtype=tf_keras.mixed_precision.Policy("mixed_float16")
            )
        ]
    )


def custom():
    return tf_keras.Sequential([layers.Input((12,)), Scaled(8, name="scaled")], name="custom")


def inputs_of(model):
    rng = np.random.default_rng(0)

    def data(symbol):
        shape = (16, *symbol.shape[1:])
        if symbol.dtype == "int32":
            return rng.integers(0, 20, shape).astype("int32")
        return rng.standard_normal(shape).astype("float32")

    return [data(symbol) for symbol in model.inputs]


def with_zeros(model):
    """Half of each kernel at zero, as after pruning."""
    for layer in model.layers:
        values = layer.get_weights()
        for value in values:
            if value.ndim > 1:
                value[np.abs(value) < np.median(np.abs(value))] = 0
        layer.set_weights(values)
    return model


def trained(model, *callbacks, epochs=3):
    x = inputs_of(model)
    y = [np.full((16, *out.shape[1:]), 0.5, "float32") for out in model.outputs]
    model.compile(tf_keras.optimizers.Adam(0.01), "mse")
    model.fit(x, y, batch_size=8, epochs=epochs, verbose=0, callbacks=list(callbacks))
    return model


def pruned(model, schedule=SCHEDULE, **arguments):
    return trained(
        pruning.prune_low_magnitude(model, schedule, **arguments), pruning.UpdatePruningStep()
    )


def untrained(model):
    """With values that no initializer gives: biases and statistics that are not 0 or 1."""
    rng = np.random.default_rng(0)

    def other(value):
        if value.ndim > 1:
            return value + rng.normal(0, 0.1, value.shape)
        return value + rng.uniform(0.1, 0.3, value.shape)  # a variance stays positive

    model.set_weights([other(value) for value in model.get_weights()])
    return model


def clustered(model, count=5, **arguments):
    return clustering.cluster_weights(model, count, LINEAR, **arguments)


def shared(model, **arguments):
    return trained(clustered(model, **arguments))


def partly():
    """One layer pruned, one clustered, one plain; the names of the inner layers are given twice."""
    return trained(
        tf_keras.Sequential(
            [
                layers.Input((12,)),
                pruning.prune_low_magnitude(layers.Dense(9, name="dense"), SCHEDULE),
                clustering.cluster_weights(layers.Dense(10, name="other"), 4, LINEAR),
                layers.Dense(8, name="dense"),
            ],
            name="partly",
        ),
        pruning.UpdatePruningStep(),
    )


MODELS = {
    "plain": lambda: untrained(convolutional()),
    "plain-mixed-precision": lambda: untrained(mixed_precision()),
    "pruned": lambda: pruned(convolutional()),
    "pruned-nested": lambda: pruned(nested()),
    "pruned-recurrent": lambda: pruned(recurrent()),
    "pruned-attention": lambda: pruned(attention()),
    "pruned-custom": lambda: pruned(custom()),
    "pruned-constant": lambda: pruned(
        convolutional(), pruning.ConstantSparsity(0.75, begin_step=1, frequency=1)
    ),
    "pruned-stripped": lambda: pruning.strip_pruning(pruning.prune_low_magnitude(nested())),
    "shared": lambda: shared(convolutional()),
    "shared-nested": lambda: shared(nested()),
    "shared-recurrent": lambda: clustered(untrained(recurrent())),
    "shared-bidirectional": lambda: clustered(untrained(bidirectional())),
    "shared-attention": lambda: clustered(untrained(attention())),
    "shared-custom": lambda: clustered(untrained(custom())),
    "shared-zeros": lambda: shared(with_zeros(convolutional()), preserve_sparsity=True),
    "shared-channels": lambda: clustered(untrained(convolutional()), cluster_per_channel=True),
    "shared-channels-zeros": lambda: shared(
        with_zeros(convolutional()), preserve_sparsity=True, cluster_per_channel=True
    ),
    "shared-stripped": lambda: clustering.strip_clustering(clustered(convolutional())),
    "partly": partly,
}
STRIPPED = {
    "pruned": pruning.strip_pruning,
    "pruned-nested": pruning.strip_pruning,
    "pruned-recurrent": pruning.strip_pruning,
    "shared": clustering.strip_clustering,
    "shared-nested": clustering.strip_clustering,
    "shared-zeros": clustering.strip_clustering,
    "shared-channels": clustering.strip_clustering,
    "shared-channels-zeros": clustering.strip_clustering,
}
FILES = {
    "pruned": "",
    "pruned-nested": ".h5",
    "shared-zeros": ".h5",
    "shared-channels-zeros": ".keras",
    "shared-custom": ".keras",
}


def weights_of(model, prefix=""):
    """The path of each layer -> its weights."""
    weights = {}
    for layer in model.layers:
        if hasattr(layer, "layers"):
            weights |= weights_of(layer, f"{prefix}{layer.name}.")
        else:
            weights[prefix + layer.name] = layer.get_weights()
    return weights


def custom_for_keras_3():
    from custom_scaled import Scaled as Keras3Scaled

    return {"Scaled": Keras3Scaled}


def main(folder):
    for name, make in MODELS.items():
        tf_keras.utils.set_random_seed(0)
        model = make()
        x = inputs_of(model)
        ours = kdc.from_tfmot(model, custom_for_keras_3() if "custom" in name else None)
        predicted = model.predict(x, verbose=0)
        predicted = predicted if isinstance(predicted, list) else [predicted]
        arrays = {f"x{i}": each for i, each in enumerate(x)}
        arrays |= {f"y{i}": each for i, each in enumerate(predicted)}
        ours.save(Path(folder, f"{name}.ours.keras"))
        if name in FILES:
            model.save(Path(folder, f"{name}.theirs{FILES[name]}"))
        if name in STRIPPED:
            for layer, values in weights_of(STRIPPED[name](model)).items():
                arrays |= {f"w/{layer}/{i}": value for i, value in enumerate(values)}
        np.savez(Path(folder, f"{name}.npz"), **arrays)
    assert tf.keras.version().startswith("3.")


if __name__ == "__main__":
    main(sys.argv[1])
