"""Where the bytes of a file went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keras_deepcomp.plot import style
from keras_deepcomp.plot.sources import summary_of
from keras_deepcomp.printable import printable
from keras_deepcomp.reporting.summary import shares

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from keras_deepcomp.reporting.summary import Row, Summary

MOST_BARS = 12

LABELS = {
    "values": "values of weights",
    "positions": "positions of non-zeros",
    "codebook": "codebooks",
    "tables": "code tables",
    "checks": "checksums",
    "plain": "values not shared",
    "rest": "architecture, names, header",
}


@dataclass(frozen=True)
class Bar:
    """One bar: a tensor, several small ones, or what belongs to none.

    Attributes:
        name: What it is.
        parts: Part, a key of `LABELS`, -> bytes.
    """

    name: str
    parts: dict[str, int]

    @property
    def bytes(self) -> int:
        """All of it."""
        return sum(self.parts.values())


def parts_of(row: Row) -> dict[str, int]:
    """The bytes of a tensor by part; they add up to all of them."""
    shared = shares(row)
    return {
        "values": row.value_bytes if shared else 0,
        "positions": row.position_bytes,
        "codebook": row.codebook_bytes,
        "tables": row.table_bytes,
        "checks": row.check_bytes,
        "plain": 0 if shared else row.value_bytes,
        "rest": 0,
    }


def bars_of(found: Summary, most: int = MOST_BARS) -> list[Bar]:
    """A file as at most `most` + 3 bars, which add up to its size.

    The largest tensors come in the order of the file, then the others as one, the architecture,
    and names with the header.
    """
    largest = found.largest(most)
    bars = [Bar(row.name, parts_of(row)) for row in largest]
    drawn = {row.name for row in largest}
    rest = [parts_of(row) for row in found.rows if row.name not in drawn]
    if rest:
        together = {part: sum(each[part] for each in rest) for part in LABELS}
        bars.append(Bar(f"{len(rest):,} smaller tensors", together))
    bars.append(Bar("architecture", {"rest": found.metadata_bytes}))
    bars.append(Bar("names, header", {"rest": found.header_bytes}))
    return bars


def sizes(source: Any, *, ax: Axes | None = None) -> Axes:
    """Draws what each tensor takes in the file, and for what.

    Args:
        source: The path of a `.kdc` file, a Keras model, a result of `compress`, or a `Summary`.
        ax: Where to draw; None makes a figure.

    Returns:
        The axes.

    Raises:
        ImportError: matplotlib is not installed.
        FormatError: The file is damaged.
    """
    found = summary_of(source)
    bars = bars_of(found)
    ax = style.new_axes(ax, height=1.3 + 0.32 * len(bars))
    used = {part for bar in bars for part, count in bar.parts.items() if count}
    longest = max(bar.bytes for bar in bars)
    for place, bar in enumerate(bars):
        left = 0
        for part, count in bar.parts.items():
            if count:
                (drawn,) = ax.barh(place, count, left=left, height=0.7, color=style.PARTS[part])
                style.hint(drawn, f"{bar.name}, {LABELS[part]}: {count:,} bytes")
                left += count
        ax.text(left + longest / 60, place, f"{left:,}", va="center", fontsize="small")
    for part, label in LABELS.items():
        if part in used:
            ax.barh(0, 0, color=style.PARTS[part], label=label)
    ax.set_yticks(range(len(bars)), [printable(bar.name, 24) for bar in bars],
                  parse_math=False)  # fmt: skip
    ax.invert_yaxis()
    ax.set_xlim(0, 1.22 * longest)
    ax.xaxis.set_major_formatter(style.formatter(style.short_bytes))
    ax.xaxis.set_major_locator(_few_ticks())
    ax.set_xlabel(f"bytes, {found.file_bytes:,} in all")
    ax.legend(frameon=False, fontsize="small", ncols=2, loc="lower center",
              bbox_to_anchor=(0.42, 1.0))  # fmt: skip
    style.plain_spines(ax)
    return ax


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4)
