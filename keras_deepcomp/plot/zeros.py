"""How many of each tensor's weights are zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras_deepcomp.plot import style
from keras_deepcomp.plot.sources import summary_of
from keras_deepcomp.printable import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_BARS = 24


def sparsity(source: Any, *, ax: Axes | None = None) -> Axes:
    """Draws the share of zeros in each tensor of two or more dimensions, and in all of them.

    Args:
        source: The path of a `.kdc` file, a Keras model, a result of `compress`, or a `Summary`.
        ax: Where to draw; None makes a figure.

    Returns:
        The axes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: There is no such tensor.
        FormatError: The file is damaged.
    """
    every = [row for row in summary_of(source).rows if len(row.shape) > 1 and row.size]
    if not every:
        raise ValueError("There is no tensor of two or more dimensions to draw.")
    # The largest ones, in the order of the model.
    least = sorted((row.size for row in every), reverse=True)[:MOST_BARS][-1]
    rows = [row for row in every if row.size >= least][:MOST_BARS]
    ax = style.new_axes(ax, height=0.9 + 0.3 * len(rows))
    for place, row in enumerate(rows):
        zero = 100.0 - row.kept_percent
        (bar,) = ax.barh(place, zero, color=style.BLUE, height=0.7)
        style.hint(bar, f"{row.name}: {zero:.2f} % of {row.size:,} weights are zero")
        inside = zero > 20
        ax.text(zero - 1 if inside else zero + 1, place, f"{zero:.1f} %", va="center",
                ha="right" if inside else "left", fontsize="small",
                color="white" if inside else None)  # fmt: skip
    elements = sum(row.size for row in every)
    mean = sum((100.0 - row.kept_percent) * row.size for row in every) / elements
    ax.axvline(mean, color=style.VERMILLION, linewidth=1.2, linestyle=(0, (4, 2)),
               label=f"all {len(every)} together: {mean:.1f} %")  # fmt: skip
    labels = [printable(row.name, 28) for row in rows]
    ax.set_yticks(range(len(rows)), labels, parse_math=False)
    ax.invert_yaxis()
    ax.set_xlim(0, 100)
    ax.set_xlabel("zeros, %" if len(rows) == len(every) else f"zeros, % (largest {len(rows)})")
    ax.legend(frameon=False, fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.0))
    style.plain_spines(ax)
    return ax
