"""What each stage of the record recipe is worth: LeNet-300-100 with one of them taken out.

Each row is a run with the seed of the full one, at the same number of weights kept. Errors are of
validation pictures, with a standard deviation of about 0.12. Writes
`benchmarks/results/ablation.json`, in which rows of other seeds stay (`--seed`, `--only`); exits
with 1 if the files of a variant are smaller than the full recipe's at no larger an error, in the
mean of its seeds: what it leaves out does not pay, and the records have to leave it out as well.
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

# "All of it" has what the record leaves out, as this study found that it does not pay.
FULL = {"teacher": True}
LEFT_OUT = {"no teacher"}
# What is changed, and the stages before the change, which are those of all of it.
BEFORE_SHARING = ("dense", "thin", "prune")
VARIANTS = {
    "all of it": ({}, ()),
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
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "mnist.npz")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        run(arguments.run, arguments.seed, arguments.data)
        return 0
    rows = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
    for name in arguments.only:
        subprocess.run(
            [sys.executable, __file__, "--run", name, "--seed", str(arguments.seed),
             "--data", str(arguments.data)],
            check=True, env={**os.environ, "KERAS_BACKEND": "jax"},
        )  # fmt: skip
        report = json.loads((folder_of(name, arguments) / "report.json").read_text())
        rows = [row for row in rows if (row["variant"], row["seed"]) != (name, arguments.seed)]
        keys = ("seed", "validation_error_percent", "bytes", "ratio", "weights_kept")
        rows.append({"variant": name, **{key: report[key] for key in keys}})
    rows.sort(key=lambda row: (list(VARIANTS).index(row["variant"]), row["seed"]))
    show(rows)
    beaten = [name for name in VARIANTS if beats_all_of_it(name, rows)]
    for name in beaten:
        print(f"{name}: the file is smaller, and no worse")
    unheeded = set(beaten) - LEFT_OUT
    result = {"network": NETWORK, "held": not unheeded, "beaten_by": beaten, "rows": rows}
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    return 1 if unheeded else 0


def beats_all_of_it(name, rows):
    """Whether a variant is smaller and no worse, in the mean of the seeds that it was run with."""
    full = next(iter(VARIANTS))
    its = {row["seed"]: row for row in rows if row["variant"] == name}
    others = {row["seed"]: row for row in rows if row["variant"] == full}
    both = [(its[seed], others[seed]) for seed in its if seed in others]
    if name == full or not both:
        return False
    smaller = sum(own["bytes"] - other["bytes"] for own, other in both) < 0
    key = "validation_error_percent"
    return smaller and sum(own[key] - other[key] for own, other in both) <= 0


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
        shutil.copyfile(
            base / "ablation" / "all-of-it" / own.name / f"{stage}.keras", own / f"{stage}.keras"
        )
    split = data.load(path)
    copies = np.load(base / "copies.npy", mmap_mode="r")
    pool = copies, data.answers(split, copies, base)
    recipe = dataclasses.replace(records_recipe.RECIPES[NETWORK], **{**FULL, **changes})
    records_recipe.Run(NETWORK, recipe, split, seed, folder, pool).run()


def show(rows):
    from rich.console import Console
    from rich.table import Table

    table = Table(title="LeNet-300-100 with one part of the recipe taken out")
    for heading in ("", "seed", "validation error", "bytes", "ratio", "weights"):
        table.add_column(heading, justify="right" if heading else "left")
    for row in rows:
        table.add_row(
            row["variant"],
            str(row["seed"]),
            f"{row['validation_error_percent']:.2f} %",
            f"{row['bytes']:,}",
            f"{row['ratio']:.1f}x",
            f"{row['weights_kept']:,}",
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    sys.exit(main())
