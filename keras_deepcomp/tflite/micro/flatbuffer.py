"""`.tflite` files as objects of the schema, and back."""

from __future__ import annotations

import struct
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from keras_deepcomp.container import FormatError
from keras_deepcomp.tflite.buffers import IDENTIFIER
from keras_deepcomp.tflite.micro.encoding import ALIGNMENT
from keras_deepcomp.tflite.micro.errors import MicroError

__all__ = [
    "DTYPES",
    "integers",
    "operator_name",
    "operator_names",
    "read",
    "schema",
    "text",
    "write",
]

# With no data in the flatbuffer itself, from here on an offset tells where they are behind it.
_FIRST_OFFSET = 2

DTYPES: dict[int, npt.DTypeLike] = {
    schema.TensorType.BOOL: np.bool_,
    schema.TensorType.INT8: np.int8,
    schema.TensorType.UINT8: np.uint8,
    schema.TensorType.INT16: np.int16,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT64: np.int64,
    schema.TensorType.FLOAT32: np.float32,
}
_OPERATOR_NAMES = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")
}


def read(data: bytes) -> Any:
    """Return a model as an object of the schema, a `ModelT`.

    Args:
        data: The file.

    Returns:
        The model; its arrays are views of `data`.

    Raises:
        FormatError: It is not a `.tflite` file, or damaged.
        MicroError: It keeps weights outside its flatbuffer.
    """
    if data[4:8] != IDENTIFIER:
        raise FormatError("This is not a .tflite file: bytes 4 to 7 are not 'TFL3'.")
    try:
        model = schema.ModelT.InitFromPackedBuf(data, 0)
    # Of a damaged file the generated code reads whatever is there.
    except (struct.error, ValueError, TypeError, IndexError, AttributeError) as error:
        raise FormatError(f"This .tflite file is damaged: {error}.") from error
    if not model.subgraphs or not model.buffers:
        raise FormatError("This .tflite file is damaged: it has no graph or no buffers.")
    for number, graph in enumerate(model.subgraphs):
        if not _is_whole(graph, len(model.buffers), len(model.operatorCodes or ())):
            raise FormatError(
                f"This .tflite file is damaged: subgraph {number} names what is not there."
            )
    if any(buffer.offset >= _FIRST_OFFSET for buffer in model.buffers):
        raise MicroError(
            "This model keeps its weights behind the flatbuffer, as models over 2 GiB do; "
            "TensorFlow Lite Micro does not read them."
        )
    return model


def write(model: Any) -> bytes:
    """Return a model as a file.

    Buffers begin at multiples of 16 bytes. What occurs several times, zero points and scales
    mostly, is stored once.

    Args:
        model: A `ModelT`.

    Returns:
        The file.
    """
    builder = _Builder(1 << 16)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def operator_name(model: Any, operator: Any) -> str:
    """Return an operator's name in the schema, `CONV_2D`, or a custom operator's own."""
    code = model.operatorCodes[operator.opcodeIndex]
    if code.customCode:
        return text(code.customCode)
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    return _OPERATOR_NAMES.get(number, f"operator {number}")


def operator_names(model: Any) -> tuple[str, ...]:
    """Return the names of all operators that a model uses, each once, in alphabetical order."""
    graphs = model.subgraphs
    used = {operator_name(model, operator) for g in graphs for operator in g.operators or ()}
    return tuple(sorted(used))


def integers(values: Any) -> list[int]:
    """Return a vector of the schema as a list; an empty one for none."""
    return [] if values is None else [int(value) for value in values]


def text(name: bytes | str | None) -> str:
    """Return a string of the schema; "" for none."""
    return name.decode(errors="replace") if isinstance(name, bytes) else name or ""


def _is_whole(graph: Any, buffers: int, codes: int) -> bool:
    """Return whether all numbers in a subgraph are those of something."""
    tensors = len(graph.tensors or ())
    operators = graph.operators or ()
    used = [graph.inputs, graph.outputs]
    used += [part for o in operators for part in (o.inputs, o.outputs, o.intermediates)]
    # -1 stands for an input that is left out.
    return (
        all(0 <= tensor.buffer < buffers for tensor in graph.tensors or ())
        and all(0 <= operator.opcodeIndex < codes for operator in operators)
        and all(
            -1 <= number < tensors for numbers in used if numbers is not None for number in numbers
        )
    )


class _Builder(flatbuffers.Builder):
    """Stores equal arrays and strings once, and arrays of bytes aligned."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._placed: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: npt.NDArray[Any]) -> int:
        key = (x.dtype.str, x.tobytes())
        if key not in self._placed:
            if x.dtype == np.uint8:
                # As the schema asks: decoders read tables and words of 32 bits in place.
                self.Prep(ALIGNMENT, x.size)
            self._placed[key] = super().CreateNumpyVector(x)
        return self._placed[key]

    def CreateString(self, s: bytes | str, *encoding: str) -> int:
        key = ("string", s.encode() if isinstance(s, str) else bytes(s))
        if key not in self._placed:
            self._placed[key] = super().CreateString(s, *encoding)
        return self._placed[key]
