"""`from_tfmot`, with models that tfmot has made and trained in processes of their own.

Where the graph has only dense layers, recurrent ones and embeddings, the predictions are those of
tfmot to the bit. Convolutions and attention are other operations in Keras 3, or are fused in
another way: there they are within 1e-6, or within 1e-6 of the largest where that is above 1.
"""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from custom_scaled import Scaled
from support import array, bits, run_python

import keras_deepcomp as kdc
from keras_deepcomp.migration import state
from keras_deepcomp.migration.translation import translate
from keras_deepcomp.wrappers.substitution import find_wrappers

HERE = Path(__file__).parent
SIX_STEPS = 0.5 * (1 - (1 - 6 / 8) ** 3)  # what the schedule of tfmot_models asks for at step 6

EXACT = [
    "plain-mixed-precision",
    "pruned-nested",
    "pruned-recurrent",
    "pruned-custom",
    "pruned-stripped",
    "shared-nested",
    "shared-recurrent",
    "shared-bidirectional",
    "shared-custom",
    "partly",
]
CLOSE = [
    "plain",
    "pruned",
    "pruned-attention",
    "pruned-constant",
    "shared",
    "shared-attention",
    "shared-zeros",
    "shared-channels",
    "shared-channels-zeros",
    "shared-stripped",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfmot")
    done = subprocess.run(
        [sys.executable, HERE / "tfmot_models.py", folder],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


class Made:
    """A model that came over, and what tfmot said of the one it comes from."""

    def __init__(self, folder, name, model=None):
        self.model = model or keras.saving.load_model(folder / f"{name}.ours.keras")
        arrays = np.load(folder / f"{name}.npz")
        self.x = [arrays[f"x{i}"] for i in range(len(self.model.inputs))]
        self.y = [arrays[f"y{i}"] for i in range(len(self.model.outputs))]
        self.weights = {key[2:]: arrays[key] for key in arrays if key.startswith("w/")}

    def _data(self):
        return self.x if len(self.x) > 1 else self.x[0]

    def predictions(self):
        predicted = self.model.predict(self._data(), verbose=0)
        return predicted if isinstance(predicted, list) else [predicted]

    def fit(self, steps_done, epochs, callbacks=()):
        self.model.compile("sgd", "mse")
        self.model.optimizer.iterations.assign(steps_done)
        targets = [np.zeros_like(y) for y in self.y]
        self.model.fit(
            self._data(), targets, batch_size=8, epochs=epochs, verbose=0, callbacks=list(callbacks)
        )

    def wrapper(self, layer):
        (found,) = [w for w in find_wrappers(self.model) if w.layer.name == layer]
        return found


def weights_of(model, prefix=""):
    weights = {}
    for layer in model.layers:
        if hasattr(layer, "layers"):
            weights |= weights_of(layer, f"{prefix}{layer.name}.")
        else:
            values = [array(v) for v in layer.trainable_weights + layer.non_trainable_weights]
            weights |= {f"{prefix}{layer.name}/{i}": value for i, value in enumerate(values)}
    return weights


@pytest.mark.parametrize("name", EXACT)
def test_predictions_are_the_same_to_the_bit(folder, name):
    made = Made(folder, name)
    for theirs, ours in zip(made.y, made.predictions(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", CLOSE)
def test_predictions_are_the_same_within_a_millionth(folder, name):
    made = Made(folder, name)
    for theirs, ours in zip(made.y, made.predictions(), strict=True):
        assert np.abs(ours - theirs).max() <= 1e-6 * max(1, np.abs(theirs).max())


@pytest.mark.parametrize(
    "name",
    [
        "pruned",
        "pruned-nested",
        "pruned-recurrent",
        "shared",
        "shared-nested",
        "shared-zeros",
        "shared-channels",
        "shared-channels-zeros",
    ],
)
def test_stripped_weights_are_those_that_tfmot_strips(folder, name):
    made = Made(folder, name)
    ours = weights_of(kdc.strip(made.model))
    assert made.weights and ours.keys() == made.weights.keys()
    for key, theirs in made.weights.items():
        np.testing.assert_array_equal(ours[key], theirs, err_msg=key)


def test_what_is_wrapped_is_what_tfmot_had_weights_for(folder):
    def chosen(name):
        return {w.layer.name: w.weight_names for w in find_wrappers(Made(folder, name).model)}

    kernels = ["conv", "small", "smaller"]
    # smaller has 20 weights: too few for our own choice, and depthwise is in neither of tfmot's.
    expected = {**{name: ["kernel"] for name in kernels}, "separable": ["pointwise_kernel"]}
    assert chosen("pruned") == chosen("shared") == chosen("shared-channels") == expected
    assert chosen("plain") == chosen("pruned-stripped") == chosen("shared-stripped") == {}
    lstm = ["lstm_cell/kernel", "lstm_cell/recurrent_kernel"]
    assert chosen("pruned-recurrent")["lstm"] == lstm
    assert chosen("shared-recurrent")["lstm"] == lstm
    assert len(chosen("shared-bidirectional")["both"]) == 4
    assert len(chosen("pruned-attention")["attend"]) == 4
    partly = Made(folder, "partly").model
    assert [type(layer).__name__ for layer in partly.layers] == [
        "PruneLowMagnitude",
        "ClusterWeights",
        "Dense",
    ]


def test_codebooks_keep_their_size_and_order(folder):
    conv = {
        name: Made(folder, name).wrapper("conv")
        for name in ("shared", "shared-zeros", "shared-channels", "shared-channels-zeros")
    }
    sizes = {name: wrapper.centroids("kernel").size for name, wrapper in conv.items()}
    # Where zeros are kept, the zero is not counted among the five; six channels have six codebooks.
    assert sizes["shared"] == 5 and sizes["shared-channels"] == 30
    assert sizes["shared-zeros"] == 4 and sizes["shared-channels-zeros"] == 24
    for name, wrapper in conv.items():
        zeros = np.mean(wrapper.assignments("kernel") == 0)
        assert zeros >= 0.5 if "zeros" in name else zeros == 0
    assert conv["shared"].cluster_centroids_init == "linear"


def test_pruning_goes_on_where_tfmot_stopped(folder):
    made = Made(folder, "pruned")
    wrapper = made.wrapper("small")
    size = wrapper.mask("kernel").size
    assert int(array(wrapper.pruning_step)) == 6 and not wrapper.driven
    assert wrapper.threshold("kernel") > 0
    assert wrapper.sparsity == pytest.approx(SIX_STEPS, abs=1 / size)
    before = wrapper.mask("kernel")
    made.fit(6, 1, [kdc.UpdatePruningStep()])
    assert int(array(wrapper.pruning_step)) == 8
    assert wrapper.sparsity == pytest.approx(0.5, abs=1 / size)
    assert not np.any(wrapper.mask("kernel") & ~before)
    assert np.mean(array(kdc.strip(made.model).get_layer("small").kernel) == 0) == wrapper.sparsity


def test_a_schedule_that_is_done_needs_no_callback(folder):
    made = Made(folder, "pruned-constant")
    masks = [w.mask(name) for w in find_wrappers(made.model) for name in w.weight_variables]
    made.fit(0, 2)  # would warn, which is an error here
    after = [w.mask(name) for w in find_wrappers(made.model) for name in w.weight_variables]
    assert all(np.array_equal(a, b) for a, b in zip(masks, after, strict=True))
    assert Made(folder, "pruned-constant").wrapper("small").sparsity == pytest.approx(
        0.75, abs=0.02
    )


def test_centroids_train_on_and_zeros_stay(folder):
    made = Made(folder, "shared-zeros")
    wrapper = made.wrapper("conv")
    before, zeros = wrapper.centroids("kernel"), wrapper.assignments("kernel") == 0
    made.fit(0, 3, [kdc.UpdateCentroids()])
    kernel = array(kdc.strip(made.model).get_layer("conv").kernel)
    assert np.any(wrapper.centroids("kernel") != before)
    assert np.array_equal(kernel == 0, zeros) and np.unique(kernel).size <= 5


def test_reassigning_goes_by_the_values_before_sharing(folder):
    wrapper = Made(folder, "shared").wrapper("conv")
    assert wrapper.reassign("kernel") == 0  # tfmot has just done so


@pytest.mark.parametrize("name", ["pruned-nested", "shared-channels-zeros", "partly"])
def test_the_kdc_file_of_what_came_over(folder, name, tmp_path):
    made = Made(folder, name)
    kdc.save_model(made.model, tmp_path / "m.kdc")
    again, plain = kdc.load_model(tmp_path / "m.kdc"), kdc.strip(made.model)
    for loaded, stripped in zip(again.variables, plain.variables, strict=True):
        assert bits(array(loaded)) == bits(array(stripped))


@pytest.mark.parametrize(
    ("name", "extension"),
    [("pruned", ""), ("pruned-nested", ".h5"), ("shared-channels-zeros", ".keras")],
)
def test_files_are_read_in_another_process(folder, name, extension):
    import tensorflow as tf

    there = "tf_keras" in sys.modules
    made = Made(folder, name, kdc.from_tfmot(folder / f"{name}.theirs{extension}"))
    assert ("tf_keras" in sys.modules) == there
    assert tf.keras.version().startswith("3.")
    for theirs, ours in zip(made.y, made.predictions(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    live = Made(folder, name)
    for mine, other in zip(find_wrappers(made.model), find_wrappers(live.model), strict=True):
        assert (mine.name, mine.weight_names) == (other.name, other.weight_names)
        assert [bits(array(v)) for v in mine.variables] == [bits(array(v)) for v in other.variables]


def test_files_with_zeros_that_tfmot_forgets(folder):
    # tfmot keeps the mask of preserve_sparsity outside of its variables.
    made = Made(folder, "shared-zeros", kdc.from_tfmot(str(folder / "shared-zeros.theirs.h5")))
    ours = weights_of(kdc.strip(made.model))
    for key, theirs in made.weights.items():
        np.testing.assert_array_equal(ours[key], theirs, err_msg=key)


def test_files_that_cannot_be_read(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="no model at"):
        kdc.from_tfmot(tmp_path / "nothing.h5")
    with pytest.raises(ValueError, match="pass the model itself to from_tfmot"):
        kdc.from_tfmot(folder / "shared-custom.theirs.keras", {"Scaled": Scaled})


def test_what_is_no_model_of_tf_keras():
    with pytest.raises(TypeError, match="Expected a tf-keras model"):
        kdc.from_tfmot(3)
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)], name="new")
    with pytest.raises(TypeError, match="'new' is a Keras 3 model already"):
        kdc.from_tfmot(model)


def test_models_that_have_no_counterpart():
    run_python(
        r"""
        import sys, warnings
        sys.path.insert(0, sys.argv[1])
        import pytest
        import tfmot_models as made
        from tfmot_models import *
        from custom_scaled import Scaled
        from keras_deepcomp.wrappers.substitution import find_wrappers

        def refuses(model, match, error=ValueError, **arguments):
            with pytest.raises(error, match=match):
                kdc.from_tfmot(model, **arguments)

        sequential = lambda *inside: tf_keras.Sequential([layers.Input((12,)), *inside])
        refuses(tf_keras.Sequential([layers.Dense(3)]), "not built")
        refuses(sequential(layers.Lambda(lambda x: x + 1)), "Lambda layer")
        refuses(made.pruned(custom()), "pass it as custom_objects={'Scaled'")
        x = tf_keras.Input((4,), name="x")
        refuses(tf_keras.Model(x, x + layers.Dense(4)(x)), "operation of TensorFlow")
        time = layers.TimeDistributed(pruning.prune_low_magnitude(layers.Dense(8), SCHEDULE))
        refuses(tf_keras.Sequential([layers.Input((3, 12)), time]), "inside the layer")
        quantized = tfmot.quantization.keras.quantize_model(sequential(layers.Dense(8)))
        refuses(quantized, "quantization-aware training")
        local = layers.LocallyConnected1D(4, 3)
        refuses(tf_keras.Sequential([layers.Input((6, 2)), local]), "Keras 3")

        class Mine(tf_keras.Model):
            def __init__(self):
                super().__init__()
                self.dense = layers.Dense(3)
            def call(self, inputs):
                return self.dense(inputs)
        mine = Mine()
        mine(np.zeros((1, 4)))
        refuses(mine, "subclassed model")

        class Other(Scaled):
            def build(self, input_shape):
                self.gain = self.add_weight(shape=(self.units,))
                self.kernel = self.add_weight(shape=(input_shape[-1], self.units))
        refuses(made.pruned(custom()), "have the shapes", custom_objects={"Scaled": Other})

        class OwnAlgorithm(made.Scaled):
            def get_clusterable_algorithm(self, name):
                class Own(clustering.ClusteringAlgorithm):
                    pass
                return Own
        refuses(made.shared(sequential(OwnAlgorithm(8))), "algorithm of its own")

        def warns(model, match):
            with pytest.warns(UserWarning, match=match):
                return kdc.from_tfmot(model)
        blocks = made.pruned(sequential(layers.Dense(8)), block_size=(1, 4))
        warns(blocks, r"block_size=\(1, 4\)")
        two_of_four = made.pruned(sequential(layers.Dense(8)), sparsity_m_by_n=(2, 4))
        warns(two_of_four, r"sparsity_m_by_n=\(2, 4\)")
        averaged = clustering.cluster_weights(layers.Dense(8), 4, LINEAR,
            cluster_gradient_aggregation="GradientAggregation.AVG")
        (wrapper,) = find_wrappers(kdc.from_tfmot(sequential(averaged)))
        assert wrapper.gradient_aggregation == "mean"

        # A schedule of one's own goes on being asked; all weights at zero are no obstacle.
        class Half(pruning.PruningSchedule):
            def __call__(self, step):
                return tf.constant(True), tf.constant(0.25)
            def get_config(self):
                return {}
        (wrapper,) = kdc.from_tfmot(made.pruned(sequential(layers.Dense(8)), Half())).layers
        assert wrapper.pruning_schedule(3) == 0.25 and wrapper.sparsity == 0.25
        zeros = sequential(layers.Dense(8, kernel_initializer="zeros"))
        zeros = clustering.cluster_weights(zeros, 4, LINEAR, preserve_sparsity=True)
        (wrapper,) = kdc.from_tfmot(zeros).layers
        assert not wrapper.assignments("kernel").any()
        """,
        HERE,
    )


def test_arguments_that_are_gone_from_keras_3():
    def entry(**config):
        return {"module": "keras.layers", "class_name": "LSTM", "config": config}

    said = translate(
        entry(name="a", units=3, time_major=False, implementation=2), lambda name: False
    )
    assert said["config"] == {"name": "a", "units": 3}
    with pytest.raises(ValueError, match=r"'a' \(LSTM\) has time_major=True"):
        translate(entry(name="a", units=3, time_major=True), lambda name: False)


def test_a_schedule_of_ones_own_does_not_fit_into_a_file(tmp_path):
    pruned = state.Pruned(kdc.schedules.as_schedule(lambda step: 0.5), 3)
    model = state.ModelState({}, {"d": state.LayerState([], pruned)})
    with pytest.raises(ValueError, match="schedule of layer 'd' is code of your own"):
        state.write(model, tmp_path / "state")
