"""`from_tfmot`: a model of tfmot as one of ours."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import keras

from keras_deepcomp.migration.building import build_model
from keras_deepcomp.migration.reading import is_tf_keras, read_model
from keras_deepcomp.migration.state import ModelState, read

_WORKER = "keras_deepcomp.migration.worker"


def from_tfmot(model: Any, custom_objects: dict[str, Any] | None = None) -> keras.Model:
    """Brings a model of tfmot, the TensorFlow Model Optimization Toolkit, over to Keras 3.

    tfmot works with models of tf-keras (Keras 2). The result computes what the model computes:
    layers in tfmot's pruning wrapper become `PruneLowMagnitude` with their masks, thresholds,
    schedule and step; those in its clustering wrapper become `ClusterWeights` with their centroids
    and assignments, and zeros where tfmot preserved sparsity; stripped and plain layers keep their
    weights. Codebooks of single channels become one codebook of them all.

    A schedule that is not done goes on from its step if the optimizer does: after `compile`, set
    `model.optimizer.iterations` to the `pruning_step` of a wrapper. A new optimizer counts from 0,
    in tfmot as here, and so begins the schedule anew, without losing the sparsity that is there.

    Args:
        model: A Sequential or functional model of tf-keras in this process, wrapped or not, which
            is not changed; or the path of one as SavedModel, `.h5` or `.keras`. A file is read in a
            process of its own, so that this one need not import tf-keras and tfmot. Files of the
            first two kinds can run code when they are loaded: read those that you trust.
        custom_objects: Name -> Keras 3 class or function, for layers that are not Keras' own. Their
            weights must have the order of the Keras 2 class.

    Returns:
        A new Keras 3 model of the same kind, not compiled: an ordinary one if nothing was wrapped.

    Raises:
        TypeError: Neither a tf-keras model nor a path.
        FileNotFoundError: There is nothing at the path.
        ValueError: A subclassed or unbuilt model, quantization-aware training, a custom layer that
            is not in `custom_objects`, or something that Keras 3 has no counterpart for; says what
            to do.
    """
    if isinstance(model, str | os.PathLike):
        return build_model(_read_elsewhere(os.fspath(model)), custom_objects)
    if isinstance(model, keras.Model):
        raise TypeError(
            f"'{model.name}' is a Keras 3 model already. Call keras_deepcomp.prune_low_magnitude "
            "or cluster_weights on it."
        )
    if not is_tf_keras(model):
        raise TypeError(
            "Expected a tf-keras model, wrapped by tfmot or not, or the path of one as SavedModel, "
            f".h5 or .keras; got {model!r}."
        )
    return build_model(read_model(model), custom_objects)


def _read_elsewhere(path: str) -> ModelState:
    if not os.path.exists(path):
        raise FileNotFoundError(f"There is no model at '{path}'.")
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "state")
        done = subprocess.run(
            [sys.executable, "-m", _WORKER, os.path.abspath(path), os.fspath(result)],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(each or os.getcwd() for each in sys.path),
                "TF_USE_LEGACY_KERAS": "1",
                "CUDA_VISIBLE_DEVICES": "-1",  # this process may hold the GPU's memory
            },
            capture_output=True,
            text=True,
        )
        error = Path(f"{result}.error")
        if error.exists():
            raise ValueError(error.read_text(encoding="utf-8"))
        if done.returncode:
            raise ValueError(
                f"The process that reads '{path}' failed. Check that tf-keras and "
                f"tensorflow-model-optimization are installed here. It says:\n{done.stderr[-2000:]}"
            )
        return read(result)
