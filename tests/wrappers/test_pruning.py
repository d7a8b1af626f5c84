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


def conv_model():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((8, 8, 8)),
            layers.Conv2D(12, 3, name="conv"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.Conv2DTranspose(8, 3, name="transposed"),
            layers.Flatten(),
            layers.Dense(16, name="dense"),
        ]
    )


def pruned_in_a_pattern(model, schedule, scope="layer", **pattern):
    pruned = compiled(
        kdc.prune_low_magnitude(model, schedule, scope, **pattern), keras.optimizers.SGD(0.0)
    )
    x = np.zeros((8, *model.input_shape[1:]), np.float32)
    pruned.fit(x, np.zeros((8, 16)), batch_size=1, verbose=0, callbacks=[kdc.UpdatePruningStep()])
    return pruned


def test_blocks_of_channels_go_as_one():
    schedule = kdc.schedules.Constant(0.75, begin=0)
    pruned = pruned_in_a_pattern(conv_model(), schedule, block_size=(4, 2))
    masks = {w.layer.name: w.mask("kernel") for w in find_wrappers(pruned)}
    assert list(masks) == ["conv", "depthwise", "transposed", "dense"]
    masks["transposed"] = masks["transposed"].swapaxes(2, 3)
    del masks["depthwise"]  # one output channel for each: its blocks are smaller
    for mask in masks.values():
        *before, rows, columns = mask.shape
        blocks = mask.reshape(*before, rows // 4, 4, columns // 2, 2)
        assert (blocks == blocks[..., :1, :, :1]).all()
        assert mask.mean() == pytest.approx(0.25, abs=0.01)


def test_two_of_four_input_channels():
    schedule = kdc.schedules.Constant(0.5, begin=0)
    model = conv_model()
    pruned = pruned_in_a_pattern(model, schedule, sparsity_m_by_n=(2, 4))
    masks = {w.layer.name: w.mask("kernel") for w in find_wrappers(pruned)}
    assert list(masks) == ["conv", "transposed", "dense"]  # a depthwise kernel sums no channels
    masks["transposed"] = masks["transposed"].swapaxes(2, 3)
    for mask in masks.values():
        *before, rows, columns = mask.shape
        assert (mask.reshape(*before, rows // 4, 4, columns).sum(axis=-2) == 2).all()
    plain = kdc.strip(pruned)
    np.testing.assert_array_equal(
        array(plain.get_layer("depthwise").kernel), array(model.get_layer("depthwise").kernel)
    )


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("pattern", [{"block_size": (2, 2)}, {"sparsity_m_by_n": (2, 4)}])
def test_the_sparsity_of_a_pattern_follows_the_schedule(scope, pattern):
    schedule = kdc.schedules.Polynomial(0.5, begin=0, end=8, frequency=2)
    sparsities = []

    class Record(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            wrappers = find_wrappers(self.model)
            masks = [w.mask("kernel") for w in wrappers]
            sparsities.append(1 - sum(m.sum() for m in masks) / sum(m.size for m in masks))

    model = dense_model((32, 16))
    pruned = kdc.prune_low_magnitude(model, schedule, scope, **pattern)
    compiled(pruned, keras.optimizers.SGD(0.0))
    x, y = regression_data(10, 20, 16)
    pruned.fit(x, y, batch_size=1, verbose=0, callbacks=[kdc.UpdatePruningStep(), Record()])
    expected = [schedule(step - step % 2) for step in range(9)] + [0.5]
    np.testing.assert_allclose(sparsities, expected, atol=0.01)
    assert [w.sparsity for w in find_wrappers(pruned)] == [0.5, 0.5] or scope == "global"


def test_a_global_threshold_ranks_the_blocks_of_all_layers():
    model = dense_model((32, 16))
    model.layers[1].kernel.assign(array(model.layers[1].kernel) * 10)
    schedule = kdc.schedules.Constant(0.5, begin=0)
    pruned = pruned_in_a_pattern(model, schedule, "global", block_size=(2, 2))
    first, second = find_wrappers(pruned)
    assert first.threshold("kernel") == second.threshold("kernel") > 0
    assert first.sparsity > 0.5 > second.sparsity


def test_the_pattern_comes_back_from_a_keras_file(tmp_path):
    for pattern in ({"block_size": (4, 2), "block_pooling_type": "MAX"},
                    {"sparsity_m_by_n": (2, 4)}):  # fmt: skip
        model = pruned_in_a_pattern(conv_model(), kdc.schedules.Constant(0.5, begin=0), **pattern)
        model.save(tmp_path / "m.keras")
        again = keras.models.load_model(tmp_path / "m.keras")
        for one, other in zip(find_wrappers(model), find_wrappers(again), strict=True):
            assert one.structure == other.structure
            for key in pattern:
                assert one.get_config()[key] == other.get_config()[key]
            np.testing.assert_array_equal(one.mask("kernel"), other.mask("kernel"))


def test_blocks_under_a_threshold():
    schedule = kdc.schedules.Threshold(1.0, begin=0, end=0)
    pruned = pruned_in_a_pattern(dense_model((32, 16)), schedule, block_size=(2, 2))
    for wrapper in find_wrappers(pruned):
        mask = wrapper.mask("kernel")
        assert (mask[::2] == mask[1::2]).all() and 0 < mask.mean() < 1


@pytest.mark.parametrize(
    ("schedule", "says"),
    [
        (kdc.schedules.Constant(0.4), r"is a sparsity of 0.5, and the schedule ends at 0.4"),
        (kdc.schedules.Polynomial(0.3), "Give the schedule a final sparsity of 0.5, or more"),
        (kdc.schedules.Threshold(1.0), r"Use a sparsity schedule, such as .*Polynomial\(0.5\)"),
    ],
)
def test_a_schedule_must_reach_the_pattern(schedule, says):
    with pytest.raises(ValueError, match=says):
        kdc.prune_low_magnitude(dense_model(), schedule, sparsity_m_by_n=(2, 4))
