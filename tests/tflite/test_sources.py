import numpy as np
import pytest

from keras_deepcomp.tflite.graph import Weight
from keras_deepcomp.tflite.sources import Variable, source_of


def kernel(*shape, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.choice(np.array([0, 0, 0.3, -0.7, 0.55], np.float32), shape)
    return Variable(f"kernel {seed}", values)


def weight(values, axis=0):
    return Weight("tensor", np.ascontiguousarray(values, np.float32), axis, None)


@pytest.mark.parametrize(
    ("shape", "axes", "stored", "axis"),
    [
        ((5, 7), (1, 0), (7, 5), 0),
        ((3, 3, 4, 6), (3, 0, 1, 2), (6, 3, 3, 4), 0),
        ((3, 3, 4, 2), (0, 1, 2, 3), (1, 3, 3, 8), 3),
        ((3, 3, 6, 4), (2, 0, 1, 3), (6, 3, 3, 4), 0),
        ((5, 2, 4), (1, 2, 0), (8, 5), 0),
    ],
    ids=["dense", "convolution", "depthwise", "transposed", "einsum"],
)
def test_layouts_of_the_converter(shape, axes, stored, axis):
    variable = kernel(*shape)
    found = source_of(
        weight(variable.values.transpose(axes).reshape(stored), axis),
        [kernel(*shape, seed=1), variable],
    )
    assert found.found and found.name == "kernel 0" and not found.folded
    assert found.values.shape == (stored[axis], variable.values.size // stored[axis])


def test_factors_of_any_sign_and_zero():
    variable = kernel(20, 6)
    variable.values[:, 4] = 0
    factors = np.array([0.5, -3, 0, 1e-6, 2, 1], np.float32)
    found = source_of(weight(variable.values.T * factors[:, None]), [variable])
    assert found.found and found.folded
    # Nothing shows the factor of a channel of zeros.
    np.testing.assert_allclose(found.factors, [0.5, -3, 0, 1e-6, 1, 1], rtol=1e-6)
    assert set(np.unique(found.values)) == set(np.unique(variable.values))


def test_what_comes_from_no_variable_is_its_own_source():
    given = weight(np.arange(12).reshape(3, 4))
    found = source_of(given, [kernel(4, 3), kernel(12)])
    assert not found.found and found.name == "tensor" and not found.folded
    np.testing.assert_array_equal(found.values, given.values)


def test_one_changed_element_is_another_weight():
    variable = kernel(9, 8)
    changed = variable.values.T.copy()
    row, column = np.argwhere(changed != 0)[0]
    changed[row, column] *= 1.001
    assert not source_of(weight(changed), [variable]).found
