"""A wrapped layer must do all that the layer does; here with nothing pruned, against the layer."""

import keras
import numpy as np
import pytest
from support import array, compiled, dense_model, regression_data

import keras_deepcomp as kdc
from keras_deepcomp.wrappers.substitution import call_with, find_wrappers

LAYERS = keras.layers


def identical_pair(layers, shape, **input_arguments):
    """A model, and the same one with its layers wrapped."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([LAYERS.Input(shape, **input_arguments), *layers])
    wrapped = kdc.prune_low_magnitude(model, kdc.schedules.Constant(0.0))
    for wrapper in find_wrappers(wrapped):
        wrapper.driven = True
    return model, wrapped


def inner_values(model):
    """All variables of the layers as they are inside, without the wrappers' own."""
    return [array(v) for v in kdc.strip(model).variables]


def batch(shape, seed=0):
    return np.random.default_rng(seed).standard_normal((32, *shape), np.float32)


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        (lambda: [LAYERS.Dense(16, "relu"), LAYERS.Dense(8)], (12,)),
        (
            lambda: [LAYERS.Conv2D(8, 3, padding="same"), LAYERS.Flatten(), LAYERS.Dense(8)],
            (6, 6, 2),
        ),
        (lambda: [LAYERS.LSTM(8, return_sequences=True), LAYERS.LSTM(8)], (5, 8)),
        (lambda: [LAYERS.Bidirectional(LAYERS.GRU(8)), LAYERS.Dense(8)], (5, 8)),
        (lambda: [LAYERS.EinsumDense("abc,cd->abd", (None, 16)), LAYERS.Flatten()], (4, 8)),
    ],
    ids=["dense", "conv", "lstm", "bidirectional", "einsum"],
)
def test_training_goes_the_same_way(layers, shape):
    model, wrapped = identical_pair(layers(), shape)
    x = batch(shape)
    np.testing.assert_array_equal(model.predict(x, verbose=0), wrapped.predict(x, verbose=0))
    y = np.tanh(model.predict(x, verbose=0)[:, ::-1])
    for each in (model, wrapped):
        keras.utils.set_random_seed(1)
        compiled(each, keras.optimizers.SGD(0.1, momentum=0.9))
        each.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    for one, other in zip(model.variables, inner_values(wrapped), strict=True):
        np.testing.assert_allclose(array(one), other, rtol=1e-5, atol=1e-6)


def test_batch_statistics_and_seeds_are_written_back():
    # A whole model as the inner layer: its normalization and dropout have state of their own.
    inner = keras.Sequential(
        [LAYERS.Dense(16), LAYERS.BatchNormalization(momentum=0.5), LAYERS.Dropout(0.5, seed=3)]
    )
    layer = kdc.PruneLowMagnitude(inner, kdc.schedules.Constant(0.0))
    layer.driven = True
    x = batch((8,))
    layer(x, training=True)
    before = [array(v) for v in inner.variables]
    layer(x, training=True)
    after = [array(v) for v in inner.variables]
    changed = {
        v.path.split("/")[-1]
        for v, a, b in zip(inner.variables, before, after, strict=True)
        if not np.array_equal(a, b)
    }
    assert changed == {"moving_mean", "moving_variance", "seed_generator_state"}
    mean = np.asarray(keras.ops.convert_to_numpy(inner.layers[0](x))).mean(axis=0)
    moving = next(a for v, a in zip(inner.variables, after, strict=True) if "moving_mean" in v.path)
    np.testing.assert_allclose(moving, 0.75 * mean, rtol=1e-4, atol=1e-5)


def test_dropout_inside_differs_from_call_to_call():
    layer = kdc.PruneLowMagnitude(
        keras.Sequential([LAYERS.Dense(64), LAYERS.Dropout(0.5)]), kdc.schedules.Constant(0.0)
    )
    layer.driven = True
    x = batch((8,))
    one, two = (array(layer(x, training=True)) for _ in range(2))
    assert not np.array_equal(one, two)
    assert np.array_equal(array(layer(x)), array(layer(x)))


@keras.saving.register_keras_serializable("tests")
class AddsLoss(LAYERS.Dense):
    def call(self, inputs):
        outputs = super().call(inputs)
        self.add_loss(0.1 * keras.ops.mean(outputs**2))
        return outputs


