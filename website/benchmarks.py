"""The page of benchmarks, made from the JSON that they have left in benchmarks/results/."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"

TITLES = {
    "demo": ("The demo over three seeds", "bench-demo"),
    "records": ("The smallest LeNets", "bench-records"),
    "tradeoff": ("Error against bytes", "bench-tradeoff"),
    "ablation": ("What each part of the recipe is worth", "bench-ablation"),
    "compress": ("The one call", "bench-compress"),
    "modern-conv-net": ("A network of today's kind", "bench-modern-network"),
    "format": ("The format against others", "bench-format"),
    "format-study": ("What each choice of the format gains", "bench-format-study"),
    "format-vgg16": ("A whole VGG-16", "bench-format-model"),
    "fullsize": ("AlexNet and VGG-16 at full size", "bench-fullsize"),
    "format-bytes": ("The same bytes everywhere", "bench-format-bytes"),
    "overhead": ("What a training step costs", "bench-overhead"),
    "kills": ("Trainings that were killed", "bench-kills"),
    "compatibility": ("Kinds of model", "bench-compatibility"),
    "tflite-conversion": ("Conversion to TensorFlow Lite", "bench-tflite-conversion"),
    "tflite": ("Packed .tflite files", "bench-tflite"),
    "tflite-micro": ("Microcontrollers", "bench-micro"),
    "vela": ("An NPU", "bench-vela"),
    "c-decoder": ("The decoder in C", "bench-c"),
    "fuzz": ("Damaged files", "fuzz-mutants"),
}
"""What the results are called, in the order of the page, and the make target that measures them."""

HEAD = """# Benchmarks

Each section is made from a file that a benchmark has written, when this site was built. A benchmark
states its claims before it measures, and exits with an error where one falls short; those that did
are here as well.
"""


def page() -> str:
    """The page, as Markdown whose links start from docs/."""
    found = sorted(path.stem for path in RESULTS.glob("*.json"))
    known = [name for name in TITLES if name in found]
    names = known + [name for name in found if name not in TITLES]
    return "\n\n".join([HEAD.strip(), *(_section(name) for name in names)]) + "\n"


def _section(name: str) -> str:
    result = json.loads((RESULTS / f"{name}.json").read_text())
    title, target = TITLES.get(name, (name, None))
    parts = [f"## {title}"]
    parts += [draw(result) for key, draw in TABLES.items() if key == name]
    if claims := list(_claims(result)):
        parts.append(table("claim", "measured", "bound", "", rows=claims))
    versions = _versions(result)
    made = f"`make {target}` measures it again. " if target else ""
    link = f"[{name}.json](../benchmarks/results/{name}.json) has all of it"
    parts.append(f"{made}{link}{f', with {versions}' if versions else ''}.")
    return "\n\n".join(parts)


def table(*head: str, rows: list[Any]) -> str:
    """A Markdown table; numbers stand at the right."""
    lines = [head, ["---:" if _is_number(cell) else "---" for cell in rows[0]], *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() else f"{value:,.4g}"
    return f"{value:,}" if _is_number(value) else str(value).replace("|", "\\|")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _claims(result: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    claims = result.get("claims", [])
    if isinstance(claims, dict):
        claims = [{"claim": claim, "held": held} for claim, held in claims.items()]
    if not claims and isinstance(result.get("claim"), str):
        claims = [result]
    for claim in claims:
        held = "held" if claim["held"] else "**falls short**"
        yield claim["claim"], claim.get("value", ""), claim.get("bound", ""), held


def _versions(result: dict[str, Any]) -> str:
    versions = result.get("versions", {})
    return ", ".join(f"{name} {v}" for name, v in versions.items() if isinstance(v, str))


def _demo(result: dict[str, Any]) -> str:
    rows = [
        (seed["seed"], seed["baseline_test_error_percent"], seed["test_error_percent"],
         seed["file_bytes"], seed["ratio"])
        for seed in result["seeds"]
    ]  # fmt: skip
    head = ("seed", "test error before, %", "after, %", "bytes", "ratio")
    return "LeNet-300-100 on MNIST, by `make demo`.\n\n" + table(*head, rows=rows)


def _records(result: dict[str, Any]) -> str:
    rows = [
        (name, seed["seed"], seed["test_error_percent"], seed["bytes"], seed["ratio"])
        for name, network in result["networks"].items()
        for seed in network["seeds"]
    ]
    head = ("network", "seed", "test error, %", "bytes", "ratio")
    recipe = "[The recipe](../benchmarks/records/README.md) says how."
    return f"{table(*head, rows=rows)}\n\n{recipe}"


def _tradeoff(result: dict[str, Any]) -> str:
    rows = [
        (point["network"], point["method"], point["bytes"], point["test_error_percent"])
        for point in sorted(result["points"], key=lambda p: (p["network"], p["bytes"]))
        if point["kind"] != "stage"
    ]
    head = ("network", "method", "bytes", "test error, %")
    picture = "![Error against bytes: our files and stages, and published results](tradeoff.png)"
    return f"{picture}\n\n{table(*head, rows=rows)}"


def _format(result: dict[str, Any]) -> str:
    coders = ("gzip", "xz", "zstd", "brotli", "zipnn", "nncodec", "kdc")
    rows = [
        (row["name"], *(row["bytes"][coder] for coder in coders))
        for row in result["rows"] + result["sums"]
    ]
    return "Bytes of index arrays under each coder.\n\n" + table("", *coders, rows=rows)


def _overhead(result: dict[str, Any]) -> str:
    rows = [
        (model, library, state, cost["milliseconds"], cost["ratio"], round(cost["peak_mib"]))
        for model, libraries in result["models"].items()
        for library, states in libraries.items()
        for state, cost in states.items()
    ]
    return table("model", "library", "", "ms", "ratio", "peak MiB", rows=rows)


TABLES = {
    "demo": _demo,
    "records": _records,
    "tradeoff": _tradeoff,
    "format": _format,
    "overhead": _overhead,
}
