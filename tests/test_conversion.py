import keras
import numpy as np
import own_classes
import pytest
from support import array, bits, compiled, dense_model, regression_data

import keras_deepcomp as kdc
from keras_deepcomp.wrappers.substitution import find_wrappers

CONSTANT = kdc.schedules.Constant(0.5, begin=0)


def nested_model():
    keras.utils.set_random_seed(0)
    inner = keras.Sequential(
        [keras.layers.Input((16,)), keras.layers.Dense(16, name="in1"), keras.layers.Dropout(0.1)],
        name="inner",
    )
    inputs = keras.Input((16,), name="x")
    shared = keras.layers.Dense(16, name="shared", activation="relu")
    hidden = shared(shared(inner(inputs)))
    hidden = keras.layers.BatchNormalization(name="norm")(hidden) + inputs
    outputs = {
        "a": keras.layers.Dense(4, name="a")(hidden),
        "b": keras.layers.Dense(5, name="b", use_bias=False)(hidden[:, :8]),
    }
    return keras.Model(inputs, outputs, name="outer")


@pytest.mark.parametrize("wrap", ["prune", "share", "both"])
def test_strip_gives_back_what_went_in(wrap):
    model = nested_model()
    wrapped = model
    if wrap != "share":
        wrapped = kdc.prune_low_magnitude(wrapped, CONSTANT)
    if wrap != "prune":
        wrapped = kdc.cluster_weights(wrapped, 20)
    plain = kdc.strip(wrapped)
    assert type(plain) is type(model)
    assert plain.get_config() == model.get_config()
    assert [v.path for v in plain.weights] == [v.path for v in model.weights]
    assert len(plain.variables) == len(model.variables)
    x = np.random.default_rng(0).standard_normal((8, 16), np.float32)
    expected, got = (m.predict(x, verbose=0) for m in (wrapped, plain))
    for name in expected:
        np.testing.assert_array_equal(expected[name], got[name])


def test_stripping_a_plain_model_gives_the_model():
    model = dense_model()
    assert kdc.strip(model) is model


def test_the_result_is_not_compiled_and_the_model_stays_compiled():
    @keras.saving.register_keras_serializable("tests")
    def loss(y, p):
        return keras.ops.mean((y - p) ** 2)

    model = dense_model()
    model.compile("adam", lambda y, p: loss(y, p))  # a loss that cannot be cloned
    wrapped = kdc.prune_low_magnitude(model, CONSTANT)
    assert model.compiled and not wrapped.compiled and not kdc.strip(wrapped).compiled


def test_what_takes_part_by_default():
    model = nested_model()
    wrapped = kdc.prune_low_magnitude(model, CONSTANT)
    names = {w.layer.name: list(w.weight_variables) for w in find_wrappers(wrapped)}
    # b has 40 weights, too few; norm and biases never take part.
    assert names == {"in1": ["kernel"], "shared": ["kernel"], "a": ["kernel"]}


@pytest.mark.parametrize(
    ("filters", "chosen"),
    [
        ("d[02]", ["d0", "d2"]),
        (["d1", "d2"], ["d1", "d2"]),
        (lambda layer: layer.units > 20, ["d0", "d1"]),
        (None, ["d0", "d1", "d2"]),
    ],
)
def test_filters(filters, chosen):
    model = dense_model((32, 24, 10))
    pruned = kdc.prune_low_magnitude(model, CONSTANT, filters=filters)
    assert [w.layer.name for w in find_wrappers(pruned)] == chosen
    shared = kdc.cluster_weights(kdc.prune_low_magnitude(model, CONSTANT), 4, filters=filters)
    assert [w.layer.name for w in find_wrappers(shared, kdc.ClusterWeights)] == chosen


@pytest.mark.parametrize("filters", ["fc9", ["d0", "fc9"]])
def test_unknown_filters(filters):
    with pytest.raises(ValueError, match="'fc9' matches no layer"):
        kdc.prune_low_magnitude(dense_model(), CONSTANT, filters=filters)


def test_bad_filters():
    with pytest.raises(ValueError, match="not a regular expression"):
        kdc.prune_low_magnitude(dense_model(), CONSTANT, filters="(")
    for filters in ([3], 3):
        with pytest.raises(TypeError, match="filters must be"):
            kdc.prune_low_magnitude(dense_model(), CONSTANT, filters=filters)


