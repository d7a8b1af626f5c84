import keras
import numpy as np
import pytest
from support import array, bits, compiled, dense_model, regression_data

import keras_deepcomp as kdc
from keras_deepcomp.wrappers.substitution import find_wrappers


def pruned_once(model, sparsity=0.8):
    """A model with masks in place, by one step of training without any change to the weights."""
    pruned = compiled(
        kdc.prune_low_magnitude(model, kdc.schedules.Constant(sparsity, begin=0)),
        keras.optimizers.SGD(0.0),
    )
    pruned.fit(*regression_data(8), verbose=0, callbacks=[kdc.UpdatePruningStep()])
    return pruned


def test_the_largest_weights_stay_as_they_are():
    model = dense_model()
    pruned = pruned_once(model)
    for layer, plain in zip(model.layers, kdc.strip(pruned).layers, strict=True):
        kernel, left = array(layer.kernel), array(plain.kernel)
        kept = left != 0
        assert kept.sum() == round(kernel.size * 0.2)
        np.testing.assert_array_equal(left[kept], kernel[kept])
        assert np.abs(kernel[kept]).min() >= np.abs(kernel[~kept]).max()


def test_zeros_are_positive_zeros():
    pruned = pruned_once(dense_model())
    for wrapper in find_wrappers(pruned):
        value = wrapper.effective_weights()["kernel"]
        assert not np.signbit(value[value == 0]).any()


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.Adam(0.01),
        lambda: keras.optimizers.SGD(0.05, momentum=0.9),
        lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    ],
    ids=["adam", "momentum", "adamw"],
)
def test_pruned_weights_stay_zero_through_1000_steps(optimizer):
    # Dense steps first, so that momentum and moments point somewhere when the masks come.
    pruned = kdc.prune_low_magnitude(
        dense_model(), kdc.schedules.Constant(0.75, begin=100), scope="layer"
    )
    compiled(pruned, optimizer())
    x, y = regression_data(1000)
    wrappers = find_wrappers(pruned)
    masks = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            masks.append([w.mask("kernel") for w in wrappers])
            for wrapper in wrappers:
                value, mask = wrapper.effective_weights()["kernel"], wrapper.mask("kernel")
                assert bits(value[~mask]) == bits(np.zeros(int((~mask).sum()), np.float32))

    pruned.fit(x, y, batch_size=10, epochs=11, verbose=0,
               callbacks=[kdc.UpdatePruningStep(), Watch()])  # fmt: skip
    assert int(array(pruned.optimizer.iterations)) == 1100
    for first, last in zip(masks[1], masks[-1], strict=True):
        np.testing.assert_array_equal(first, last)
        assert (~first).mean() == pytest.approx(0.75, abs=0.01)
    for layer, mask in zip(kdc.strip(pruned).layers, masks[-1], strict=True):
        kernel = array(layer.kernel)
        assert bits(kernel[~mask]) == bits(np.zeros(int((~mask).sum()), np.float32))
        assert np.count_nonzero(kernel) == mask.sum()


def test_pruned_nan_is_zero_too():
    layer = kdc.PruneLowMagnitude(keras.layers.Dense(16), kdc.schedules.Constant(0.5))
    layer.build((None, 16))
    mask = np.ones((16, 16), bool)
    mask[0] = False
    layer.set_mask("kernel", mask, 0.1)
    layer.layer.kernel.assign(np.full((16, 16), np.nan, np.float32))
    assert (layer.effective_weights()["kernel"][0] == 0).all()


def test_training_without_the_callback_warns_and_names_it():
    pruned = compiled(kdc.prune_low_magnitude(dense_model(), kdc.schedules.Constant(0.5)))
    with pytest.warns(UserWarning, match=r"UpdatePruningStep\(\) in fit's callbacks"):
        pruned.fit(*regression_data(), verbose=0)


def test_a_finished_schedule_needs_no_callback_any_more(tmp_path):
    pruned = compiled(
        kdc.prune_low_magnitude(dense_model(), kdc.schedules.Polynomial(0.5, begin=0, end=1))
    )
    pruned.fit(*regression_data(), epochs=2, verbose=0, callbacks=[kdc.UpdatePruningStep()])
    pruned.fit(*regression_data(), verbose=0)
    pruned.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    again.fit(*regression_data(), verbose=0)
    assert find_wrappers(again)[0].sparsity == pytest.approx(0.5, abs=0.01)


def test_state_comes_back_from_a_keras_file(tmp_path):
    schedule = kdc.schedules.Threshold(0.8, begin=0, end=4)
    pruned = compiled(kdc.prune_low_magnitude(dense_model(), schedule))
    x, y = regression_data()
    pruned.fit(x, y, epochs=3, verbose=0, callbacks=[kdc.UpdatePruningStep()])
    pruned.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    for one, other in zip(find_wrappers(pruned), find_wrappers(again), strict=True):
        assert [bits(array(v)) for v in one.variables] == [bits(array(v)) for v in other.variables]
        assert repr(one.pruning_schedule) == repr(other.pruning_schedule)
        assert one.deviation("kernel") == other.deviation("kernel") > 0
        assert one.threshold("kernel") == other.threshold("kernel") > 0
    np.testing.assert_array_equal(pruned.predict(x, verbose=0), again.predict(x, verbose=0))


@keras.saving.register_keras_serializable("tests")
def slowly(step):
    return min(0.5, step / 100)


def test_registered_callables_are_saved_by_name(tmp_path):
    pruned = compiled(kdc.prune_low_magnitude(dense_model(), slowly))
    pruned.fit(*regression_data(), verbose=0, callbacks=[kdc.UpdatePruningStep()])
    pruned.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert find_wrappers(again)[0].pruning_schedule.function is slowly


def test_as_a_layer_of_ones_own():
    model = keras.Sequential(
        [
            keras.layers.Input((20,)),
            kdc.PruneLowMagnitude(keras.layers.Dense(32), kdc.schedules.Constant(0.5)),
            keras.layers.Dense(10),
        ]
    )
    compiled(model).fit(*regression_data(), verbose=0, callbacks=[kdc.UpdatePruningStep()])
    assert (array(kdc.strip(model).layers[0].kernel) == 0).mean() == 0.5


def test_bad_scope():
    with pytest.raises(ValueError, match=r"scope must be one of \('layer', 'global'\)"):
        kdc.prune_low_magnitude(dense_model(), kdc.schedules.Constant(0.5), scope="model")
    with pytest.raises(ValueError, match='use scope="layer"'):
        kdc.prune_low_magnitude(dense_model(), kdc.schedules.Threshold(1.0), scope="global")
