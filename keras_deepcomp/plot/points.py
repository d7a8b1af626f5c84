"""What each byte buys: the files that a search has measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from keras_deepcomp.compressing.result import frontier as places_on_frontier
from keras_deepcomp.plot import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def tradeoff(
    result: Any,
    *,
    metric: str | None = None,
    metric_direction: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draws the metric of each file against its size, with the files that no other one beats.

    Args:
        result: What `compress` returned, or pairs of bytes and metric.
        metric: Name of the metric; None takes the result's.
        metric_direction: "max" if more of it is better, "min" if less is; None takes the result's,
            and "max" for pairs.
        ax: Where to draw; None makes a figure.

    Returns:
        The axes.

    Raises:
        ImportError: matplotlib is not installed.
        KeyError: The files were not measured with that metric.
        ValueError: There is no point, or the direction is none.
    """
    metric = metric or getattr(result, "metric", None)
    direction = metric_direction or getattr(result, "metric_direction", "max")
    if direction not in ("max", "min"):
        raise ValueError(f'metric_direction must be "max" or "min", got {direction!r}.')
    points = pairs_of(result, metric)
    if not points:
        raise ValueError("There is no point to draw: nothing was measured.")
    ax = style.new_axes(ax)
    best = frontier(points, direction)
    ax.step(*zip(*best, strict=True), where="post", color=style.GREY, linewidth=1.2,
            label="no other is better")  # fmt: skip
    for number, (size, value) in enumerate(points):
        on_line = (size, value) in best
        (dot,) = ax.plot([size], [value], "o", color=style.BLUE, markersize=5,
                         markerfacecolor=style.BLUE if on_line else "none")  # fmt: skip
        style.hint(dot, f"{size:,} bytes, {metric or 'metric'} {value:.6g} (file {number})")
    before = getattr(result, "metrics_before", {}).get(metric)
    if before is not None:
        ax.axhline(before, color=style.GREEN, linewidth=1.2, linestyle=(0, (4, 2)),
                   label="before compression")  # fmt: skip
    chosen = [p for p, file in zip(points, files_of(result), strict=False)
              if file == getattr(result, "chosen", None)]  # fmt: skip
    if chosen:
        ax.plot(*chosen[0], "D", color=style.VERMILLION, markersize=8, label="chosen")
    style.bytes_axis(ax, [size for size, _ in points])
    ax.set_xlabel("size of the whole file")
    ax.set_ylabel(metric or "metric", parse_math=False)
    ax.legend(frameon=False, fontsize="small")
    style.plain_spines(ax)
    return ax


def pairs_of(result: Any, metric: str | None) -> list[tuple[int, float]]:
    """The bytes and the metric of each point of a result, or pairs as they are."""
    points: Iterable[Any] = getattr(result, "points", result)
    return [
        (point.bytes, point.metrics[metric]) if hasattr(point, "metrics") else tuple(point)
        for point in points
    ]


def files_of(result: Any) -> list[str]:
    """The file's name of each point; nothing where there are none."""
    return [point.file for point in getattr(result, "points", ())]


def frontier(points: list[tuple[int, float]], direction: str) -> list[tuple[int, float]]:
    """The points that no other one beats in both bytes and the metric, the smallest first."""
    return [points[place] for place in places_on_frontier(points, direction)]
