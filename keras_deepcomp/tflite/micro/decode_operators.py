"""Puts DECODE operators before the operators that use encoded tensors."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_deepcomp.tflite.micro.encoding import Encoding
from keras_deepcomp.tflite.micro.flatbuffer import integers, schema

DECODE = "TFLM_DECODE"
# Subgraph and tensor, by their numbers.
TensorKey = tuple[int, int]


def insert(model: Any, encodings: Mapping[TensorKey, Encoding]) -> None:
    """Replace tensors by encoded ones that are decoded when they are used.

    Before each operator that reads encoded tensors stands one DECODE for all of these. What it
    writes may be gone after the next operator, so that a tensor with several users is decoded for
    each of them, from the same bytes. The tensor keeps its number, name and quantization as the
    output of the first DECODE.

    Args:
        model: A `ModelT`; it is changed.
        encodings: The encoded tensors. No other tensor may use their buffers.
    """
    if not encodings:
        return
    for subgraph, tensor in encodings:
        place = model.subgraphs[subgraph].tensors[tensor]
        model.buffers[place.buffer].data = None
        place.buffer = 0
    code = schema.OperatorCodeT(customCode=DECODE, version=1)
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes.append(code)
    buffers = _Buffers(model)
    for number, subgraph in enumerate(model.subgraphs):
        here = {tensor: e for (place, tensor), e in encodings.items() if place == number}
        _insert_in(subgraph, here, len(model.operatorCodes) - 1, buffers)


def _insert_in(
    subgraph: Any, encodings: Mapping[int, Encoding], opcode: int, buffers: _Buffers
) -> None:
    stored: dict[bytes, int] = {}
    decoded: set[int] = set()

    def add(tensor: Any) -> int:
        subgraph.tensors.append(tensor)
        return len(subgraph.tensors) - 1

    def store(data: bytes) -> int:
        if data not in stored:
            stored[data] = add(_bytes_tensor(data, buffers.add(data)))
        return stored[data]

    operators = []
    for operator in subgraph.operators or ():
        read = integers(operator.inputs)
        outputs = {}
        for tensor in dict.fromkeys(read):
            if tensor in encodings:
                again = tensor in decoded
                outputs[tensor] = add(copy.copy(subgraph.tensors[tensor])) if again else tensor
                decoded.add(tensor)
        if outputs:
            inputs = [
                store(data)
                for tensor in outputs
                for data in (encodings[tensor].data, encodings[tensor].ancillary)
            ]
            operators.append(
                schema.OperatorT(
                    opcodeIndex=opcode,
                    inputs=np.array(inputs, np.int32),
                    outputs=np.array(list(outputs.values()), np.int32),
                )
            )
            operator.inputs = np.array([outputs.get(tensor, tensor) for tensor in read], np.int32)
        operators.append(operator)
    subgraph.operators = operators


def _bytes_tensor(data: bytes, buffer: int) -> Any:
    return schema.TensorT(
        shape=np.array([len(data)], np.int32),
        type=schema.TensorType.UINT8,
        buffer=buffer,
        hasRank=True,
    )


class _Buffers:
    """Gives out buffers for bytes, one for equal ones, those first that have become free."""

    def __init__(self, model: Any) -> None:
        self._buffers = model.buffers
        used = {t.buffer for graph in model.subgraphs for t in graph.tensors or ()}
        used |= {entry.buffer for entry in model.metadata or ()}
        # The first buffer is the empty one, for tensors without data.
        self._free = [
            number
            for number in range(len(model.buffers) - 1, 0, -1)
            if number not in used and model.buffers[number].data is None
        ]
        self._numbers: dict[bytes, int] = {}

    def add(self, data: bytes) -> int:
        if data not in self._numbers:
            if not self._free:
                self._buffers.append(schema.BufferT())
                self._free.append(len(self._buffers) - 1)
            number = self._numbers[data] = self._free.pop()
            self._buffers[number].data = np.frombuffer(data, np.uint8)
        return self._numbers[data]
