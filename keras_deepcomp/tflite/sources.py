"""Which variable of the Keras model a weight in a file was made from, and with what factors.

The converter lays kernels out anew, and folds a batch normalization into the kernel before it: each
output channel times a factor of its own. What it did shows in the values: a weight comes from a
variable if, in some order of the axes, each channel is a multiple of the variable's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_deepcomp.devices import to_numpy
from keras_deepcomp.naming import variable_names
from keras_deepcomp.tflite.graph import Weight

Array = npt.NDArray[Any]

# Folding rounds to float32 a few times.
_TOLERANCE = 1e-5
# Kernels of convolutions, depthwise ones, dense layers, transposed convolutions.
_LIKELY: tuple[tuple[int, ...], ...] = ((3, 0, 1, 2), (0, 1, 2, 3), (1, 0), (2, 0, 1, 3))
_MOST_AXES = 4


@dataclass(frozen=True)
class Source:
    """Where a weight comes from.

    Attributes:
        name: Of the Keras variable, or of the tensor in the file if it is none.
        values: The variable's values in the layout of the weight: channels first, shape
            (channels, elements).
        factors: What each channel is multiplied with to give the weight, shape (channels,); 1
            where nothing was folded, and where there is nothing to multiply.
        found: Whether there is such a variable; if not, `values` are the weight's own.
    """

    name: str
    values: Array
    factors: Array
    found: bool

    @property
    def folded(self) -> bool:
        """Whether the channels have factors."""
        return bool((self.factors != 1).any())


@dataclass(frozen=True, eq=False)
class Variable:
    """A kernel of the Keras model: its name and its values, as float32."""

    name: str
    values: Array


def kernels(model: keras.Model) -> list[Variable]:
    """The float variables of a model that have at least two axes, and are no biases."""
    names = variable_names(model)
    return [
        Variable(names[id(variable)], to_numpy(variable).astype(np.float32))
        for variable in model.variables
        if len(variable.shape) > 1
        and "bias" not in variable.name
        and keras.backend.is_float_dtype(variable.dtype)
    ]


def without_weight(variables: Sequence[Variable], names: set[str]) -> list[str]:
    """The names of variables that no weight comes from, nor from one that is equal.

    Args:
        variables: Those of the Keras model.
        names: The names of the sources that were found.
    """
    found = [variable for variable in variables if variable.name in names]
    return [
        variable.name
        for variable in variables
        if not any(np.array_equal(variable.values, other.values) for other in found)
    ]


def channels_first(values: Array, axis: int) -> Array:
    """Moves the channels to the front, and all else into one axis."""
    moved = np.moveaxis(values, axis, 0)
    return moved.reshape(len(moved), -1)


def source_of(weight: Weight, variables: Sequence[Variable]) -> Source:
    """Finds the variable that a float weight was made from.

    Args:
        weight: A weight of the file that was converted without quantization.
        variables: Those of the Keras model, by `kernels`.

    Returns:
        The source. Without one, the weight is its own.
    """
    wanted = channels_first(weight.values, weight.axis).astype(np.float64)
    nonzero = np.count_nonzero(wanted)
    for variable in variables:
        # A factor of zero takes weights away, but none adds one.
        if variable.values.size != wanted.size or np.count_nonzero(variable.values) < nonzero:
            continue
        for axes in _orders(variable.values.ndim):
            laid_out = variable.values.transpose(axes).reshape(weight.values.shape)
            values = channels_first(laid_out, weight.axis)
            factors = _factors(wanted, values.astype(np.float64))
            if factors is not None:
                return Source(variable.name, values, factors, True)
    return Source(weight.name, wanted.astype(np.float32), np.ones(len(wanted)), False)


def _orders(axes: int) -> Iterator[tuple[int, ...]]:
    likely = [order for order in _LIKELY if len(order) == axes] or [tuple(range(axes))]
    yield from likely
    if axes <= _MOST_AXES:
        yield from (order for order in permutations(range(axes)) if order not in likely)


def _factors(wanted: Array, values: Array) -> Array | None:
    if ((values == 0) & (wanted != 0)).any():
        return None
    if (wanted == values).all():
        return np.ones(len(wanted))
    squares = (values * values).sum(axis=1)
    factors = (wanted * values).sum(axis=1) / np.where(squares == 0, 1, squares)
    bound = _TOLERANCE * np.abs(wanted).max(axis=1, keepdims=True)
    if (np.abs(wanted - factors[:, None] * values) > bound).any():
        return None
    factors[squares == 0] = 1
    return factors
