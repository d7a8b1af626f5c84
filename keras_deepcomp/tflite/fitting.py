"""Scales for integers that fit a codebook.

TensorFlow Lite gives each output channel a scale of its own, such that the channel's largest weight
becomes 127. A value that all channels share becomes another integer in each of them, and 16 shared
values become dozens. With one scale for all channels they stay 16; and where a batch normalization
was folded, with scales in proportion to its factors. As the values are few, the scale is searched
for that rounds them best, which makes up for what a scale per channel would gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp.tflite import graph
from keras_deepcomp.tflite.graph import Use, Weight
from keras_deepcomp.tflite.sources import Source, channels_first

Array = npt.NDArray[Any]

LARGEST = 127
# Below half of the range, a scale has no integers that twice the scale has not.
_SMALLEST = 64
_SCALES = 1024
# More values than that are no codebook that integers of 8 bits could keep.
_MOST_VALUES = 2 * LARGEST
# Of the 32 bits of a bias, what is left for the sum that it is added to.
_LARGEST_BIAS = 2.0**30
# TensorFlow Lite's dynamic-range kernel of this one takes nothing but a scale per channel.
_PER_CHANNEL = "DEPTHWISE_CONV_2D"


@dataclass(frozen=True, eq=False)
class Fit:
    """Integers for a weight, with scales that fit its codebook.

    Attributes:
        codes: int8, channels first, shape (channels, elements).
        scales: float64, shape (channels,).
        error: Root mean square of what rounding changes, divided by that of the weights.
    """

    codes: Array
    scales: Array
    error: float


def rounding_error(codes: Array, scales: Array, weights: Array) -> float:
    """Root mean square of what rounding changes, divided by that of the weights.

    Args:
        codes: Integers, channels first.
        scales: One, or one per channel.
        weights: The float weights, channels first.

    Returns:
        The error; 0 where all weights are zero.
    """
    size = float(np.sqrt(np.mean(weights.astype(np.float64) ** 2)))
    difference = codes * scales.reshape(-1, 1) - weights
    return float(np.sqrt(np.mean(difference**2))) / size if size else 0.0


def fit(weight: Weight, source: Source, quantized: Weight) -> Fit | None:
    """Fits one scale, times the factors that were folded in, to the codebook of a weight.

    Args:
        weight: The float weight.
        source: Where it comes from.
        quantized: The same weight as the converter quantized it, for its biases.

    Returns:
        The integers; None if the weight has no codebook: more values than int8 can tell apart.
    """
    values, counts = np.unique(source.values[source.values != 0], return_counts=True)
    if not 0 < len(values) <= _MOST_VALUES:
        return None
    factors = np.where(source.factors == 0, 1, source.factors)
    scales = _best_scale(values.astype(np.float64), counts) * np.abs(factors)
    scales = np.maximum(scales, _least_scales(quantized, len(scales)))
    wanted = channels_first(weight.values, weight.axis).astype(np.float64)
    codes = np.clip(np.round(wanted / scales[:, None]), -LARGEST, LARGEST).astype(np.int8)
    return Fit(codes, scales, rounding_error(codes, scales, wanted))


def _best_scale(values: Array, counts: Array) -> float:
    candidates = np.abs(values).max() / np.linspace(LARGEST, _SMALLEST, _SCALES)[:, None]
    codes = np.round(values / candidates)
    # For given integers, the scale that least squares asks for.
    scales = ((counts * values * codes).sum(axis=1) / (counts * codes**2).sum(axis=1))[:, None]
    errors = (counts * (values - scales * codes) ** 2).sum(axis=1)
    return float(scales[errors.argmin(), 0])


def _least_scales(quantized: Weight, channels: int) -> Array:
    """The scales under which a channel's bias would not fit 32 bits.

    They count where a factor is tiny, and the bias nearly all that the channel has.
    """
    least = np.zeros(channels)
    for use in quantized.uses:
        if use.bias is not None and (found := graph.scales_of(use.bias)) is not None:
            bias = np.abs(use.bias_values * found)
            least = np.maximum(least, bias / (_data_scale(use) * _LARGEST_BIAS))
    return least


def replaceable(quantized: Weight, others: Sequence[Weight]) -> bool:
    """Whether a weight's integers can be replaced without a change to anything else.

    Args:
        quantized: A weight in a quantized model.
        others: All weights in it.
    """
    if quantized.elsewhere or quantized.values.dtype != np.int8:
        return False
    mine = {id(use.bias): _data_scale(use) for use in quantized.uses if use.bias is not None}
    return all(
        other is quantized and mine[id(use.bias)] == _data_scale(use)
        for other in others
        for use in other.uses
        if id(use.bias) in mine
    )


def apply(model: Any, quantized: Weight, fitted: Fit) -> None:
    """Puts integers and scales into a quantized model, and the biases that go with them.

    Args:
        model: What `graph.read` returned.
        quantized: A weight of it, for which `replaceable` says yes.
        fitted: The integers.
    """
    moved = np.moveaxis(quantized.values, quantized.axis, 0).shape
    codes = np.moveaxis(fitted.codes.reshape(moved), 0, quantized.axis)
    scales = fitted.scales
    if (scales == scales[0]).all() and all(use.operator != _PER_CHANNEL for use in quantized.uses):
        scales = scales[:1]
    graph.set_constant(model, quantized.tensors, codes)
    for tensor in quantized.tensors:
        graph.set_scales(tensor, scales, quantized.axis)
    for use in {id(use.bias): use for use in quantized.uses}.values():
        if use.bias is None or (before := graph.scales_of(use.bias)) is None:
            continue
        after = _data_scale(use) * scales
        biases = np.round(use.bias_values * before / after).astype(np.int32)
        graph.set_constant(model, [use.bias], biases)
        graph.set_scales(use.bias, after, 0)


def _data_scale(use: Use) -> float:
    """The scale of what the weight is multiplied with; 1 where that is float."""
    found = graph.scales_of(use.data)
    return 1.0 if found is None else float(found[0])
