"""The picture of how time and memory of each stage grow with the number of weights."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

DOCS = Path(__file__).resolve().parent.parent / "docs"


def draw(growth):
    """Draws `docs/growth.svg` from the result of `fullsize_parts.growth` for each size."""
    sizes = [size for size in growth.values() if isinstance(size, dict)]
    weights = [size["weights"] for size in sizes]
    matplotlib.rcParams["svg.hashsalt"] = "growth"  # the same picture, the same bytes
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, what, unit in (
        (axes[0], "seconds", 1),
        (axes[1], "peak_bytes", 2**20),
    ):
        for stage in sizes[0]["stages"]:
            values = [size["stages"][stage][what] / unit for size in sizes]
            axis.plot(weights, values, marker="o", label=stage)
        axis.set(xscale="log", yscale="log", xlabel="weights of a dense layer")
        axis.grid(alpha=0.3)
    axes[0].set(ylabel="seconds")
    axes[1].set(ylabel="peak memory beyond the framework, MiB")
    axes[1].plot(weights, [4 * n / 2**20 for n in weights], ":", color="gray", label="the weights")
    axes[1].legend()
    figure.savefig(DOCS / "growth.svg", metadata={"Date": None})
