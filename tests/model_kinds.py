"""The kinds of model and layer that the package promises to take: one small example of each.

`KINDS` is what `test_rebuilding` runs, and `benchmarks/compatibility.py` for docs/compatibility.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import keras
import numpy as np
import own_classes as own
from keras import layers, ops

SAMPLES = 16


@dataclass(frozen=True)
class Kind:
    """One row of the catalogue.

    Attributes:
        name: As people know it.
        group: What it is an example of.
        make: Makes a built model and its inputs.
        slow: Whether it takes long; such rows run when docs/compatibility.md is made.
        needs: A package that it is from, which may not be installed.
    """

    name: str
    group: str
    make: Callable[[], tuple[keras.Model, Any]]
    slow: bool = False
    needs: str = "keras"

    @property
    def installed(self) -> bool:
        """Whether the package that it is from is there."""
        return find_spec(self.needs) is not None


KINDS: dict[str, Kind] = {}


def kind(name, group, **arguments):
    """Enters a function into the catalogue."""

    def enter(make):
        def seeded():
            keras.utils.set_random_seed(0)
            return make()

        assert name not in KINDS
        KINDS[name] = Kind(name, group, seeded, **arguments)
        return make

    return enter


def floats(*shape, seed=0):
    """Inputs of a shape, normally distributed."""
    return np.random.default_rng(seed).standard_normal((SAMPLES, *shape), np.float32)


def integers(below, *shape, dtype="int32", seed=0):
    """Inputs of a shape, from 0 to below `below`."""
    return np.random.default_rng(seed).integers(0, below, (SAMPLES, *shape)).astype(dtype)


def called(model, inputs):
    """A model built by a call with its inputs."""
    model(keras.tree.map_structure(ops.convert_to_tensor, inputs))
    return model, inputs


def sequential(*members, shape=(12,), dtype=None, name="net"):
    """A Sequential model whose input shape is known."""
    return keras.Sequential([layers.Input(shape, dtype=dtype), *members], name=name)


# Kinds of model.

SEQUENTIAL, FUNCTIONAL, SUBCLASSED = "Sequential", "Functional", "Subclassed"


@kind("Sequential", SEQUENTIAL)
def _():
    return sequential(layers.Dense(16, "relu"), layers.Dropout(0.1), layers.Dense(8)), floats(12)


@kind("Sequential without an input, built by data", SEQUENTIAL)
def _():
    return called(keras.Sequential([layers.Dense(16), layers.Dense(8)]), floats(12))


@kind("Sequential in Sequential in Sequential", SEQUENTIAL)
def _():
    deep = keras.Sequential([layers.Dense(12, name="d")], name="deep")
    middle = keras.Sequential([layers.Dense(12), deep], name="middle")
    return sequential(middle, layers.Dense(8)), floats(12)


@kind("Sequential subclass with its own `__init__`", SEQUENTIAL)
def _():
    return own.SequentialSubclass(20, name="own"), floats(12)


@kind("Functional", FUNCTIONAL)
def _():
    x = keras.Input((12,))
    hidden = layers.BatchNormalization()(layers.Dense(12)(x)) + x
    return keras.Model(x, layers.Dense(8)(ops.relu(hidden[:, 2:])), name="net"), floats(12)


@kind("Functional with lists of inputs and outputs", FUNCTIONAL)
def _():
    inputs = [keras.Input((12,)), keras.Input((12,))]
    first, second = (layers.Dense(8)(x) for x in inputs)
    return keras.Model(inputs, [first + second, first]), [floats(12), floats(12, seed=1)]


@kind("Functional with dicts of inputs and outputs", FUNCTIONAL)
def _():
    inputs = {"b": keras.Input((12,), name="b"), "a": keras.Input((12,), name="a")}
    outputs = {name: layers.Dense(8)(x) for name, x in inputs.items()}
    data = {"a": floats(12), "b": floats(12, seed=1)}
    return keras.Model(inputs, {**outputs, "c": outputs["a"] * outputs["b"]}), data


@kind("Functional with a layer called twice", FUNCTIONAL)
def _():
    x = keras.Input((12,))
    shared = layers.Dense(12, name="shared")
    return keras.Model(x, shared(ops.tanh(shared(x)))), floats(12)


@kind("Functional with a layer shared by two inputs", FUNCTIONAL)
def _():
    inputs = [keras.Input((12,)), keras.Input((12,))]
    shared = layers.Dense(8)
    outputs = layers.Concatenate()([shared(x) for x in inputs])
    return keras.Model(inputs, outputs), [floats(12), floats(12, seed=1)]


@kind("Functional in Sequential in functional", FUNCTIONAL)
def _():
    x = keras.Input((12,))
    deep = keras.Model(x, layers.Dense(12)(x) + x, name="deep")
    middle = sequential(deep, layers.Dense(12), name="middle")
    x = keras.Input((12,))
    return keras.Model(x, layers.Dense(8)(middle(x)), name="outer"), floats(12)


@kind("Functional with a model called twice", FUNCTIONAL)
def _():
    x, inner = keras.Input((12,)), sequential(layers.Dense(12), name="inner")
    return keras.Model(x, layers.Dense(8)(inner(inner(x)))), floats(12)


@kind("Functional with a layer shared with a model inside", FUNCTIONAL)
def _():
    x, shared = keras.Input((12,)), layers.Dense(12, name="shared")
    inner = keras.Model(x, shared(x), name="inner")
    x = keras.Input((12,))
    return keras.Model(x, layers.Dense(8)(shared(inner(x)))), floats(12)


@kind("Functional subclass with its own `__init__`", FUNCTIONAL)
def _():
    model = own.Backbone(8, name="backbone")
    return model, {"tokens": integers(20, 6)}


@kind("Functional subclass that makes its layers before it calls them", FUNCTIONAL)
def _():
    return own.LayersFirst(12, name="backbone"), floats(12)


@kind("Functional subclass with its own `train_step`", FUNCTIONAL)
def _():
    x = keras.Input((12,))
    return own.FunctionalTrainStep(x, layers.Dense(8)(x)), floats(12)


@kind("Functional subclass with its own `__init__` in functional", FUNCTIONAL)
def _():
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    sequence = own.Backbone(8, name="backbone")({"tokens": tokens})["sequence"]
    return keras.Model(tokens, layers.Dense(8)(sequence)), integers(20, 6)


@kind("Frozen layers", FUNCTIONAL)
def _():
    model = sequential(layers.Dense(12), layers.BatchNormalization(), layers.Dense(8))
    model.layers[0].trainable = model.layers[1].trainable = False
    return model, floats(12)


@kind("A frozen model inside", FUNCTIONAL)
def _():
    inner = sequential(layers.Dense(12), layers.Dense(12), name="inner")
    inner.trainable = False
    return sequential(inner, layers.Dense(8)), floats(12)


@kind("Mixed precision (mixed_bfloat16)", FUNCTIONAL)
def _():
    dense = [layers.Dense(n, dtype="mixed_bfloat16") for n in (16, 8)]
    return sequential(*dense), floats(12)


@kind("Weights in bfloat16", FUNCTIONAL)
def _():
    return sequential(layers.Dense(16, dtype="bfloat16"), layers.Dense(8)), floats(12)


@kind("Subclassed", SUBCLASSED)
def _():
    return called(own.Plain(name="own"), floats(12))


@kind("Subclassed, a layer called twice", SUBCLASSED)
def _():
    return called(own.CalledTwice(name="own"), floats(16))


@kind("Subclassed with lists, dicts and tuples of layers", SUBCLASSED)
def _():
    return called(own.InCollections(12, name="own"), floats(12))


@kind("Subclassed, dicts of inputs and outputs", SUBCLASSED)
def _():
    return called(own.OfDicts(name="own"), {"left": floats(12), "right": floats(10)})


@kind("Subclassed in subclassed", SUBCLASSED)
def _():
    return called(own.Around(name="own"), floats(12))


@kind("Subclassed in subclassed in subclassed", SUBCLASSED)
def _():
    return called(own.Around(own.Around(name="middle"), name="own"), floats(12))


@kind("Subclassed in functional", SUBCLASSED)
def _():
    x = keras.Input((12,))
    return keras.Model(x, layers.Dense(8)(own.Plain(name="inner")(x)), name="outer"), floats(12)


@kind("Subclassed in Sequential", SUBCLASSED)
def _():
    return sequential(own.Plain(name="inner"), layers.Dense(8)), floats(12)


@kind("Functional in subclassed", SUBCLASSED)
def _():
    return called(own.AroundGraph(name="own"), floats(12))


@kind("Functional, given as an argument, in subclassed", SUBCLASSED)
def _():
    x = keras.Input((12,))
    inner = keras.Model(x, layers.Dense(12)(x) + x, name="graph")
    return called(own.Around(inner, name="own"), floats(12))


@kind("Subclassed with weights of its own", SUBCLASSED)
def _():
    return called(own.OwnWeight(name="own"), floats(12))


@kind("Subclassed with its own `train_step`", SUBCLASSED)
def _():
    return called(own.OwnTrainStep(name="own"), floats(12))


@kind("Subclassed with layers made in `build`", SUBCLASSED)
def _():
    return called(own.MadeInBuild(name="own"), floats(12))


@kind("Subclassed, weights tied by attribute", SUBCLASSED)
def _():
    return called(own.Tied(name="own"), integers(20, 6))


# Layers.

DENSE, CONVOLUTIONS, RECURRENT = "Dense and embedding", "Convolutions", "Recurrent"
ATTENTION, OTHER, PREPROCESSING = "Attention", "Normalization and others", "Preprocessing"


def layer_kind(name, group, make, shape, head=True):
    """Enters a model of one layer, with a dense layer behind it."""

    @kind(name, group)
    def _():
        tail = [layers.Flatten(), layers.Dense(8)] if head else []
        return sequential(make(), *tail, shape=shape), floats(*shape)


layer_kind("Dense", DENSE, lambda: layers.Dense(16, kernel_regularizer="l2"), (12,))
layer_kind(
    "EinsumDense",
    DENSE,
    lambda: layers.EinsumDense("abc,cd->abd", (3, 16), bias_axes="d"),
    (3, 8),
)
layer_kind("A layer with weights of its own", DENSE, lambda: own.LowRank(16), (12,))
layer_kind("A layer of layers", DENSE, lambda: own.Block(12), (12,))
layer_kind("TimeDistributed", DENSE, lambda: layers.TimeDistributed(layers.Dense(16)), (3, 8))


@kind("Embedding", DENSE)
def _():
    members = [layers.Embedding(20, 8), layers.Flatten(), layers.Dense(8)]
    return sequential(*members, shape=(6,), dtype="int32"), integers(20, 6)


@kind("ReversibleEmbedding", DENSE)
def _():
    tokens, embedding = keras.Input((6,), dtype="int32"), layers.ReversibleEmbedding(20, 8)
    hidden = layers.Dense(8)(embedding(tokens))
    return keras.Model(tokens, embedding(hidden, reverse=True)), integers(20, 6)


for rank, length in ((1, 8), (2, 6), (3, 4)):
    shape = (length,) * rank + (4,)
    convolution = getattr(layers, f"Conv{rank}D")
    transposed = getattr(layers, f"Conv{rank}DTranspose")
    layer_kind(f"Conv{rank}D", CONVOLUTIONS, lambda c=convolution: c(8, 3), shape)
    layer_kind(f"Conv{rank}DTranspose", CONVOLUTIONS, lambda c=transposed: c(8, 3), shape)
for rank, length in ((1, 8), (2, 6)):
    shape = (length,) * rank + (4,)
    depthwise = getattr(layers, f"DepthwiseConv{rank}D")
    separable = getattr(layers, f"SeparableConv{rank}D")
    layer_kind(
        f"DepthwiseConv{rank}D",
        CONVOLUTIONS,
        lambda d=depthwise: d(3, depth_multiplier=8),
        shape,
    )
    layer_kind(f"SeparableConv{rank}D", CONVOLUTIONS, lambda s=separable: s(16, 3), shape)
layer_kind("Conv2D with groups", CONVOLUTIONS, lambda: layers.Conv2D(8, 3, groups=2), (6, 6, 4))
layer_kind("ConvLSTM2D", RECURRENT, lambda: layers.ConvLSTM2D(4, 3), (3, 6, 6, 2))
layer_kind("SimpleRNN", RECURRENT, lambda: layers.SimpleRNN(12), (5, 8))
layer_kind("LSTM", RECURRENT, lambda: layers.LSTM(8), (5, 8))
layer_kind("GRU", RECURRENT, lambda: layers.GRU(8, return_sequences=True), (5, 8))
layer_kind("LSTM with dropout", RECURRENT, lambda: layers.LSTM(8, recurrent_dropout=0.1), (5, 8))
layer_kind("Bidirectional", RECURRENT, lambda: layers.Bidirectional(layers.LSTM(8)), (5, 8))
layer_kind(
    "Bidirectional with two layers",
    RECURRENT,
    lambda: layers.Bidirectional(
        layers.GRU(8), backward_layer=layers.LSTM(8, go_backwards=True), merge_mode="sum"
    ),
    (5, 8),
)
layer_kind(
    "RNN of a StackedRNNCells",
    RECURRENT,
    lambda: layers.RNN([layers.LSTMCell(8), layers.GRUCell(8)]),
    (5, 8),
)


@kind("LSTM, stateful", RECURRENT)
def _():
    x = keras.Input((5, 8), batch_size=8)
    return keras.Model(x, layers.Dense(8)(layers.LSTM(8, stateful=True)(x))), floats(5, 8)


@kind("LSTM with a mask and initial states", RECURRENT)
def _():
    tokens, state = keras.Input((6,), dtype="int32"), keras.Input((8,))
    embedded = layers.Embedding(20, 8, mask_zero=True)(tokens)
    outputs, last, _ = layers.LSTM(8, return_state=True, return_sequences=True)(
        embedded, initial_state=[state, state]
    )
    both = layers.GRU(8)(outputs) + last
    return keras.Model([tokens, state], both), [integers(20, 6), floats(8)]


@kind("MultiHeadAttention", ATTENTION)
def _():
    x, y = keras.Input((5, 8)), keras.Input((4, 8))
    attended = layers.MultiHeadAttention(2, 4)(x, value=y, key=y)
    return keras.Model([x, y], layers.Dense(8)(attended)), [floats(5, 8), floats(4, 8)]


@kind("MultiHeadAttention with a mask and scores", ATTENTION)
def _():
    x = keras.Input((5, 8))
    mask = keras.Input((5, 5), dtype="bool")
    attended, scores = layers.MultiHeadAttention(2, 4)(
        x, x, attention_mask=mask, return_attention_scores=True
    )
    return keras.Model([x, mask], [attended, scores]), [floats(5, 8), integers(2, 5, 5) > 0]


@kind("GroupQueryAttention", ATTENTION)
def _():
    x = keras.Input((5, 8))
    attended = layers.GroupQueryAttention(8, 4, 2)(x, x, use_causal_mask=True)
    return keras.Model(x, layers.Dense(8)(attended)), floats(5, 8)


@kind("Attention and AdditiveAttention", ATTENTION)
def _():
    x = keras.Input((5, 8))
    y = layers.Dense(8)(x)
    both = layers.Attention(use_scale=True)([x, y]) + layers.AdditiveAttention()([y, x])
    return keras.Model(x, both), floats(5, 8)


for make in (
    layers.BatchNormalization,
    layers.LayerNormalization,
    layers.GroupNormalization,
    layers.RMSNormalization,
    layers.UnitNormalization,
    layers.PReLU,
):
    arguments = {"groups": 2} if make is layers.GroupNormalization else {}
    layer_kind(make.__name__, OTHER, lambda m=make, a=arguments: m(**a), (8,))
layer_kind(
    "SpectralNormalization", OTHER, lambda: layers.SpectralNormalization(layers.Dense(12)), (8,)
)
layer_kind("GaussianNoise, seeded", OTHER, lambda: layers.GaussianNoise(0.1, seed=3), (8,))


@kind("Normalization, adapted", PREPROCESSING)
def _():
    x, normalization = floats(12) * 3 + 2, layers.Normalization()
    normalization.adapt(x)
    return sequential(normalization, layers.Dense(8)), x


@kind("Normalization, adapted, in subclassed", PREPROCESSING)
def _():
    x, normalization = floats(12) * 3 + 2, layers.Normalization()
    normalization.adapt(x)
    return called(own.Around(sequential(normalization, layers.Dense(12)), name="own"), x)


@kind("Discretization, adapted, and CategoryEncoding", PREPROCESSING)
def _():
    x, discretization = floats(4), layers.Discretization(num_bins=8)
    discretization.adapt(x)
    encoding = layers.CategoryEncoding(8, "multi_hot")
    return sequential(discretization, encoding, layers.Dense(16), shape=(4,)), x


@kind("Rescaling, Resizing and random images", PREPROCESSING)
def _():
    members = [layers.Rescaling(0.1), layers.Resizing(6, 6), layers.RandomFlip(seed=1)]
    tail = [layers.RandomRotation(0.1, seed=2), layers.Conv2D(8, 3)]
    return sequential(*members, *tail, shape=(8, 8, 3)), floats(8, 8, 3)


@kind("Hashing of integers", PREPROCESSING)
def _():
    members = [layers.Hashing(20), layers.Embedding(20, 8)]
    return sequential(*members, shape=(6,), dtype="int64"), integers(99, 6, dtype="int64")


@kind("IntegerLookup", PREPROCESSING)
def _():
    members = [layers.IntegerLookup(vocabulary=[3, 5, 7]), layers.Embedding(20, 8)]
    return sequential(*members, shape=(6,), dtype="int64"), integers(9, 6, dtype="int64")


@kind("StringLookup", PREPROCESSING)
def _():
    members = [layers.StringLookup(vocabulary=["a", "b", "c"]), layers.Embedding(20, 8)]
    model = sequential(*members, shape=(6,), dtype="string")
    return model, ops.convert_to_tensor(np.full((SAMPLES, 6), "b"))


@kind("TextVectorization", PREPROCESSING)
def _():
    text = layers.TextVectorization(vocabulary=["one", "two"], output_sequence_length=4)
    model = sequential(text, layers.Embedding(20, 8), shape=(1,), dtype="string")
    return model, ops.convert_to_tensor(np.full((SAMPLES, 1), "two one"))


# Whole families.

APPLICATIONS, HUB = "keras.applications", "KerasHub"
_FAMILIES = {  # class -> width of the smallest image that it takes, and what makes it smaller
    "ConvNeXtTiny": (32, {}),
    "DenseNet121": (32, {}),
    "EfficientNetB0": (32, {}),
    "EfficientNetV2B0": (32, {}),
    "InceptionV3": (75, {}),
    "MobileNet": (32, {"alpha": 0.25}),
    "MobileNetV2": (32, {"alpha": 0.35}),
    "MobileNetV3Small": (32, {"alpha": 0.75}),
    "NASNetMobile": (32, {}),
    "ResNet50V2": (32, {}),
    "VGG16": (32, {}),
    "Xception": (71, {}),
}


def _application(name, width, arguments):
    @kind(name, APPLICATIONS, slow=True)
    def _():
        make = getattr(keras.applications, name)
        base = {"weights": None, "include_top": False, "pooling": "avg"}
        model = make(input_shape=(width, width, 3), **base, **arguments)
        return model, floats(width, width, 3)[:4]


for _name, (_width, _arguments) in _FAMILIES.items():
    _application(_name, _width, _arguments)


@kind("BertBackbone", HUB, slow=True, needs="keras_hub")
def _():
    import keras_hub

    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32}
    model = keras_hub.models.BertBackbone(30, **sizes, max_sequence_length=8)
    return model, {
        "token_ids": integers(30, 8),
        "segment_ids": integers(2, 8),
        "padding_mask": integers(2, 8, seed=1) | 1,
    }


@kind("GemmaBackbone", HUB, slow=True, needs="keras_hub")
def _():
    import keras_hub

    model = keras_hub.models.GemmaBackbone(
        vocabulary_size=30,
        num_layers=2,
        num_query_heads=2,
        num_key_value_heads=1,
        hidden_dim=16,
        intermediate_dim=32,
        head_dim=8,
    )
    return model, {"token_ids": integers(30, 8), "padding_mask": integers(2, 8) | 1}


@kind("ResNetBackbone", HUB, slow=True, needs="keras_hub")
def _():
    import keras_hub

    model = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=(16, 16, 3),
    )
    return model, floats(16, 16, 3)
