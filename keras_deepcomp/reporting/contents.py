"""What stands in a report, as plain data for the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keras_deepcomp.plot import bars, points
from keras_deepcomp.plot.bars import LABELS, bars_of, parts_of
from keras_deepcomp.printable import printable
from keras_deepcomp.reporting.advice import why_left_alone
from keras_deepcomp.reporting.figures import figure
from keras_deepcomp.reporting.subjects import Subject
from keras_deepcomp.reporting.summary import Row, Summary

MOST_ROWS = 60
_MOST_POINTS = 60


@dataclass(frozen=True)
class Metric:
    """A metric before and after.

    Attributes:
        name: Its name.
        before: Of the model that was given.
        after: Of what the file decodes to.
        where: On which data, in words.
    """

    name: str
    before: float
    after: float
    where: str = ""


@dataclass(frozen=True)
class Table:
    """Some rows of many: the largest ones in the order of the file, and the rest as one line.

    Attributes:
        rows: The rows that are shown.
        others: How many are left out.
        other_bytes: What these take.
    """

    rows: list[Row]
    others: int
    other_bytes: int


def metric_of(subject: Subject, given: tuple[str, float, float] | None) -> Metric | None:
    """The metric that was given, or that of a result."""
    if given is not None:
        name, before, after = given
        return Metric(printable(str(name), 40), float(before), float(after))
    result = subject.result
    if result is None:
        return None
    return Metric(
        printable(str(result.metric), 40),
        float(result.metrics_before[result.metric]),
        float(result.metrics_after[result.metric]),
        "on the validation data",
    )


def table_of(found: Summary, most: int = MOST_ROWS) -> Table:
    """The tensors as a table of at most so many rows."""
    shown = found.largest(most)
    other_bytes = sum(row.bytes for row in found.rows) - sum(row.bytes for row in shown)
    return Table(shown, len(found.rows) - len(shown), other_bytes)


def whole_of(found: Summary) -> list[tuple[str, str, int]]:
    """The parts of a file: key, in words, and bytes; they add up to the file's size."""
    parts = [parts_of(row) for row in found.rows]
    whole = [(part, label, sum(each[part] for each in parts)) for part, label in LABELS.items()]
    return [
        *(entry for entry in whole if entry[2]),
        ("architecture", "architecture and other metadata", found.metadata_bytes),
        ("header", "names, shapes, header", found.header_bytes),
    ]


def sizes_figure(found: Summary, label: str, number: int) -> str:
    """The stacked bars of a file."""
    height = 1.2 + 0.26 * len(bars_of(found))
    return figure(lambda ax: bars.sizes(found, ax=ax), label, number, height=height)


def tradeoff_of(subject: Subject) -> dict[str, Any] | None:
    """The trade-off's curve and its points, the smallest first; None if there is none."""
    result = subject.result
    if result is None or not getattr(result, "points", ()):
        return None
    metric = result.metric
    pairs = points.pairs_of(result, metric)
    best = set(points.frontier(pairs, result.metric_direction))
    rows = sorted(
        (size, value, (size, value) in best, point.file == result.chosen)
        for (size, value), point in zip(pairs, result.points, strict=True)
    )
    label = f"{printable(metric, 40)} against bytes of {len(pairs)} files"
    return {
        "svg": figure(lambda ax: points.tradeoff(result, ax=ax), label, 1),
        "points": rows[:_MOST_POINTS],
        "others": max(0, len(rows) - _MOST_POINTS),
        "metric": printable(metric, 40),
        "reason": printable(str(getattr(result, "reason", "")), 600),
    }


def left_alone_of(subject: Subject) -> dict[str, Any]:
    """What was not compressed, and why: as the model knows it, or as the file shows it."""
    known = _participation_of(subject)
    if known:
        rows = [(f"{each.layer}/{each.weight}", each.reason) for each in known
                if not each.takes_part]  # fmt: skip
    else:
        every = ((row.name, why_left_alone(row)) for row in subject.summary.rows)
        rows = [(name, why) for name, why in every if why]
    grouped: dict[str, list[str]] = {}
    for name, why in rows:
        grouped.setdefault(why, []).append(name)
    groups = sorted(grouped.items(), key=lambda group: -len(group[1]))
    return {
        "known": bool(known),
        "groups": [(printable(why, 160), [printable(name) for name in names[:8]],
                    max(0, len(names) - 8)) for why, names in groups[:12]],
        "other_groups": max(0, len(groups) - 12),
    }  # fmt: skip


def _participation_of(subject: Subject) -> tuple[Any, ...]:
    if subject.summary.participation or subject.result is None:
        return subject.summary.participation
    from keras_deepcomp.rebuilding import leaves
    from keras_deepcomp.selection import participation

    return tuple(
        row for leaf in leaves(subject.result.model) for row in participation(leaf, "prune")
    )
