"""The examples in docstrings run, and give what they say that they give."""

import doctest
import importlib

import keras
import matplotlib
import numpy as np
import pytest
import tensorflow as tf
from pages import ROOT

import keras_deepcomp as kdc

# `docs/compress.md` has the same call with a search of one round, and runs in a test of its own.
TAKE_LONG = {"keras_deepcomp.compression.compress"}


def examples():
    """Name -> examples, of all docstrings of the package that have some."""
    found = {}
    package = ROOT / "keras_deepcomp"
    for path in sorted(package.rglob("*.py")):
        if ">>>" in path.read_text():
            parts = path.relative_to(ROOT).with_suffix("").parts
            module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
            tests = doctest.DocTestFinder().find(module)
            found |= {test.name: test for test in tests if test.examples}
    return found


EXAMPLES = examples()


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory):
    """What the examples take as given: models, data, files in the present folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("examples"))
        matplotlib.use("Agg")
        tf.config.run_functions_eagerly(True)
        layers = [keras.layers.Dense(16, name="dense"), keras.layers.Dense(4, name="last")]
        teacher = keras.Sequential([keras.layers.Input((8,)), *layers])
        pruned = kdc.prune_low_magnitude(teacher, kdc.schedules.Constant(0.5), verbose=False)
        pruned.compile("adam", "mse")
        x = np.ones((8, 8), np.float32)
        kdc.save_model(teacher, "model.kdc")
        kdc.tflite.convert(teacher, "model.tflite")
        yield {
            "keras_deepcomp": kdc,
            "kdc": kdc,
            "teacher": teacher,
            "pruned": pruned,
            "x": x,
            "y": x[:, :4],
            "labels": np.zeros(8, int),
            "batches": [(x, x[:, :4])] * 2,
            "train_step": pruned.train_on_batch,
        }
        tf.config.run_functions_eagerly(False)
        matplotlib.pyplot.close("all")


@pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly")
@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - TAKE_LONG))
def test_the_example_runs(name, surroundings):
    test = EXAMPLES[name]
    names = {**surroundings, **test.globs}
    for example in test.examples:
        if example.want:
            assert repr(eval(example.source, names)) == example.want.strip()
        else:
            exec(compile(example.source, name, "exec"), names)


def test_what_is_not_run_is_there():
    assert EXAMPLES.keys() >= TAKE_LONG
