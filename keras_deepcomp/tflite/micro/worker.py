"""Runs models in TensorFlow Lite Micro's interpreter, in a process of its own.

The interpreter trusts its models and may end the process that it runs in. `interpreter` starts it,
as a file, so that nothing else of the package is imported:

    python -P worker.py FOLDER

`FOLDER` has `model-0.tflite`, `model-1.tflite` and so on, and `inputs.npz` with arrays
"RUN-INPUT". Each model's outputs, "RUN-OUTPUT", go to `outputs-N.npz`, with its arena in bytes and
the seconds of the fastest run; what the interpreter says, to `log-N.txt`.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from tflite_micro import runtime

# More than a microcontroller will have. Memory that the model does not touch is not taken.
_ARENA_BYTES = 1 << 29


def main(folder: Path) -> int:
    """Runs the models of a folder one after the other.

    Args:
        folder: As above.

    Returns:
        The exit code: 0 if all ran.
    """
    inputs: dict[int, dict[int, Any]] = defaultdict(dict)
    with np.load(folder / "inputs.npz") as stored:
        for key in stored.files:
            run, place = map(int, key.split("-"))
            inputs[run][place] = stored[key]
    runs = [inputs[run] for run in sorted(inputs)]
    for number in range(len(list(folder.glob("model-*.tflite")))):
        log = folder / f"log-{number}.txt"
        # The interpreter is in C++ and writes to the descriptor.
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT)
        os.dup2(descriptor, 2)
        os.close(descriptor)
        try:
            results = _run((folder / f"model-{number}.tflite").read_bytes(), runs, log)
        except RuntimeError as error:
            print(error, file=sys.stderr, flush=True)
            return 1
        np.savez(folder / f"outputs-{number}.npz", **results)
    return 0


def _run(model: bytes, runs: list[dict[int, Any]], log: Path) -> dict[str, Any]:
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=_ARENA_BYTES)
    outputs = len(runtime.convert_bytearray_to_object(model).subgraphs[0].outputs)
    results: dict[str, Any] = {}
    seconds = []
    for number, inputs in enumerate(runs):
        for place, values in inputs.items():
            interpreter.set_input(values, place)
        start = time.perf_counter()
        interpreter.invoke()
        seconds.append(time.perf_counter() - start)
        for place in range(outputs):
            results[f"{number}-{place}"] = interpreter.get_output(place)
    interpreter.print_allocations()
    (total,) = re.findall(r"Arena allocation total (\d+) bytes", log.read_text(errors="replace"))
    return {**results, "arena_bytes": int(total), "seconds": min(seconds)}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
