import keras
import numpy as np
import pytest

from keras_deepcomp.devices import empty, give, to_numpy
from keras_deepcomp.masks import standard_deviation

LARGE = (600, 700)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "bool", "uint8", "int32"])
@pytest.mark.parametrize("shape", [(), (3,), LARGE])
def test_what_is_given_is_what_is_there(dtype, shape):
    variable = keras.Variable(keras.ops.zeros(shape, dtype), dtype=dtype, trainable=False)
    counted = np.arange(np.prod(shape, dtype=int)).reshape(shape) % 100 + 1
    value = counted.astype(to_numpy(variable).dtype)
    before, view = to_numpy(variable), to_numpy(variable, copy=False)
    np.testing.assert_array_equal(before, view)
    give(variable, value.copy())
    np.testing.assert_array_equal(to_numpy(variable), value)
    assert not before.any()
    mine = to_numpy(variable)
    mine[...] = 0  # a copy, and one that can be written to
    np.testing.assert_array_equal(to_numpy(variable), value)


def test_aligned_where_tensorflow_wants_it():
    for shape in ((), (1,), (7, 3), LARGE):
        array = empty(shape, np.float32)
        assert array.shape == shape and array.ctypes.data % 64 == 0
        array[...] = 1.0


def test_training_after_a_variable_was_given_its_value():
    """The optimizer writes into the memory that the variable took over."""
    layer = keras.layers.Dense(LARGE[1])
    layer.build((None, LARGE[0]))
    value = empty(LARGE, np.float32)
    value[...] = 0.5
    give(layer.kernel, value)
    view = to_numpy(layer.kernel, copy=False)
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.build([layer.kernel])
    optimizer.apply([keras.ops.ones(LARGE)], [layer.kernel])
    np.testing.assert_array_equal(to_numpy(layer.kernel), np.full(LARGE, -0.5, np.float32))
    del view


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="is given a copy")
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_no_copies_on_the_way_in_and_out(dtype):
    shape = (1100, 1000)
    variable = keras.Variable(keras.ops.zeros(shape, dtype), dtype=dtype, trainable=False)
    value = empty(shape, dtype)
    value[...] = 3
    give(variable, value)
    view = to_numpy(variable, copy=False)
    assert np.shares_memory(view, to_numpy(variable, copy=False))
    assert not np.shares_memory(view, to_numpy(variable))
    if keras.backend.backend() == "jax":  # TensorFlow's variable copies it once
        assert np.shares_memory(view, value)


def test_fit_after_a_variable_was_given_its_value():
    """Under JAX, `fit` gives memory that it holds back, and this is not its own."""
    model = keras.Sequential([keras.layers.Input((LARGE[0],)), keras.layers.Dense(LARGE[1])])
    model.compile("sgd", "mse")
    value = np.full(LARGE, 0.5, np.float32)
    give(model.layers[0].kernel, value)
    x, y = np.ones((8, LARGE[0]), np.float32), np.zeros((8, LARGE[1]), np.float32)
    losses = model.fit(x, y, batch_size=4, epochs=3, verbose=0).history["loss"]
    assert losses[0] > losses[1] > losses[2]
    trained = to_numpy(model.layers[0].kernel)
    assert (trained < 0.5).all()
    predicted = model.predict(x, verbose=0)
    bias = to_numpy(model.layers[0].bias)
    np.testing.assert_allclose(predicted, x @ trained + bias, rtol=1e-5)
    if keras.backend.backend() == "jax":
        assert (value == 0.5).all()


def test_standard_deviation_of_more_than_is_taken_at_once():
    values = np.random.default_rng(0).normal(5.0, 2.0, (3 << 19)).astype(np.float32)
    assert standard_deviation(values) == pytest.approx(np.std(values, dtype=np.float64), rel=1e-12)
