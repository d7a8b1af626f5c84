"""The one call: a `.tflite` file whose weights TensorFlow Lite Micro decodes when it needs them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_deepcomp.container.disk import replacing
from keras_deepcomp.tflite.micro.constants import Constant, find_constants
from keras_deepcomp.tflite.micro.decode_operators import DECODE
from keras_deepcomp.tflite.micro.errors import MicroError, OutputsDifferError
from keras_deepcomp.tflite.micro.flatbuffer import DTYPES, integers, operator_names, read, text
from keras_deepcomp.tflite.micro.interpreter import Execution, Inputs, execute, random_inputs
from keras_deepcomp.tflite.micro.report import MicroReport, MicroTensor
from keras_deepcomp.tflite.micro.selection import METHODS, Encodings, build, choose

PathLike = str | os.PathLike[str]


def compress_for_micro(
    tflite_path: PathLike,
    out_path: PathLike,
    method: str = "auto",
    inputs: Sequence[Any] | None = None,
    random_runs: int = 32,
    max_arena_bytes: int | None = None,
    verbose: bool = True,
) -> MicroReport:
    """Writes a `.tflite` file whose weights TensorFlow Lite Micro decodes when it needs them.

    Each constant that the device can decode becomes Huffman codes, a bitmap with the values that
    are not zero, or indices into a look-up table, whichever is smallest, and an operator, DECODE,
    is put before its users; where that makes the file no smaller, it stays as it is. Both models
    are then run in TensorFlow Lite Micro's interpreter, and the file is only written if every bit
    of every output is the same.

    What is saved in flash is paid for in memory and time: an operator's weights are decoded into
    the arena each time that it runs. The report has both.

    Args:
        tflite_path: The model: of operators and types that TensorFlow Lite Micro has.
        out_path: The file to write. An older one of that name stays if anything goes wrong.
        method: "huffman", "pruning" or "lut" for one kind only; "auto" for the best for each
            tensor.
        inputs: Inputs to compare the outputs on, besides random ones: for each run an array, in the
            model's own shape and type, or a sequence of arrays for a model with several inputs.
        random_runs: Number of random inputs to compare the outputs on.
        max_arena_bytes: The most arena that the model may take. Tensors that take the most when
            decoded stay as they are until it suffices; None for no limit.
        verbose: Whether to print the report.

    Returns:
        What was done, and the numbers.

    Raises:
        UnsupportedModelError: TensorFlow Lite Micro cannot run the model; names the operator.
        OutputsDifferError: The compressed model computes something else. Nothing was written.
        MicroError: It is compressed already, or the arena is too small.
        FormatError: It is not a `.tflite` file, or damaged.
        ValueError: There is no such method; an input does not fit the model.
        ImportError: The interpreter is not installed.
        OSError: A file cannot be read or written.
    """
    if method not in METHODS:
        raise ValueError(f"There is no method {method!r}; there are {', '.join(METHODS)}.")
    data = Path(tflite_path).read_bytes()
    model = read(data)
    if any(text(code.customCode) == DECODE for code in model.operatorCodes or ()):
        raise MicroError(f"{os.fspath(tflite_path)} has been compressed already.")
    runs = random_inputs(model, random_runs)
    runs += _given_inputs(model, () if inputs is None else inputs)
    if not runs:
        raise ValueError("Outputs are compared on inputs: give some, or random_runs above 0.")
    groups = find_constants(model)
    encodings = choose(data, groups, method)
    while True:
        # A file that no tensor makes smaller stays as it is.
        compressed = build(data, encodings) if encodings else data
        before, after = execute([data, compressed], runs)
        _compare(before, after)
        if max_arena_bytes is None or after.arena_bytes <= max_arena_bytes:
            break
        if before.arena_bytes > max_arena_bytes:
            raise MicroError(
                f"The model takes an arena of {before.arena_bytes:,} bytes with no tensor encoded; "
                f"{max_arena_bytes:,} bytes are not enough."
            )
        encodings = _without_largest(encodings, groups)
    with replacing(out_path) as file:
        file.write(compressed)
    report = MicroReport(
        tensors=tuple(_described(constant, encodings) for group in groups for constant in group),
        operators=operator_names(read(compressed)),
        file_bytes_before=len(data),
        file_bytes_after=len(compressed),
        arena_bytes_before=before.arena_bytes,
        arena_bytes_after=after.arena_bytes,
        runs=len(runs),
        milliseconds_before=1000 * before.seconds,
        milliseconds_after=1000 * after.seconds,
    )
    if verbose:
        report.print()
    return report


def _given_inputs(model: Any, inputs: Sequence[Any]) -> list[Inputs]:
    """Return the inputs as lists of arrays, of the model's shapes and types."""
    graph = model.subgraphs[0]
    wanted = [graph.tensors[place] for place in integers(graph.inputs)]
    runs: list[Inputs] = []
    for run in inputs:
        arrays = [run] if isinstance(run, np.ndarray) else list(run)
        if len(arrays) != len(wanted):
            raise ValueError(f"The model has {len(wanted)} inputs, not {len(arrays)}.")
        for place, (array, tensor) in enumerate(zip(arrays, wanted, strict=True)):
            shape = tuple(integers(tensor.shape))
            dtype = np.dtype(DTYPES[tensor.type])
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(
                    f"Input {place} is {array.dtype} of shape {array.shape}; "
                    f"the model takes {dtype} of shape {shape}."
                )
        runs.append(arrays)
    return runs


def _compare(before: Execution, after: Execution) -> None:
    for run, (expected, found) in enumerate(zip(before.outputs, after.outputs, strict=True)):
        for place, (a, b) in enumerate(zip(expected, found, strict=True)):
            if a.dtype != b.dtype or a.shape != b.shape or a.tobytes() != b.tobytes():
                raise OutputsDifferError(
                    f"Output {place} of the compressed model differs from that of the model "
                    f"on input {run} of {len(before.outputs)}. Nothing was written."
                )


def _without_largest(encodings: Encodings, groups: list[list[Constant]]) -> Encodings:
    """Return the encodings without those of the largest tensors that are encoded."""
    encoded = [group for group in groups if group[0].key in encodings]
    largest = max(encoded, key=lambda group: group[0].values.nbytes)
    keys = {constant.key for constant in largest}
    return {key: encoding for key, encoding in encodings.items() if key not in keys}


def _described(constant: Constant, encodings: Encodings) -> MicroTensor:
    values, encoding = constant.values, encodings.get(constant.key)
    return MicroTensor(
        constant.name,
        values.shape,
        values.dtype.name,
        "none" if encoding is None else encoding.kind.name.lower(),
        values.nbytes,
        values.nbytes if encoding is None else encoding.size,
    )
