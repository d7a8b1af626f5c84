"""Writes the reports that `make test-pages` looks at: usual ones, two compared, a hostile one."""

import sys
from pathlib import Path
from types import SimpleNamespace

import hostile_names
import numpy as np

import keras_deepcomp as kdc
from keras_deepcomp import container

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def search(folder):
    """What a search returns, with files in a folder; small arrays stand for its model."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(scale=0.1, size=(120, 80)).astype(np.float32)
    container.save_file({"dense/kernel": kernel}, folder / "round-000.kdc")
    kept = np.abs(kernel) > 0.15
    steps = np.where(kept, np.round(kernel / 0.05) * 0.05, 0.0).astype(np.float32)
    container.save_file({"dense/kernel": steps}, folder / "best.kdc")
    sizes = [38_700, 9_800, 6_100, 4_900, 3_200, 2_500, 1_900]
    accuracy = [0.981, 0.982, 0.98, 0.981, 0.978, 0.969, 0.941]
    return SimpleNamespace(
        path=folder / "best.kdc", model=SimpleNamespace(layers=[], _layers=[]),
        metric="accuracy", metric_direction="max",
        metrics_before={"accuracy": 0.981}, metrics_after={"accuracy": 0.978},
        points=[SimpleNamespace(bytes=size, metrics={"accuracy": value}, file=f"{number}.kdc")
                for number, (size, value) in enumerate(zip(sizes, accuracy, strict=True))],
        chosen="4.kdc", reason="The search ended because 2 rounds brought no better file.",
    )  # fmt: skip


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    demo = RESULTS / "demo-seed-0.kdc"
    kdc.report(demo, out=folder / "demo.html", metric=("test error, %", 1.36, 1.25))
    kdc.report(RESULTS / "micro" / "ds-cnn.kdc", out=folder / "ds-cnn.html")
    kdc.report(demo, RESULTS / "demo-seed-1.kdc", out=folder / "comparison.html")
    hostile_names.write(folder / "hostile.kdc", more=3000)
    kdc.report(folder / "hostile.kdc")
    kdc.report(search(folder), out=folder / "search.html")


main(Path(sys.argv[1]))
