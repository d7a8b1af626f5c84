import keras
import numpy as np
import pytest
import tensorflow as tf
from support import array, compiled, dense_model, regression_data

import keras_deepcomp as kdc
from keras_deepcomp.schedules import Constant, Polynomial
from keras_deepcomp.wrappers.substitution import find_wrappers


def events(folder):
    """(tag, step, plugin, value) of all that was written, in its order."""
    found = []
    for path in sorted((folder / "metrics").iterdir()):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                plugin = value.metadata.plugin_data.plugin_name
                found.append((value.tag, event.step, plugin, tf.make_ndarray(value.tensor)))
    return found


def scalars(folder, tag):
    return [(step, float(value)) for name, step, _, value in events(folder) if name == tag]


def fit(model, *callbacks, epochs=2):
    x, y = regression_data(64)
    return model.fit(x, y, batch_size=8, epochs=epochs, verbose=0, callbacks=list(callbacks))


def test_pruning(tmp_path):
    model = compiled(kdc.prune_low_magnitude(dense_model(), Polynomial(0.8, begin=0, end=12)))
    history = fit(model, kdc.UpdatePruningStep(), kdc.PruningSummaries(tmp_path)).history
    for name in ("sparsity", "sparsity/d0", "threshold/d0", "threshold/d1", "coded_bytes"):
        assert scalars(tmp_path, name) == [
            (step, pytest.approx(value)) for step, value in zip((8, 16), history[name], strict=True)
        ]
    assert [step for step, _ in scalars(tmp_path, "epoch_loss")] == [0, 1]
    assert scalars(tmp_path, "epoch_sparsity") == []
    (wrapper, _) = find_wrappers(model)
    last = [event for event in events(tmp_path) if event[0] == "weights/d0"][-1]
    assert last[1:3] == (16, "histograms")
    kept = array(wrapper.effective_value("kernel"))
    kept = kept[kept != 0]
    left, right, counts = last[3].T
    assert counts.sum() == kept.size == np.count_nonzero(wrapper.mask("kernel"))
    assert left[0] == pytest.approx(kept.min()) and right[-1] == pytest.approx(kept.max())
    assert (left[1:] == right[:-1]).all()


def test_sharing(tmp_path):
    model = compiled(kdc.cluster_weights(dense_model(), 4, verbose=False))
    update = kdc.UpdateCentroids(reassign=True)
    history = fit(model, update, kdc.PruningSummaries(tmp_path, histogram_freq=2), epochs=3).history
    for name in ("centroid_shift", "centroid_shift/d1", "coded_bytes"):
        written = [value for _, value in scalars(tmp_path, name)]
        assert written == pytest.approx(history[name], rel=1e-5)
    assert [step for tag, step, *_ in events(tmp_path) if tag == "centroids/d0"] == [8, 24]
    values = [value for tag, *_, value in events(tmp_path) if tag == "centroids/d0"]
    assert values[-1][:, 2].sum() == 4


def test_within_an_epoch(tmp_path):
    model = compiled(kdc.prune_low_magnitude(dense_model(), Constant(0.5, begin=4)))
    fit(model, kdc.UpdatePruningStep(), kdc.PruningSummaries(tmp_path, 4, histogram_freq=0))
    assert scalars(tmp_path, "sparsity")[:3] == [(4, 0.0), (8, 0.5), (8, 0.5)]
    assert {plugin for _, _, plugin, _ in events(tmp_path)} == {"scalars"}


def test_a_layer_of_several_weights(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4, 8)), keras.layers.GRU(8, name="gru")])
    model = compiled(kdc.prune_low_magnitude(model, Constant(0.5, begin=0)))
    x = np.random.default_rng(0).normal(size=(16, 4, 8)).astype("float32")
    model.fit(x, x[:, 0], verbose=0,
              callbacks=[kdc.UpdatePruningStep(), kdc.PruningSummaries(tmp_path)])  # fmt: skip
    tags = {tag for tag, *_ in events(tmp_path)}
    weights = find_wrappers(model)[0].weight_variables
    assert len(weights) == 2
    assert {f"threshold/gru/{name}" for name in weights} <= tags
    assert {f"weights/gru/{name}" for name in weights} <= tags


@pytest.mark.parametrize("arguments", [("",), ("x", "never"), ("x", 0), ("x", "epoch", -1)])
def test_wrong_arguments(arguments):
    with pytest.raises(ValueError, match="got"):
        kdc.PruningSummaries(*arguments)


def test_the_wrong_model(tmp_path):
    with pytest.raises(ValueError, match="found no pruned or shared layer"):
        fit(compiled(dense_model()), kdc.PruningSummaries(tmp_path))
    assert not (tmp_path / "metrics").exists()
