import keras
import numpy as np
import pytest
from support import array, compiled, dense_model, regression_data

import keras_deepcomp as kdc
from keras_deepcomp import ranking
from keras_deepcomp.wrappers.substitution import find_wrappers

X, Y = regression_data(64)


def trained(schedule, optimizer="adam", epochs=4, **arguments):
    model = compiled(dense_model(activation="tanh"), "adam")
    model.fit(X, Y, epochs=10, verbose=0)
    pruned = compiled(
        kdc.prune_low_magnitude(model, schedule, verbose=False, **arguments), optimizer
    )
    pruned.fit(X, Y, batch_size=8, epochs=epochs, verbose=0, callbacks=[kdc.UpdatePruningStep()])
    return pruned


def test_worth_is_magnitude_times_the_root_of_the_second_moment():
    pruned = trained(kdc.schedules.Constant(0.5, begin=0.5), ranking="worth", scope="global")
    for wrapper in find_wrappers(pruned):
        kernel = wrapper.weight_variables["kernel"]
        moments = ranking.second_moments(pruned.optimizer, kernel)
        found = ranking.scores(wrapper, "kernel", pruned.optimizer)
        np.testing.assert_allclose(found, np.abs(array(kernel)) * np.sqrt(moments), rtol=1e-6)
        assert moments[wrapper.mask("kernel")].any()


def test_worth_keeps_what_the_loss_needs():
    # The first input is never there, so that its weights are large and worth nothing.
    x = np.array(X)
    x[:, 0] = 0.0
    model = dense_model()
    kernel = array(model.layers[0].kernel)
    kernel[0] = 3.0
    model.layers[0].kernel.assign(kernel)
    schedule = kdc.schedules.Constant(0.3, begin=8)
    pruned = compiled(kdc.prune_low_magnitude(model, schedule, ranking="worth", verbose=False))
    pruned.fit(x, Y, batch_size=8, epochs=2, verbose=0, callbacks=[kdc.UpdatePruningStep()])
    assert not find_wrappers(pruned)[0].mask("kernel")[0].any()


def test_the_second_moment_is_that_of_the_gradient():
    model = compiled(dense_model(units=(3,)), keras.optimizers.RMSprop(1e-9, rho=0.0))
    variable = model.layers[0].kernel
    assert ranking.second_moments(model.optimizer, variable) is None
    model.fit(X, Y[:, :3], batch_size=64, epochs=1, verbose=0)
    error = X @ array(variable) + array(model.layers[0].bias) - Y[:, :3]
    gradient = 2 * X.T @ error / error.size
    np.testing.assert_allclose(
        ranking.second_moments(model.optimizer, variable), gradient**2, rtol=1e-3, atol=1e-9
    )


def test_worth_needs_an_optimizer_with_second_moments():
    with pytest.raises(ValueError, match="Adam, AdamW, Nadam, Lamb and RMSprop"):
        trained(kdc.schedules.Constant(0.5), "sgd", ranking="worth")
    pruned = kdc.prune_low_magnitude(
        dense_model(), kdc.schedules.Constant(0.5, begin=0), ranking="worth", verbose=False
    )
    with pytest.raises(ValueError, match="PruningDriver\\(optimizer="):
        kdc.PruningDriver(pruned, last_step=10).update(0)
    kdc.PruningDriver(pruned, last_step=10, optimizer=keras.optimizers.Nadam()).update(0)
    assert find_wrappers(pruned)[0].sparsity == pytest.approx(0.5)


def test_an_unknown_ranking_and_a_quality_schedule_are_refused():
    with pytest.raises(ValueError, match="ranking must be one of"):
        kdc.prune_low_magnitude(dense_model(), kdc.schedules.Constant(0.5), ranking="size")
    with pytest.raises(ValueError, match="compares magnitudes"):
        kdc.prune_low_magnitude(dense_model(), kdc.schedules.Threshold(1.0), ranking="worth")


def test_ranking_and_biases_are_saved_with_the_model(tmp_path):
    pruned = trained(kdc.schedules.Constant(0.5), ranking="worth", biases=True)
    pruned.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    for one, other in zip(find_wrappers(pruned), find_wrappers(again), strict=True):
        assert other.ranking == "worth"
        assert list(other.weight_variables) == ["kernel", "bias"]
        np.testing.assert_array_equal(other.mask("bias"), one.mask("bias"))
