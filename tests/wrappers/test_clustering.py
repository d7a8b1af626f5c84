import keras
import numpy as np
import pytest
from support import array, bits, compiled, dense_model, regression_data

import keras_deepcomp as kdc
from keras_deepcomp.wrappers.substitution import find_wrappers


def model_of(layer, shape):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input(shape), layer, keras.layers.Flatten()])
    for variable in model.trainable_variables:  # zeros as pruning leaves them
        value = array(variable)
        if value.ndim > 1:
            variable.assign(np.where(np.abs(value) > np.median(np.abs(value)), value, 0))
    return model


LAYERS = {
    "dense": (lambda: keras.layers.Dense(12), (10,), ["kernel"]),
    "conv2d": (lambda: keras.layers.Conv2D(6, 3), (6, 6, 3), ["kernel"]),
    "lstm": (lambda: keras.layers.LSTM(8), (5, 8), ["kernel", "recurrent_kernel"]),
}


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("aggregation", ["sum", "mean"])
@pytest.mark.parametrize("kind", LAYERS)
def test_the_gradient_is_that_of_the_members(kind, aggregation, per_channel):
    """Equation 3 of the paper, summed by hand, or the mean instead of the sum.

    A training step of SGD with rate 1 moves each trainable variable by minus its gradient. The
    plain model holds the same values, so its kernels move by the members' gradients.
    """
    layer, shape, weights = LAYERS[kind]
    shared = kdc.cluster_weights(
        model_of(layer(), shape), 3, gradient_aggregation=aggregation,
        cluster_per_channel=per_channel,
    )  # fmt: skip
    plain = kdc.strip(shared)
    x = np.random.default_rng(0).standard_normal((4, *shape), np.float32)
    y = np.random.default_rng(1).standard_normal(plain.predict(x, verbose=0).shape)
    (wrapper,) = find_wrappers(shared)
    names = list(wrapper.weight_variables)
    assert [name.split("/")[-1] for name in names] == weights
    centroids = {name: wrapper.centroids(name) for name in names}
    assignments = {name: wrapper.assignments(name) for name in names}
    before = {v.path: array(v) for v in plain.trainable_variables}
    for model in (shared, plain):
        compiled(model, keras.optimizers.SGD(1.0))
        model.train_on_batch(x, y)
    for name in names:
        path, variable = next(
            (p, v) for p, v in zip(before, plain.trainable_variables, strict=True)
            if p.endswith(name)
        )  # fmt: skip
        gradients = before[path].astype(np.float64) - array(variable)
        moved = centroids[name].astype(np.float64) - wrapper.centroids(name)
        channels = gradients.shape[-1] if per_channel else 1  # the last axis, in all of these
        by_hand = np.zeros((channels, 3))
        for channel, row in enumerate(by_hand):
            own = np.s_[..., channel] if per_channel else np.s_[...]
            for i in range(3):
                members = gradients[own][assignments[name][own] == i + 1]
                row[i] = members.sum() / (max(members.size, 1) if aggregation == "mean" else 1)
        by_hand = by_hand.reshape(moved.shape)
        assert np.abs(by_hand).max() > 1e-3
        np.testing.assert_allclose(moved, by_hand, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(wrapper.assignments(name), assignments[name])


def test_zeros_stay_zeros_and_values_are_few():
    model = model_of(keras.layers.Dense(12), (10,))
    zeros = array(model.layers[0].kernel) == 0
    shared = compiled(kdc.cluster_weights(model, 4), keras.optimizers.AdamW(0.01))
    x, y = regression_data(200, 10, 12)
    shared.fit(x, y, epochs=5, verbose=0, callbacks=[kdc.UpdateCentroids()])
    kernel = array(kdc.strip(shared).layers[0].kernel)
    assert bits(kernel[zeros]) == bits(np.zeros(int(zeros.sum()), np.float32))
    assert (kernel[~zeros] != 0).all()
    assert np.unique(kernel[~zeros]).size == 4


def test_the_best_values_for_the_weights_at_the_start():
    model = dense_model()
    kernel = array(model.layers[0].kernel)
    for init in ("linear", "density", "random", "kmeans++"):
        shared = array(kdc.strip(kdc.cluster_weights(model, 16, init)).layers[0].kernel)
        assert np.abs(shared - kernel).max() < 0.3 * np.abs(kernel).max()
        for value in np.unique(shared):
            assert value == pytest.approx(kernel[shared == value].mean(), rel=1e-4, abs=1e-6)


def test_the_weights_under_the_codebook_do_not_train_and_thawing_changes_nothing():
    shared = kdc.cluster_weights(dense_model(), 4)
    names = [v.path.split("/")[-1] for v in shared.trainable_variables]
    assert names == ["kernel_centroids", "bias"] * 2 or names == ["bias", "kernel_centroids"] * 2
    shared.trainable = False
    assert shared.trainable_variables == []
    shared.trainable = True
    assert [v.path.split("/")[-1] for v in shared.trainable_variables] == names


def test_wide_codebooks():
    shared = kdc.cluster_weights(dense_model((64,), 64), 300)
    (wrapper,) = find_wrappers(shared)
    assert wrapper.assignments("kernel").dtype == np.uint16
    assert wrapper.assignments("kernel").max() == 300


def test_fewer_distinct_values_than_clusters_works_and_says_so():
    model = dense_model((10,))
    kernel = np.random.default_rng(0).choice([-0.5, 0.0, 0.25], (20, 10)).astype(np.float32)
    model.layers[0].kernel.assign(kernel)
    with pytest.warns(UserWarning, match=r"2 distinct values .* the 16 clusters asked for"):
        shared = kdc.cluster_weights(model, 16)
    np.testing.assert_array_equal(array(kdc.strip(shared).layers[0].kernel), kernel)


def test_a_weight_that_is_all_zero():
    model = dense_model((10,))
    model.layers[0].kernel.assign(np.zeros((20, 10), np.float32))
    shared = compiled(kdc.cluster_weights(model, 4))
    shared.fit(*regression_data(), verbose=0)
    assert not array(kdc.strip(shared).layers[0].kernel).any()


def test_state_comes_back_from_a_keras_file(tmp_path):
    shared = compiled(kdc.cluster_weights(dense_model(), {"d0": 7, "d1": 3}))
    x, y = regression_data()
    shared.fit(x, y, verbose=0)
    shared.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert [bits(array(v)) for v in shared.variables] == [bits(array(v)) for v in again.variables]
    np.testing.assert_array_equal(shared.predict(x, verbose=0), again.predict(x, verbose=0))
    assert [v.name for v in again.trainable_variables] == [
        v.name for v in shared.trainable_variables
    ]


def test_reassign_goes_to_the_nearest_centroid():
    shared = kdc.cluster_weights(dense_model((10,)), 4)
    (wrapper,) = find_wrappers(shared)
    original = array(wrapper.layer.kernel)
    assert wrapper.reassign("kernel") == 0
    moved = wrapper.centroids("kernel")[::-1].copy() * 0.7  # in any order
    wrapper._state["kernel"]["centroids"].assign(moved)
    assert wrapper.reassign("kernel") > 0
    distances = np.abs(original[..., None] - moved)
    np.testing.assert_array_equal(wrapper.assignments("kernel") - 1, distances.argmin(axis=-1))


@pytest.mark.parametrize(
    ("count", "error", "says"),
    [
        (0, ValueError, "is 0; expected 2 to 65,535"),
        (1, ValueError, "is 1; expected 2"),
        (70_000, ValueError, "65,535"),
        (2.5, TypeError, "must be an int"),
        (True, TypeError, "must be an int"),
    ],
)
def test_bad_numbers_of_clusters(count, error, says):
    for clusters in (count, {"d0": count}, lambda layer: count):
        with pytest.raises(error, match=says):
            kdc.cluster_weights(dense_model(), clusters)


def test_unknown_initialization():
    with pytest.raises(ValueError, match="expected one of 'linear'"):
        kdc.cluster_weights(dense_model(), 4, "best")


def test_a_mean_changes_nothing_but_the_gradient():
    for dtype in ("float32", "float16", "bfloat16"):
        models = [
            kdc.cluster_weights(dense_model(dtype=dtype), 5, gradient_aggregation=aggregation)
            for aggregation in ("sum", "mean")
        ]
        one, other = (kdc.strip(model) for model in models)
        assert [bits(array(v)) for v in one.variables] == [bits(array(v)) for v in other.variables]


KERNELS = {
    "dense": (lambda: keras.layers.Dense(12), (10,), (1,)),
    "conv2d": (lambda: keras.layers.Conv2D(6, 3), (6, 6, 3), (3,)),
    "transposed": (lambda: keras.layers.Conv2DTranspose(6, 3), (6, 6, 3), (2,)),
    "depthwise": (lambda: keras.layers.DepthwiseConv2D(3), (6, 6, 8), (2, 3)),
    "einsum": (lambda: keras.layers.EinsumDense("ab,bcd->acd", (4, 6)), (10,), (1, 2)),
}


@pytest.mark.parametrize("kind", KERNELS)
def test_each_output_channel_has_a_codebook(kind):
    layer, shape, axes = KERNELS[kind]
    model = model_of(layer(), shape)
    kernel = array(model.layers[0].kernel)
    shared = kdc.cluster_weights(model, 2, cluster_per_channel=True)
    values = array(kdc.strip(shared).layers[0].kernel)
    channels = np.moveaxis(kernel, axes, range(len(axes))).reshape(
        np.prod([kernel.shape[axis] for axis in axes]), -1
    )
    found = np.moveaxis(values, axes, range(len(axes))).reshape(channels.shape)
    (wrapper,) = find_wrappers(shared)
    assert wrapper.centroids("kernel").shape == (len(channels), 2)
    for before, after in zip(channels, found, strict=True):
        np.testing.assert_array_equal(before == 0, after == 0)
        assert np.unique(after[after != 0]).size <= 2
        for value in np.unique(after[after != 0]):
            assert value == pytest.approx(before[after == value].mean(), rel=1e-5)


def test_codebooks_per_channel_go_on_training_and_come_back(tmp_path):
    model = model_of(keras.layers.Conv2D(6, 3), (6, 6, 3))
    shared = compiled(
        kdc.cluster_weights(model, 5, cluster_per_channel=True, gradient_aggregation="mean"),
        keras.optimizers.Adam(0.05),
    )
    x = np.random.default_rng(0).standard_normal((16, 6, 6, 3), np.float32)
    y = np.random.default_rng(1).standard_normal((16, 96), np.float32)
    callback = kdc.UpdateCentroids(reassign=True)
    history = shared.fit(x, y, epochs=3, verbose=0, callbacks=[callback]).history
    assert history["loss"][-1] < history["loss"][0] and sum(history["reassigned"]) > 0
    (wrapper,) = find_wrappers(shared)
    original, codebook = array(wrapper.layer.kernel), wrapper.centroids("kernel")
    nearest = np.abs(original[..., None] - codebook).argmin(axis=-1) + 1
    np.testing.assert_array_equal(
        wrapper.assignments("kernel"), np.where(original == 0, 0, nearest)
    )
    shared.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert [bits(array(v)) for v in shared.variables] == [bits(array(v)) for v in again.variables]
    (other,) = find_wrappers(again)
    for key in ("cluster_per_channel", "gradient_aggregation", "preserve_sparsity"):
        assert other.get_config()[key] == wrapper.get_config()[key]
    kdc.save_model(shared, tmp_path / "m.kdc")
    plain, decoded = kdc.strip(shared), kdc.load_model(tmp_path / "m.kdc")
    assert [bits(array(v)) for v in plain.variables] == [bits(array(v)) for v in decoded.variables]


def test_a_channel_without_weights_and_channels_with_few():
    model = dense_model((10,))
    kernel = np.random.default_rng(0).choice([-0.5, 0.0, 0.25], (20, 10)).astype(np.float32)
    kernel[:, 3] = 0
    model.layers[0].kernel.assign(kernel)
    with pytest.warns(UserWarning, match=r"2 distinct .* in any channel, fewer than the 16"):
        shared = kdc.cluster_weights(model, 16, cluster_per_channel=True)
    np.testing.assert_array_equal(array(kdc.strip(shared).layers[0].kernel), kernel)


def test_zeros_may_be_values_like_others():
    model = model_of(keras.layers.Dense(12), (10,))
    zeros = array(model.layers[0].kernel) == 0
    shared = kdc.cluster_weights(model, 4, preserve_sparsity=False)
    kernel = array(kdc.strip(shared).layers[0].kernel)
    assert np.unique(kernel).size == 4 and np.unique(kernel[zeros]).size == 1
    (wrapper,) = find_wrappers(shared)
    assert wrapper.assignments("kernel").min() == 1
    model.layers[0].kernel.assign(np.zeros((10, 12), np.float32))
    shared = kdc.cluster_weights(model, 4, preserve_sparsity=False)
    assert not array(kdc.strip(shared).layers[0].kernel).any()


def test_aggregations():
    class Enum(str):
        value = "GradientAggregation.AVG"

    (wrapper,) = find_wrappers(
        kdc.cluster_weights(dense_model((10,)), 4, gradient_aggregation=Enum())
    )
    assert wrapper.gradient_aggregation == "mean"
    with pytest.raises(ValueError, match='"sum", as in the paper, or "mean"; got \'max\''):
        kdc.cluster_weights(dense_model(), 4, gradient_aggregation="max")


def test_codebooks_that_are_known_are_taken_as_they_are():
    layer = keras.layers.Dense(3)
    layer.build((None, 4))
    original = array(layer.kernel)
    centroids = np.array([0.5, -2.0, 0.0], np.float32)
    assignments = np.arange(12).reshape(4, 3) % 4
    wrapper = kdc.ClusterWeights.from_codebooks(layer, {"kernel": (centroids, assignments)})
    wrapper.build((None, 4))
    np.testing.assert_array_equal(wrapper.centroids("kernel"), centroids)
    np.testing.assert_array_equal(wrapper.assignments("kernel"), assignments)
    expected = np.array([0, 0.5, -2, 0], np.float32)[assignments]
    np.testing.assert_array_equal(wrapper.effective_weights()["kernel"], expected)
    np.testing.assert_array_equal(array(layer.kernel), original)
    assert wrapper.get_config()["number_of_clusters"] == [3]


def test_the_table_of_an_embedding_trains():
    """In a compiled step, TensorFlow gives its gradient as the rows that were looked up."""
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((7,), dtype="int32"),
            layers.Embedding(50, 8),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )
    shared = compiled(kdc.cluster_weights(model, 4, verbose=False))
    before = shared.layers[0].centroids("embeddings")
    x = np.random.default_rng(0).integers(0, 50, (32, 7))
    shared.fit(x, np.ones((32, 3)), verbose=0)
    assert (shared.layers[0].centroids("embeddings") != before).all()
