"""Decodes the records and evaluates them on the test pictures; exits with 1 if a goal is missed.

make verify-records
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import records_data as data
from records_recipe import RECIPES, error_percent
from records_results import GOALS, RECORDS, ROOT
from rich.console import Console
from rich.table import Table

import keras_deepcomp as kdc


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "mnist.npz")
    parser.add_argument("--records", type=Path, default=RECORDS)
    arguments = parser.parse_args()
    split = data.load(arguments.data)
    table = Table(title="the records, decoded")
    for heading in ("network", "parameters", "bytes", "ratio", "goal", "test error", "goal", ""):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    missed = 0
    for name, (least, most) in GOALS.items():
        path = arguments.records / f"{name}.kdc"
        model, size = kdc.load_model(path), path.stat().st_size
        # The network is the paper's: its sizes, and every parameter of them counts.
        shapes = [tuple(v.shape) for v in RECIPES[name].network().variables]
        is_whole = [tuple(v.shape) for v in model.variables] == shapes
        ratio, error = 4 * model.count_params() / size, error_percent(model, split.test)
        held = is_whole and ratio >= least and error <= most
        missed += not held
        table.add_row(
            name, f"{model.count_params():,}", f"{size:,}", f"{ratio:.1f}x", f">= {least:.0f}x",
            f"{error:.2f} %", f"<= {most:.2f} %", "held" if held else "missed",
        )  # fmt: skip
    Console(width=100).print(table)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