def test_clusters_per_layer():
    model = dense_model((32, 24, 10))

    def sizes(number_of_clusters):
        shared = kdc.cluster_weights(model, number_of_clusters)
        return {
            w.layer.name: w.centroids("kernel").size
            for w in find_wrappers(shared, kdc.ClusterWeights)
        }

    assert sizes(5) == {"d0": 5, "d1": 5, "d2": 5}
    assert sizes({"d0": 3, "d[12]": 7}) == {"d0": 3, "d1": 7, "d2": 7}
    assert sizes({"d0": 3, ".*": 7}) == {"d0": 3, "d1": 7, "d2": 7}
    assert sizes({"d1": 9}) == {"d1": 9}
    assert sizes(lambda layer: layer.units // 2 if layer.name != "d0" else None) == {
        "d1": 12,
        "d2": 5,
    }
    with pytest.raises(ValueError, match="number_of_clusters: 'dx' matches no layer"):
        sizes({"dx": 3})


def test_pruned_zeros_survive_sharing():
    pruned = compiled(kdc.prune_low_magnitude(dense_model(), CONSTANT))
    pruned.fit(*regression_data(), verbose=0, callbacks=[kdc.UpdatePruningStep()])
    zeros = [array(layer.kernel) == 0 for layer in kdc.strip(pruned).layers]
    shared = compiled(kdc.cluster_weights(pruned, 4))
    assert not find_wrappers(shared, kdc.PruneLowMagnitude)
    shared.fit(*regression_data(), epochs=3, verbose=0)
    for layer, zero in zip(kdc.strip(shared).layers, zeros, strict=True):
        np.testing.assert_array_equal(array(layer.kernel) == 0, zero)


@pytest.mark.parametrize(
    "clusters", [{"dense": 4}, lambda layer: 4 if layer.name == "dense" else None]
)
def test_pruned_layers_that_share_no_weights_stay_pruned(clusters, tmp_path, capsys):
    layers = [keras.layers.Dense(32, name="dense"), keras.layers.Dense(10, name="other")]
    model = keras.Sequential([keras.layers.Input((20,)), *layers])
    pruned = compiled(kdc.prune_low_magnitude(model, CONSTANT))
    pruned.fit(*regression_data(), verbose=0, callbacks=[kdc.UpdatePruningStep()])
    zeros = [array(layer.kernel) == 0 for layer in kdc.strip(pruned).layers]
    shared = kdc.cluster_weights(pruned, clusters)
    assert "left alone, not chosen, and still pruned: other/kernel" in capsys.readouterr().out
    assert kdc.summary(shared, verbose=False).participation
    shared.save(tmp_path / "shared.keras")
    for again in (compiled(shared), compiled(keras.models.load_model(tmp_path / "shared.keras"))):
        again.fit(*regression_data(), epochs=3, verbose=0)
        for layer, zero in zip(kdc.strip(again).layers, zeros, strict=True):
            np.testing.assert_array_equal(array(layer.kernel) == 0, zero)


def test_the_order_of_the_stages():
    shared = kdc.cluster_weights(dense_model(), 4)
    with pytest.raises(ValueError, match="Prune first, then share"):
        kdc.prune_low_magnitude(shared, CONSTANT)
    with pytest.raises(ValueError, match="shares its weights already"):
        kdc.cluster_weights(shared, 4)
    pruned = kdc.prune_low_magnitude(dense_model(), CONSTANT)
    with pytest.raises(ValueError, match="wrapped for pruning already"):
        kdc.prune_low_magnitude(pruned, CONSTANT)


def test_models_that_cannot_be_converted():
    unbuilt = keras.Sequential([keras.layers.Dense(10)], name="unbuilt")
    for convert in (
        lambda m: kdc.prune_low_magnitude(m, CONSTANT),
        lambda m: kdc.cluster_weights(m, 4),
    ):
        with pytest.raises(ValueError, match="'unbuilt' is not built"):
            convert(unbuilt)
        with pytest.raises(TypeError, match="Expected a Keras 3 model"):
            convert(keras.layers.Dense(3))
        with pytest.raises(TypeError, match="Expected a Keras 3 model"):
            convert("model.keras")
        with pytest.raises(ValueError, match=r"'own' is not built.* or fit it first"):
            convert(own_classes.Plain(name="own"))


