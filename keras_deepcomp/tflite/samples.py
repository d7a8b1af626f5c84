"""Representative data: what the ranges of activations and the outputs are measured on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Samples:
    """Inputs, and labels where there are any.

    Attributes:
        inputs: One array per input of the model; the first axis counts the samples.
        labels: The right classes, shape (samples,), or None.
    """

    inputs: tuple[Array, ...]
    labels: Array | None = None

    def __len__(self) -> int:
        return len(self.inputs[0])

    def __iter__(self) -> Iterator[list[Array]]:
        """One sample after the other, each with a batch axis of one."""
        for i in range(len(self)):
            yield [array[i : i + 1] for array in self.inputs]


def as_samples(data: Any, names: Sequence[str] | None = None) -> Samples:
    """Reads representative data in any of the ways it may be given.

    Args:
        data: An array of inputs; a tuple (inputs, labels); for several inputs a list of arrays in
            the model's order, or a dict from name to array; or, as TFLiteConverter takes it, a
            callable whose iterator gives a list of arrays with a batch axis for each input.
        names: The names of the model's inputs, for a dict.

    Returns:
        The samples.

    Raises:
        ValueError: There are no samples, inputs and labels differ in number, or labels are not
            one class per sample.
        TypeError: Data of another kind.
    """
    labels = None
    if callable(data):
        batches = list(data())
        if not batches:
            raise ValueError("The representative data has no samples.")
        data = [np.concatenate(arrays) for arrays in zip(*batches, strict=True)]
    elif isinstance(data, tuple):
        if len(data) != 2:
            raise TypeError(
                f"A tuple of representative data is (inputs, labels); this one has {len(data)} "
                "entries. For a model with several inputs give a list or a dict."
            )
        data, labels = data
    if isinstance(data, dict):
        if not names:
            raise ValueError(
                "A subclassed model shows no names of inputs: give a list of arrays, in the order "
                "in which it takes them. One that takes a dict goes in a functional model: "
                "keras.Model(inputs, model(inputs))."
            )
        if set(data) != set(names):
            raise ValueError(
                f"The representative data is for {sorted(data)}; the inputs are {names}."
            )
        data = [data[name] for name in names]
    inputs = tuple(_array(each) for each in (data if isinstance(data, list) else [data]))
    if not inputs or not len(inputs[0]):
        raise ValueError("The representative data has no samples.")
    if len({len(array) for array in inputs}) > 1:
        raise ValueError(f"Inputs differ in number: {[len(array) for array in inputs]} samples.")
    return Samples(inputs, None if labels is None else _classes(labels, len(inputs[0])))


def _array(values: Any) -> Array:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub" or array.ndim < 1:
        raise TypeError(
            "Representative data has to be numbers in arrays whose first axis counts the "
            f"samples; got {type(values).__name__} of dtype {array.dtype}."
        )
    return array


def _classes(labels: Any, count: int) -> Array:
    array = np.asarray(labels)
    if array.ndim == 2:
        # One-hot, or a column of classes.
        array = array.argmax(axis=1) if array.shape[1] > 1 else array[:, 0]
    if array.shape != (count,):
        raise ValueError(
            f"Labels are one class per sample, of shape ({count},); got shape {array.shape}."
        )
    return array
