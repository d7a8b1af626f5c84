"""What all pictures have in common: axes, colours, and numbers on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from keras_deepcomp.printable import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which colour-blind people can tell apart.
BLUE = "#0072b2"
VERMILLION = "#d55e00"
GREEN = "#009e73"
ORANGE = "#e69f00"
PURPLE = "#cc79a7"
GREY = "#8a8a8a"
SLATE = "#4b5563"

PARTS = {"values": BLUE, "positions": VERMILLION, "codebook": GREEN, "tables": ORANGE,
          "checks": PURPLE, "plain": GREY, "rest": SLATE}  # fmt: skip
"""Part of a tensor's bytes -> its colour, the same in each picture."""


def new_axes(ax: Axes | None, width: float = 5.0, height: float = 3.4) -> Axes:
    """Returns the axes to draw into: those given, or the only ones of a new figure.

    Raises:
        ImportError: matplotlib is not installed.
    """
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "Plots need matplotlib. Install it: pip install keras_deepcomp[plot]"
        ) from error
    return pyplot.subplots(figsize=(width, height), layout="constrained")[1]


def plain_spines(ax: Axes) -> None:
    """Leaves only the two lines that numbers stand at."""
    ax.spines[["top", "right"]].set_visible(False)


def title(ax: Axes, text: str) -> None:
    """Sets the title as it is, dollar signs included."""
    ax.set_title(printable(text, 48), parse_math=False, loc="left", fontsize="medium")


def hint(artist: Any, text: str) -> None:
    """Says what an artist shows; the report turns it into a tooltip."""
    artist.set_gid(f"{HINT}{printable(text, 200)}")


HINT = "hint:"


def formatter(form: Callable[[float], str]) -> Any:
    """Returns a formatter for the numbers of an axis."""
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda value, _: form(value))


def whole_numbers(ax: Axes) -> None:
    """Makes the y axis one of counts."""
    from matplotlib.ticker import MaxNLocator

    ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.yaxis.set_major_formatter(formatter(lambda count: f"{count:,.0f}"))


def bytes_axis(ax: Axes, sizes: list[int]) -> None:
    """Makes the x axis one of bytes: logarithmic where sizes are far apart."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    if max(sizes) > 8 * min(sizes):
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
        ax.xaxis.set_minor_locator(NullLocator())
    else:
        ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.xaxis.set_major_formatter(formatter(short_bytes))


def short_bytes(count: float) -> str:
    """Bytes in few characters, in units of 1000: 950 B, 18.8 KB, 1.2 MB."""
    for unit in ("B", "KB", "MB"):
        if abs(count) < 1000:
            return f"{count:.4g} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