def test_a_lambda_beside_what_is_compressed():
    model = keras.Sequential(
        [keras.layers.Input((20,)), keras.layers.Lambda(lambda x: x * 2), keras.layers.Dense(10)]
    )
    x, _ = regression_data()
    wrapped = kdc.prune_low_magnitude(model, CONSTANT)
    for each in (wrapped, kdc.strip(wrapped)):
        np.testing.assert_array_equal(each.predict(x, verbose=0), model.predict(x, verbose=0))


def test_layers_that_cannot_be_made_anew_are_named():
    class Own(keras.layers.Dense):
        def __init__(self, width, activation):
            super().__init__(width)

    model = keras.Sequential([keras.layers.Input((20,)), Own(10, None)])
    with pytest.raises(ValueError, match=r"(?s)\(Own\) cannot be made anew .*get_config\(\)"):
        kdc.prune_low_magnitude(model, CONSTANT)


def test_what_is_no_model_at_all():
    for wrong in (None, "m.keras", 3):
        with pytest.raises(TypeError, match="Expected a Keras 3 model"):
            kdc.strip(wrong)
        with pytest.raises(TypeError, match="Expected a Keras 3 model"):
            kdc.save_model(wrong, "m.kdc")


def test_nothing_to_compress_says_why():
    frozen = dense_model((32,))
    frozen.layers[0].trainable = False
    for model, reason in (
        (dense_model((3,)), "60 elements, fewer than 64"),
        (frozen, "frozen"),
    ):
        with pytest.raises(ValueError, match=f"d0/kernel: {reason}.* d0/bias"):
            kdc.prune_low_magnitude(model, CONSTANT)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite(bad):
    model = dense_model()
    kernel = array(model.layers[0].kernel)
    kernel[2, 3] = bad
    model.layers[0].kernel.assign(kernel)
    for convert in (
        lambda: kdc.prune_low_magnitude(model, CONSTANT),
        lambda: kdc.cluster_weights(model, 4),
    ):
        with pytest.raises(ValueError, match="1 values that are NaN or infinite among 640"):
            convert()


@keras.saving.register_keras_serializable("tests")
class Scaled(keras.layers.Layer):
    """A layer of one's own that says what to compress, with tfmot's methods."""

    def build(self, shape):
        self.table = self.add_weight(shape=(shape[-1], 8), name="table")
        self.other = self.add_weight(shape=(shape[-1], 8), name="other")

    def call(self, x):
        return x @ self.table + x @ self.other

    def get_prunable_weights(self):
        return [self.table]

    def get_clusterable_weights(self):
        return [self.other]


def test_custom_layers_decide_for_themselves():
    model = keras.Sequential([keras.layers.Input((20,)), Scaled(name="own")])
    pruned = kdc.prune_low_magnitude(model, CONSTANT)
    assert list(find_wrappers(pruned)[0].weight_variables) == ["table"]
    with pytest.warns(UserWarning, match="table of 'own' is pruned, but cannot share its weights"):
        shared = kdc.cluster_weights(pruned, 4)
    assert list(find_wrappers(shared)[0].weight_variables) == ["other"]
    assert type(kdc.strip(shared).layers[0]) is Scaled


def test_sequential_built_by_data():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Dense(32, name="d0"), keras.layers.Dense(10, name="d1")])
    x, y = regression_data()
    compiled(model).fit(x, y, verbose=0)
    shared = kdc.cluster_weights(model, 255)
    plain = kdc.strip(shared)
    np.testing.assert_array_equal(shared.predict(x, verbose=0), plain.predict(x, verbose=0))
    assert bits(array(plain.variables[1])) == bits(array(model.variables[1]))


def test_strip_keeps_an_adapted_normalization():
    data = np.random.default_rng(0).normal(3.0, 2.0, (64, 8)).astype("float32")
    normalization = keras.layers.Normalization()
    normalization.adapt(data)
    layers = [keras.layers.Input((8,)), normalization, keras.layers.Dense(16)]
    model = keras.Sequential(layers)
    # As many clusters as weights change nothing.
    shared = kdc.cluster_weights(model, 8 * 16)
    np.testing.assert_array_equal(array(kdc.strip(shared)(data)), array(model(data)))
