"""Error against bytes: the records stage by stage, other seeds, the demo, and published points.

Reads the results of the other benchmarks and `published.json`, which has its sources. Writes
`benchmarks/results/tradeoff.json`, `docs/tradeoff.svg` and `docs/tradeoff.png`.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PARAMETERS = {"lenet-300-100": 266_610, "lenet-5": 431_080}
TITLES = {"lenet-300-100": "LeNet-300-100", "lenet-5": "LeNet-5"}


def main():
    points = [*published(), *ours()]
    for point in points:
        point["bytes"] = round(
            point.get("bytes") or 4 * PARAMETERS[point["network"]] / point["ratio"]
        )
    (RESULTS / "tradeoff.json").write_text(json.dumps({"points": points}, indent=1) + "\n")
    draw(points)
    for point in sorted(points, key=lambda p: (p["network"], p["bytes"])):
        print(f"{point['network']:14} {point['method']:38} {point['bytes']:>9,} B  "
              f"{point['test_error_percent']:.2f} %")  # fmt: skip
    return 0


def published():
    rows = json.loads((ROOT / "benchmarks" / "published.json").read_text())["points"]
    return [{**row, "kind": "published"} for row in rows]


def ours():
    """The points measured here: `kind` is "stage" for those of a record, "file" for whole runs."""
    for recipe, result in json.loads((RESULTS / "records.json").read_text())["networks"].items():
        network = recipe.removesuffix("-smaller")
        if network == recipe:
            for stage, of_stage in result["record"]["stages"].items():
                yield _point(network, f"after {stage}", of_stage, "stage")
        for report in result["seeds"]:
            yield _point(network, f"{recipe}, seed {report['seed']}", report, "file")
    for report in json.loads((RESULTS / "demo.json").read_text())["seeds"]:
        whole = {**report, "bytes": report["file_bytes"]}
        yield _point("lenet-300-100", f"make demo, seed {report['seed']}", whole, "file")


def _point(network, method, report, kind):
    keys = ("bytes", "test_error_percent")
    return {"network": network, "method": method, "kind": kind, **{k: report[k] for k in keys}}


def draw(points):
    """One panel for each network, bytes on a logarithmic axis."""
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 5), layout="constrained")
    for axis, (network, title) in zip(axes, TITLES.items(), strict=True):
        here = [point for point in points if point["network"] == network]
        for kind, style, label in (
            ("published", {"marker": "x", "color": "gray", "linestyle": ""}, "published"),
            ("stage", {"marker": "o", "color": "tab:blue", "linestyle": ":"}, "our stages"),
            ("file", {"marker": "*", "color": "tab:red", "linestyle": "", "ms": 11}, "our files"),
        ):
            some = [point for point in here if point["kind"] == kind]
            axis.plot(
                [point["bytes"] for point in some],
                [point["test_error_percent"] for point in some],
                label=label,
                **style,
            )
            if kind != "file":
                for point in some:
                    published = kind == "published"
                    axis.annotate(
                        point["method"].removeprefix("after "),
                        (point["bytes"], point["test_error_percent"]),
                        # Published points lie close together: their names stand up, away from ours.
                        xytext=(2, 5) if published else (6, -9),
                        rotation=50 if published else 0,
                        rotation_mode="anchor",
                        textcoords="offset points",
                        fontsize=7,
                    )
        axis.set(title=f"{title} on MNIST", xlabel="bytes", xscale="log", ylabel="test error, %")
        axis.set_ylim(0, 1.6 * max(point["test_error_percent"] for point in here))
        axis.set_xlim(right=2.5 * max(point["bytes"] for point in here))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, loc="lower right")
    matplotlib.rcParams["svg.hashsalt"] = "tradeoff"  # the same picture, the same bytes
    figure.savefig(ROOT / "docs" / "tradeoff.svg", metadata={"Date": None})
    figure.savefig(ROOT / "docs" / "tradeoff.png", dpi=120)


if __name__ == "__main__":
    sys.exit(main())
