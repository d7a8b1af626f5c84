"""TensorFlow Lite files: made from Keras models, packed without loss, coded for microcontrollers.

The names below are bound when first used, and bring in what they need then; none of it comes with
the package by itself: `pip install keras_deepcomp[tflite]`, and `[micro]` for microcontrollers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_deepcomp.tflite.c_array import carray
    from keras_deepcomp.tflite.converting import convert
    from keras_deepcomp.tflite.errors import ConversionError
    from keras_deepcomp.tflite.micro import compress_for_micro
    from keras_deepcomp.tflite.packing import pack, unpack

_HOME = {
    "ConversionError": "errors",
    "carray": "c_array",
    "compress_for_micro": "micro",
    "convert": "converting",
    "pack": "packing",
    "unpack": "packing",
}
_EXTRAS = {"ai_edge_litert": "tflite", "flatbuffers": "tflite", "tflite_micro": "micro"}

__all__ = [
    "ConversionError",
    "carray",
    "compress_for_micro",
    "convert",
    "pack",
    "unpack",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        home = import_module(f"{__name__}.{_HOME[name]}")
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise ImportError(
            f"'{error.name}' is not installed: pip install 'keras_deepcomp[{extra}]'"
        ) from error
    value = getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
