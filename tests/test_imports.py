"""What importing the package does, and does not, to a process."""

import subprocess
import sys

import pytest
from support import run_python

import keras_deepcomp as kdc

FRAMEWORKS = '{"keras", "tensorflow", "jax", "torch", "tf_keras", "ml_dtypes"}'


def test_the_package_imports_no_framework_and_no_numpy():
    run_python(
        f"""
        import sys, keras_deepcomp
        assert not ({FRAMEWORKS} | {{"numpy"}}) & sys.modules.keys()
        """
    )


def test_schedules_masks_and_centroids_import_no_framework():
    run_python(
        f"""
        import sys
        import keras_deepcomp as kdc
        kdc.schedules.Polynomial(0.5)
        import keras_deepcomp.masks, keras_deepcomp.centroids
        assert not {FRAMEWORKS} & sys.modules.keys()
        """
    )


def test_every_public_name_is_there():
    for name in kdc.__all__:
        assert getattr(kdc, name) is not None
        assert name in dir(kdc)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        kdc.nonsense  # noqa: B018


@pytest.mark.parametrize(
    "imports",
    [
        "import keras_deepcomp, keras",
        "import keras, keras_deepcomp",
        "import keras_deepcomp, tensorflow, keras",
        "import keras_deepcomp as kdc; kdc.models; import keras",
        "import keras_deepcomp.conversion, keras",
    ],
)
def test_keras_knows_our_layers_in_any_import_order(imports):
    run_python(
        f"""
        {imports}
        known = keras.saving.get_custom_objects()
        assert "keras_deepcomp>PruneLowMagnitude" in known, list(known)
        assert "keras_deepcomp>ClusterWeights" in known
        """
    )


USE = """
schedule = kdc.schedules.as_schedule(
    tfmot.sparsity.keras.PolynomialDecay(0.0, 0.5, begin_step=0, end_step=10)
)
import keras, numpy as np
model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(16)])
model = kdc.prune_low_magnitude(model, schedule)
model.compile("sgd", "mse")
model.fit(np.zeros((40, 8)), np.zeros((40, 16)), batch_size=2, verbose=0,
          callbacks=[kdc.UpdatePruningStep()])
zeros = np.mean(kdc.strip(model).get_weights()[0] == 0)
assert zeros == 0.5, zeros
"""


@pytest.mark.parametrize(
    "imports",
    [
        "import keras_deepcomp as kdc; import tensorflow_model_optimization as tfmot",
        "import keras_deepcomp as kdc; import tensorflow as tf; "
        "import tensorflow_model_optimization as tfmot",
        "import tensorflow as tf; import keras_deepcomp as kdc; "
        "import tensorflow_model_optimization as tfmot",
        "import tensorflow as tf; tf.keras.version(); "
        "import tensorflow_model_optimization as tfmot; import keras_deepcomp as kdc",
    ],
)
def test_tfmot_beside_us_leaves_tf_keras_as_it_was(imports):
    run_python(
        f"""
import os
before = os.environ.get("TF_USE_LEGACY_KERAS")
{imports}
{USE}
import tensorflow as tf
assert tf.keras.version().startswith("3.")
if {imports.rstrip().endswith("tfmot")}:
    assert os.environ.get("TF_USE_LEGACY_KERAS") == before
import tf_keras
from tensorflow_model_optimization.python.core.keras.compat import keras as theirs
assert theirs.layers.Layer is tf_keras.layers.Layer
"""
    )


def test_ours_alone_leaves_tf_keras_as_it_was():
    run_python(
        """
        import os
        import keras_deepcomp as kdc
        kdc.models.lenet_300_100()
        import tensorflow as tf
        assert tf.keras.version().startswith("3.")
        assert "TF_USE_LEGACY_KERAS" not in os.environ
        """
    )


def test_who_asks_for_keras_2_gets_it():
    run_python(
        """
        import keras_deepcomp
        import tensorflow_model_optimization
        import tensorflow as tf
        import tf_keras
        assert tf.keras.layers.Layer is tf_keras.layers.Layer
        """,
        TF_USE_LEGACY_KERAS="1",
    )


def test_ours_does_not_import_tfmot_by_itself():
    run_python(
        """
        import sys
        import keras_deepcomp as kdc
        for name in kdc.__all__:
            getattr(kdc, name)
        import keras_deepcomp.cli
        assert not any(name.startswith("tensorflow_model_optimization") for name in sys.modules)
        assert "tf_keras" not in sys.modules
        """
    )


def test_without_type_checkers_annotations_are_not_evaluated():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import keras_deepcomp.cli"], capture_output=True
    )
    assert done.returncode == 0, done.stderr
