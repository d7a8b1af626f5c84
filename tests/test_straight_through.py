"""Shared weights whose originals go on training, and reassignment by bits."""

import keras
import numpy as np
import pytest
from support import array, compiled, dense_model, regression_data

import keras_deepcomp as kdc
from keras_deepcomp.wrappers.substitution import find_wrappers

X, Y = regression_data(64)


def sparse_model():
    model = dense_model(activation="tanh")
    for layer in model.layers:
        kernel = array(layer.kernel)
        layer.kernel.assign(np.where(np.abs(kernel) < 0.1, 0, kernel))
    return model


def shared_model(**arguments):
    return compiled(kdc.cluster_weights(sparse_model(), 4, verbose=False, **arguments))


def fit(model, epochs=3, **arguments):
    callback = kdc.UpdateCentroids(reassign=True, **arguments)
    history = model.fit(X, Y, batch_size=8, epochs=epochs, verbose=0, callbacks=[callback])
    return history.history


def test_originals_train_and_weights_change_their_centroid():
    shared = shared_model(straight_through=True)
    before = [array(w.layer.kernel) for w in find_wrappers(shared)]
    history = fit(shared, frequency=2)
    for wrapper, old in zip(find_wrappers(shared), before, strict=True):
        new, zero = array(wrapper.layer.kernel), old == 0
        assert (new != old)[~zero].mean() > 0.9
        np.testing.assert_array_equal(new[zero], 0)
        value = wrapper.effective_weights()["kernel"]
        np.testing.assert_array_equal(value == 0, zero)
        assert np.unique(value[~zero]).size <= 4
        # Each is at the centroid nearest to its original.
        centroids = wrapper.centroids("kernel")
        nearest = centroids[np.abs(new[..., None] - centroids).argmin(-1)]
        np.testing.assert_array_equal(value[~zero], nearest[~zero])
    assert history["loss"][-1] < history["loss"][0]


def test_weights_stay_where_they_are_after_the_end():
    shared = shared_model(straight_through=True)
    assert fit(shared, epochs=5, frequency=2, end=0.4)["reassigned"][2:] == [0, 0, 0]
    before = [w.assignments("kernel") for w in find_wrappers(shared)]
    # The same training goes on later, whose weights have come to rest.
    callback = kdc.UpdateCentroids(reassign=True, frequency=2, end=0.4)
    shared.fit(X, Y, batch_size=8, initial_epoch=3, epochs=5, verbose=0, callbacks=[callback])
    for wrapper, old in zip(find_wrappers(shared), before, strict=True):
        np.testing.assert_array_equal(wrapper.assignments("kernel"), old)
    assert sum(fit(shared, epochs=1, end=0.4)["reassigned"]) > 0  # one epoch there always is


def test_originals_rest_without_it():
    shared = shared_model()
    before = [array(w.layer.kernel) for w in find_wrappers(shared)]
    fit(shared)
    for wrapper, old in zip(find_wrappers(shared), before, strict=True):
        np.testing.assert_array_equal(array(wrapper.layer.kernel), old)


def test_the_value_that_is_computed_with_is_the_centroid_to_the_bit():
    shared = shared_model(straight_through=True)
    fit(shared)
    plain = kdc.strip(shared)
    np.testing.assert_array_equal(plain.predict(X, verbose=0), shared.predict(X, verbose=0))
    for wrapper, layer in zip(find_wrappers(shared), plain.layers, strict=True):
        assert set(np.unique(array(layer.kernel))) <= {0.0, *wrapper.centroids("kernel")}


def test_a_rate_makes_more_zeros_and_never_fewer():
    entropies = []
    for rate in (0.0, 0.05):
        shared = shared_model(straight_through=True)
        zeros = [w.assignments("kernel") == 0 for w in find_wrappers(shared)]
        fit(shared, rate=rate)
        counts = []
        for wrapper, before in zip(find_wrappers(shared), zeros, strict=True):
            after = wrapper.assignments("kernel")
            assert (after[before] == 0).all()
            counts.append(np.bincount(after.ravel(), minlength=5))
        entropies.append(sum(int(count[0]) for count in counts))
    assert entropies[1] > entropies[0]


def test_without_zeros_to_keep_none_comes_by_a_rate():
    shared = shared_model(preserve_sparsity=False, straight_through=True)
    fit(shared, rate=0.1)
    assert all((w.assignments("kernel") > 0).all() for w in find_wrappers(shared))


def test_freezing_and_thawing_leave_what_trains_as_it_was():
    for straight_through in (True, False):
        shared = shared_model(straight_through=straight_through)
        wrapper = find_wrappers(shared)[0]
        shared.trainable = False
        assert not wrapper.layer.kernel.trainable
        shared.trainable = True
        assert wrapper.layer.kernel.trainable is straight_through


def test_it_is_saved_with_the_model(tmp_path):
    shared = shared_model(straight_through=True)
    fit(shared)
    shared.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert all(w.straight_through for w in find_wrappers(again))
    assert find_wrappers(again)[0].layer.kernel.trainable
    np.testing.assert_array_equal(again.predict(X, verbose=0), shared.predict(X, verbose=0))


@pytest.mark.parametrize("arguments", [{"rate": -1.0}, {"frequency": 0}, {"end": 0}, {"end": 1.5}])
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match=r"at least|at most 1"):
        kdc.UpdateCentroids(reassign=True, **arguments)
