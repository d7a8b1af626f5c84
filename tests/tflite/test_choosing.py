import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from keras_deepcomp.tflite import fitting
from keras_deepcomp.tflite.choosing import as_good, largest_good
from keras_deepcomp.tflite.graph import Use, Weight
from keras_deepcomp.tflite.running import Fidelity, compare
from keras_deepcomp.tflite.samples import Samples
from keras_deepcomp.tflite.sources import Source


def quantized(*scales):
    tensor = schema.TensorT()
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale = np.array(scales, np.float32)
    return tensor


def fit(values, factors=(1, 1), uses=()):
    """Fits a weight of two channels with these values in each."""
    base = np.array([values, values[::-1]], np.float32)
    factors = np.array(factors, float)
    real = Weight("w", (base * factors[:, None]).astype(np.float32), 0, None)
    stored = Weight("w", np.zeros(base.shape, np.int8), 0, np.ones(2), list(uses))
    return real, fitting.fit(real, Source("v", base, factors, True), stored)


def test_a_codebook_that_integers_can_have_is_kept_exactly():
    real, found = fit([0, 0.3, -0.7, 1.1])
    assert found.error < 1e-6
    np.testing.assert_allclose(found.codes * found.scales[:, None], real.values, rtol=1e-6)
    assert found.scales[0] == found.scales[1]


def test_factors_become_scales():
    real, found = fit([0, 0.3, -0.7, 1.1], factors=(0.01, 5))
    assert found.scales[1] / found.scales[0] == pytest.approx(500)
    np.testing.assert_array_equal(found.codes[0], found.codes[1][::-1])
    np.testing.assert_allclose(found.codes * found.scales[:, None], real.values, rtol=1e-6)


def test_negative_factors_turn_the_integers():
    _, found = fit([0, 0.3, -0.7, 1.1], factors=(-1, 1))
    np.testing.assert_array_equal(found.codes[0], -found.codes[1][::-1])
    assert (found.scales > 0).all()


def test_a_factor_of_zero_leaves_zeros():
    _, found = fit([0, 0.3, -0.7, 1.1], factors=(0, 1))
    assert not found.codes[0].any() and found.scales[0] > 0


def test_a_bias_beyond_a_tiny_factor_has_room():
    data, bias = quantized(0.1), quantized(1e-6, 1e-6)
    use = Use("CONV_2D", data, None, bias, np.array([1_000_000, 10], np.int32))
    _, found = fit([0, 0.3, -0.7, 1.1], factors=(1e-9, 1), uses=[use])
    assert abs(1.0 / (0.1 * found.scales[0])) <= 2**30 * 1.001
    assert np.isfinite(found.scales).all()


def test_more_values_than_int8_has_are_no_codebook():
    assert fit(np.linspace(-1, 1, 301))[1] is None
    assert fit([0, 0, 0])[1] is None


def test_biases_that_others_add_are_not_replaceable():
    data, bias, other = quantized(0.1), quantized(0.1), quantized(0.2)
    values = np.zeros((2, 2), np.int8)
    stored = np.zeros(2, np.int32)

    def weight(*uses):
        return Weight("w", values, 0, np.ones(1), [Use("CONV_2D", *use) for use in uses])

    alone = weight((data, None, bias, stored))
    assert fitting.replaceable(alone, [alone])
    twice = weight((data, None, bias, stored), (other, None, bias, stored))
    assert not fitting.replaceable(twice, [twice])
    assert not fitting.replaceable(alone, [alone, weight((data, None, bias, stored))])
    alone.elsewhere = True
    assert not fitting.replaceable(alone, [alone])


@pytest.mark.parametrize("best", range(8))
def test_bisection_finds_the_most_that_is_good(best):
    assert largest_good(7, lambda count: count <= best) == best


def fidelity(error, agreement=None, accuracy=None):
    return Fidelity(error, agreement, accuracy, 100)


@pytest.mark.parametrize(
    ("one", "converters", "good"),
    [
        (fidelity(0.5, 0.8, 0.9), fidelity(0.1, 1.0, 0.9), True),
        (fidelity(0.1, 1.0, 0.89), fidelity(0.5, 0.8, 0.9), False),
        (fidelity(0.012, 0.9), fidelity(0.010, 0.9), True),
        (fidelity(0.013, 0.9), fidelity(0.010, 0.9), False),
        (fidelity(0.010, 0.8), fidelity(0.010, 0.9), True),
        (fidelity(0.011, 0.8), fidelity(0.010, 0.9), False),
        (fidelity(0.004, 0.9), fidelity(0.001, 0.9), True),
        (fidelity(0.004, 0.8), fidelity(0.001, 0.9), False),
        (fidelity(0.0104), fidelity(0.010), True),
        (fidelity(0.0106), fidelity(0.010), False),
    ],
)
def test_what_is_as_good(one, converters, good):
    assert as_good(one, converters) is good


def test_fidelity_of_several_outputs():
    samples = Samples((np.zeros((4, 2)),))
    reference = [np.eye(4)[:, :3] * 2, np.array([[1.0], [2.0], [3.0], [6.0]])]
    same = compare(reference, reference, samples)
    assert (same.error, same.agreement, same.accuracy) == (0, 1, None)
    turned = compare(reference, [reference[0][:, ::-1], reference[1] + 1], samples)
    assert 0 < turned.agreement < 1
    spread = reference[1].std()
    first = np.sqrt(np.mean((reference[0] - reference[0][:, ::-1]) ** 2)) / reference[0].std()
    assert turned.error == pytest.approx((first + 1 / spread) / 2)
