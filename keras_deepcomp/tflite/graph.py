"""The weights in a TensorFlow Lite file, and who uses them.

The schema is that of `ai_edge_litert`; see
https://github.com/google-ai-edge/LiteRT/blob/main/tflite/converter/schema/schema.fbs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from keras_deepcomp.tflite.buffers import IDENTIFIER

Array = npt.NDArray[Any]

# Kernels that use vector instructions want weights where these can load them.
_ALIGNMENT = 16


@dataclass(frozen=True)
class _Operands:
    """Which inputs of an operator are what, and the weight's axis of output channels."""

    name: str
    data: int
    weight: int
    bias: int
    channels: int


_OPERANDS = {
    schema.BuiltinOperator.CONV_2D: _Operands("CONV_2D", 0, 1, 2, 0),
    schema.BuiltinOperator.DEPTHWISE_CONV_2D: _Operands("DEPTHWISE_CONV_2D", 0, 1, 2, 3),
    schema.BuiltinOperator.FULLY_CONNECTED: _Operands("FULLY_CONNECTED", 0, 1, 2, 0),
    schema.BuiltinOperator.TRANSPOSE_CONV: _Operands("TRANSPOSE_CONV", 2, 1, 3, 0),
}
_LOOPS = (schema.BuiltinOperator.WHILE, schema.BuiltinOperator.IF)
_DTYPES: dict[int, np.dtype[Any]] = {
    schema.TensorType.FLOAT32: np.dtype("<f4"),
    schema.TensorType.FLOAT16: np.dtype("<f2"),
    schema.TensorType.INT8: np.dtype("<i1"),
    schema.TensorType.INT32: np.dtype("<i4"),
    schema.TensorType.INT64: np.dtype("<i8"),
}
_WEIGHT_DTYPES = (np.dtype("<f4"), np.dtype("<i1"))


@dataclass(eq=False)
class Use:
    """An operator that computes with a weight.

    Attributes:
        operator: Its name in the schema.
        data: The tensor that it computes with the weight.
        weight: The weight's tensor.
        bias: The bias' tensor, or None.
        bias_values: What is stored for it, or None.
    """

    operator: str
    data: Any
    weight: Any
    bias: Any
    bias_values: Array | None


@dataclass(eq=False)
class Weight:
    """A constant that operators multiply with.

    Attributes:
        name: Of its first tensor.
        values: What is stored.
        axis: The axis of output channels.
        scales: Of the integers, one or one per channel; None where they are floats.
        uses: The operators that compute with it.
        elsewhere: Whether other operators take it too, and would see a change.
    """

    name: str
    values: Array
    axis: int
    scales: Array | None
    uses: list[Use] = field(default_factory=list)
    elsewhere: bool = False

    @property
    def tensors(self) -> list[Any]:
        """Its tensors, each once."""
        return list({id(use.weight): use.weight for use in self.uses}.values())


class AlignedBuilder(flatbuffers.Builder):
    """Writes flatbuffers whose vectors of bytes are aligned, as the schema asks."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:
        """Starts a vector."""
        return super().StartVector(elemSize, numElems, _ALIGNMENT if elemSize == 1 else alignment)


def read(data: bytes) -> Any:
    """The model in a file, as `schema.ModelT`."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))


def write(model: Any) -> bytes:
    """The file of a model."""
    builder = AlignedBuilder(1024)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def loops(model: Any) -> bool:
    """Whether some of the model runs in a loop or under a condition."""
    return any(_code(model, operator) in _LOOPS for _, operator in _operators(model))


def constant(model: Any, tensor: Any) -> Array | None:
    """The value of a tensor that is stored in the file; None for others and other types."""
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data) or tensor.type not in _DTYPES or tensor.sparsity is not None:
        return None
    shape = () if tensor.shape is None else tuple(int(length) for length in tensor.shape)
    return np.asarray(data, np.uint8).view(_DTYPES[tensor.type]).reshape(shape)


def set_constant(model: Any, tensors: Sequence[Any], values: Array) -> None:
    """Stores a value of the same type for some tensors, in a new buffer."""
    stored = schema.BufferT()
    stored.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    model.buffers.append(stored)
    for tensor in tensors:
        tensor.buffer = len(model.buffers) - 1


def drop_unused(model: Any) -> None:
    """Empties the buffers that no tensor and no metadata uses."""
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    used |= {entry.buffer for entry in model.metadata or ()}
    for number, buffer in enumerate(model.buffers):
        if number not in used:
            buffer.data = None


def scales_of(tensor: Any) -> Array | None:
    """The scales of a quantized tensor, as float64; None where there are none."""
    found = None if tensor.quantization is None else tensor.quantization.scale
    return None if found is None or not len(found) else np.asarray(found, np.float64)


def set_scales(tensor: Any, values: Array, axis: int) -> None:
    """Sets the scales of a symmetrically quantized tensor."""
    tensor.quantization.scale = np.asarray(values, np.float32)
    tensor.quantization.zeroPoint = np.zeros(len(values), np.int64)
    tensor.quantization.quantizedDimension = axis if len(values) > 1 else 0


def weights(model: Any) -> list[Weight]:
    """The weights of convolutions and dense layers, each with all operators that use it.

    Tensors in one buffer, with the same scales, are one weight.

    Args:
        model: What `read` returned.

    Returns:
        The weights of type float32 or int8, in the order of the first operator.
    """
    found: dict[Any, Weight] = {}
    taken: Counter[int] = Counter()
    for subgraph, operator in _operators(model):
        tensors: list[Any] = [None if i < 0 else subgraph.tensors[i] for i in operator.inputs]
        taken.update({id(tensor) for tensor in tensors if tensor is not None})
        operands = _OPERANDS.get(_code(model, operator))
        if operands is None:
            continue
        tensor = tensors[operands.weight]
        values = constant(model, tensor)
        if values is None or values.dtype not in _WEIGHT_DTYPES:
            continue
        scales = scales_of(tensor)
        bias = tensors[operands.bias] if len(tensors) > operands.bias else None
        weight = found.setdefault(
            (tensor.buffer, operands.channels, None if scales is None else scales.tobytes()),
            Weight(tensor.name.decode(), values, operands.channels, scales),
        )
        stored = None if bias is None else constant(model, bias)
        weight.uses.append(
            Use(
                operands.name,
                tensors[operands.data],
                tensor,
                None if stored is None else bias,
                stored,
            )
        )
    for weight in found.values():
        uses = Counter(id(use.weight) for use in weight.uses)
        weight.elsewhere = any(taken[key] > count for key, count in uses.items())
    return list(found.values())


def _operators(model: Any) -> Iterator[tuple[Any, Any]]:
    for graph in model.subgraphs:
        for operator in graph.operators:
            yield graph, operator


def _code(model: Any, operator: Any) -> int:
    code = model.operatorCodes[operator.opcodeIndex]
    return max(code.builtinCode, code.deprecatedBuiltinCode)
