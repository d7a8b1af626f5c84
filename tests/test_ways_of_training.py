"""Every way in which Keras trains a model, for both stages; on each backend."""

import keras
import numpy as np
import pytest
from support import array, compiled, dense_model, regression_data

import keras_deepcomp as kdc
from keras_deepcomp.schedules import Constant, Polynomial
from keras_deepcomp.wrappers.substitution import find_wrappers

BATCH, STEPS, CLUSTERS = 8, 16, 6
X, Y = regression_data(BATCH * STEPS)
SCHEDULE = Polynomial(0.75, begin=0, end=12, frequency=3)


def pruned(schedule=SCHEDULE, **layer_arguments):
    return kdc.prune_low_magnitude(dense_model(**layer_arguments), schedule)


def shared(**layer_arguments):
    """A model that shares weights of which half are zero."""
    model = dense_model(**layer_arguments)
    for layer in model.layers:
        kernel = array(layer.kernel)
        layer.kernel.assign(np.where(np.abs(kernel) > np.median(np.abs(kernel)), kernel, 0))
    return kdc.cluster_weights(model, CLUSTERS)


STAGES = {"prune": (pruned, kdc.UpdatePruningStep), "share": (shared, kdc.UpdateCentroids)}
both_stages = pytest.mark.parametrize("stage", STAGES)


def train(stage, model, x=X, y=Y, epochs=3, callbacks=(), **arguments):
    """Fits a model of a stage and checks what must hold however it was trained."""
    before = [{n: np.array(v) for n, v in w.effective_weights().items()}
              for w in find_wrappers(model)]  # fmt: skip
    if y is not None:
        arguments = {"batch_size": BATCH, **arguments}
    history = model.fit(x, y, epochs=epochs, verbose=0, callbacks=[STAGES[stage][1](), *callbacks],
                        **arguments).history  # fmt: skip
    check(stage, model, before)
    assert epochs == 1 or history["loss"][-1] < history["loss"][0]
    return history


def check(stage, model, before, sparsity=0.75):
    stripped = kdc.strip(model)
    for wrapper, old in zip(find_wrappers(model), before, strict=True):
        for name, value in wrapper.effective_weights().items():
            assert not np.array_equal(value, old[name]) and np.isfinite(value).all()
            kernel = array(stripped.get_layer(wrapper.layer.name).kernel)
            np.testing.assert_array_equal(value, kernel)
            if stage == "prune":
                zeros = value.size - round(value.size * (1 - sparsity))
                assert np.count_nonzero(value == 0) == zeros
            else:
                np.testing.assert_array_equal(value == 0, old[name] == 0)
                assert len(np.unique(value[value != 0])) <= CLUSTERS


def steps_of(model):
    return int(array(model.optimizer.iterations))


# -- where the data comes from


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return STEPS

    def __getitem__(self, index):
        part = slice(index * BATCH, (index + 1) * BATCH)
        return X[part], Y[part]


def generator():
    while True:
        yield from (Batches()[i] for i in range(STEPS))


def tf_data():
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(64, seed=0).batch(BATCH)


@both_stages
@pytest.mark.parametrize(
    ("source", "arguments"),
    [
        (generator, {"steps_per_epoch": STEPS, "shuffle": False}),
        (tf_data, {"shuffle": False}),
        (Batches, {}),
    ],
    ids=["generator", "tf.data", "PyDataset"],
)
def test_sources_of_data(stage, source, arguments):
    model = compiled(STAGES[stage][0]())
    train(stage, model, source(), None, **arguments)
    assert steps_of(model) == 3 * STEPS


@both_stages
@pytest.mark.parametrize("weighting", ["sample_weight", "class_weight", "validation_split"])
def test_weights_of_samples(stage, weighting):
    model = STAGES[stage][0]()
    classes = Y.argmax(axis=1)
    model.compile(
        "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), weighted_metrics=[]
    )
    value = {
        "sample_weight": np.linspace(0.1, 2.0, len(X)),
        "class_weight": {i: 1.0 + i for i in range(10)},
        "validation_split": 0.25,
    }[weighting]
    train(stage, model, X, classes, **{weighting: value})


# -- how a step runs


