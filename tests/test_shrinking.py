import keras
import numpy as np
import pytest
from support import array

import keras_deepcomp as kdc
from keras_deepcomp.shrinking import widen
from keras_deepcomp.units import links

L = keras.layers


def sparse(model, share=0.85, seed=0):
    """The model with most weights at zero, and biases on all units."""
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        values = rng.normal(size=variable.shape)
        if len(variable.shape) > 1:
            values *= rng.random(variable.shape) > share
        variable.assign(values)
    return model


def dense():
    parts = [L.Dense(30, activation="relu"), L.Dropout(0.3), L.Dense(20), L.Activation("tanh")]
    return keras.Sequential([L.Input((12,)), *parts, L.Dense(4, activation="softmax")])


def convolutional(padding="valid"):
    return keras.Sequential(
        [
            L.Input((12, 12, 1)),
            L.Conv2D(8, 3, activation="relu", padding=padding),
            L.MaxPooling2D(),
            L.Conv2D(10, 3, use_bias=False, padding=padding),
            L.BatchNormalization(),
            L.ReLU(),
            L.AveragePooling2D(2),
            L.Flatten(),
            L.Dense(16, activation="relu"),
            L.Dense(3),
        ]
    )


def functional():
    inputs = keras.Input((10,), name="x")
    hidden = L.Dense(24, activation="relu", name="h")(inputs)
    twice = L.Dense(24, activation="relu", name="t")(hidden)
    added = L.Add()([hidden, twice])
    inner = L.Dense(16, activation="gelu", name="i")(added)
    return keras.Model(inputs, [L.Dense(3, name="a")(inner), twice])


MODELS = {
    "dense": dense,
    "convolutional": convolutional,
    "padded": lambda: convolutional("same"),
    "functional": functional,
}


def said(model):
    shape = (64, *model.input_shape[1:])
    outputs = model.predict(np.random.default_rng(1).normal(size=shape), verbose=0)
    return outputs if isinstance(outputs, list) else [outputs]


@pytest.mark.parametrize("kind", MODELS)
def test_a_shrunk_model_says_the_same(kind):
    model = sparse(MODELS[kind](), share=0.93)
    small = kdc.shrink(model)
    for one, other in zip(said(model), said(small), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-4)
    assert small.count_params() < model.count_params()
    assert [layer.name for layer in small.layers] == [layer.name for layer in model.layers]
    again = kdc.shrink(small)
    assert again.count_params() == small.count_params()


def test_exactly_the_units_without_a_way_leave():
    model = dense()
    first, second, third = (layer for layer in model.layers if isinstance(layer, L.Dense))
    for layer in (first, second, third):
        layer.bias.assign(np.arange(1.0, 1 + layer.units))
    kernel = np.ones((12, 30))
    kernel[:, 3:] = 0  # 27 units without a way in, which say their bias
    first.kernel.assign(kernel)
    kernel = np.zeros((30, 20))
    kernel[:, :7] = 0.01
    kernel[2] = 0  # one more without a way out
    second.kernel.assign(kernel)
    small = kdc.shrink(model)
    assert [layer.units for layer in small.layers if isinstance(layer, L.Dense)] == [2, 7, 4]
    # The other 13 of the second layer say tanh of their bias.
    folded = array(third.bias) + np.tanh(np.arange(8.0, 21.0)) @ array(third.kernel)[7:]
    np.testing.assert_allclose(array(small.layers[-1].bias), folded, rtol=1e-5)
    into_second = np.arange(1.0, 8) + 0.01 * np.arange(4.0, 31.0).sum()
    np.testing.assert_allclose(array(small.layers[2].bias), into_second, rtol=1e-5)


def test_one_unit_stays_where_none_does_anything():
    model = dense()
    for layer in (model.layers[0], model.layers[2]):
        layer.kernel.assign(np.zeros(layer.kernel.shape))
        layer.bias.assign(np.full(layer.units, 0.5))
    small = kdc.shrink(model)
    assert [layer.units for layer in small.layers if isinstance(layer, L.Dense)] == [1, 1, 4]
    np.testing.assert_allclose(said(small)[0], said(model)[0], rtol=1e-5)


def test_what_several_read_or_the_model_puts_out_stays():
    found = links(functional())
    assert [(link.maker.name, link.reader.name) for link in found] == [("i", "a")]


def test_softmax_and_shared_layers_are_no_links():
    shared = L.Dense(8)
    model = keras.Sequential([L.Input((8,)), L.Dense(8), shared, shared])
    assert links(model) == []
    model = keras.Sequential([L.Input((8,)), L.Dense(8, activation="softmax"), L.Dense(2)])
    assert links(model) == []


def test_a_shared_model_shrinks_to_a_file_that_loads(tmp_path):
    model = sparse(dense(), share=0.9)
    shared = kdc.cluster_weights(model, 4, bias_clusters=3, verbose=False)
    small = kdc.shrink(shared)
    kdc.save_model(small, tmp_path / "m.kdc")
    again = kdc.load_model(tmp_path / "m.kdc")
    np.testing.assert_allclose(said(again)[0], said(shared)[0], rtol=1e-4, atol=1e-5)


def test_a_model_without_dead_units_is_left_as_it_is():
    model = dense()
    assert kdc.shrink(model) is model


@pytest.mark.parametrize("kind", MODELS)
def test_widening_undoes_shrinking(kind):
    model = sparse(MODELS[kind](), share=0.93)
    wide = widen(kdc.shrink(model), model)
    for one, other in zip(said(model), said(wide), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-4)
    assert [v.shape for v in wide.variables] == [v.shape for v in model.variables]


def test_widening_to_another_architecture_is_refused():
    with pytest.raises(ValueError, match="cannot be widened"):
        widen(dense(), convolutional())
