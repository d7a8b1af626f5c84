"""Reads a tf-keras model from a file, in a process of its own.

Run by `tfmot.from_tfmot` as `python -m keras_deepcomp.migration.worker MODEL STATE`. Here tf-keras
and tfmot are imported; the process that asked needs neither. What goes wrong is written to
`STATE.error`, in a sentence for the user.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from keras_deepcomp.migration.reading import read_model
from keras_deepcomp.migration.state import write


def load(path: str) -> Any:
    """Loads a tf-keras SavedModel, .h5 or .keras file with tfmot's wrappers, not compiled.

    Raises:
        ValueError: It is not such a file, or has classes that tf-keras does not know.
    """
    import tensorflow_model_optimization as tfmot
    import tf_keras

    clustering = sys.modules[tfmot.clustering.keras.cluster_weights.__module__].cluster_wrapper
    wrappers = {
        name: getattr(clustering, name)
        for name in ("ClusterWeights", "ClusterWeightsRNN", "ClusterWeightsMHA")
    }
    try:
        with (
            tfmot.sparsity.keras.prune_scope(),
            tf_keras.utils.custom_object_scope(wrappers),
            tfmot.quantization.keras.quantize_scope(),
        ):
            return tf_keras.models.load_model(path, compile=False)
    except Exception as error:  # of many kinds: the file's format, the classes in it, their code
        raise ValueError(
            f"tf-keras cannot load '{path}': {error} If it has custom layers, load it with "
            "tf_keras.models.load_model, custom_objects= and tfmot's scopes in a process of "
            "yours, and pass the model itself to from_tfmot, with the Keras 3 classes of the "
            "layers as its custom_objects."
        ) from error


def main(path: str, state_path: str) -> int:
    """Reads the model at `path` and writes its state to `state_path`; 0, or 1 for an error."""
    try:
        write(read_model(load(path), from_file=True), state_path)
    except ValueError as error:
        Path(f"{state_path}.error").write_text(str(error), encoding="utf-8")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
