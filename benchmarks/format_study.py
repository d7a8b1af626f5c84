"""What each choice of the format gains, and what the ideas that were left out would have gained.

Measured on networks that `make bench-format` does not report on: LeNet-300-100 and LeNet-5 at 95
and 98 % sparsity, seeds of their own, in `benchmarks/results/format/tuning/`. Prints both tables
that `docs/format-study.md` explains, and writes `benchmarks/results/format-study.json`.
"""

import contextlib
import dataclasses
import json
import sys
from pathlib import Path
from unittest import mock

import numpy as np
from rich.console import Console
from rich.table import Table

from keras_deepcomp import container
from keras_deepcomp.container import encoding, grid, runs, symbols
from keras_deepcomp.container.dtypes import element_type, patterns_of
from keras_deepcomp.container.search import Effort

RESULTS = Path(__file__).resolve().parent / "results"
TUNING = RESULTS / "format" / "tuning"
DEFAULT = Effort.of(container.DEFAULT_EFFORT)
FEWEST = 1_000


def networks():
    """The kernels with enough non-zeros, as matrices, by file and name."""
    found = {}
    for path in sorted(TUNING.glob("*.kdc")):
        for name, array in container.load_file(path).items():
            if np.count_nonzero(array) >= FEWEST:
                found[f"{path.stem}:{name}"] = array
    return found


def coded_bytes(array, effort=DEFAULT):
    element = element_type(array.dtype)
    patterns = patterns_of(array, element)
    blocks = encoding.encode(patterns, element, array.shape, effort)
    return patterns.nbytes if blocks is None else sum(map(len, blocks))


def near_only():
    wide = tuple((down, right, 0) for down, right, _ in grid.WIDE[2:])
    return mock.patch.object(grid, "WIDE", grid.NEAR[:2] + wide)


# What is switched off, as an effort and a context in which to code.
SWITCHED_OFF = {
    "row and column scores": (dataclasses.replace(DEFAULT, scores=False), contextlib.nullcontext),
    "neighbours in a grid": (dataclasses.replace(DEFAULT, grids=0), contextlib.nullcontext),
    "signs by neighbours": (dataclasses.replace(DEFAULT, signs=False), contextlib.nullcontext),
    "codes by class": (dataclasses.replace(DEFAULT, groups=False), contextlib.nullcontext),
    "several symbols in one": (
        DEFAULT,
        lambda: mock.patch.object(symbols, "MAX_TOGETHER", 1),
    ),
    "several runs in one": (
        DEFAULT,
        lambda: mock.patch.object(runs, "_runs_in_symbol", lambda step: (255, 1)),
    ),
    "all of these": (
        Effort(False, False, 0, False, False, False),
        lambda: mock.patch.object(symbols, "MAX_TOGETHER", 1),
    ),
}


def switch_off(tensors):
    """The bytes of each tensor with each choice in turn switched off."""
    table = {"everything on": {name: coded_bytes(array) for name, array in tensors.items()}}
    for choice, (effort, context) in SWITCHED_OFF.items():
        runs.run_code.cache_clear()
        with context():
            table[choice] = {name: coded_bytes(array, effort) for name, array in tensors.items()}
        runs.run_code.cache_clear()
    return table


def entropy_bytes(*columns):
    """Bytes of the last column given the others, and of tables of three bits for each entry."""
    keys = np.zeros(columns[0].size, np.int64)
    for column in columns[:-1]:
        keys = keys * (int(column.max(initial=0)) + 1) + column
    joint = keys * (int(columns[-1].max()) + 1) + columns[-1]
    _, pairs = np.unique(joint, return_counts=True)
    _, contexts = np.unique(keys, return_counts=True)
    bits = (contexts * np.log2(contexts)).sum() - (pairs * np.log2(pairs)).sum()
    return float(bits + 3 * pairs.size) / 8


def left_out(array):
    """Bytes of the plain scheme of one tensor, and under each idea that was left out.

    The plain scheme here: unbounded gaps and indices, each at its entropy, with its table.
    """
    matrix = array.reshape(-1, array.shape[-1])
    rows = {}
    for scan, view in (("rows", matrix), ("columns", matrix.T)):
        flat = np.ascontiguousarray(view).reshape(-1)
        places = np.flatnonzero(flat)
        gaps = np.minimum(np.diff(places, prepend=-1) - 1, 255)
        index = np.unique(flat[places], return_inverse=True)[1]
        classes = np.minimum(np.frexp(gaps + 1)[1], 7)
        before = np.append(0, index[:-1])
        rows[scan] = {
            "plain": entropy_bytes(gaps) + entropy_bytes(index),
            "gaps by the gap before": entropy_bytes(np.append(0, classes[:-1]), gaps)
            + entropy_bytes(index),
            "gaps by the index before": entropy_bytes(before, gaps) + entropy_bytes(index),
            "indices by the gap": entropy_bytes(gaps) + entropy_bytes(classes, index),
            "indices by the index before": entropy_bytes(gaps) + entropy_bytes(before, index),
            "gap and index as one symbol": entropy_bytes(gaps * 256 + index),
        }
    return rows


def main():
    tensors = networks()
    if not tensors:
        sys.exit("No networks: make them with `make bench-format-networks`.")
    console = Console()
    off = switch_off(tensors)
    whole = sum(off["everything on"].values())
    table = Table(title=f"{len(tensors)} kernels of {TUNING.name} networks, {whole:,} bytes")
    for heading in ("switched off", "bytes", "more"):
        table.add_column(heading, justify="right" if heading != "switched off" else "left")
    for choice, sizes in off.items():
        total = sum(sizes.values())
        table.add_row(choice, f"{total:,}", f"{100 * (total / whole - 1):+.2f} %")
    console.print(table)

    ideas = {name: left_out(array) for name, array in tensors.items()}
    table = Table(title="left out: entropies and tables, best of both scan orders per kernel")
    for heading in ("idea", "bytes", "of the plain scheme"):
        table.add_column(heading, justify="right" if heading != "idea" else "left")
    totals = {
        idea: sum(min(scan[idea] for scan in scans.values()) for scans in ideas.values())
        for idea in next(iter(ideas.values()))["rows"]
    }
    # With both scans always by rows, the gain of choosing the scan shows.
    totals["plain, rows only"] = sum(scans["rows"]["plain"] for scans in ideas.values())
    for idea, total in totals.items():
        table.add_row(idea, f"{total:,.0f}", f"{100 * (total / totals['plain'] - 1):+.2f} %")
    console.print(table)

    efforts = {
        level: sum(coded_bytes(array, Effort.of(level)) for array in tensors.values())
        for level in range(10)
    }
    table = Table(title="bytes by effort")
    table.add_column("effort")
    table.add_column("bytes", justify="right")
    for level, total in efforts.items():
        table.add_row(str(level), f"{total:,}")
    console.print(table)
    result = {
        "switched_off": off,
        "left_out": {idea: round(total) for idea, total in totals.items()},
        "efforts": efforts,
    }
    (RESULTS / "format-study.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
