"""What each stage of the record recipe is worth: LeNet-300-100 with one of them taken out.

Each row is a run with the seed of the full one, at the same number of weights kept. Errors are of
validation pictures. Writes `benchmarks/results/ablation.json`; exits with 1 if a file of another
row is smaller than the full recipe's at no larger an error: what it leaves out does not pay.
"""

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "ablation.json"
NETWORK = "lenet-300-100"

# What is changed, and the stages before the change, which are the full recipe's.
BEFORE_SHARING = ("dense", "thin", "prune")
VARIANTS = {
    "all of it": ({}, (*BEFORE_SHARING, "share")),
    "no teacher": ({"teacher": False}, ()),
    "no altered copies": ({"copies": False}, ()),
    "by magnitude, not by worth": ({"ranking": "magnitude"}, ("dense",)),
    "units prepared by no thinning": ({"thin_kept": 0.0}, ("dense",)),
    "biases left alone": ({"biases": False}, ("dense",)),
    "no change of centroids": ({"straight_through": False}, BEFORE_SHARING),
    "no rest before the end": ({"share_end": 1.0}, BEFORE_SHARING),
    "8 centroids": ({"clusters": 8}, BEFORE_SHARING),
    "sharing at the full learning rate": ({"share_rate": 2e-3}, BEFORE_SHARING),
    "centroids with all digits": ({"digits": 23}, (*BEFORE_SHARING, "share")),
    "units in no order": ({"ordered": False}, (*BEFORE_SHARING, "share")),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "mnist.npz")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        run(arguments.run, arguments.seed, arguments.data)
        return 0
    rows = []
    for name in VARIANTS:
        subprocess.run(
            [sys.executable, __file__, "--run", name, "--seed", str(arguments.seed),
             "--data", str(arguments.data)],
            check=True, env={**os.environ, "KERAS_BACKEND": "jax"},
        )  # fmt: skip
        report = json.loads((folder_of(name, arguments) / "report.json").read_text())
        keys = ("validation_error_percent", "bytes", "ratio", "weights_kept")
        rows.append({"variant": name, **{key: report[key] for key in keys}})
    show(rows)
    full = rows[0]
    smaller = [row for row in rows[1:] if row["bytes"] < full["bytes"]]
    pays = all(
        row["validation_error_percent"] > full["validation_error_percent"] for row in smaller
    )
    result = {"network": NETWORK, "seed": arguments.seed, "held": pays, "rows": rows}
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if pays else 1


def folder_of(name, arguments):
    place = name.replace(",", "").replace(" ", "-")
    base = ROOT / "build" / "records" / arguments.data.stem
    return base / "ablation" / place / f"{NETWORK}-{arguments.seed}"


def run(name, seed, path):
    import numpy as np
    import records_data as data
    import records_recipe

    base = ROOT / "build" / "records" / path.stem
    changes, kept = VARIANTS[name]
    folder = base / "ablation" / name.replace(",", "").replace(" ", "-")
    own = folder / f"{NETWORK}-{seed}"
    own.mkdir(parents=True, exist_ok=True)
    for stage in kept:
        there = base / f"{NETWORK}-{seed}" / f"{stage}.keras"
        if there.exists():
            shutil.copyfile(there, own / f"{stage}.keras")
    split = data.load(path)
    copies = np.load(base / "copies.npy", mmap_mode="r")
    pool = copies, data.answers(split, copies, base)
    recipe = dataclasses.replace(records_recipe.RECIPES[NETWORK], **changes)
    records_recipe.Run(NETWORK, recipe, split, seed, folder, pool).run()


def show(rows):
    from rich.console import Console
    from rich.table import Table

    table = Table(title="LeNet-300-100 with one part of the recipe taken out")
    for heading in ("", "validation error", "bytes", "ratio", "weights"):
        table.add_column(heading, justify="right" if heading else "left")
    for row in rows:
        table.add_row(
            row["variant"],
            f"{row['validation_error_percent']:.2f} %",
            f"{row['bytes']:,}",
            f"{row['ratio']:.1f}x",
            f"{row['weights_kept']:,}",
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    sys.exit(main())