@both_stages
@pytest.mark.parametrize(
    "arguments",
    [{"jit_compile": True}, {"jit_compile": False}, {"run_eagerly": True}],
    ids=["jit", "no jit", "eagerly"],
)
def test_compiled_or_not(stage, arguments):
    train(stage, compiled(STAGES[stage][0](), **arguments), epochs=2)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras has it not for torch")
@both_stages
def test_several_steps_per_execution(stage):
    model, seen = compiled(STAGES[stage][0](), steps_per_execution=5), []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: seen.append(
            [batch, round(find_wrappers(record.model)[0].sparsity, 2)] if stage == "prune" else []
        )
    )
    train(stage, model, epochs=1 if stage == "prune" else 2, callbacks=[record])
    if stage == "prune":
        # What is due at steps 3, 6, 9 and 12 happens where the next execution begins.
        assert [batch for batch, _ in seen] == [0, 5, 10, 15]
        expected = [SCHEDULE(step) for step in (0, 5, 10, 12)]
        assert [sparsity for _, sparsity in seen] == pytest.approx(expected, abs=0.01)


class OwnStep(keras.Sequential):
    """A `train_step` of one's own, on TensorFlow."""

    def train_step(self, data):
        import tensorflow as tf

        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.own_optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"error": loss}


def own_step(layers):
    model = OwnStep([keras.layers.Input((20,)), *layers])
    compiled(model)
    model.own_optimizer = keras.optimizers.Adam(0.01)
    model.own_optimizer.build(model.trainable_variables)
    return model


needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="uses TensorFlow's GradientTape"
)


@needs_tensorflow
def test_a_train_step_and_an_optimizer_of_ones_own():
    dense = keras.layers.Dense
    model = own_step([kdc.PruneLowMagnitude(dense(32), SCHEDULE), dense(10)])
    update = kdc.UpdatePruningStep(optimizer=model.own_optimizer)
    losses = model.fit(X, Y, BATCH, epochs=2, verbose=0, callbacks=[update]).history["error"]
    assert find_wrappers(model)[0].sparsity == 0.75 and losses[1] < losses[0]
    again = own_step([kdc.PruneLowMagnitude(dense(32), SCHEDULE), dense(10)])
    with (
        pytest.warns(UserWarning, match=r"took no step .* UpdatePruningStep\(optimizer=...\)"),
        pytest.warns(UserWarning, match="Training stopped at step 0"),
    ):
        again.fit(X, Y, BATCH, verbose=0, callbacks=[kdc.UpdatePruningStep()])
    shared_layers = [kdc.ClusterWeights(layer, CLUSTERS) for layer in dense_model().layers]
    sharing = own_step(shared_layers)
    losses = sharing.fit(X, Y, BATCH, epochs=2, verbose=0).history["error"]
    assert losses[1] < losses[0]
    assert len(np.unique(shared_layers[0].effective_weights()["kernel"])) == CLUSTERS


def test_a_model_without_optimizer():
    model = pruned()
    model.compile(optimizer=None, loss="mse")
    with pytest.raises(ValueError, match=r"has no optimizer.*UpdatePruningStep\(optimizer=...\)"):
        model.fit(X, Y, verbose=0, callbacks=[kdc.UpdatePruningStep()])


# -- types


@both_stages
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(stage, policy):
    try:
        keras.config.set_dtype_policy(policy)
        model = compiled(STAGES[stage][0](), keras.optimizers.Adam(0.003))
    finally:
        keras.config.set_dtype_policy("float32")
    scales = policy == "mixed_float16"
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer) == scales
    train(stage, model, epochs=4)
    for wrapper in find_wrappers(model):
        assert wrapper.compute_dtype == policy.removeprefix("mixed_")
        assert wrapper.effective_weights()["kernel"].dtype == np.float32


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_gradients_of_centroids_are_summed_in_the_weights_type(policy):
    """16 bits would stop at 256 (bfloat16) or overflow at 65,504 (float16)."""
    model = keras.Sequential([keras.layers.Input((200,)), keras.layers.Dense(300, dtype=policy)])
    shared = kdc.cluster_weights(model, 2)
    wrapper = find_wrappers(shared)[0]
    before, members = wrapper.centroids("kernel"), np.bincount(wrapper.assignments("kernel").flat)
    # The gradient of the sum of the outputs, 1 for each weight; the loss is that over 300.
    shared.compile(keras.optimizers.SGD(1.0), "mean_absolute_error", auto_scale_loss=False)
    shared.fit(np.ones((4, 200), "float32"), np.full((4, 300), -1e4, "float32"), verbose=0)
    moved = before - wrapper.centroids("kernel")
    np.testing.assert_allclose(moved, members[1:] / 300, rtol=0.01)


