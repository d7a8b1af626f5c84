"""Puts the tables of the TensorFlow Lite and Vela benchmarks into `docs/deploying.md`."""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "deploying.md"
RESULTS = ROOT / "benchmarks" / "results"
MODES = {"float": "float32", "dynamic": "dynamic", "int8": "int8"}


def percent(value):
    return f"{100 * value:.1f}"


def conversion(result):
    """Weights and outputs, ours beside the converter's."""
    lines = [
        "| network | mode | zeros, % | values: Keras | converter | ours "
        "| `.tflite` | packed: converter | ours | agreement, %: converter | ours | accuracy, % |",
        "|---|---|" + "---:|" * 10,
    ]
    for row in result["rows"]:
        weights, theirs, ours = row["weights"], row["converter"], row["ours"]
        cells = [
            row["network"],
            MODES[row["mode"]],
            percent(weights["zeros_after"] / weights["elements"]),
            f"{weights['values_before']:,.1f}",
            f"{weights['values_of_converter']:,.1f}",
            f"**{weights['values_after']:,.1f}**",
            f"{ours['bytes']:,}",
            f"{theirs['packed_bytes']:,}",
            f"**{ours['packed_bytes']:,}**",
            percent(theirs["agreement"]),
            percent(ours["agreement"]),
            f"{percent(row['keras_accuracy'])} > {percent(ours['accuracy'])}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def vela(result):
    """Bytes of weights on each NPU, and estimated times."""
    lines = [
        "| network | NPU | int8 weights | dense | pruned and shared, converter's scales "
        "| with scales that fit | estimated time, µs: dense | ours |",
        "|---|---|" + "---:|" * 6,
    ]
    for row in result["rows"]:
        cells = [
            row["network"],
            row["npu"].replace("ethos-u", "U").upper(),
            f"{row['dense']['weight_bytes']:,}",
            *(f"{row[kind]['npu_weight_bytes']:,}" for kind in ("dense", "converter")),
            f"**{row['ours']['npu_weight_bytes']:,}**",
            *(f"{row[kind]['estimated_microseconds']:,.0f}" for kind in ("dense", "ours")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


TABLES = {"conversion": (conversion, "tflite-conversion.json"), "vela": (vela, "vela.json")}


def page(text):
    """The page with its tables made anew.

    Args:
        text: The page as it is.
    """

    def table(match):
        make, name = TABLES[match[1]]
        return f"{match[0].splitlines()[0]}\n{make(json.loads((RESULTS / name).read_text()))}\n"

    found, count = re.subn(
        r"^<!-- table: (\w+) -->\n.*?(?=^<!-- end -->$)",
        table,
        text,
        flags=re.DOTALL | re.MULTILINE,
    )
    if count != len(TABLES):
        raise ValueError(f"{PAGE}: {count} tables instead of {len(TABLES)}")
    return found


def main():
    if not all((RESULTS / name).exists() for _, name in TABLES.values()):
        print("The other benchmark has not run yet; the page stays as it is.")
        return 0
    PAGE.write_text(page(PAGE.read_text()))
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
