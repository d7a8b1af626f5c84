"""Runs a TensorFlow Lite file on samples, and says how near its outputs come to others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp.tflite.samples import Samples

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Fidelity:
    """How near a file's outputs are to the Keras model's, on the same samples.

    Attributes:
        error: Root mean square of the differences, divided by that of the Keras model's outputs
            around their mean; the mean over the outputs.
        agreement: Share of samples whose largest output is at the same place; None where outputs
            have one value only.
        accuracy: Share of samples whose largest output is that of the label; None without labels.
        samples: How many.
    """

    error: float
    agreement: float | None
    accuracy: float | None
    samples: int


def run(data: bytes, samples: Samples, names: Sequence[str]) -> list[Array]:
    """Runs a file.

    Integers go in and come out by the scale and zero point of the file, so that inputs and outputs
    are real numbers.

    Args:
        data: The bytes of a `.tflite` file with one signature, whose outputs are "output_0" and so
            on.
        samples: The inputs.
        names: The signature's names for them.

    Returns:
        One float array per output, in the order of their numbers, shape (samples, ...).
    """
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=data, num_threads=1).get_signature_runner()
    taken = runner.get_input_details()
    given = runner.get_output_details()
    outputs = [f"output_{number}" for number in range(len(given))]
    rows = []
    for sample in samples:
        feed = {n: _quantized(array, taken[n]) for n, array in zip(names, sample, strict=True)}
        result = runner(**feed)
        rows.append([_real(result[name], given[name]) for name in outputs])
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


def compare(reference: Sequence[Array], outputs: Sequence[Array], samples: Samples) -> Fidelity:
    """Compares a file's outputs with those of the model that it was made from.

    Args:
        reference: The model's outputs, one array each, shape (samples, ...).
        outputs: The file's, in the same order and shapes.
        samples: Where they come from.

    Returns:
        How near they are.
    """
    errors = [_error(one, other) for one, other in zip(reference, outputs, strict=True)]
    classes = [(a, b) for a, b in zip(reference, outputs, strict=True) if _has_classes(a)]
    agreement = accuracy = None
    if classes:
        agreement = float(np.mean([np.mean(_top(a) == _top(b)) for a, b in classes]))
        if samples.labels is not None and len(reference) == 1:
            accuracy = float(np.mean(_top(outputs[0]) == samples.labels))
    return Fidelity(float(np.mean(errors)), agreement, accuracy, len(samples))


def _has_classes(values: Array) -> bool:
    return values.ndim == 2 and values.shape[1] > 1


def _top(values: Array) -> Array:
    return values.argmax(axis=-1)


def _error(reference: Array, values: Array) -> float:
    spread = float(np.sqrt(np.mean((reference - reference.mean()) ** 2)))
    difference = float(np.sqrt(np.mean((reference - values) ** 2)))
    return difference / spread if spread else difference


def _quantized(values: Array, details: Any) -> Array:
    dtype = np.dtype(details["dtype"])
    scale, zero = details["quantization"]
    if not scale:
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.round(values / scale + zero), limits.min, limits.max).astype(dtype)


def _real(values: Array, details: Any) -> Array:
    scale, zero = details["quantization"]
    real = values.astype(np.float64)
    return (real - zero) * scale if scale else real
