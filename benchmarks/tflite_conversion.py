"""What becomes of pruned and shared weights on the way to TensorFlow Lite?

`kdc.tflite.convert` beside TensorFlow's own converter, on the same graphs, in all three modes. The
scales are chosen on 300 of MNIST's validation images, without labels; what is reported is measured
on its 10,000 test images, which are read here only. Packed sizes are those of `kdc.tflite.pack`.

Claims:

- floats: no zero is lost, and no output channel has more values than the Keras variable;
- int8: at least 95 % of the weights are in tensors that got no new values;
- int8: on the test images the answers agree with the Keras model's in at most 0.5 points fewer
  cases than with the converter's scales, and at most 0.3 points fewer are right;
- int8: packed, no file is larger than with the converter's scales.

Prints a table, writes `benchmarks/results/tflite-conversion.json`, and exits with 1 if a claim
falls short. Tables in `docs/deploying.md` are made from that by `deploying_page.py`.
"""

import json
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from rich.console import Console
from rich.table import Table
from tflite_networks import FILES, ROOT, chosen, images_for, make_missing, with_others

import keras_deepcomp as kdc
from keras_deepcomp import demo, tflite
from keras_deepcomp.tflite import converter
from keras_deepcomp.tflite.running import compare, run
from keras_deepcomp.tflite.samples import Samples

RESULT = ROOT / "benchmarks" / "results" / "tflite-conversion.json"
CALIBRATION, TEST = 300, 10_000
LEAST_KEPT, MOST_LOST, MOST_INACCURATE = 0.95, 0.005, 0.003


def measure(name, path, mode, digits, folder):
    model = kdc.load_model(path)
    calibration = images_for(name, digits.validation[0][:CALIBRATION])
    test = Samples((images_for(name, digits.test[0][:TEST]),), digits.test[1][:TEST])
    ours = folder / "ours.tflite"
    report = tflite.convert(model, ours, mode, calibration, verbose=False)
    inputs = converter.inputs_of(model, None)
    theirs = folder / "theirs.tflite"
    theirs.write_bytes(with_the_converter_alone(model, mode, calibration))
    reference = converter.outputs_of(model, test, inputs)
    files = {"ours": ours, "converter": theirs}
    return {
        "network": name,
        "mode": mode or "float",
        "keras_accuracy": compare(reference, reference, test).accuracy,
        "weights": counts(report),
        **{
            key: {
                "bytes": file.stat().st_size,
                "packed_bytes": packed(file),
                **fidelity(reference, file, test, inputs),
            }
            for key, file in files.items()
        },
    }


def with_the_converter_alone(model, mode, calibration):
    inputs, samples = converter.inputs_of(model, None), Samples((calibration,))
    return converter.convert_with_tensorflow(model, inputs, mode, samples, batch=1, unroll=False)


def counts(report):
    """Zeros and values over all weights; values are means over tensors, weighted by their size."""
    rows = report.tensors
    size = sum(row.size for row in rows)

    def mean(field):
        return sum(getattr(row, field) * row.size for row in rows) / size

    return {
        "tensors": len(rows),
        "elements": size,
        "zeros_before": sum(row.zeros_before for row in rows),
        "zeros_after": sum(row.zeros_after for row in rows),
        "zeros_lost": sum(max(row.zeros_before - row.zeros_after, 0) for row in rows),
        "values_before": mean("values_before"),
        "values_after": mean("values_after"),
        "values_of_converter": mean("values_of_converter"),
        "most_more_in_a_channel": max(row.values_per_channel - row.values_before for row in rows),
        "elements_without_new_values": sum(
            row.size for row in rows if row.values_after <= row.values_before
        ),
        "choices": {
            choice: sum(row.choice == choice for row in rows)
            for choice in sorted({row.choice for row in rows})
        },
    }


def packed(path):
    return tflite.pack(path, path.with_suffix(".kdc"))


def fidelity(reference, path, test, inputs):
    outputs = run(path.read_bytes(), test, [each.name for each in inputs])
    found = compare(reference, outputs, test)
    return {"error": found.error, "agreement": found.agreement, "accuracy": found.accuracy}


def print_table(rows):
    table = Table(title=f"weights' distinct values, and outputs on {TEST:,} test images")
    for heading in (
        "network", "mode", "zeros %", "values", "converter", "ours",
        "bytes", "packed, converter", "packed, ours", "agreement %, converter", "ours",
    ):  # fmt: skip
        table.add_column(heading, justify="left" if heading in ("network", "mode") else "right")
    for row in rows:
        weights, theirs, ours = row["weights"], row["converter"], row["ours"]
        table.add_row(
            row["network"],
            row["mode"],
            f"{100 * weights['zeros_after'] / weights['elements']:.1f}",
            f"{weights['values_before']:.1f}",
            f"{weights['values_of_converter']:.1f}",
            f"{weights['values_after']:.1f}",
            f"{ours['bytes']:,}",
            f"{theirs['packed_bytes']:,}",
            f"{ours['packed_bytes']:,}",
            f"{100 * theirs['agreement']:.1f}",
            f"{100 * ours['agreement']:.1f}",
        )
    Console(width=160).print(table)


def claims(rows):
    """Name, value, whether it holds."""
    floats = [row for row in rows if row["mode"] == "float"]
    integers = [row for row in rows if row["mode"] == "int8"]
    lost = sum(row["weights"]["zeros_lost"] for row in floats)
    more = max(row["weights"]["most_more_in_a_channel"] for row in floats)
    kept = min(
        row["weights"]["elements_without_new_values"] / row["weights"]["elements"]
        for row in integers
    )
    fewer = max(row["converter"]["agreement"] - row["ours"]["agreement"] for row in integers)
    wrong = max(row["converter"]["accuracy"] - row["ours"]["accuracy"] for row in integers)
    larger = max(row["ours"]["packed_bytes"] / row["converter"]["packed_bytes"] for row in integers)
    return [
        ("floats: zeros lost", lost, lost == 0),
        ("floats: values in a channel beyond the variable's", more, more <= 0),
        ("int8: share of weights without new values", kept, kept >= LEAST_KEPT),
        ("int8: agreement below the converter's", fewer, fewer <= MOST_LOST),
        ("int8: accuracy below the converter's", wrong, wrong <= MOST_INACCURATE),
        ("int8: packed bytes / those with the converter's scales", larger, larger <= 1),
    ]


def main():
    names = chosen()
    make_missing(names)
    digits = demo.load_digits(ROOT / "data" / "mnist.npz")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            for mode in converter.MODES:
                rows.append(measure(name, FILES[name], mode, digits, Path(folder)))
                print(name, mode, flush=True)
    rows = with_others(rows, RESULT)
    print_table(rows)
    checked = claims(rows)
    for name, value, held in checked:
        print(f"{'holds' if held else 'SHORT'}  {value:.4f}  {name}")
    held = all(held for *_, held in checked)
    packages = ("numpy", "keras", "tensorflow", "ai-edge-litert")
    report = {
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in packages},
        },
        "calibration_images": CALIBRATION,
        "test_images": TEST,
        "claims": [
            {"claim": name, "value": value, "held": bool(held)} for name, value, held in checked
        ],
        "held": bool(held),
        "rows": rows,
    }
    RESULT.write_text(json.dumps(report, indent=2) + "\n")
    return 0 if held else 1


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    sys.exit(main())
