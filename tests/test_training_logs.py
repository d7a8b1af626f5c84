import keras
import numpy as np
import pytest
from support import array, compiled, dense_model, regression_data

import keras_deepcomp as kdc
from keras_deepcomp import training_logs
from keras_deepcomp.schedules import Constant
from keras_deepcomp.wrappers.substitution import find_wrappers


def saved_bytes(model, tmp_path):
    return kdc.save_model(model, tmp_path / "m.kdc", architecture=False)


def pruned_model(sparsity):
    plain, rng = dense_model((200, 100), 100), np.random.default_rng(0)
    # Fresh weights have few bits, as random number generators make them; trained ones have all.
    plain.set_weights([0.1 * rng.standard_normal(w.shape) for w in plain.get_weights()])
    model = kdc.prune_low_magnitude(plain, Constant(sparsity, begin=0), verbose=False)
    driver = kdc.PruningDriver(model, last_step=1)
    driver.update(0)
    driver.finish(1)
    return model


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9, 0.98])
def test_the_estimate_of_a_pruned_model_is_near_its_file(sparsity, tmp_path):
    model = pruned_model(sparsity)
    estimate = training_logs.coded_bytes(model)["coded_bytes"]
    assert estimate == pytest.approx(saved_bytes(model, tmp_path), rel=0.1)


@pytest.mark.parametrize(
    ("sparsity", "arguments"),
    [(0.0, {}), (0.9, {}), (0.98, {}), (0.5, {"cluster_per_channel": True})],
)
def test_the_estimate_of_a_shared_model_is_near_its_file(sparsity, arguments, tmp_path):
    model = kdc.cluster_weights(pruned_model(sparsity), 8, verbose=False, **arguments)
    estimate = training_logs.coded_bytes(model)
    size = saved_bytes(model, tmp_path)
    assert estimate["coded_bytes"] == pytest.approx(size, rel=0.1)
    biases = estimate["coded_bytes"] - estimate["coded_bytes/d0"] - estimate["coded_bytes/d1"]
    assert 0.7 < biases / (4 * (200 + 100)) < 1


def test_member_counts():
    for per_channel in (False, True):
        shared = kdc.cluster_weights(
            pruned_model(0.5), 4, cluster_per_channel=per_channel, verbose=False
        )
        for wrapper in find_wrappers(shared):
            counts = wrapper.member_counts("kernel")
            value = array(wrapper.effective_value("kernel"))
            assert counts[0] == np.count_nonzero(value == 0)
            assert counts.sum() == value.size
            assert counts.size == 1 + wrapper.centroids("kernel").size
            first = wrapper.centroids("kernel").ravel()[0]
            column = value[:, 0] if per_channel else value
            assert counts[1] == np.count_nonzero(column == first)


def test_what_is_in_the_logs_and_on_the_progress_bar(capsys):
    model = compiled(kdc.prune_low_magnitude(dense_model(), Constant(0.5, begin=0)))
    x, y = regression_data()
    history = model.fit(x, y, callbacks=[kdc.UpdatePruningStep()]).history
    assert history["sparsity"] == history["sparsity/d0"] == [0.5]
    for wrapper in find_wrappers(model):
        (logged,) = history[f"threshold/{wrapper.layer.name}"]
        assert logged == wrapper.threshold("kernel") > 0
    assert history["coded_bytes"] == [training_logs.coded_bytes(model)["coded_bytes"]]
    bar = capsys.readouterr().out
    assert all(f"{name}: " in bar for name in ("sparsity", "threshold/d1", "coded_bytes"))


def test_centroids_in_the_logs():
    model = compiled(kdc.cluster_weights(dense_model(), 4), keras.optimizers.SGD(0.1))
    before = training_logs.centroids_of(find_wrappers(model))
    x, y = regression_data()
    history = model.fit(x, y, verbose=0, callbacks=[kdc.UpdateCentroids()]).history
    after = training_logs.centroids_of(find_wrappers(model))
    for name in ("d0", "d1"):
        moved = np.abs(after[name] - before[name]).mean()
        assert history[f"centroid_shift/{name}"] == pytest.approx([moved])
    both = (history["centroid_shift/d0"][0] + history["centroid_shift/d1"][0]) / 2
    assert history["centroid_shift"] == pytest.approx([both])
    assert history["coded_bytes"] == [training_logs.coded_bytes(model)["coded_bytes"]]
