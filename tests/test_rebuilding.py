import keras
import numpy as np
import own_classes as own
import pytest
from journey import STAGES, Journey
from model_kinds import KINDS, called, floats, integers
from support import array

import keras_deepcomp as kdc

CONSTANT = kdc.schedules.Constant(0.5, begin=0)


# One row of each sort; `make bench-compatibility` takes all of them, into docs/compatibility.md.
ROWS = (
    "Sequential without an input, built by data",
    "Sequential subclass with its own `__init__`",
    "Functional with lists of inputs and outputs",
    "Functional with a layer called twice",
    "Functional subclass with its own `__init__`",
    "Functional subclass with its own `train_step`",
    "Functional subclass that makes its layers before it calls them",
    "A frozen model inside",
    "Subclassed with lists, dicts and tuples of layers",
    "Subclassed with weights of its own",
    "Subclassed with its own `train_step`",
    "Subclassed, weights tied by attribute",
    "Functional in subclassed",
    "EinsumDense",
    "A layer of layers",
    "TimeDistributed",
    "Embedding",
    "SeparableConv2D",
    "SimpleRNN",
    "Discretization, adapted, and CategoryEncoding",
)
if keras.backend.backend() != "tensorflow":
    ROWS = ROWS[::2]  # the rest of it would take CI long
if keras.backend.backend() == "torch":  # it takes no attributes before a model's __init__
    LAYERS_FIRST = "Functional subclass that makes its layers before it calls them"
    ROWS = tuple(name for name in ROWS if name != LAYERS_FIRST)


# Keras warns so, of layers inside layers without a build() of their own, with nothing of ours too.
@pytest.mark.filterwarnings(r"ignore:`build\(\)` was called on layer:UserWarning")
@pytest.mark.parametrize("name", ROWS)
def test_kinds_go_all_the_way(name, tmp_path):
    journey = Journey(KINDS[name], tmp_path, eager=True)
    for stage in STAGES:
        journey.run(stage)


@keras.saving.register_keras_serializable("tests")
class Unnamed(keras.layers.Layer):
    """Its weights have no names, so that Keras numbers them through the process."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 16))
        self.scale = self.add_weight(shape=(16,), initializer="ones")

    def call(self, inputs):
        return keras.ops.matmul(inputs, self.kernel) * self.scale


def test_weights_without_names_keep_those_that_keras_gave_them(tmp_path):
    model = keras.Sequential([keras.Input((12,)), Unnamed(), Unnamed()])
    shared = kdc.cluster_weights(kdc.prune_low_magnitude(model, CONSTANT), 4)
    plain = kdc.strip(shared)
    assert [v.name for v in plain.variables] == [v.name for v in model.variables]
    kdc.save_model(shared, tmp_path / "shared.kdc")
    kdc.save_model(plain, tmp_path / "plain.kdc")
    assert (tmp_path / "shared.kdc").read_bytes() == (tmp_path / "plain.kdc").read_bytes()
    loaded = kdc.load_model(tmp_path / "shared.kdc")
    for one, other in zip(plain.variables, loaded.variables, strict=True):
        np.testing.assert_array_equal(array(one), array(other))


def test_a_wrapper_reads_as_its_layer_does():
    model, _ = called(own.Tied(name="own"), integers(20, 6))
    shared = kdc.cluster_weights(model, 4)
    assert shared.embedding.input_dim == 20
    expected = shared.embedding.effective_weights()["embeddings"]
    np.testing.assert_array_equal(array(shared.embedding.embeddings), expected)
    with pytest.raises(AttributeError, match="nonsense"):
        shared.embedding.nonsense  # noqa: B018


class Hiding(keras.Model):
    """Has a layer that only a function of its own can reach."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        dense = keras.layers.Dense(10, name="hidden")
        self._tracker.add_to_store("layers", dense)
        self.run = lambda x: dense(x)

    def call(self, x):
        return self.run(x)


class Needing(keras.Model):
    """Has an argument that Keras does not keep."""

    def __init__(self, units=5, **arguments):
        super().__init__(**arguments)
        self.dense = keras.layers.Dense(units)

    def call(self, x):
        return self.dense(x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Hiding, "keeps its layers 'hidden' where they cannot be replaced. Keep them as attrib"),
        (
            lambda: Needing(10),
            "does not keep the arguments units of a model. Give it a get",
        ),
    ],
)
def test_models_that_cannot_be_made_anew_say_what_to_do(make, message):
    model, _ = called(make(), floats(12))
    with pytest.raises(ValueError, match=message):
        kdc.prune_low_magnitude(model, CONSTANT)
