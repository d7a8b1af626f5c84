"""The values of a tensor's weights, and the centroids that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras_deepcomp.plot import style
from keras_deepcomp.plot.numbers import Numbers, numbers
from keras_deepcomp.plot.sources import tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_STEMS = 64
"""The most shared values that are drawn one by one."""


def weights(
    source: Any, name: str | None = None, *, before: Any = None, ax: Axes | None = None
) -> Axes:
    """Draws how many weights have which value. Zeros are left out, and said in the title.

    Where the weights share few values, each value is a stem, as high as its weights are many.
    Otherwise they make a histogram.

    Args:
        source: An array, a mapping from name to array, the path of a `.kdc` file, a Keras model or
            a result of `compress`.
        name: Name of the tensor; None takes the one with the most elements.
        before: The same weights before they were pruned and shared, of the same kinds: they make a
            grey histogram behind, and the axis is logarithmic.
        ax: Where to draw; None makes a figure.

    Returns:
        The axes.

    Raises:
        ImportError: matplotlib is not installed.
        KeyError: There is no tensor of that name.
        FormatError: The file is damaged.
    """
    found, array = tensor(source, name)
    earlier = None if before is None else tensor(before, found or None)[1]
    return draw(numbers(array), found, None if earlier is None else numbers(earlier), ax)


def draw(now: Numbers, name: str, earlier: Numbers | None, ax: Axes | None) -> Axes:
    """Draws what was counted; see `weights`."""
    ax = style.new_axes(ax)
    highest = 0
    if earlier is not None and earlier.kept:
        ax.stairs(earlier.heights, earlier.edges, fill=True, color=style.GREY, alpha=0.45,
                  label="before")  # fmt: skip
        ax.set_yscale("log")
    if now.values is not None and 0 < now.values.size <= MOST_STEMS:
        _stems(ax, now)
        highest = int(now.counts.max())
    elif now.kept:
        ax.stairs(now.heights, now.edges, fill=True, color=style.BLUE, alpha=0.85, label="after")
        highest = int(now.heights.max())
    if earlier is not None and earlier.kept:
        ax.legend(frameon=False, fontsize="small")
        ax.set_ylim(bottom=0.7)
    elif highest:
        ax.set_ylim(0, 1.08 * highest)
        style.whole_numbers(ax)
    else:
        ax.text(0.5, 0.5, "nothing but zeros" if not now.others else "no numbers to draw",
                ha="center", transform=ax.transAxes)  # fmt: skip
    ax.axhline(0.7 if earlier is not None else 0, color=style.GREY, linewidth=0.8)
    ax.set_xlabel("value of a weight")
    ax.set_ylabel("weights")
    style.plain_spines(ax)
    style.title(ax, _title(now, name))
    return ax


def _stems(ax: Axes, now: Numbers) -> None:
    assert now.values is not None
    lines = ax.vlines(now.values, 0.7 if ax.get_yscale() == "log" else 0, now.counts,
                      color=style.BLUE, linewidth=1.6)  # fmt: skip
    lines.set_label("after")
    for value, count in zip(now.values.tolist(), now.counts.tolist(), strict=True):
        share = 100 * count / max(now.kept, 1)
        (dot,) = ax.plot([value], [count], "o", color=style.BLUE, markersize=5)
        style.hint(dot, f"{value:.6g}: {count:,} weights, {share:.1f} % of those kept")


def _title(now: Numbers, name: str) -> str:
    parts = [name] if name else []
    if now.zeros:
        parts.append(f"{100 * now.zeros / now.total:.1f} % zeros left out")
    if now.others:
        parts.append(f"{now.others:,} not drawn (NaN, infinite or extreme)")
    return ": ".join([parts[0], ", ".join(parts[1:])]) if len(parts) > 1 else "".join(parts)
