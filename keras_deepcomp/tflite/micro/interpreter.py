"""TensorFlow Lite Micro's interpreter, at arm's length: it runs in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp.tflite.micro.decode_operators import DECODE
from keras_deepcomp.tflite.micro.errors import UnsupportedModelError
from keras_deepcomp.tflite.micro.flatbuffer import DTYPES, integers, read

# One call of a model: an array for each of its inputs.
Inputs = Sequence[npt.NDArray[Any]]

_NO_KERNEL = re.compile(r"Didn't find op for builtin opcode '(\w+)'")
_NO_CUSTOM = "Failed to get registration from op code CUSTOM"
_FAILED_NODE = re.compile(r"Node (\w+) \(number \d+\) failed to (?:prepare|invoke).*")


@dataclass(frozen=True)
class Execution:
    """What a model did.

    Attributes:
        outputs: For each run, an array for each output.
        arena_bytes: Bytes of the arena that it used.
        seconds: Seconds of its fastest run, on this machine.
    """

    outputs: tuple[tuple[npt.NDArray[Any], ...], ...]
    arena_bytes: int
    seconds: float


def execute(models: Sequence[bytes], runs: Sequence[Inputs]) -> list[Execution]:
    """Run models in the interpreter, each over all inputs in their order.

    Args:
        models: The models, as `.tflite` files.
        runs: The inputs of each run.

    Returns:
        What each model did.

    Raises:
        UnsupportedModelError: The interpreter cannot run one of them.
    """
    with tempfile.TemporaryDirectory(prefix="kdc-micro-") as name:
        folder = Path(name)
        for number, model in enumerate(models):
            (folder / f"model-{number}.tflite").write_bytes(model)
        arrays: dict[str, Any] = {
            f"{run}-{place}": values
            for run, inputs in enumerate(runs)
            for place, values in enumerate(inputs)
        }
        np.savez(folder / "inputs.npz", **arrays)
        done = _start(folder)
        results = []
        for number, model in enumerate(models):
            path = folder / f"outputs-{number}.npz"
            if not path.exists():
                log = folder / f"log-{number}.txt"
                said = log.read_text(errors="replace") if log.exists() else done.stderr
                raise _error(model, said, done.returncode)
            results.append(_read(path, len(runs)))
        return results


def random_inputs(model: Any, count: int, seed: int = 0) -> list[Inputs]:
    """Make inputs for a model: all values of the small types, normal numbers for float32.

    Inputs of 32 and 64 bits are mostly indices; they become 0 or 1.

    Args:
        model: A `ModelT`.
        count: Number of runs.
        seed: Seed of the random numbers.

    Returns:
        The inputs of each run.

    Raises:
        UnsupportedModelError: An input is of a type that TensorFlow Lite Micro does not have.
    """
    rng = np.random.default_rng(seed)
    graph = model.subgraphs[0]
    specifications = []
    for place in integers(graph.inputs):
        tensor = graph.tensors[place]
        if tensor.type not in DTYPES:
            raise UnsupportedModelError(f"The model's input {place} is of a type that is not run.")
        shape = tuple(integers(tensor.shape))
        specifications.append((np.dtype(DTYPES[tensor.type]), shape))
    return [[_random(rng, *wanted) for wanted in specifications] for _ in range(count)]


def _random(
    rng: np.random.Generator, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    if dtype.kind == "b" or dtype.itemsize > 2:
        return rng.integers(0, 2, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def _start(folder: Path) -> subprocess.CompletedProcess[str]:
    worker = Path(__file__).with_name("worker.py")
    return subprocess.run(
        # -P: the modules beside it are not for it to import by their short names.
        [sys.executable, "-P", str(worker), str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )


def _read(path: Path, runs: int) -> Execution:
    with np.load(path) as stored:
        outputs: list[list[npt.NDArray[Any]]] = [[] for _ in range(runs)]
        for key in stored.files:
            run, dash, _ = key.partition("-")
            if dash:
                outputs[int(run)].append(stored[key])
        return Execution(
            tuple(map(tuple, outputs)), int(stored["arena_bytes"]), float(stored["seconds"])
        )


def _error(model: bytes, said: str, code: int) -> UnsupportedModelError:
    """Return the error for a model that did not run, with the operator that it failed at."""
    missing = _NO_KERNEL.search(said)
    if missing:
        return UnsupportedModelError(
            f"TensorFlow Lite Micro has no operator {missing[1]}.", missing[1]
        )
    if _NO_CUSTOM in said:
        parsed = read(model)
        codes = [code for code in parsed.operatorCodes if code.customCode]
        names = sorted({name.customCode.decode() for name in codes} - {DECODE})
        return UnsupportedModelError(
            f"TensorFlow Lite Micro has no custom operator {', '.join(names)}.",
            names[0] if len(names) == 1 else None,
        )
    failed = _FAILED_NODE.search(said)
    words = " ".join(said.split())
    if failed:
        return UnsupportedModelError(f"TensorFlow Lite Micro does not take it: {words}", failed[1])
    if code < 0:
        words = f"its interpreter was ended by signal {-code}. {words}".strip()
    return UnsupportedModelError(f"TensorFlow Lite Micro does not take the model: {words}")