def test_steps_that_loss_scaling_skips_are_not_counted():
    model = pruned(Polynomial(0.5, begin=0, end=8, frequency=1))
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(), initial_scale=2.0**124)
    compiled(model, scaled)
    rows = []
    record = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: rows.append((steps_of(record.model), logs["sparsity"]))
    )
    model.fit(X, 1e3 * Y, BATCH, epochs=2, verbose=0,
              callbacks=[kdc.UpdatePruningStep(), record])  # fmt: skip
    assert 0 < rows[0][0] < STEPS  # some were skipped, until the scale was low enough
    assert rows[-1][1] == 0.5


def test_training_in_which_every_step_is_skipped_says_so():
    model = pruned(Constant(0.5, begin=1))
    compiled(model, keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(), 2.0**127 * 1.9))
    x = np.full_like(X, 1e4)
    with (
        pytest.warns(UserWarning, match="skips batches whose gradients are not finite"),
        pytest.warns(UserWarning, match="Training stopped at step 0"),
    ):
        model.fit(x, Y, BATCH, steps_per_epoch=2, verbose=0, callbacks=[kdc.UpdatePruningStep()])


# -- what optimizers do beside a step


@both_stages
@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "in LossScaleOptimizer"])
def test_gradient_accumulation(stage, wrapped):
    optimizer = keras.optimizers.Adam(0.01, gradient_accumulation_steps=4)
    if wrapped:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=8.0)
    model = STAGES[stage][0]()
    if stage == "prune":
        model = pruned(Polynomial(0.75, end=0.5))
    compiled(model, optimizer)
    train(stage, model, epochs=4)
    assert steps_of(model) == STEPS
    if stage == "prune":
        assert list(array(find_wrappers(model)[0].horizon)) == [0, STEPS]


def test_accumulation_goes_on_over_the_end_of_an_epoch():
    model = pruned(Polynomial(0.75, end=1.0))
    compiled(model, keras.optimizers.Adam(gradient_accumulation_steps=6))
    train("prune", model, epochs=3)
    assert steps_of(model) == 3 * STEPS // 6
    assert list(array(find_wrappers(model)[0].horizon)) == [0, 8]


@both_stages
@pytest.mark.parametrize("overwrite", [None, 5])
def test_moving_averages_overwrite_weights(stage, overwrite):
    optimizer = keras.optimizers.Adam(
        0.01, use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=overwrite
    )
    model = compiled(STAGES[stage][0](), optimizer)
    train(stage, model)


@both_stages
def test_moving_averages_swapped_in_for_evaluation(stage):
    model = compiled(STAGES[stage][0](), keras.optimizers.Adam(0.01, use_ema=True))
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    train(stage, model, callbacks=[swap], validation_data=(X, Y))


@both_stages
def test_weight_decay_clipping_and_a_learning_rate_schedule(stage):
    rate = keras.optimizers.schedules.CosineDecay(0.02, 3 * STEPS, warmup_steps=5)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.1, global_clipnorm=1.0)
    train(stage, compiled(STAGES[stage][0](), optimizer))


@both_stages
def test_other_callbacks_beside_ours(stage, tmp_path):
    callbacks = [
        keras.callbacks.LearningRateScheduler(lambda epoch: 0.01 / (1 + epoch)),
        keras.callbacks.ReduceLROnPlateau("loss"),
        keras.callbacks.EarlyStopping("loss", patience=5),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.TerminateOnNaN(),
    ]
    train(stage, compiled(STAGES[stage][0]()), callbacks=callbacks)
    logged = (tmp_path / "log.csv").read_text().splitlines()[0].split(",")
    assert ("sparsity" if stage == "prune" else "centroid_shift") in logged


