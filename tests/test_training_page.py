"""The loops of docs/training.md run, each on its backend."""

import re
from pathlib import Path

import keras
import pytest

from keras_deepcomp.wrappers.substitution import find_wrappers

PAGE = (Path(__file__).parents[1] / "docs" / "training.md").read_text(encoding="utf-8")
SETUP, ON_TENSORFLOW, ON_JAX = re.findall(r"```python\n(.*?)```", PAGE, re.S)


def test_the_loop_of_this_backend():
    loops = {"tensorflow": ON_TENSORFLOW, "jax": ON_JAX}
    backend = keras.backend.backend()
    if backend not in loops:
        pytest.skip(f"no loop for {backend}")
    names = {}
    exec(SETUP + loops[backend], names)
    sparsities = [wrapper.sparsity for wrapper in find_wrappers(names["pruned"])]
    assert sparsities == pytest.approx([0.9, 0.9], abs=0.005)
