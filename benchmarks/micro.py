"""Do pruned and shared networks run from compressed weights on TensorFlow Lite Micro?

Claims, for LeNet-300-100 and LeNet-5 (of `format_networks.py`) and a keyword-spotting-sized
depthwise-separable network (of `keyword_net.py`, on made data), converted to int8:

- the outputs of the compressed model equal the uncompressed one's, bit for bit, on 1,000 test
  images and on random ones, in TensorFlow Lite Micro's own interpreter;
- the LeNets' files are at least 4 times smaller; the keyword network's as it comes out;
- on the same 1,000 images the compressed file is right at least 90 % of the time, and at most 1 %
  less often than the float model in Keras.

The accuracy of the int8 file in LiteRT stands beside it, and the arena and the fastest of all runs
before and after. **Times are this machine's**, which is no microcontroller.

Prints a table, writes `benchmarks/results/tflite-micro.json` and the table of docs/micro.md, and
exits with 1 if a claim falls short. With `--only NAME`, the other networks' rows stay as they were.
"""

import argparse
import json
import os
import platform
import re
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keyword_net
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from rich.console import Console
from rich.table import Table

import keras_deepcomp as kdc
from keras_deepcomp import demo
from keras_deepcomp.tflite import compress_for_micro, convert
from keras_deepcomp.tflite.micro.interpreter import execute

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "micro.md"
LEAST_RATIO, LEAST_ACCURACY, MOST_LOST = 4, 0.9, 0.01
IMAGES, REPRESENTATIVE, RANDOM_RUNS = 1000, 500, 32
LENETS = ("lenet-300-100-92", "lenet-300-100-97", "lenet-5-92", "lenet-5-98.5")


def networks():
    """Name, file, and the representative and the test data of each network."""
    digits = demo.load_digits(ROOT / "data" / "mnist.npz")
    for name in LENETS:
        yield name, RESULTS / "format" / f"{name}.kdc", digits.train, digits.test
    words = keyword_net.made_words
    yield "ds-cnn (made data)", keyword_net.PATH, words("train"), words("test")


def measure(path, train, test, folder):
    model = kdc.load_model(path)
    shape = (-1, *model.input_shape[1:])
    images, labels = test[0][:IMAGES].reshape(shape), test[1][:IMAGES]
    representative = train[0][:REPRESENTATIVE].reshape(shape), train[1][:REPRESENTATIVE]
    int8, small = folder / "int8.tflite", folder / "micro.tflite"
    convert(model, int8, "int8", representative, verbose=False)
    litert = Interpreter(model_path=str(int8), num_threads=1)
    litert.allocate_tensors()
    inputs = quantized(images, litert.get_input_details()[0])
    runs = [[image[None]] for image in inputs]
    report = compress_for_micro(int8, small, inputs=runs, random_runs=RANDOM_RUNS, verbose=False)
    report.print()
    before, after = execute([int8.read_bytes(), small.read_bytes()], runs)
    equal = sum(np.array_equal(a, b) for a, b in zip(before.outputs, after.outputs, strict=True))
    return {
        **report.as_dict(),
        "images": len(runs),
        "images_with_equal_outputs": equal,
        "accuracy": {
            "float": accuracy(model.predict(images, verbose=0), labels),
            "int8, LiteRT": accuracy([of_litert(litert, run) for run in runs], labels),
            "compressed": accuracy([output for (output,) in after.outputs], labels),
        },
    }


def quantized(images, details):
    scale, zero_point = details["quantization"]
    return np.clip(np.round(images / scale) + zero_point, -128, 127).astype(np.int8)


def of_litert(interpreter, run):
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], run[0])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def accuracy(outputs, labels):
    return float(np.mean(np.reshape(outputs, (len(labels), -1)).argmax(axis=1) == labels))


def claims(result):
    """What, its value, its bound."""
    checked = []
    for name, row in result.items():
        equal = row["images_with_equal_outputs"]
        checked.append((f"{name}: images with equal outputs", equal, IMAGES))
        if name in LENETS:
            checked.append((f"{name}: times smaller", row["ratio"], LEAST_RATIO))
        right = row["accuracy"]["compressed"]
        gained = right - row["accuracy"]["float"]
        checked.append((f"{name}: accuracy", right, LEAST_ACCURACY))
        checked.append((f"{name}: accuracy gained on the float model", gained, -MOST_LOST))
    return checked


HEADINGS = (
    "network",
    "flash, int8",
    "flash, compressed",
    "arena, int8",
    "arena, compressed",
    "host ms, int8",
    "host ms, compressed",
    "accuracy: float / int8 / compressed",
)


def cells(name, row):
    """A row of the table, as text."""
    return (
        name,
        f"{row['file_bytes_before']:,}",
        f"{row['file_bytes_after']:,} ({row['ratio']:.1f}x)",
        f"{row['arena_bytes_before']:,}",
        f"{row['arena_bytes_after']:,}",
        f"{row['milliseconds_before']:.2f}",
        f"{row['milliseconds_after']:.2f}",
        " / ".join(f"{100 * value:.1f} %" for value in row["accuracy"].values()),
    )


def markdown(result):
    """The table of docs/micro.md."""
    rows = [HEADINGS, ["---", *(6 * ["---:"]), "---"]]
    rows += [cells(name, row) for name, row in result.items()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def write_page(table):
    page = PAGE.read_text(encoding="utf-8")
    marked = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end -->)", re.DOTALL)
    PAGE.write_text(marked.sub(lambda _: f"{table}\n", page), encoding="utf-8")


def print_table(result):
    table = Table(title="TensorFlow Lite Micro, int8; times on this machine, no microcontroller")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "network" else "right")
    for name, row in result.items():
        table.add_row(*cells(name, row))
    Console(width=150).print(table)


def versions():
    packages = ("numpy", "keras", "tensorflow", "ai-edge-litert", "tflite-micro", "flatbuffers")
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
        "cores": os.cpu_count(),
    }


def stored_rows():
    """The rows of the last run, for those that are not measured anew."""
    stored = json.loads((RESULTS / "tflite-micro.json").read_text())
    if stored["versions"] != versions():
        raise ValueError(f"The other rows are of {stored['versions']}; measure them anew as well.")
    return stored["networks"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="name of the one network to measure")
    only = parser.parse_args().only
    result = stored_rows() if only else {}
    for name, path, train, test in networks():
        if only not in (None, name):
            continue
        with tempfile.TemporaryDirectory() as folder:
            result[name] = measure(path, train, test, Path(folder))
    print_table(result)
    checked = claims(result)
    for what, value, least in checked:
        print(f"{'holds' if value >= least else 'SHORT'}  {value:.4g} >= {least}  {what}")
    held = all(value >= least for _, value, least in checked)
    report = {
        "versions": versions(),
        "claims": [
            {"claim": what, "value": value, "bound": f">= {least}", "held": value >= least}
            for what, value, least in checked
        ],
        "held": held,
        "networks": result,
    }
    (RESULTS / "tflite-micro.json").write_text(json.dumps(report, indent=2) + "\n")
    write_page(markdown(result))
    print(f"{report['versions']}: {'all claims hold' if held else 'a claim falls short'}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