def test_early_stopping_gives_back_a_model_of_the_best_epoch():
    model = compiled(pruned(Polynomial(0.75, begin=0, end=40, frequency=8)))
    stop = keras.callbacks.EarlyStopping("loss", patience=0, restore_best_weights=True, mode="max")
    with pytest.warns(UserWarning, match="Training stopped at step 32, .* ends at step 40"):
        model.fit(X, Y, BATCH, epochs=3, verbose=0, callbacks=[kdc.UpdatePruningStep(), stop])
    wrapper = find_wrappers(model)[0]
    value, mask = wrapper.effective_weights()["kernel"], wrapper.mask("kernel")
    assert (value[~mask] == 0).all()


@both_stages
def test_fine_tuning_after_thawing(stage):
    model = STAGES[stage][0]()
    first = find_wrappers(model)[0]
    first.trainable = False
    compiled(model, keras.optimizers.Adam(0.01))
    frozen = first.layer.bias
    bias = array(frozen)
    kernel = first.effective_weights()["kernel"]
    model.fit(X, Y, BATCH, epochs=2, verbose=0, callbacks=[STAGES[stage][1]()])
    np.testing.assert_array_equal(array(frozen), bias)
    if stage == "share":
        np.testing.assert_array_equal(first.effective_weights()["kernel"], kernel)
    first.trainable = True
    compiled(model, keras.optimizers.Adam(0.001))
    train(stage, model)
    assert not np.array_equal(array(frozen), bias)


# -- loops of one's own


@needs_tensorflow
@pytest.mark.parametrize("compiled_step", [False, True], ids=["eager", "tf.function"])
def test_a_loop_on_tensorflow(compiled_step):
    import tensorflow as tf

    model, optimizer = pruned(Polynomial(0.75, end=0.5)), keras.optimizers.Adam(0.01)
    optimizer.build(model.trainable_variables)

    def train_step(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    if compiled_step:
        train_step = tf.function(train_step)
    driver, losses, moved = kdc.PruningDriver(model, last_step=3 * STEPS), [], []
    for step in range(3 * STEPS):
        if driver.update(step):
            moved.append(step)
        losses.append(float(train_step(*Batches()[step % STEPS])))
    driver.finish(3 * STEPS)
    assert moved == list(range(25)) and losses[-1] < losses[0]
    assert [w.sparsity for w in find_wrappers(model)] == pytest.approx([0.75, 0.75], abs=0.005)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="uses JAX")
