"""What a search found: the best file, the trade-off, and why it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_deepcomp.consoles import as_text

if TYPE_CHECKING:
    import keras


def frontier(pairs: Sequence[tuple[int, float]], direction: str) -> list[int]:
    """The pairs of bytes and metric that no other one beats in both, the smallest first.

    Args:
        pairs: Bytes and metric of each file.
        direction: "max" if more of the metric is better, "min" if less is.

    Returns:
        Indices of the pairs.
    """
    sign = 1.0 if direction == "max" else -1.0
    found: list[int] = []
    for place in sorted(range(len(pairs)), key=lambda n: (pairs[n][0], -sign * pairs[n][1])):
        if not found or sign * pairs[place][1] > sign * pairs[found[-1]][1]:
            found.append(place)
    return found


@dataclass(frozen=True)
class Point:
    """One file that was coded and measured.

    Attributes:
        round: The number of its round; 0 is the given model, coded as it is.
        sparsity: Share of zeros among the weights that take part.
        clusters: Size of the codebooks; 0 where weights are not shared.
        bytes: Size of the whole file.
        metrics: What the decoded file was measured with on the validation data.
        keeps_budget: Whether it keeps the budget.
        file: The file's name in the directory.
    """

    round: int
    sparsity: float
    clusters: int
    bytes: int
    metrics: dict[str, float]
    keeps_budget: bool
    file: str


@dataclass(frozen=True, repr=False)
class CompressionResult:
    """What `keras_deepcomp.compress` returns; prints as a table.

    Attributes:
        model: The best model, decoded from its file: an ordinary Keras model, compiled as the given
            one was.
        path: Its file.
        bytes: Size of the file.
        ratio: Bytes of all the model's variables as float32, divided by `bytes`.
        metric: Name of the metric that is shown.
        metric_direction: "max" if more of it is better, "min" if less is.
        metrics_before: All metrics of the given model on the validation data.
        metrics_after: Those of the decoded file.
        keeps_budget: Whether the best file keeps the budget.
        points: All files that were measured.
        chosen: Which of their files the best one is a copy of.
        reason: Why the search stopped, in words; says so if the budget was not met.
        errors: What went wrong in rounds, if anything did.
        sensitivity: Weight -> validation loss with its small weights at zero, without any training,
            at the sparsities under "levels".
        seconds: How long all of it took, interrupted runs included.
    """

    model: keras.Model
    path: Path
    bytes: int
    ratio: float
    metric: str
    metric_direction: str
    metrics_before: dict[str, float]
    metrics_after: dict[str, float]
    keeps_budget: bool
    points: tuple[Point, ...]
    chosen: str
    reason: str
    errors: tuple[str, ...]
    sensitivity: dict[str, Any]
    seconds: float

    @property
    def metric_before(self) -> float:
        """The metric of the given model on the validation data."""
        return self.metrics_before[self.metric]

    @property
    def metric_after(self) -> float:
        """The metric of the decoded file on the validation data."""
        return self.metrics_after[self.metric]

    def as_dict(self) -> dict[str, Any]:
        """All of it but the model as plain data, for JSON."""
        names = ("bytes", "ratio", "metric", "metric_direction", "metrics_before", "metrics_after",
                 "keeps_budget", "chosen", "reason", "sensitivity", "seconds")  # fmt: skip
        return {
            "file": str(self.path),
            **{name: getattr(self, name) for name in names},
            "points": [asdict(point) for point in self.points],
            "errors": list(self.errors),
        }

    def frontier(self) -> tuple[Point, ...]:
        """The points that no other one beats in both bytes and the metric, the smallest first."""
        pairs = [(point.bytes, point.metrics[self.metric]) for point in self.points]
        return tuple(self.points[place] for place in frontier(pairs, self.metric_direction))

    def table(self) -> Any:
        """The files that were measured, for a rich console."""
        from rich import box
        from rich.table import Table

        best = self.path.name
        table = Table(
            box=box.SIMPLE_HEAD,
            title=f"{self.metric}: {self.metric_before:.6g} before, {self.metric_after:.6g} after; "
            f"{self.bytes:,} bytes, {self.ratio:.1f}x",
        )
        for heading in ("round", "zeros %", "values", "bytes", self.metric, ""):
            table.add_column(heading, justify="right")
        for point in self.points:
            chosen = point.file == self.chosen
            table.add_row(
                str(point.round),
                f"{100 * point.sparsity:.2f}",
                str(point.clusters) if point.clusters else "-",
                f"{point.bytes:,}",
                f"{point.metrics[self.metric]:.6g}",
                best if chosen else "" if point.keeps_budget else "over",
                style="bold" if chosen else None,
            )
        return table

    def __repr__(self) -> str:
        return (
            f"<CompressionResult: {self.bytes:,} bytes, {self.ratio:.1f}x, {self.metric} "
            f"{self.metric_before:.6g} -> {self.metric_after:.6g}; {self.reason}>"
        )

    def __str__(self) -> str:
        lines = [as_text(self.table()).rstrip(), self.reason, *self.errors]
        return "\n".join([*lines, f"Written to {self.path}"])
