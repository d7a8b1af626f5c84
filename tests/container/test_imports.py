"""The container stands on numpy and bitarray alone."""

import os
import subprocess
import sys
from pathlib import Path

from keras_deepcomp import container


def test_no_framework_is_imported():
    code = """
import sys
import numpy as np
import keras_deepcomp

before = set(sys.modules)
import keras_deepcomp.container as container

container.load(container.save({"x": np.zeros(3, np.float32)}))
heavy = {"tensorflow", "keras", "jax", "torch", "ml_dtypes", "scipy", "h5py"}
print(sorted(heavy & set(sys.modules)))
others = [name for name in set(sys.modules) - before if name.startswith("keras_deepcomp.")]
print(sorted(name for name in others if not name.startswith("keras_deepcomp.container")))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(container.__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert (done.stdout, done.stderr) == ("[]\n[]\n", "")


def test_public_names():
    assert sorted(container.__all__) == container.__all__
    for name in container.__all__:
        assert getattr(container, name) is not None
