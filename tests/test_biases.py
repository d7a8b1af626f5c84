"""Biases that are pruned and shared like kernels."""

import keras
import numpy as np
import pytest
from support import array, compiled, dense_model, regression_data

import keras_deepcomp as kdc
from keras_deepcomp.selection import with_biases
from keras_deepcomp.wrappers.substitution import find_wrappers

X, Y = regression_data(64)
HALF = kdc.schedules.Constant(0.5, begin=0)


def with_random_biases(**arguments):
    model = dense_model(**arguments)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        layer.bias.assign(rng.normal(size=layer.bias.shape))
    return model


def pruned_once(model, **arguments):
    pruned = kdc.prune_low_magnitude(model, HALF, biases=True, verbose=False, **arguments)
    compiled(pruned, keras.optimizers.SGD(0.0))
    pruned.fit(X, Y, verbose=0, callbacks=[kdc.UpdatePruningStep()])
    return pruned


def test_biases_are_pruned_and_then_share_few_values():
    pruned = pruned_once(with_random_biases())
    shared = compiled(kdc.cluster_weights(pruned, 8, bias_clusters=3, verbose=False))
    shared.fit(X, Y, epochs=2, verbose=0)
    for before, layer in zip(kdc.strip(pruned).layers, kdc.strip(shared).layers, strict=True):
        bias = array(layer.bias)
        assert np.count_nonzero(bias) == bias.size // 2
        np.testing.assert_array_equal(bias == 0, array(before.bias) == 0)
        assert np.unique(bias[bias != 0]).size == 3
        assert np.unique(array(layer.kernel)).size == 9


def test_a_global_threshold_compares_them_with_kernels():
    model = with_random_biases()
    model.layers[1].bias.assign(np.full(10, 100.0))
    model.layers[0].bias.assign(np.full(32, 1e-6))
    plain = kdc.strip(pruned_once(model, scope="global"))
    assert not array(plain.layers[0].bias).any()
    assert array(plain.layers[1].bias).all()


def test_only_biases_of_layers_whose_kernel_takes_part():
    layer = keras.layers.Dense(4)
    layer.build((None, 4))
    assert with_biases(layer, "prune") == []  # 16 elements are too few
    attention = keras.layers.MultiHeadAttention(2, 8)
    attention.build((None, 4, 16), (None, 4, 16))
    found = with_biases(attention, "prune")
    assert "query/kernel" in found and "query/bias" in found
    normed = keras.layers.BatchNormalization()
    normed.build((None, 100))
    assert with_biases(normed, "prune") == []
    without = keras.layers.Dense(40, use_bias=False)
    without.build((None, 40))
    assert with_biases(without, "cluster") == ["kernel"]


def test_a_codebook_for_each_channel_leaves_biases_one():
    shared = kdc.cluster_weights(
        with_random_biases(), 4, bias_clusters=2, cluster_per_channel=True, verbose=False
    )
    for wrapper in find_wrappers(shared):
        assert wrapper.centroids("bias").shape == (2,)
        assert wrapper.centroids("kernel").shape[1] == 4


def test_a_shared_model_with_shared_biases_is_saved(tmp_path):
    shared = kdc.cluster_weights(with_random_biases(), 4, bias_clusters=2, verbose=False)
    shared.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict(X, verbose=0), shared.predict(X, verbose=0))
    kdc.save_model(shared, tmp_path / "m.kdc")
    for one, other in zip(
        kdc.strip(shared).variables, kdc.load_model(tmp_path / "m.kdc").variables, strict=True
    ):
        np.testing.assert_array_equal(array(one), array(other))


def test_patterns_have_no_sense_for_biases():
    with pytest.raises(ValueError, match="no blocks or groups"):
        kdc.prune_low_magnitude(dense_model(), HALF, biases=True, block_size=(4, 1))


def test_a_number_of_clusters_for_biases_is_checked():
    with pytest.raises(ValueError, match="bias_clusters is 1"):
        kdc.cluster_weights(dense_model(), 4, bias_clusters=1)
