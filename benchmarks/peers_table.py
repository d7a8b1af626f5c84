"""Puts what was measured beside tfmot, NNCodec and gzip into the README, from the results."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
NOT_DONE = "-"


def result(name):
    """The JSON of a benchmark."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def row(what, source, form, ours, tfmot=None, nncodec=None, gzip=None):
    """One line; the smallest number in bold."""
    values = (ours, tfmot, nncodec, gzip)
    least = min(value for value in values if value is not None)
    cells = [NOT_DONE if value is None else form.format(value) for value in values]
    shown = [f"**{c}**" if v == least else c for c, v in zip(cells, values, strict=True)]
    measured = f"[{source}](benchmarks/results/{source}.json)"
    return f"| {what} | {' | '.join(shown)} | {measured} |"


def coding():
    """Bytes and seconds of the format's benchmark."""
    coded = result("format")
    for total, what in zip(coded["sums"], ("four networks", "all rows"), strict=True):
        size = total["bytes"]
        yield row(
            f"bytes of indices, {what}", "format", "{:,}", size["kdc"],
            nncodec=size["nncodec"], gzip=size["gzip"],
        )  # fmt: skip
        for direction, seconds in total["seconds"].items():
            yield row(
                f"seconds to {direction} them", "format", "{:.2f}", seconds["kdc"],
                nncodec=seconds["nncodec"],
            )  # fmt: skip


def training():
    """A step's time as a multiple of the plain model's, in the same library."""
    models = result("overhead")["models"]
    for model, name in (("lenet_5", "LeNet-5"), ("mobilenet_v2", "MobileNetV2")):
        for state in ("pruned", "shared"):
            ours, theirs = (models[model][library][state]["ratio"] for library in ("kdc", "tfmot"))
            yield row(f"training step, {state} {name}", "overhead", "{:.2f}x", ours, tfmot=theirs)


def packing():
    """Bytes of all .tflite files with weights that were pruned and shared."""
    files = [line for line in result("tflite")["rows"] if line["shared"]]
    ours, gzip = (sum(line[coder] for line in files) for coder in ("kdc", "gzip"))
    what = f"bytes of {len(files)} pruned and shared `.tflite` files"
    yield row(what, "tflite", "{:,}", ours, gzip=gzip)


def table():
    """The table, as Markdown."""
    head = "| | here | tfmot | NNCodec | gzip -9 | measured |\n|---|---:|---:|---:|---:|---|"
    return "\n".join([head, *coding(), *training(), *packing()])


def page(text):
    """The page with its table made anew."""
    made = f"<!-- peers -->\n{table()}\n<!-- end -->"
    return re.sub(r"<!-- peers -->.*?<!-- end -->", lambda _: made, text, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
    print(table())
