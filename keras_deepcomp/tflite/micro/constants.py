"""Which tensors of a model may be decoded on the device."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp.tflite.micro.decode_operators import TensorKey
from keras_deepcomp.tflite.micro.flatbuffer import DTYPES, integers, operator_name, text

# Which inputs of which operators may come from DECODE, each tried on the interpreter. Many kernels
# read others, shapes and axes above all, when the model is set up, before anything is decoded.
DECODABLE_INPUTS = {
    "FULLY_CONNECTED": (1, 2),
    "CONV_2D": (1, 2),
    "DEPTHWISE_CONV_2D": (1, 2),
    "TRANSPOSE_CONV": (1, 3),
    "ADD": (0, 1),
    "SUB": (0, 1),
    "MUL": (0, 1),
    "MAXIMUM": (0, 1),
    "SQUARED_DIFFERENCE": (0, 1),
    "PRELU": (1,),
}


@dataclass(frozen=True)
class Constant:
    """A tensor that may be decoded on the device.

    Attributes:
        key: Its place: subgraph and tensor.
        name: Its name.
        values: Its values.
        axis: The axis along which it is quantized per channel; None for one scale or none.
        zero_points: Its zero points, in a shape that fits the values' by broadcasting.
        buffer: The number of the buffer with its values.
    """

    key: TensorKey
    name: str
    values: npt.NDArray[Any]
    axis: int | None
    zero_points: npt.NDArray[np.int64]
    buffer: int


def find_constants(model: Any) -> list[list[Constant]]:
    """Find the tensors that may be decoded on the device.

    Args:
        model: A `ModelT`.

    Returns:
        Groups of tensors that share a buffer, which only go together: as long as one of them has to
        stay, so has the buffer.
    """
    found: dict[int, list[Constant]] = defaultdict(list)
    staying = {entry.buffer for entry in model.metadata or ()}
    for number, subgraph in enumerate(model.subgraphs):
        decodable = _decodable(model, subgraph)
        for index, tensor in enumerate(subgraph.tensors or ()):
            constant = _constant(model, (number, index), tensor) if index in decodable else None
            if constant is None:
                staying.add(tensor.buffer)
            else:
                found[tensor.buffer].append(constant)
    return [group for buffer, group in found.items() if buffer not in staying]


def _decodable(model: Any, subgraph: Any) -> set[int]:
    """Return the tensors all of whose uses are inputs that may be decoded."""
    good: set[int] = set()
    bad = {*integers(subgraph.inputs), *integers(subgraph.outputs)}
    for operator in subgraph.operators or ():
        places = DECODABLE_INPUTS.get(operator_name(model, operator), ())
        for place, tensor in enumerate(integers(operator.inputs)):
            (good if place in places else bad).add(tensor)
        bad.update(integers(operator.outputs))
        bad.update(integers(operator.intermediates))
    return good - bad


def _constant(model: Any, key: TensorKey, tensor: Any) -> Constant | None:
    data = model.buffers[tensor.buffer].data
    dtype = DTYPES.get(tensor.type)
    if data is None or not data.size or tensor.isVariable or tensor.sparsity or dtype is None:
        return None
    shape = tuple(integers(tensor.shape))
    if len(data) != math.prod(shape) * np.dtype(dtype).itemsize:
        return None
    values = np.frombuffer(data.tobytes(), dtype).reshape(shape)
    channels = _channels(tensor.quantization, shape)
    if channels is None:
        return None
    axis, zero_points = channels
    return Constant(key, text(tensor.name), values, axis, zero_points, tensor.buffer)


def _channels(
    quantization: Any, shape: tuple[int, ...]
) -> tuple[int | None, npt.NDArray[np.int64]] | None:
    """Return the axis of per-channel quantization, and the zero points, ready to broadcast.

    None if the channels are along an axis that the decoders do not know.
    """
    scales = () if quantization is None or quantization.scale is None else quantization.scale
    if not len(scales):
        return None, np.zeros((), np.int64)
    zero_points = np.zeros(len(scales), np.int64)
    given = quantization.zeroPoint
    if given is not None and len(given):
        if len(given) not in (1, len(scales)):
            return None
        zero_points[:] = given
    if len(scales) == 1:
        return None, zero_points.reshape(())
    axis = int(quantization.quantizedDimension)
    if axis not in (0, len(shape) - 1) or len(scales) != shape[axis]:
        return None
    return axis, zero_points.reshape([-1 if i == axis else 1 for i in range(len(shape))])
