import keras
import numpy as np
import pytest
from support import array

from keras_deepcomp.compressing.sensitivity import (
    Sensitivity,
    layer_sparsities,
    prunable,
    sensitivity,
    sparsity_of,
)


def two_scales(scale=100.0):
    """Two layers that matter alike, of which the first has weights a hundred times as large."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 16)).astype("float32")
    inputs = keras.Input((16,))
    layers = [keras.layers.Dense(8, name=name) for name in ("large", "small")]
    outputs = [
        keras.layers.Rescaling(1 / scale)(layers[0](inputs)),
        layers[1](inputs),
    ]
    model = keras.Model(inputs, outputs)
    for layer, factor in zip(layers, (scale, 1.0), strict=True):
        layer.kernel.assign(factor * rng.standard_normal((16, 8)))
    y = [np.array(each) for each in model(x)]
    return model, lambda: sum(
        float(np.mean((np.array(one) - other) ** 2)) for one, other in zip(model(x), y, strict=True)
    )


def test_layers_of_different_scales_are_pruned_alike():
    model, loss = two_scales()
    before = [array(variable) for variable in model.variables]
    found = sensitivity(model, loss)
    for variable, value in zip(model.variables, before, strict=True):
        assert np.array_equal(array(variable), value)
    assert found.loss == 0.0 and not found.by_magnitude
    ratio = found.scales["small/kernel"] / found.scales["large/kernel"]
    assert ratio == pytest.approx(100.0, rel=0.3)
    sparsities = layer_sparsities(model, found.scales, 0.5)
    assert sparsities["large"] == pytest.approx(sparsities["small"], abs=0.12)
    # By magnitude, all of the small layer would go but one weight.
    alike = dict.fromkeys(found.scales, 1.0)
    assert layer_sparsities(model, alike, 0.5)["small"] == 1 - 1 / 128
    losses = found.losses["small/kernel"]
    assert losses == sorted(losses) and losses[0] > 0
    assert Sensitivity.from_dict(found.as_dict()) == found


def test_where_scales_compare_magnitudes_rank():
    model, loss = two_scales(1.0)
    assert sensitivity(model, loss).scales.keys() == prunable(model).keys()


def test_sparsity():
    model, _ = two_scales()
    assert sparsity_of(model) == 0.0
    model.get_layer("large").kernel.assign(np.zeros((16, 8)))
    assert sparsity_of(model) == 0.5
