"""Which axes of a kernel are its input and output channels.

Keras' layers agree on (..., input, output), as in a dense kernel, with three exceptions: transposed
convolutions have the two swapped, depthwise ones have no sum over input channels, and the kernels
of `EinsumDense` (and so of attention) have the axes of their equation.
"""

from __future__ import annotations

from typing import Any

import keras
from keras.src.layers.convolutional.base_conv_transpose import BaseConvTranspose
from keras.src.layers.convolutional.base_depthwise_conv import BaseDepthwiseConv
from keras.src.layers.convolutional.base_separable_conv import BaseSeparableConv

from keras_deepcomp.naming import owners


def input_axis(layer: keras.Layer, variable: Any) -> int | None:
    """The axis that the layer sums over, the innermost if there are several.

    Args:
        layer: A built layer, which may have sublayers.
        variable: One of its kernels, of two or more dimensions.

    Returns:
        The axis, from 0; None for a depthwise kernel, which takes each channel by itself.
    """
    owner, rank = owners(layer)[id(variable)], len(variable.shape)
    if _is_depthwise(owner, variable):
        return None
    if isinstance(owner, BaseConvTranspose):
        return rank - 1
    if isinstance(owner, keras.layers.EinsumDense):
        summed = [axis for axis in range(rank) if axis not in _kept(owner)]
        return summed[-1] if summed else None
    return rank - 2


def output_axes(layer: keras.Layer, variable: Any) -> tuple[int, ...]:
    """The axes whose places are the output channels: one, but for depthwise and einsum kernels.

    Args:
        layer: A built layer, which may have sublayers.
        variable: One of its kernels, of two or more dimensions.

    Returns:
        The axes, from 0, ascending.
    """
    owner, rank = owners(layer)[id(variable)], len(variable.shape)
    if _is_depthwise(owner, variable):
        return rank - 2, rank - 1
    if isinstance(owner, BaseConvTranspose):
        return (rank - 2,)
    if isinstance(owner, keras.layers.EinsumDense):
        return _kept(owner)
    return (rank - 1,)


def last_two(layer: keras.Layer, variable: Any) -> tuple[int, int]:
    """The axes of input and output channels, one each; the last two of a depthwise kernel."""
    rank = len(variable.shape)
    summed, kept = input_axis(layer, variable), output_axes(layer, variable)
    if summed is None or not kept:
        return rank - 2, rank - 1
    return summed, kept[-1]


def _is_depthwise(owner: keras.Layer, variable: Any) -> bool:
    if isinstance(owner, BaseSeparableConv):
        return variable is owner.depthwise_kernel
    return isinstance(owner, BaseDepthwiseConv)


def _kept(layer: keras.layers.EinsumDense) -> tuple[int, ...]:
    """The kernel's axes that the output of an einsum has too."""
    inputs, _, output = layer.equation.partition("->")
    kernel = inputs.split(",")[1].strip()
    return tuple(axis for axis, letter in enumerate(kernel) if letter in output)
