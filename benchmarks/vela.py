"""What does an NPU make of pruned and shared weights?

Vela, Arm's compiler for its Ethos-U NPUs, codes weights without loss when it compiles a network;
the NPU decodes them while it computes. Measured on int8 networks: dense ones, and pruned and shared
ones with the converter's scales and with those of `kdc.tflite.convert`. Cycles, and so times, are
Vela's estimates, not measurements.

Claims, for each network and NPU:

- pruned and shared weights take fewer bytes on the NPU than dense ones;
- scales that fit the codebooks take no more bytes than the converter's.

Prints a table, writes `benchmarks/results/vela.json`, and exits with 1 if a claim falls short.
Needs `build/vela`, which `make bench-vela` makes.
"""

import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from rich.console import Console
from rich.table import Table
from tflite_conversion import CALIBRATION, with_the_converter_alone
from tflite_networks import (
    FILES,
    ROOT,
    chosen,
    dense_file,
    images_for,
    make_missing,
    with_others,
)

import keras_deepcomp as kdc
from keras_deepcomp import demo, tflite

RESULT = ROOT / "benchmarks" / "results" / "vela.json"
VELA = ROOT / "build" / "vela" / "bin" / "vela"
# NPU: system and memory of Vela's own examples for it.
NPUS = {
    "ethos-u55-128": ("Ethos_U55_High_End_Embedded", "Shared_Sram"),
    "ethos-u85-256": ("Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_512KB"),
}
KINDS = ("dense", "converter", "ours")


def compile_for(npu, path, folder):
    system, memory = NPUS[npu]
    out = folder / npu / path.stem
    subprocess.run(
        [VELA, path, "--output-dir", out, "--accelerator-config", npu, "--config", "Arm/vela.ini",
         "--system-config", system, "--memory-mode", memory],
        check=True, capture_output=True,
    )  # fmt: skip
    (summary,) = out.glob("*_summary_*.csv")
    with open(summary, newline="") as file:
        (row,) = csv.DictReader(file)
    (compiled,) = out.glob("*_vela.tflite")
    return {
        "weight_bytes": int(float(row["total_original_weights"])),
        "npu_weight_bytes": int(float(row["total_npu_encoded_weights"])),
        "file_bytes": compiled.stat().st_size,
        "estimated_microseconds": 1e6 * float(row["inference_time"]),
    }


def measure(name, digits, folder):
    calibration = images_for(name, digits.validation[0][:CALIBRATION])
    shared = kdc.load_model(FILES[name])
    paths = {kind: folder / f"{FILES[name].stem}-{kind}.tflite" for kind in KINDS}
    dense = kdc.load_model(dense_file(name))
    paths["dense"].write_bytes(with_the_converter_alone(dense, "int8", calibration))
    paths["converter"].write_bytes(with_the_converter_alone(shared, "int8", calibration))
    tflite.convert(shared, paths["ours"], "int8", calibration, verbose=False)
    return [
        {
            "network": name,
            "npu": npu,
            **{
                kind: {"tflite_bytes": path.stat().st_size, **compile_for(npu, path, folder)}
                for kind, path in paths.items()
            },
        }
        for npu in NPUS
    ]


def print_table(rows):
    table = Table(title="bytes of weights on the NPU, and Vela's estimate of the time in µs")
    for heading in ("network", "NPU", "int8", "dense", "converter", "ours", "dense", "ours"):
        table.add_column(heading, justify="left" if heading in ("network", "NPU") else "right")
    for row in rows:
        table.add_row(
            row["network"],
            row["npu"],
            f"{row['dense']['weight_bytes']:,}",
            *(f"{row[kind]['npu_weight_bytes']:,}" for kind in KINDS),
            *(f"{row[kind]['estimated_microseconds']:,.0f}" for kind in ("dense", "ours")),
        )
    Console(width=120).print(table)


def claims(rows):
    """Name, value, whether it holds."""

    def most(one, other):
        return max(row[one]["npu_weight_bytes"] / row[other]["npu_weight_bytes"] for row in rows)

    smaller, no_larger = most("ours", "dense"), most("ours", "converter")
    return [
        ("weights on the NPU, pruned and shared / dense, at most", smaller, smaller < 1),
        ("with scales that fit / with the converter's, at most", no_larger, no_larger <= 1),
    ]


def main():
    names = chosen()
    make_missing(names)
    digits = demo.load_digits(ROOT / "data" / "mnist.npz")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            rows += measure(name, digits, Path(folder))
            print(name, flush=True)
    rows = with_others(rows, RESULT)
    print_table(rows)
    checked = claims(rows)
    for name, value, held in checked:
        print(f"{'holds' if held else 'SHORT'}  {value:.3f}  {name}")
    held = all(held for *_, held in checked)
    vela = subprocess.run([VELA, "--version"], check=True, capture_output=True, text=True)
    report = {
        "versions": {
            "python": platform.python_version(),
            "vela": vela.stdout.strip(),
            **{package: version(package) for package in ("keras", "tensorflow")},
        },
        "npus": {npu: dict(zip(("system", "memory"), of, strict=True)) for npu, of in NPUS.items()},
        "claims": [{"claim": name, "value": value, "held": held} for name, value, held in checked],
        "held": held,
        "rows": rows,
    }
    RESULT.write_text(json.dumps(report, indent=2) + "\n")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
