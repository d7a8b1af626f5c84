"""What a training looks like in TensorBoard.

The events are written with what TensorFlow itself has, on each backend of Keras; TensorBoard is
needed only where they are looked at.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_deepcomp import training_logs
from keras_deepcomp.devices import sync, to_numpy
from keras_deepcomp.wrappers.clustering import ClusterWeights
from keras_deepcomp.wrappers.pruning import PruneLowMagnitude
from keras_deepcomp.wrappers.substitution import WeightSubstitution, find_wrappers

BUCKETS = 64


class PruningSummaries(keras.callbacks.Callback):
    """Writes what pruning and sharing do to a model, for TensorBoard.

    The name is tfmot's. Scalars, over the optimizer's steps: `sparsity`, `threshold`,
    `centroid_shift` (since the last time) and `coded_bytes`, in total where there is one and with
    `/<layer>` for each layer, as `UpdatePruningStep` and `UpdateCentroids` log them. Histograms:
    `weights/<layer>` of the weights that are not zero, as the layer computes with them, and
    `centroids/<layer>`. What else is in the logs, such as `loss`, is written over epochs as
    `epoch_loss`, as by `keras.callbacks.TensorBoard`.

    Pass it after the callbacks that change the model.

    Args:
        log_dir: The folder; events go to `metrics` in it, as those of tfmot do.
        update_freq: "epoch", or the number of batches after which scalars are written as well;
            "batch" is 1. Under JAX each time costs a copy of the model's state.
        histogram_freq: Epochs between two histograms; 0 for none.

    Raises:
        ValueError: An empty `log_dir`, or a frequency out of range; from `fit`: the model has
            neither pruned nor shared layers.

    Example:
        >>> callbacks = [kdc.UpdatePruningStep(), kdc.PruningSummaries("logs")]
        >>> pruned.fit(x, y, callbacks=callbacks)  # then: tensorboard --logdir logs
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        update_freq: str | int = "epoch",
        histogram_freq: int = 1,
    ) -> None:
        super().__init__()
        if not os.fspath(log_dir):
            raise ValueError("log_dir names a folder; got an empty string.")
        batches = {"epoch": 0, "batch": 1}.get(str(update_freq), update_freq)
        if not isinstance(batches, int) or (batches < 1 and update_freq != "epoch"):
            raise ValueError(
                f'update_freq is "epoch", "batch" or a number of batches; got {update_freq!r}.'
            )
        if histogram_freq < 0:
            raise ValueError(f"histogram_freq counts epochs, at least 0; got {histogram_freq!r}.")
        self.log_dir = os.path.join(log_dir, "metrics")
        self.histogram_freq = histogram_freq
        self._batches = batches
        self._writer: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the wrappers, and opens the file."""
        import tensorflow as tf

        wrappers: list[WeightSubstitution] = find_wrappers(self.model)
        if not wrappers:
            raise ValueError(
                f"PruningSummaries found no pruned or shared layer in '{self.model.name}'. Fit the "
                "model that keras_deepcomp.prune_low_magnitude or cluster_weights returned, or "
                "leave the callback out."
            )
        self._wrappers = wrappers
        self._pruned = [w for w in wrappers if isinstance(w, PruneLowMagnitude)]
        self._shared = [w for w in wrappers if isinstance(w, ClusterWeights)]
        self._centroids: training_logs.Centroids | None = None
        self._seen = 0
        self._writer = tf.summary.create_file_writer(self.log_dir)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Remembers where the centroids are."""
        if self._centroids is None:  # not at on_train_begin: others may load an older state there
            sync(self.model)
            self._centroids = training_logs.centroids_of(self._shared)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Writes the scalars if that is due."""
        self._seen += 1
        if self._batches and self._seen % self._batches == 0:
            self._write_state(histograms=False)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Writes all there is."""
        due = self.histogram_freq > 0 and epoch % self.histogram_freq == 0
        written = self._write_state(due)
        with self._writer.as_default():
            for name, value in (logs or {}).items():
                if name not in written:
                    _scalar(f"epoch_{name}", value, epoch)
        self._writer.flush()

    def on_train_end(self, logs: Any = None) -> None:
        """Closes the file."""
        self._writer.close()

    def _write_state(self, histograms: bool) -> dict[str, float]:
        sync(self.model)
        optimizer = self.model.optimizer
        step = self._seen if optimizer is None else int(to_numpy(optimizer.iterations))
        scalars = {
            **training_logs.sparsities(self._wrappers),
            **training_logs.thresholds(self._pruned),
            **training_logs.coded_bytes(self.model),
        }
        if self._shared:
            assert self._centroids is not None
            now = training_logs.centroids_of(self._shared)
            scalars |= training_logs.centroid_shifts(self._centroids, now)
            self._centroids = now
        with self._writer.as_default():
            for name, value in scalars.items():
                _scalar(name, value, step)
            if histograms:
                self._write_histograms(step)
        return scalars

    def _write_histograms(self, step: int) -> None:
        for wrapper in self._wrappers:
            for name, label in training_logs.labels(wrapper).items():
                values = to_numpy(wrapper.effective_value(name)).astype(np.float64)
                _histogram(f"weights/{label}", values[values != 0], step)
                if isinstance(wrapper, ClusterWeights):
                    centroids = wrapper.centroids(name).astype(np.float64).ravel()
                    _histogram(f"centroids/{label}", centroids, step)


# `tf.summary.scalar` and `histogram` are in the tensorboard package, which TensorFlow no longer
# brings. `tf.summary.write` is TensorFlow's own; the metadata says which of TensorBoard's plugins
# shows the values, in the form of their version 0.


def _scalar(tag: str, value: float, step: int) -> None:
    _write(tag, np.float32(value), step, "scalars")


def _histogram(tag: str, values: npt.NDArray[np.float64], step: int) -> None:
    """Writes (buckets, 3): left edge, right edge and count of each bucket; (0, 3) of no values."""
    buckets = np.zeros((0, 3))
    finite = values[np.isfinite(values)]
    if finite.size:
        counts, edges = np.histogram(finite, BUCKETS)
        buckets = np.stack([edges[:-1], edges[1:], counts], axis=1)
    _write(tag, buckets, step, "histograms")


def _write(tag: str, value: Any, step: int, plugin: str) -> None:
    import tensorflow as tf

    metadata = tf.compat.v1.SummaryMetadata(
        plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name=plugin),
        data_class=_DATA_CLASSES[plugin],
    )
    tf.summary.write(tag, value, step=step, metadata=metadata)


_DATA_CLASSES = {"scalars": "DATA_CLASS_SCALAR", "histograms": "DATA_CLASS_TENSOR"}
