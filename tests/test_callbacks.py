import keras
import numpy as np
import pytest
from support import array, bits, compiled, dense_model, regression_data, run_python

import keras_deepcomp as kdc
from keras_deepcomp.schedules import Constant, Polynomial, Threshold
from keras_deepcomp.wrappers.substitution import find_wrappers


class Record(keras.callbacks.Callback):
    """The sparsity of each wrapper as the batches see it."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def on_train_batch_end(self, batch, logs=None):
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        self.rows.append([w.sparsity for w in find_wrappers(self.model)])


def fit(model, steps=20, epochs=1, callbacks=(), **arguments):
    x, y = regression_data(8 * steps)
    update = kdc.UpdatePruningStep()
    return model.fit(x, y, batch_size=8, epochs=epochs, verbose=0, shuffle=False,
                     callbacks=[update, *callbacks], **arguments)  # fmt: skip


def pruned(schedule, **arguments):
    return compiled(kdc.prune_low_magnitude(dense_model(), schedule, **arguments))


def test_the_sparsity_follows_the_schedule_step_by_step():
    schedule = Polynomial(0.8, 0.2, begin=4, end=16, frequency=3)
    model, record = pruned(schedule), Record()
    fit(model, callbacks=[record])
    expected = 0.0
    for step, row in enumerate(record.rows):
        if step in (4, 7, 10, 13, 16):
            expected = schedule(step)
        for wrapper, sparsity in zip(find_wrappers(model), row, strict=True):
            size = wrapper.mask("kernel").size
            assert sparsity == pytest.approx(1 - round(size * (1 - expected)) / size)
    assert [int(array(w.pruning_step)) for w in find_wrappers(model)] == [16, 16]


def test_the_batch_at_a_step_sees_the_update_of_that_step():
    model, record = pruned(Constant(0.5, begin=3)), Record()
    fit(model, steps=5, callbacks=[record])
    assert [row[0] for row in record.rows] == [0, 0, 0, 0.5, 0.5]


def test_what_is_due_when_training_ends_is_done():
    model = pruned(Polynomial(0.8, begin=0.0, end=1.0))
    fit(model)
    assert find_wrappers(model)[0].sparsity == pytest.approx(0.8, abs=0.01)


def test_global_scope_has_one_threshold():
    model = dense_model()
    model.layers[1].kernel.assign(array(model.layers[1].kernel) * 10)
    wrapped = compiled(
        kdc.prune_low_magnitude(model, Constant(0.6, begin=0), scope="global"),
        keras.optimizers.SGD(0.0),
    )
    fit(wrapped, steps=1)
    first, second = find_wrappers(wrapped)
    assert first.threshold("kernel") == second.threshold("kernel") > 0
    assert first.sparsity > 0.6 > second.sparsity
    sizes = [w.mask("kernel").size for w in (first, second)]
    zeros = sum(s * w.sparsity for s, w in zip(sizes, (first, second), strict=True))
    assert zeros == pytest.approx(0.6 * sum(sizes), abs=1)


def test_threshold_is_quality_times_the_standard_deviation():
    model = dense_model()
    wrapped = compiled(
        kdc.prune_low_magnitude(model, Threshold(1.0, begin=0, end=0)), keras.optimizers.SGD(0.0)
    )
    fit(wrapped, steps=1)
    for layer, wrapper in zip(model.layers, find_wrappers(wrapped), strict=True):
        kernel = array(layer.kernel)
        assert wrapper.threshold("kernel") == pytest.approx(kernel.std())
        np.testing.assert_array_equal(wrapper.mask("kernel"), np.abs(kernel) > kernel.std())


def test_a_rising_quality_uses_the_deviation_of_the_dense_layer():
    model, record = pruned(Threshold(1.5, begin=0, end=15)), Record()
    deviation = array(dense_model().layers[0].kernel).std()
    fit(model, callbacks=[record])
    sparsities = [row[0] for row in record.rows]
    assert sparsities == sorted(sparsities) and sparsities[-1] > 0.5
    first = find_wrappers(model)[0]
    assert first.deviation("kernel") == pytest.approx(deviation)
    assert first.threshold("kernel") == pytest.approx(1.5 * deviation)


def test_logs():
    history = fit(pruned(Constant(0.5, begin=0)), epochs=2).history
    assert history["sparsity"] == history["sparsity/d0"] == history["sparsity/d1"] == [0.5, 0.5]


def test_centroid_logs():
    shared = compiled(kdc.cluster_weights(dense_model(), 4), keras.optimizers.SGD(0.1))
    x, y = regression_data()
    history = shared.fit(
        x, y, epochs=3, verbose=0, callbacks=[kdc.UpdateCentroids(reassign=True)]
    ).history
    assert all(shift > 0 for shift in history["centroid_shift"])
    assert len(history["reassigned"]) == 3 and history["reassigned"][0] > 0
    still = compiled(kdc.cluster_weights(dense_model(), 4), keras.optimizers.SGD(0.0))
    history = still.fit(x, y, verbose=0, callbacks=[kdc.UpdateCentroids()]).history
    assert history["centroid_shift"] == [0.0] and "reassigned" not in history


def test_callables_may_bring_weights_back_from_zero():
    model, record = pruned(lambda step: 0.8 if step < 10 else 0.2), Record()
    for wrapper in find_wrappers(model):
        wrapper.pruning_schedule.frequency = 1
    fit(model, callbacks=[record])
    assert record.rows[9][0] == pytest.approx(0.8, abs=0.01)
    assert record.rows[10][0] == pytest.approx(0.2, abs=0.01)


def test_callables_act_in_short_trainings_too():
    model = pruned(lambda step: min(0.5, step / 16))
    fit(model, steps=8, epochs=4)
    assert find_wrappers(model)[0].sparsity == 0.5


def test_a_training_that_stops_early_warns():
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    model = pruned(Polynomial(0.9))
    with pytest.warns(UserWarning, match=r"stopped at step 20, .* ends at step 70"):
        fit(model, epochs=5, callbacks=[Stop()])
    # Nobody drives it now, and it is not done.
    compiled(model)
    with pytest.warns(UserWarning, match="nothing moves its pruning schedule"):
        model.fit(*regression_data(), verbose=0)


def test_restored_by_another_callback(tmp_path):
    model = pruned(Polynomial(0.6, end=1.0))
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
    fit(model, epochs=2, callbacks=[backup])
    again = pruned(Polynomial(0.6, end=1.0))
    fit(again, epochs=2, callbacks=[backup])
    assert find_wrappers(again)[0].sparsity == find_wrappers(model)[0].sparsity


def test_the_threshold_stays_when_nothing_more_goes():
    model = pruned(Polynomial(0.8, begin=0, end=10), scope="global")
    fit(model, epochs=3)
    assert find_wrappers(model)[0].threshold("kernel") > 0


def test_two_models_that_train_one_wrapped_layer_warn():
    first = pruned(Constant(0.5, begin=0))
    fit(first)
    second = compiled(keras.Sequential([keras.Input((20,)), *first.layers], name="second"))
    with pytest.warns(UserWarning, match="is a layer of 'net' too, .* now 'second' goes on"):
        fit(second)
    fit(second)  # it was said


def test_a_schedule_that_ends_after_training_warns():
    with pytest.warns(UserWarning, match="ends at step 500, but this training ends at step 20"):
        fit(pruned(Polynomial(0.5, begin=0, end=500)))


def test_a_schedule_that_begins_after_training_warns():
    with pytest.warns(UserWarning, match="begins at step 100, .* nothing will be pruned"):
        fit(pruned(Constant(0.5, begin=100)))


def test_the_wrong_model():
    with pytest.raises(ValueError, match="found no PruneLowMagnitude layer"):
        fit(compiled(dense_model()))
    with pytest.raises(ValueError, match="found no ClusterWeights layer"):
        fit(pruned(Constant(0.5)), callbacks=[kdc.UpdateCentroids()])


def unknown_length(steps):
    x, y = regression_data(8)
    for _ in range(steps):
        yield x, y


def test_training_of_unknown_length():
    def train(schedule, **arguments):
        model = pruned(schedule)
        model.fit(
            unknown_length(20),
            shuffle=False,
            verbose=0,
            callbacks=[kdc.UpdatePruningStep()],
            **arguments,
        )
        return find_wrappers(model)[0].sparsity

    with pytest.raises(ValueError, match="Pass steps_per_epoch= to fit"):
        train(Polynomial(0.5))
    with pytest.warns(UserWarning, match="ran out of data"):
        assert train(Polynomial(0.5, begin=0, end=10)) == 0.5
    assert train(Polynomial(0.5), steps_per_epoch=20) == 0.5
    with pytest.warns(UserWarning, match="ran out of data"):
        assert train(Constant(0.5)) == 0.5


@pytest.mark.parametrize(
    "compile_arguments",
    [{"steps_per_execution": 4}, {"jit_compile": True}, {"run_eagerly": True}],
    ids=lambda arguments: next(iter(arguments)),
)
def test_ways_of_running(compile_arguments):
    if "steps_per_execution" in compile_arguments and keras.backend.backend() == "torch":
        pytest.skip("Keras takes one step per execution on torch")
    model = kdc.prune_low_magnitude(dense_model(), Polynomial(0.5, begin=0, end=10, frequency=1))
    compiled(model, **compile_arguments)
    fit(model)
    assert find_wrappers(model)[0].sparsity == 0.5
    assert (array(kdc.strip(model).layers[0].kernel) == 0).mean() == 0.5


def test_gradient_accumulation_counts_optimizer_steps():
    model = kdc.prune_low_magnitude(dense_model(), Polynomial(0.5, begin=0.0, end=1.0))
    compiled(model, keras.optimizers.Adam(gradient_accumulation_steps=4))
    record = Record()
    fit(model, steps=40, callbacks=[record])
    (first, last), step = array(find_wrappers(model)[0].horizon), array(model.optimizer.iterations)
    assert (first, last, step) == (0, 10, 10)
    sparsities = [row[0] for row in record.rows]
    assert all(len(set(sparsities[i : i + 3])) == 1 for i in range(1, 36, 4))
    assert find_wrappers(model)[0].sparsity == 0.5


def test_a_second_training_never_loosens_the_masks():
    model = pruned(Polynomial(0.6, begin=0.0, end=0.5))
    fit(model)
    masks = [w.mask("kernel") for w in find_wrappers(model)]
    compiled(model)  # a new optimizer counts from 0 again
    fit(model)
    for wrapper, mask in zip(find_wrappers(model), masks, strict=True):
        np.testing.assert_array_equal(wrapper.mask("kernel"), mask)


def test_diverged_training_is_named():
    model = compiled(
        kdc.prune_low_magnitude(dense_model(), Polynomial(0.5, begin=0, end=10)),
        keras.optimizers.SGD(1e38),
    )
    with pytest.raises(ValueError, match="The training has diverged"):
        fit(model)


STOP_AND_GO = """
    import sys, os
    import numpy as np
    import keras_deepcomp as kdc
    import keras
    part, folder, epochs = sys.argv[1], sys.argv[2], 6
    keras.utils.set_random_seed(0)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf
        tf.config.experimental.enable_op_determinism()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((160, 20), np.float32)
    y = np.tanh(x[:, :10])

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 2:
                self.model.stop_training = True

    callbacks = [kdc.UpdatePruningStep()]
    if part == "second":
        model = keras.models.load_model(folder + "/stopped.keras")
    else:
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.layers.Input((20,)), keras.layers.Dense(32, "relu"),
                                  keras.layers.Dense(10)])
        schedule = kdc.schedules.Polynomial(0.9, end=0.8, frequency=7)
        model = kdc.prune_low_magnitude(model, schedule, scope=sys.argv[3])
        model.compile(keras.optimizers.Adam(0.01), "mse")
        if part == "first":
            callbacks.append(Stop())
    # Both ways to go on: with the epochs that are left, and with initial_epoch.
    if part == "second" and sys.argv[3] == "layer":
        epochs, start = 3, 0
    else:
        start = 3 if part == "second" else 0
    model.fit(x, y, batch_size=8, epochs=epochs, initial_epoch=start, shuffle=False, verbose=0,
              callbacks=callbacks)
    if part == "first":
        model.save(folder + "/stopped.keras")
    else:
        plain = kdc.strip(model)
        zeros = sum(int((np.array(w) == 0).sum()) for w in plain.get_weights())
        print(zeros, "".join(w.tobytes().hex() for w in plain.get_weights()))
"""


# Six processes; another backend has nothing of its own in the second case.
@pytest.mark.parametrize(
    "scope", ["global"] if keras.backend.backend() != "tensorflow" else ["layer", "global"]
)
def test_stopped_in_the_middle_and_resumed_in_a_new_process(tmp_path, scope):
    """The same final weights as without the stop, with `initial_epoch` and without."""
    whole = run_python(STOP_AND_GO, "whole", tmp_path, scope).splitlines()[-1]
    run_python(STOP_AND_GO, "first", tmp_path, scope)
    resumed = run_python(STOP_AND_GO, "second", tmp_path, scope).splitlines()[-1]
    assert int(whole.split()[0]) >= 0.89 * (20 * 32 + 32 * 10)
    assert whole == resumed


def test_sharing_resumes_from_a_file(tmp_path):
    x, y = regression_data()

    def train(model, epochs):
        model.fit(x, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0)

    whole, stopped = (compiled(kdc.cluster_weights(dense_model(), 6)) for _ in range(2))
    train(whole, 4)
    train(stopped, 2)
    stopped.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    train(again, 2)
    assert [bits(array(v)) for v in kdc.strip(whole).variables] == [
        bits(array(v)) for v in kdc.strip(again).variables
    ]
