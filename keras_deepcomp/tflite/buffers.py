"""Where a `.tflite` file keeps its buffers, and what is in them.

A `.tflite` file is a flatbuffer: tensors name the buffer that holds their values. The library reads
it; nothing it says is believed before it has been compared with the file. What is found is a hint
about how to code some bytes well, so whatever is odd but does no harm is left out.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_deepcomp.container import FormatError

IDENTIFIER = b"TFL3"
_IDENTIFIER_AT = slice(4, 8)

# In smaller buffers there is nothing to gain.
_LEAST_BYTES = 64
# No model has more; a file that claims to is not worth the time.
_MOST_TENSORS = 1 << 20
_MOST_BUFFERS = 1 << 16
_MOST_RANK = 8

_BROKEN = (struct.error, ValueError, IndexError, TypeError, OverflowError, AttributeError)


@dataclass(frozen=True)
class BufferRange:
    """The bytes of a buffer, and what a tensor takes them for.

    Attributes:
        number: The buffer's index in the model.
        start: Where its bytes begin in the file.
        stop: Where they end.
        dtype: The name of the tensor's type, such as "int8".
        shape: The tensor's shape.
    """

    number: int
    start: int
    stop: int
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self.stop - self.start

    def elements(self, bits: int) -> tuple[int, ...]:
        """Return the shape of an array of the bytes: the tensor's if it fits, else one axis.

        Sparse tensors have fewer values than their shape says, for example.

        Args:
            bits: Bits of an element.
        """
        fits = self.shape and min(self.shape) > 0
        if fits and -(-math.prod(self.shape) * bits // 8) == self.size:
            return self.shape
        return (self.size * 8 // bits,)


def find(data: bytes) -> list[BufferRange]:
    """Return the buffers of a `.tflite` file that hold tensors' values, in the order of the file.

    Buffers inside the flatbuffer and behind it are found; those that overlap another one, and
    small ones, are left out.

    Args:
        data: The file's bytes.

    Raises:
        FormatError: It is not a `.tflite` file, or damaged.
        ImportError: The library that reads it is not installed.
    """
    if data[_IDENTIFIER_AT] != IDENTIFIER:
        raise FormatError(
            "Not a .tflite file: bytes 4 to 7 are not 'TFL3'. Convert a Keras model with "
            "keras_deepcomp.tflite.convert, or give the file that a converter wrote."
        )
    schema = _schema()
    try:
        found = sorted(_ranges(schema, data), key=lambda one: (one.start, one.stop))
    except FormatError:
        raise
    except _BROKEN as error:
        raise _damaged(str(error)) from None
    apart: list[BufferRange] = []
    for one in found:
        if not apart or one.start >= apart[-1].stop:
            apart.append(one)
    return apart[:_MOST_BUFFERS]


def _schema() -> Any:
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError:
        raise ImportError(
            "Reading .tflite files needs the package ai-edge-litert. Install it: "
            "pip install keras_deepcomp[tflite]",
            name="ai_edge_litert",
        ) from None
    return schema_py_generated


def _ranges(schema: Any, data: bytes) -> Iterator[BufferRange]:
    """Yield the ranges of the buffers that tensors use, each buffer once."""
    model = schema.Model.GetRootAs(data, 0)
    types = {code: name.lower() for name, code in vars(schema.TensorType).items()
             if isinstance(code, int)}  # fmt: skip
    buffers = _bounded(model.BuffersLength(), data)
    seen: set[int] = set()
    for tensor in _tensors(model, data):
        number = tensor.Buffer()
        if number in seen or number >= buffers:
            continue
        seen.add(number)
        start, stop = _bytes_of(model.Buffers(number), data)
        if stop - start >= _LEAST_BYTES:
            rank = tensor.ShapeLength()
            shape = tuple(map(int, tensor.ShapeAsNumpy())) if 0 < rank <= _MOST_RANK else ()
            yield BufferRange(number, start, stop, types.get(tensor.Type(), ""), shape)


def _tensors(model: Any, data: bytes) -> Iterator[Any]:
    left = _MOST_TENSORS
    for place in range(_bounded(model.SubgraphsLength(), data)):
        subgraph = model.Subgraphs(place)
        for number in range(min(left, _bounded(subgraph.TensorsLength(), data))):
            yield subgraph.Tensors(number)
            left -= 1
        left -= 1
        if left <= 0:
            return


def _bytes_of(buffer: Any, data: bytes) -> tuple[int, int]:
    """Return where a buffer's bytes begin and end; nothing if it has none."""
    if not buffer.DataIsNone() and buffer.DataLength():
        # The library gives a view of the file, and the view says where it is.
        view = buffer.DataAsNumpy()
        start = _address(view) - _address(np.frombuffer(data, np.uint8))
        size = view.size
    elif buffer.Offset() > 1:  # 0 and 1 say that there is none
        start, size = buffer.Offset(), buffer.Size()
    else:
        return 0, 0
    if not 0 <= start <= start + size <= len(data):
        raise _damaged(f"a buffer of {size:,} bytes at byte {start:,} is not in the file")
    return start, start + size


def _address(view: Any) -> int:
    return int(view.__array_interface__["data"][0])


def _bounded(length: int, data: bytes) -> int:
    """Return a vector's length after checking that its offsets fit into the file."""
    if 4 * length > len(data):
        raise _damaged(f"a list of {length:,} entries does not fit")
    return length


def _damaged(what: str) -> FormatError:
    return FormatError(f"Damaged .tflite file: {what}. Fetch the file again, or convert again.")
