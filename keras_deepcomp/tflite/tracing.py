"""Each weight on its way: Keras variable, float file, quantized file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_deepcomp.tflite import fitting, graph
from keras_deepcomp.tflite.fitting import Fit
from keras_deepcomp.tflite.graph import Weight
from keras_deepcomp.tflite.sources import Source, Variable, channels_first, source_of

# The converter rounds to the nearest integer; float32 arithmetic may be off by little more.
_HALF = 0.505


@dataclass(frozen=True, eq=False)
class Trace:
    """A weight on its way.

    Attributes:
        stored: In the file as the converter wrote it.
        source: Where it comes from; None if it is not in the float file, so that nothing is known.
        error: What the converter's rounding changes, by `fitting.rounding_error`; 0 for floats.
        fit: Integers that fit its codebook; None where the converter's have as few values and one
            scale, or no others can take their place.
    """

    stored: Weight
    source: Source | None
    error: float
    fit: Fit | None


def trace(converted: bytes, floats: bytes, variables: Sequence[Variable]) -> list[Trace]:
    """Follows each weight of a file back to its variable.

    Args:
        converted: The bytes of the file.
        floats: Those of the same model's file without quantization.
        variables: The Keras model's, by `sources.kernels`.

    Returns:
        One trace per weight, in the order of `graph.weights`.
    """
    real = graph.weights(graph.read(floats))
    stored = graph.weights(graph.read(converted))
    free, traces = list(variables), []
    claimed: list[Variable] = []
    for weight in stored:
        # Of variables that are equal, as those of zeros are, each weight gets one of its own.
        made = _trace(weight, stored, real, [*free, *claimed])
        traces.append(made)
        taken = [each for each in free if made.source is not None and each.name == made.source.name]
        free = [each for each in free if each not in taken]
        claimed += taken
    return traces


def _trace(
    weight: Weight,
    others: Sequence[Weight],
    floats: Sequence[Weight],
    variables: Sequence[Variable],
) -> Trace:
    real = float_counterpart(weight, floats)
    if real is None:
        return Trace(weight, None, 0.0, None)
    source = source_of(real, variables)
    if weight.scales is None:
        return Trace(weight, source, 0.0, None)
    error = fitting.rounding_error(
        channels_first(weight.values, weight.axis),
        weight.scales,
        channels_first(real.values, real.axis),
    )
    return Trace(weight, source, error, _fit(weight, others, real, source))


def _fit(weight: Weight, others: Sequence[Weight], real: Weight, source: Source) -> Fit | None:
    values = np.unique(weight.values).size
    multiplied = values > np.unique(source.values).size
    scales = 1 if weight.scales is None else len(weight.scales)
    if not (multiplied or scales > 1) or not fitting.replaceable(weight, others):
        return None
    found = fitting.fit(real, source, weight)
    # Factors of both signs give integers of both signs; the converter may have made no more.
    return None if found is None or np.unique(found.codes).size > values else found


def float_counterpart(quantized: Weight, floats: Sequence[Weight]) -> Weight | None:
    """Finds the float weight that a weight was quantized from, by its values.

    Args:
        quantized: A weight of a quantized model; one of its weights that stayed float will do.
        floats: Those of the same model without quantization.

    Returns:
        The nearest of those that differ by no more than rounding; None if there is none.
    """
    scales = np.zeros(1) if quantized.scales is None else quantized.scales
    codes = channels_first(quantized.values, quantized.axis)
    real = codes if quantized.scales is None else codes * scales[:, None]
    best, least = None, np.inf
    for weight in floats:
        if weight.axis != quantized.axis or weight.values.shape != quantized.values.shape:
            continue
        difference = np.abs(real - channels_first(weight.values, weight.axis))
        if (difference <= _HALF * scales[:, None]).all() and difference.sum() < least:
            best, least = weight, difference.sum()
    return best