@pytest.mark.parametrize("jit", [False, True])
def test_losses_from_inside_count_once(jit):
    if jit and keras.backend.backend() == "torch":
        pytest.skip("torch warns of a plain layer that adds losses, when it compiles it")

    def layers():
        return [
            AddsLoss(16, name="adds"),
            LAYERS.Dense(16, activity_regularizer="l2", name="activity"),
            LAYERS.Dense(10, kernel_regularizer="l2", name="kernel"),
        ]

    model, wrapped = identical_pair(layers(), (20,))
    x, y = regression_data(32)
    losses = []
    for each in (model, wrapped):
        compiled(each, keras.optimizers.SGD(0.01), jit_compile=jit)
        history = each.fit(x, y, batch_size=32, epochs=3, shuffle=False, verbose=0)
        losses.append(history.history["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert losses[0][0] > float(np.mean((model.predict(x, verbose=0) - y) ** 2)) + 1e-3


def test_masks_pass_through():
    tokens = np.array([[1, 2, 0, 0], [3, 0, 0, 0]] * 4)
    model, wrapped = identical_pair(
        [LAYERS.Embedding(20, 16, mask_zero=True), LAYERS.LSTM(8), LAYERS.Dense(10)],
        (4,),
        dtype="int32",
    )
    assert len(find_wrappers(wrapped)) == 3
    np.testing.assert_array_equal(
        model.predict(tokens, verbose=0), wrapped.predict(tokens, verbose=0)
    )


# JAX has no 64-bit types unless told so for the whole process.
@pytest.mark.parametrize(
    "policy",
    ["mixed_bfloat16", "bfloat16", *(["float64"] if keras.backend.backend() != "jax" else [])],
)
def test_dtype_policies(policy):
    model, wrapped = identical_pair([LAYERS.Dense(16, dtype=policy), LAYERS.Dense(8, dtype=policy)],
                                    (12,), dtype="float32")  # fmt: skip
    x = batch((12,))
    expected, got = (each(x) for each in (model, wrapped))
    assert expected.dtype == got.dtype
    np.testing.assert_array_equal(
        array(keras.ops.cast(expected, "float32")), array(keras.ops.cast(got, "float32"))
    )
    assert [v.dtype for v in kdc.strip(wrapped).variables] == [v.dtype for v in model.variables]


def test_call_with_leaves_the_layer_as_it_is():
    layer = LAYERS.Dense(4)
    layer.build((None, 3))
    before = array(layer.kernel)
    outputs, losses = call_with(
        layer, {id(layer.kernel): keras.ops.ones((3, 4))}, keras.ops.ones((2, 3))
    )
    np.testing.assert_array_equal(array(outputs), np.full((2, 4), 3.0))
    np.testing.assert_array_equal(array(layer.kernel), before)
    assert losses == []


def test_several_inputs():
    inputs = [keras.Input((6, 16), name="query"), keras.Input((4, 16), name="value")]
    attention = LAYERS.MultiHeadAttention(2, 8, name="attention")
    outputs = LAYERS.Dense(8)(attention(inputs[0], inputs[1]))
    model = keras.Model(inputs, outputs)
    wrapped = kdc.prune_low_magnitude(model, kdc.schedules.Constant(0.0))
    data = [batch((6, 16)), batch((4, 16), 1)]
    np.testing.assert_array_equal(model.predict(data, verbose=0), wrapped.predict(data, verbose=0))
    assert set(find_wrappers(wrapped)[0].weight_variables) == {
        "query/kernel", "key/kernel", "value/kernel", "attention_output/kernel"
    }  # fmt: skip


def test_a_wrapper_is_found_once_though_it_is_called_twice():
    shared = LAYERS.Dense(20, name="shared")
    inputs = keras.Input((20,))
    model = keras.Model(inputs, shared(shared(inputs)))
    wrapped = kdc.prune_low_magnitude(model, kdc.schedules.Constant(0.0))
    assert [w.layer.name for w in find_wrappers(wrapped)] == ["shared"]
    x = batch((20,))
    np.testing.assert_array_equal(model.predict(x, verbose=0), wrapped.predict(x, verbose=0))


def test_the_given_model_stays_as_it_was():
    model = dense_model()
    before = [array(v) for v in model.variables]
    wrapped = compiled(kdc.prune_low_magnitude(model, kdc.schedules.Constant(0.9)))
    wrapped.fit(*regression_data(), verbose=0, callbacks=[kdc.UpdatePruningStep()])
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(array(variable), value)


@keras.saving.register_keras_serializable("tests")
class Block(LAYERS.Layer):
    """Sublayers and no build of its own: they are built when it is called."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.one, self.two = LAYERS.Dense(16, name="one"), LAYERS.Dense(8, name="two")

    def call(self, x):
        return self.two(keras.ops.relu(self.one(x)))


# Keras says this of such a layer in any .keras file.
@pytest.mark.filterwarnings("ignore:`build\\(\\)` was called on layer:UserWarning")
def test_layers_that_build_themselves_when_called(tmp_path):
    model, wrapped = identical_pair([Block(name="block"), LAYERS.Dense(10)], (20,))
    direct = keras.Sequential(
        [LAYERS.Input((20,)), kdc.PruneLowMagnitude(Block(), kdc.schedules.Constant(0.0))]
    )
    for each in (wrapped, direct):
        assert list(find_wrappers(each)[0].weight_variables) == ["one/kernel", "two/kernel"]
    x = batch((20,))
    expected = model.predict(x, verbose=0)
    np.testing.assert_array_equal(expected, wrapped.predict(x, verbose=0))
    np.testing.assert_array_equal(expected, kdc.strip(wrapped).predict(x, verbose=0))
    shared = kdc.cluster_weights(model, 5)
    shared.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(shared.predict(x, verbose=0), again.predict(x, verbose=0))


def test_inputs_given_by_name():
    inputs = keras.Input((5, 16))
    attention = LAYERS.MultiHeadAttention(2, 8, name="attention")
    model = keras.Model(inputs, attention(query=inputs, value=inputs, use_causal_mask=True))
    wrapped = kdc.prune_low_magnitude(model, kdc.schedules.Constant(0.0))
    x = batch((5, 16))
    expected = model.predict(x, verbose=0)
    np.testing.assert_array_equal(expected, wrapped.predict(x, verbose=0))
    np.testing.assert_array_equal(expected, kdc.strip(wrapped).predict(x, verbose=0))


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="Keras' JAX trainer does not carry RNN states"
)
def test_stateful_recurrent_layers_keep_their_state():
    model, wrapped = identical_pair([LAYERS.LSTM(8, stateful=True)], (5, 8), batch_size=32)
    x = batch((5, 8))
    for _ in range(3):
        np.testing.assert_array_equal(array(model(x)), array(wrapped(x)))


def test_wrapped_once_only():
    constant = kdc.schedules.Constant(0.5)
    for inner in (
        kdc.PruneLowMagnitude(LAYERS.Dense(16), constant),
        kdc.ClusterWeights(LAYERS.Dense(16), 4),
    ):
        with pytest.raises(ValueError, match="Prune first, then share"):
            kdc.PruneLowMagnitude(inner, constant)
        with pytest.raises(ValueError, match="already"):
            kdc.ClusterWeights(inner, 4)


def test_weights_chosen_by_name(tmp_path):
    """Others than the default ones: a kernel with too few elements, but not the large one."""
    half = kdc.schedules.Constant(0.5, begin=0)
    model = compiled(
        keras.Sequential(
            [
                LAYERS.Input((6, 12)),
                kdc.PruneLowMagnitude(LAYERS.Dense(3), half, weight_names=["kernel", "bias"]),
                kdc.PruneLowMagnitude(LAYERS.LSTM(8), half, weight_names=["lstm_cell/kernel"]),
            ]
        )
    )
    model.fit(batch((6, 12)), np.zeros((32, 8)), verbose=0, callbacks=[kdc.UpdatePruningStep()])
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    for each in (model, again):
        small, lstm = find_wrappers(each)
        assert list(small.weight_variables) == ["kernel", "bias"] and small.sparsity > 0.4
        assert list(lstm.weight_variables) == ["lstm_cell/kernel"]
    x = batch((6, 12))
    np.testing.assert_array_equal(model.predict(x, verbose=0), again.predict(x, verbose=0))


def test_weight_names_that_are_not_there():
    wrapper = kdc.PruneLowMagnitude(
        LAYERS.Dense(3), kdc.schedules.Constant(0.5), weight_names=["kernels"]
    )
    with pytest.raises(ValueError, match=r"'dense\w*' has no \['kernels'\]. Its weights are"):
        wrapper.build((None, 4))
