"""A training that is interrupted and goes on elsewhere ends with the same bits."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from support import array, bits, compiled, regression_data

import keras_deepcomp as kdc

BATCH, STEPS, EPOCHS = 8, 8, 5
X, Y = regression_data(BATCH * STEPS)


def plain():
    """With dropout, whose seeds are state too."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.layers.Input((20,)),
            keras.layers.Dense(32, "relu", name="d0"),
            keras.layers.Dropout(0.2, seed=1),
            keras.layers.Dense(10, name="d1"),
        ]
    )


def optimized(model):
    """With momentum and a learning rate that falls: state of the optimizer."""
    rate = keras.optimizers.schedules.ExponentialDecay(0.01, 5, 0.9)
    return compiled(model, keras.optimizers.Adam(rate))


def pruned(scope="layer"):
    schedule = kdc.schedules.Polynomial(0.8, end=0.8, frequency=5)
    return optimized(kdc.prune_low_magnitude(plain(), schedule, scope=scope))


STAGES = {
    "prune": (pruned, lambda: kdc.UpdatePruningStep()),
    "prune by one threshold": (lambda: pruned("global"), lambda: kdc.UpdatePruningStep()),
    "share": (
        lambda: optimized(kdc.cluster_weights(plain(), 6)),
        lambda: kdc.UpdateCentroids(reassign=True),
    ),
}
each_stage = pytest.mark.parametrize("stage", STAGES)


class Interrupt(keras.callbacks.Callback):
    """Ctrl-C in the middle of an epoch."""

    def __init__(self, epoch, batch=5):
        super().__init__()
        self.at = epoch, batch

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise KeyboardInterrupt


def fit(stage, model, *, before=(), after=(), epochs=EPOCHS, data=(X, Y), **arguments):
    model.fit(*data, batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0,
              callbacks=[*before, STAGES[stage][1](), *after], **arguments)  # fmt: skip


def interrupted(stage, model, *, after, before=(), epoch=3):
    with pytest.raises(KeyboardInterrupt):
        fit(stage, model, before=before, after=[*after, Interrupt(epoch)])


def everything(model):
    """All variables: weights, masks, centroids, assignments, seeds, and the optimizer's."""
    optimizer = sorted((v.path, v) for v in model.optimizer.variables)
    return [bits(array(v)) for v in (*model.variables, *(v for _, v in optimizer))]


@pytest.fixture(scope="module")
def undisturbed():
    """What each stage ends with, by itself."""
    results = {}
    for stage, (make, _) in STAGES.items():
        model = make()
        fit(stage, model)
        results[stage] = everything(model)
    return results


@each_stage
@pytest.mark.parametrize("order", ["before", "after"])
def test_backup_and_restore(stage, order, tmp_path, undisturbed):
    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    make = STAGES[stage][0]
    for epoch in (0, 3):  # twice, the first time before there is anything to restore
        others = {"before": (), "after": (), order: [backup()]}
        interrupted(stage, make(), epoch=epoch, **others)
    resumed = make()
    fit(stage, resumed, **{order: [backup()]})
    assert everything(resumed) == undisturbed[stage]


@each_stage
def test_checkpoints_of_whole_models(stage, tmp_path, undisturbed):
    path = tmp_path / "m.keras"
    interrupted(stage, STAGES[stage][0](), after=[keras.callbacks.ModelCheckpoint(path)])
    resumed = keras.models.load_model(path)
    fit(stage, resumed, initial_epoch=3)
    assert everything(resumed) == undisturbed[stage]


@each_stage
def test_checkpoints_of_weights(stage, tmp_path, undisturbed):
    path = tmp_path / "m.weights.h5"
    checkpoint = keras.callbacks.ModelCheckpoint(path, save_weights_only=True)
    interrupted(stage, STAGES[stage][0](), after=[checkpoint])
    resumed = STAGES[stage][0]()
    resumed.optimizer.build(resumed.trainable_variables)  # or Keras does not load its state
    resumed.load_weights(path)
    fit(stage, resumed, initial_epoch=3)
    assert everything(resumed) == undisturbed[stage]


@each_stage
@pytest.mark.parametrize("kind", [".keras", ".weights.h5"])
def test_in_the_middle_of_an_epoch(stage, kind, tmp_path, undisturbed):
    """Between two updates of the masks; the rest of the epoch is what is trained first."""
    path = tmp_path / f"m{kind}"
    checkpoint = keras.callbacks.ModelCheckpoint(
        path, save_weights_only=kind != ".keras", save_freq=3 * STEPS + 3
    )
    interrupted(stage, STAGES[stage][0](), after=[checkpoint])
    if kind == ".keras":
        resumed = keras.models.load_model(path)
    else:
        resumed = STAGES[stage][0]()
        resumed.optimizer.build(resumed.trainable_variables)
        resumed.load_weights(path)
    assert int(array(resumed.optimizer.iterations)) == 3 * STEPS + 3
    rest = X[3 * BATCH :], Y[3 * BATCH :]
    # The schedule is done in this epoch, or there is none: nothing is left to warn of.
    fit(stage, resumed, epochs=1, data=rest)
    fit(stage, resumed, epochs=EPOCHS - 4)
    assert everything(resumed) == undisturbed[stage]


@each_stage
def test_weights_alone_carry_the_stage(stage, tmp_path):
    """Without a training to go on with: the same effective weights in a model made anew."""
    model = STAGES[stage][0]()
    fit(stage, model, epochs=2)
    model.save_weights(tmp_path / "m.weights.h5")
    again = STAGES[stage][0]()
    again.load_weights(tmp_path / "m.weights.h5")
    for one, other in zip(kdc.strip(model).variables, kdc.strip(again).variables, strict=True):
        assert bits(array(one)) == bits(array(other))


@each_stage
def test_orbax(stage, tmp_path, undisturbed):
    pytest.importorskip("orbax.checkpoint")
    checkpoint = keras.callbacks.OrbaxCheckpoint(tmp_path / "orbax", save_on_background=False)
    interrupted(stage, STAGES[stage][0](), after=[checkpoint])
    newest = max((tmp_path / "orbax").iterdir(), key=lambda path: int(path.name))
    resumed = keras.models.load_model(newest)
    fit(stage, resumed, initial_epoch=3)
    assert everything(resumed) == undisturbed[stage]


def test_killed_at_random_moments(tmp_path):
    """As `make bench-kills`, with fewer kills."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
    try:
        import kills
    finally:
        sys.path.pop(0)
    result = kills.campaign(tmp_path, number_of_kills=3, seed=0)
    assert result["kills"] == 3 and set(result["stages_killed"]) <= {"prune", "share"}
    assert result["trainings"] and all(t["equal"] for t in result["trainings"])
    assert np.all([t["sparsity"] > 0.5 for t in result["trainings"]])
