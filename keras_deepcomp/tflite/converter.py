"""A Keras model through TensorFlow's own converter.

The model is traced once per conversion, with a batch of a fixed size or of any. Loops are kept for
floats; TensorFlow's calibration dies in them, so that for int8 recurrent layers are unrolled: an
operator for each step, all with the same weights.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_deepcomp.naming import is_graph
from keras_deepcomp.tflite.errors import ConversionError
from keras_deepcomp.tflite.samples import Samples

Array = npt.NDArray[Any]

MODES = (None, "dynamic", "int8")
_BATCH = 256


@dataclass(frozen=True)
class Input:
    """An input of the model.

    Attributes:
        name: In the file's signature.
        shape: Without the batch axis; None where a length may vary.
        dtype: Of the values that the model takes.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str


def check_backend() -> None:
    """Sees that Keras runs on TensorFlow.

    Raises:
        ConversionError: It does not.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ConversionError(
            f"TensorFlow's converter takes models on Keras' TensorFlow backend; this process runs "
            f"on {backend}. Save the model with keras_deepcomp.save_model(model, 'model.kdc'), and "
            "convert it in a process of its own: KERAS_BACKEND=tensorflow keras-deepcomp tflite "
            "convert model.kdc model.tflite"
        )


def inputs_of(model: keras.Model, samples: Samples | None) -> list[Input]:
    """The inputs of a model: its own, or, where it has none, those that it was built with.

    Args:
        model: A built model.
        samples: Inputs that it takes, which show what a subclassed model does not.

    Returns:
        The inputs, in the model's order.

    Raises:
        ConversionError: A subclassed model does not show its inputs.
    """
    own = getattr(model, "inputs", None)
    if own:
        names = [re.sub(r"\W", "_", tensor.name) for tensor in own]
        if len(set(names)) < len(names):
            names = [f"input_{number}" for number in range(len(own))]
        return [
            Input(name, tuple(tensor.shape[1:]), str(tensor.dtype))
            for name, tensor in zip(names, own, strict=True)
        ]
    if samples is not None:
        return [
            Input(f"input_{number}", array.shape[1:], _given_dtype(array))
            for number, array in enumerate(samples.inputs)
        ]
    shape = (model.get_build_config() or {}).get("input_shape")
    if shape is None or not all(isinstance(length, int | None) for length in shape):
        raise ConversionError(
            f"'{model.name}' is a subclassed model that does not show its inputs. Give "
            "representative_data, of which their shapes and types are taken."
        )
    return [Input("input_0", tuple(shape[1:]), keras.backend.floatx())]


def _given_dtype(array: Array) -> str:
    return keras.backend.floatx() if array.dtype.kind == "f" else str(array.dtype)


def outputs_of(model: keras.Model, samples: Samples, inputs: list[Input]) -> list[Array]:
    """The model's own outputs, as float64, one array each."""
    batches = []
    for start in range(0, len(samples), _BATCH):
        part = [
            keras.ops.convert_to_tensor(array[start : start + _BATCH], each.dtype)
            for array, each in zip(samples.inputs, inputs, strict=True)
        ]
        batches.append([np.asarray(each, np.float64) for each in _call(model, part)])
    return [np.concatenate(column) for column in zip(*batches, strict=True)]


def convert_with_tensorflow(
    model: keras.Model,
    inputs: list[Input],
    quantize: str | None,
    samples: Samples | None,
    batch: int | None,
    unroll: bool,
) -> bytes:
    """Converts a plain model.

    Args:
        model: A built model without wrappers, on the TensorFlow backend.
        inputs: Its inputs, by `inputs_of`.
        quantize: One of `MODES`.
        samples: For "int8".
        batch: The size of the batch, or None for any.
        unroll: Whether recurrent layers become an operator for each step.

    Returns:
        The bytes of a `.tflite` file. The signature is "serving_default", with the names of
        `inputs`, and "output_0" and so on.

    Raises:
        ConversionError: The converter does not take the model; the message has its reason.
    """
    import tensorflow as tf

    module = tf.Module()
    module.variables_ = [variable.value for variable in model.variables]
    specs = [tf.TensorSpec((batch, *each.shape), each.dtype, name=each.name) for each in inputs]

    def serve(*tensors: Any) -> dict[str, Any]:
        return {f"output_{i}": each for i, each in enumerate(_call(model, list(tensors)))}

    module.serve = tf.function(serve, input_signature=specs, autograph=False)
    try:
        with _unrolled(model, unroll):
            function = module.serve.get_concrete_function()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
        if quantize is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "int8":
            _to_int8(converter, inputs, samples)
        with warnings.catch_warnings():
            # The converter's own use of it, to calibrate.
            warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is deprecated")
            return converter.convert()
    except Exception as error:
        raise ConversionError(_explained(model, error, batch)) from error


def _to_int8(converter: Any, inputs: list[Input], samples: Samples | None) -> None:
    import tensorflow as tf

    assert samples is not None

    def representative() -> Iterator[dict[str, Array]]:
        # By name: the order of a file's inputs is not that of the signature.
        for sample in samples:
            yield {
                each.name: array.astype(each.dtype)
                for array, each in zip(sample, inputs, strict=True)
            }

    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_output_type = tf.int8
    if all(each.dtype.startswith("float") for each in inputs):
        converter.inference_input_type = tf.int8


def _call(model: keras.Model, tensors: list[Any]) -> list[Any]:
    """Calls a model with its inputs in order; returns its outputs in order."""
    given: Any = tensors[0] if len(tensors) == 1 else tensors
    if is_graph(model) and not isinstance(model, keras.Sequential):
        given = keras.tree.pack_sequence_as(model.input, tensors)
    return keras.tree.flatten(model(given, training=False))


def has_recurrent_layers(model: keras.Model) -> bool:
    """Whether some layer goes through a sequence step by step."""
    return any(isinstance(layer, keras.layers.RNN) for layer in model._flatten_layers())


@contextmanager
def _unrolled(model: keras.Model, wanted: bool) -> Iterator[None]:
    changed = [
        layer
        for layer in model._flatten_layers()
        if wanted and isinstance(layer, keras.layers.RNN) and not layer.unroll
    ]
    for layer in changed:
        layer.unroll = True
    try:
        yield
    finally:
        for layer in changed:
            layer.unroll = False


def _explained(model: keras.Model, error: Exception, batch: int | None) -> str:
    words = re.sub(r"\x1b\[\d+m", "", str(error)) or type(error).__name__
    # Keras puts the layer first, and MLIR the place in the source.
    words = re.sub(r"^Exception encountered when calling .*\n+", "", words)
    _, _, after = words.partition("error: ")
    reason = (after or words).splitlines()[0].strip()[:400].removesuffix(".")
    mend = ""
    if "TensorList" in words and batch is None:
        mend = " Loops, such as recurrent layers have, need a batch of a fixed size: batch=1."
    elif "neither a custom op nor a flex op" in words:
        mend = (
            " TensorFlow Lite has none for it, or not for its type: weights and computations have "
            "to be float32, and texts be numbers."
        )
    return f"TensorFlow's converter does not take '{model.name}': {reason}.{mend}"
