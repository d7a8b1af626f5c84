"""The smallest LeNet-300-100 and LeNet-5 that this library makes, from several seeds.

Each run's stages are kept in `build/records/`, and go on where they stopped. The run of each
network with the smallest validation error is the record; the test pictures are read for it and the
others after that choice. Writes `benchmarks/records/` and `benchmarks/results/records.json`.

    python benchmarks/records.py --network lenet-5 --seeds 0 1 2
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from records_recipe import RECIPES, Run

ROOT = Path(__file__).resolve().parent.parent


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", action="append", choices=RECIPES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "mnist.npz")
    parser.add_argument("--folder", type=Path, help="where stages are kept")
    parser.add_argument("--collect", action="store_true", help="evaluate what is there")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folder = arguments.folder or ROOT / "build" / "records" / arguments.data.stem
    networks = arguments.network or list(RECIPES)
    if arguments.run:
        run(arguments.run, arguments.seeds[0], arguments.data, folder)
        return 0
    if not arguments.collect:
        # The teacher answers first; each run has a process of its own, with a backend of its own.
        start("teacher", 0, arguments, folder, "tensorflow")
    for network in networks if not arguments.collect else ():
        for seed in arguments.seeds:
            start(network, seed, arguments, folder, RECIPES[network].backend)
    import records_results

    # Other data gives results, but no records of ours.
    keep = arguments.data.resolve() == ROOT / "data" / "mnist.npz"
    records_results.collect(networks, arguments.seeds, arguments.data, folder, keep)
    return 0


def start(what, seed, arguments, folder, backend):
    command = [sys.executable, __file__, "--run", what, "--seeds", str(seed),
               "--data", str(arguments.data), "--folder", str(folder)]  # fmt: skip
    subprocess.run(command, check=True, env={**os.environ, "KERAS_BACKEND": backend})


def run(what, seed, path, folder):
    import numpy as np
    import records_data as data

    split = data.load(path)
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "copies.npy"
    if not kept.exists():
        np.save(kept, data.pool(split.train))
    copies = np.load(kept, mmap_mode="r")
    logits = data.answers(split, copies, folder)
    if what != "teacher":
        print(Run(what, RECIPES[what], split, seed, folder, (copies, logits)).run())


if __name__ == "__main__":
    sys.exit(main())