def test_a_stateless_loop_on_jax():
    import jax

    model, optimizer = pruned(Polynomial(0.75, end=0.5)), keras.optimizers.Adam(0.01)
    optimizer.build(model.trainable_variables)

    def loss_of(trainable, others, x, y):
        outputs, others = model.stateless_call(trainable, others, x, training=True)
        return keras.ops.mean((outputs - y) ** 2), others

    @jax.jit
    def train_step(trainable, others, state, x, y):
        (loss, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(
            trainable, others, x, y
        )
        trainable, state = optimizer.stateless_apply(state, gradients, trainable)
        return loss, trainable, others, state

    def held():
        return ([v.value for v in model.trainable_variables],
                [v.value for v in model.non_trainable_variables])  # fmt: skip

    def hand_over(trainable, others):
        for variable, value in zip(model.trainable_variables, trainable, strict=True):
            variable.assign(value)
        for variable, value in zip(model.non_trainable_variables, others, strict=True):
            variable.assign(value)

    driver, losses = kdc.PruningDriver(model, last_step=3 * STEPS), []
    (trainable, others), state = held(), [v.value for v in optimizer.variables]
    for step in range(3 * STEPS):
        if driver.is_due(step):
            hand_over(trainable, others)
            driver.update(step)
            trainable, others = held()
        loss, trainable, others, state = train_step(
            trainable, others, state, *Batches()[step % STEPS]
        )
        losses.append(float(loss))
    hand_over(trainable, others)
    driver.finish(3 * STEPS)
    assert losses[-1] < losses[0]
    assert [w.sparsity for w in find_wrappers(model)] == pytest.approx([0.75, 0.75], abs=0.005)


def test_a_loop_of_train_on_batch_is_as_fit():
    def weights(loop):
        model = compiled(pruned())
        if loop:
            driver = kdc.PruningDriver(model, last_step=2 * STEPS)
            for step in range(2 * STEPS):
                driver.update(step)
                model.train_on_batch(*Batches()[step % STEPS])
            driver.finish(2 * STEPS)
        else:
            train("prune", model, epochs=2, shuffle=False)
        return [array(v) for v in kdc.strip(model).variables]

    for one, other in zip(weights(loop=True), weights(loop=False), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_loop_goes_on_where_it_stopped(tmp_path):
    def steps(model, first, last, **arguments):
        driver = kdc.PruningDriver(model, last_step=20, **arguments)
        for step in range(first, last):
            driver.update(step)
            model.train_on_batch(*Batches()[step % STEPS])
        return driver

    schedule = Polynomial(0.75, end=0.9, frequency=7)
    whole, stopped = compiled(pruned(schedule)), compiled(pruned(schedule))
    steps(whole, 0, 20).finish(20)
    with pytest.warns(UserWarning, match="stopped at step 11, .* ends at step 18"):
        steps(stopped, 0, 11).finish(11)
    stopped.save(tmp_path / "stopped.keras")
    again = keras.models.load_model(tmp_path / "stopped.keras")
    steps(again, 11, 20, step=11).finish(20)
    for one, other in zip(whole.variables, again.variables, strict=True):
        np.testing.assert_array_equal(array(one), array(other))


# -- what is forgotten or confused


def test_fit_without_the_callback_warns():
    with pytest.warns(UserWarning, match=r"nothing moves its .*UpdatePruningStep\(\) in fit's"):
        compiled(pruned()).fit(X, Y, BATCH, verbose=0)


@pytest.mark.parametrize("raises", [False, True], ids=["stopped", "interrupted"])
def test_fit_goes_on_without_the_callback_and_without_compiling_anew(raises):
    """The step is compiled already, so no layer's own code runs again."""

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 5:
                self.model.stop_training = True
                if raises:
                    raise KeyboardInterrupt

    model = compiled(pruned())
    callbacks = [kdc.UpdatePruningStep(), Stop()]
    if raises:
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, Y, BATCH, verbose=0, callbacks=callbacks)
    else:
        with pytest.warns(UserWarning, match="Training stopped at step 6"):
            model.fit(X, Y, BATCH, verbose=0, callbacks=callbacks)
    before = [w.sparsity for w in find_wrappers(model)]
    with pytest.warns(UserWarning, match=r"nothing moves its .*UpdatePruningStep\(\) in fit's"):
        model.fit(X, Y, BATCH, verbose=0)
    assert [w.sparsity for w in find_wrappers(model)] == before


def test_fit_goes_on_without_the_callback_when_the_schedule_is_done():
    model = compiled(pruned())
    model.fit(X, Y, BATCH, verbose=0, callbacks=[kdc.UpdatePruningStep()])
    model.fit(X, Y, BATCH, verbose=0)
    assert find_wrappers(model)[0].sparsity == 0.75


def test_fit_goes_on_with_the_callback():
    model = compiled(pruned(Polynomial(0.75, begin=0, end=24, frequency=6)))
    with pytest.warns(UserWarning, match="ends at step 24, but this training ends at step 16"):
        model.fit(X, Y, BATCH, verbose=0, callbacks=[kdc.UpdatePruningStep()])
    model.fit(X, Y, BATCH, verbose=0, callbacks=[kdc.UpdatePruningStep()])
    assert find_wrappers(model)[0].sparsity == 0.75


@pytest.mark.parametrize(
    ("make", "callback", "message"),
    [
        (shared, kdc.UpdatePruningStep, r"UpdatePruningStep found no PruneLowMagnitude layer in"),
        (pruned, kdc.UpdateCentroids, r"UpdateCentroids found no ClusterWeights layer in"),
    ],
)
def test_the_callback_of_the_other_stage(make, callback, message):
    with pytest.raises(ValueError, match=message):
        compiled(make()).fit(X, Y, verbose=0, callbacks=[callback()])


def test_a_driver_of_a_model_that_is_not_pruned():
    with pytest.raises(ValueError, match="PruningDriver found no PruneLowMagnitude layer in 'net'"):
        kdc.PruningDriver(dense_model(), last_step=10)


def test_a_driver_of_a_loop_of_unknown_length():
    with pytest.raises(ValueError, match="last_step="):
        kdc.PruningDriver(pruned(Polynomial(0.5)), last_step=None)
    driver = kdc.PruningDriver(pruned(), last_step=None)
    assert driver.update(0) and not driver.is_due(2) and driver.is_due(3)
