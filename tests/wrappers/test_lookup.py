import keras
import numpy as np
import pytest
from support import array

from keras_deepcomp.wrappers.lookup import look_up

SHAPES = [(7,), (5, 13), (3, 3, 4, 8), (800, 50)]  # the first two divide into few rows


def gradient_of(function, value):
    """The gradient of a scalar function, by whichever backend runs."""
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(function)(value))
    if keras.backend.backend() == "torch":
        import torch

        value = torch.tensor(value, requires_grad=True)
        return torch.autograd.grad(function(value), value)[0].numpy()
    import tensorflow as tf

    value = tf.constant(value)
    with tf.GradientTape() as tape:
        tape.watch(value)
        result = function(value)
    return tape.gradient(result, value).numpy()


def drawn(shape, entries=9, dtype="float32"):
    rng = np.random.default_rng(0)
    codebook = rng.standard_normal(entries).astype(dtype)
    assignments = rng.integers(0, entries, shape).astype("uint8")
    return codebook, assignments, rng.standard_normal(shape).astype(dtype)


def sums(assignments, values, entries=9):
    return np.bincount(assignments.ravel(), values.ravel().astype(np.float64), entries)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_summed_gradients(shape):
    codebook, assignments, upstream = drawn(shape)
    np.testing.assert_array_equal(array(look_up(codebook, assignments)), codebook[assignments])
    weighted = keras.ops.convert_to_tensor(upstream)
    got = gradient_of(lambda c: keras.ops.sum(look_up(c, assignments) * weighted), codebook)
    np.testing.assert_allclose(got, sums(assignments, upstream), rtol=1e-4, atol=1e-4)


def test_second_derivatives():
    codebook, assignments, upstream = drawn((5, 13))

    weighted = keras.ops.convert_to_tensor(upstream)

    def sum_of_cubes(c):
        return keras.ops.sum(weighted * look_up(c, assignments) ** 3)

    if keras.backend.backend() == "jax":
        import jax

        got = np.asarray(jax.hessian(sum_of_cubes)(codebook))
    elif keras.backend.backend() == "torch":
        import torch

        got = torch.autograd.functional.hessian(sum_of_cubes, torch.tensor(codebook)).numpy()
    else:
        import tensorflow as tf

        value = tf.constant(codebook)
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(value)
            with tf.GradientTape() as inner:
                inner.watch(value)
                result = sum_of_cubes(value)
            first = inner.gradient(result, value)
        got = outer.jacobian(first, value, experimental_use_pfor=False).numpy()
    expected = np.diag(6 * codebook * sums(assignments, upstream))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of TensorFlow's threads")
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("float16", 1e-3), ("bfloat16", 1e-2), ("float32", 1e-5), ("float64", 1e-12)],
)
def test_the_same_sums_each_time_in_each_type(dtype, tolerance):
    import tensorflow as tf

    codebook, assignments, upstream = drawn((800, 500), dtype=tf.as_dtype(dtype).as_numpy_dtype)

    @tf.function
    def gradient(c):
        with tf.GradientTape() as tape:
            tape.watch(c)
            result = tf.reduce_sum(look_up(c, assignments) * upstream)
        return tape.gradient(result, c)

    results = [gradient(tf.constant(codebook)) for _ in range(20)]
    assert {r.dtype.name for r in results} == {dtype}
    assert len({r.numpy().tobytes() for r in results}) == 1
    exact = sums(assignments, upstream)
    got = results[0].numpy().astype(np.float64)
    np.testing.assert_allclose(got, exact, rtol=0, atol=tolerance * np.abs(exact).max())
