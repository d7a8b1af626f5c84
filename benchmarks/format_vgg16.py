"""The whole of VGG-16: is its `.kdc` file as quick to load and save as its `.keras` file?

Claims, for Keras' own VGG-16 with synthetic weights, pruned and shared to the densities and bits of
the paper's table 5 (see `format_tensors.py`), on the same model on both sides:

- `kdc.load_model` takes no longer than `keras.models.load_model`;
- `kdc.save_model` takes at most 1.5 times as long as `model.save`;
- loading takes at most 1.3 times the memory of the float32 weights: the peak of the resident set,
  less what was resident before.

Each measurement has a process of its own, which first saves and loads a tiny model in both formats,
so that imports and the framework's start are not timed, and reads its input file once, so that it
is in memory on both sides. Medians of three; the two formats take turns.

Prints a table, writes `benchmarks/results/format-vgg16.json`, and exits with 1 if a claim falls
short. Needs 8 GB of memory and Linux.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from format_tensors import VGG16, vgg16_layer
from rich.console import Console
from rich.table import Table

import keras_deepcomp as kdc

RESULTS = Path(__file__).resolve().parent / "results"
MOST_LOAD_TIME, MOST_SAVE_TIME, MOST_LOAD_MEMORY = 1.0, 1.5, 1.3
REPEATS = 3
SAVE = {"kdc": kdc.save_model, "keras": lambda model, path: model.save(path)}
LOAD = {"kdc": kdc.load_model, "keras": keras.models.load_model}


def make(folder):
    """The model, saved in both formats; and what comes back from both has the same bits."""
    model = keras.applications.VGG16(weights=None)
    rng = np.random.default_rng(0)
    for name in VGG16:
        _, bias = model.get_layer(name).get_weights()
        layer = vgg16_layer(name), rng.normal(scale=0.1, size=bias.shape).astype(np.float32)
        model.get_layer(name).set_weights(layer)
    for suffix, save in SAVE.items():
        save(model, folder / f"vgg16.{suffix}")
    for suffix, load in LOAD.items():
        again = load(folder / f"vgg16.{suffix}")
        for one, other in zip(model.weights, again.weights, strict=True):
            if not np.array_equal(one.numpy(), other.numpy()):
                raise AssertionError(f"{one.path} changed in the .{suffix} file")
    return {
        "float32_bytes": sum(4 * int(np.prod(weight.shape)) for weight in model.weights),
        "file_bytes": {suffix: (folder / f"vgg16.{suffix}").stat().st_size for suffix in SAVE},
    }


def warm_up(folder):
    tiny = keras.Sequential([keras.layers.Input((4, 4, 1)), keras.layers.Conv2D(8, 3)])
    for suffix in SAVE:
        path = folder / f"tiny.{suffix}"
        SAVE[suffix](tiny, path)
        LOAD[suffix](path)


def resident_bytes(field):
    """VmRSS, what is resident now, or VmHWM, the most since the last reset."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"no {field}")


def load(folder, suffix):
    path = folder / f"vgg16.{suffix}"
    path.read_bytes()
    warm_up(folder)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_bytes("VmRSS")
    start = time.perf_counter()
    model = LOAD[suffix](path)
    seconds = time.perf_counter() - start
    peak = resident_bytes("VmHWM") - before
    if model.count_params() != 138_357_544:
        raise AssertionError("not VGG-16")
    return {"seconds": seconds, "peak_bytes": peak}


def save(folder, suffix):
    warm_up(folder)
    model = keras.models.load_model(folder / "vgg16.keras")
    path = folder / f"again.{suffix}"
    start = time.perf_counter()
    SAVE[suffix](model, path)
    seconds = time.perf_counter() - start
    path.unlink()
    return {"seconds": seconds}


def in_fresh_process(step, folder, *suffix):
    command = [sys.executable, __file__, "--step", step, "--folder", folder, *suffix]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(folder):
    print("making the model ...", flush=True)
    result = in_fresh_process("make", folder)
    for step in ("load", "save"):
        runs = {"kdc": [], "keras": []}
        for _ in range(REPEATS):
            for suffix, of_suffix in runs.items():
                of_suffix.append(in_fresh_process(step, folder, "--suffix", suffix))
                print(f"{step} .{suffix}: {of_suffix[-1]['seconds']:.2f} s", flush=True)
        result[step] = {
            suffix: {key: median(run[key] for run in of_suffix) for key in of_suffix[0]}
            for suffix, of_suffix in runs.items()
        }
    return result


def print_table(result):
    table = Table(title="VGG-16, 138 million weights; medians of three processes")
    for heading in ("", ".kdc", ".keras", ".kdc / .keras"):
        table.add_column(heading, justify="right" if heading else "left")
    sizes = result["file_bytes"]
    table.add_row("bytes", f"{sizes['kdc']:,}", f"{sizes['keras']:,}",
                  f"1 / {sizes['keras'] / sizes['kdc']:.1f}")  # fmt: skip
    for step, what, unit in (
        ("load", "seconds", 1),
        ("save", "seconds", 1),
        ("load", "peak_bytes", 2**20),
    ):
        ours, theirs = (result[step][suffix][what] / unit for suffix in ("kdc", "keras"))
        label = f"{step}, {'s' if unit == 1 else 'peak MiB'}"
        table.add_row(label, f"{ours:,.2f}", f"{theirs:,.2f}", f"{ours / theirs:.2f}")
    Console().print(table)


def claims(result):
    """Name, value, bound."""

    def times(step):
        return result[step]["kdc"]["seconds"] / result[step]["keras"]["seconds"]

    memory = result["load"]["kdc"]["peak_bytes"] / result["float32_bytes"]
    return [
        ("loading time / that of .keras", times("load"), MOST_LOAD_TIME),
        ("saving time / that of .keras", times("save"), MOST_SAVE_TIME),
        ("peak memory of loading / float32 weights", memory, MOST_LOAD_MEMORY),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--step", choices=["make", "load", "save"], help="used by the program itself"
    )
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--suffix", choices=list(SAVE))
    arguments = parser.parse_args()
    if arguments.step == "make":
        print(json.dumps(make(arguments.folder)))
        return 0
    if arguments.step:
        step = {"load": load, "save": save}[arguments.step]
        print(json.dumps(step(arguments.folder, arguments.suffix)))
        return 0

    with tempfile.TemporaryDirectory() as folder:
        result = measure(folder)
    print_table(result)
    checked = claims(result)
    for name, value, most in checked:
        print(f"{'holds' if value <= most else 'SHORT'}  {value:.3f} <= {most}  {name}")
    held = all(value <= most for _, value, most in checked)
    report = {
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
            "cores": os.cpu_count(),
        },
        "claims": [
            {"claim": name, "value": value, "bound": f"<= {most}", "held": value <= most}
            for name, value, most in checked
        ],
        "held": held,
        **result,
    }
    (RESULTS / "format-vgg16.json").write_text(json.dumps(report, indent=2) + "\n")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
