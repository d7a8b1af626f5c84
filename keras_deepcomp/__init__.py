"""Deep Compression (Han, Mao and Dally, ICLR 2016) for Keras 3: prune, share, code.

The names below are bound when first used, so that importing the package is fast and brings in no
framework: Keras is imported with the first name that needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from keras_deepcomp._import_hooks import install, register_layers

__version__ = "0.1.0"

if TYPE_CHECKING:
    from keras_deepcomp import container, distillation, models, plot, policies, schedules, tflite
    from keras_deepcomp.callbacks import UpdateCentroids, UpdatePruningStep
    from keras_deepcomp.compressing.journal import ResumeError
    from keras_deepcomp.compressing.result import CompressionResult
    from keras_deepcomp.compression import compress
    from keras_deepcomp.container import FormatError
    from keras_deepcomp.conversion import cluster_weights, prune_low_magnitude, strip
    from keras_deepcomp.driver import PruningDriver
    from keras_deepcomp.migration.tfmot import from_tfmot
    from keras_deepcomp.ordering import order_units
    from keras_deepcomp.reporting.report import report
    from keras_deepcomp.reporting.summary import summary
    from keras_deepcomp.saving import load_model, load_weights, save_model
    from keras_deepcomp.shrinking import shrink
    from keras_deepcomp.summaries import PruningSummaries
    from keras_deepcomp.wrappers.clustering import ClusterWeights
    from keras_deepcomp.wrappers.pruning import PruneLowMagnitude

_HOME = {
    "container": None,
    "distillation": None,
    "models": None,
    "plot": None,
    "policies": None,
    "schedules": None,
    "tflite": None,
    "UpdateCentroids": "callbacks",
    "UpdatePruningStep": "callbacks",
    "CompressionResult": "compressing.result",
    "ResumeError": "compressing.journal",
    "compress": "compression",
    "FormatError": "container",
    "cluster_weights": "conversion",
    "prune_low_magnitude": "conversion",
    "strip": "conversion",
    "PruningDriver": "driver",
    "from_tfmot": "migration.tfmot",
    "order_units": "ordering",
    "shrink": "shrinking",
    "report": "reporting.report",
    "summary": "reporting.summary",
    "load_model": "saving",
    "load_weights": "saving",
    "save_model": "saving",
    "PruningSummaries": "summaries",
    "ClusterWeights": "wrappers.clustering",
    "PruneLowMagnitude": "wrappers.pruning",
}

__all__ = [
    "ClusterWeights",
    "CompressionResult",
    "FormatError",
    "PruneLowMagnitude",
    "PruningDriver",
    "PruningSummaries",
    "ResumeError",
    "UpdateCentroids",
    "UpdatePruningStep",
    "cluster_weights",
    "compress",
    "container",
    "distillation",
    "from_tfmot",
    "load_model",
    "load_weights",
    "models",
    "order_units",
    "plot",
    "policies",
    "prune_low_magnitude",
    "report",
    "save_model",
    "schedules",
    "shrink",
    "strip",
    "summary",
    "tflite",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOME[name]
    if home is None:
        value = import_module(f"{__name__}.{name}")
    else:
        value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    register_layers()
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


install()
