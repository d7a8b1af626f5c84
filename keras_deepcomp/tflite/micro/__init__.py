"""Weights that TensorFlow Lite Micro decodes on the device."""

from keras_deepcomp.tflite.micro.compression import compress_for_micro
from keras_deepcomp.tflite.micro.errors import MicroError, OutputsDifferError, UnsupportedModelError
from keras_deepcomp.tflite.micro.report import MicroReport, MicroTensor

__all__ = [
    "MicroError",
    "MicroReport",
    "MicroTensor",
    "OutputsDifferError",
    "UnsupportedModelError",
    "compress_for_micro",
]
