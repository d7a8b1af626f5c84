"""Two files side by side."""

from __future__ import annotations

from dataclasses import dataclass

from keras_deepcomp.reporting.summary import Row, Summary

MOST_ROWS = 60


@dataclass(frozen=True)
class Pair:
    """One tensor in two files; None where a file does not have it."""

    name: str
    one: Row | None
    other: Row | None

    @property
    def change(self) -> int:
        """How many bytes more it takes in the second file."""
        return (self.other.bytes if self.other else 0) - (self.one.bytes if self.one else 0)


@dataclass(frozen=True)
class Comparison:
    """Two files, tensor by tensor.

    Attributes:
        totals: What it is, bytes in the first file, bytes in the second: they add up to the files.
        pairs: The tensors that differ most, in the order of the first file.
        others: How many more there are.
        other_change: How many bytes more those take in the second file.
    """

    totals: list[tuple[str, int, int]]
    pairs: list[Pair]
    others: int
    other_change: int


def compare(one: Summary, other: Summary, most: int = MOST_ROWS) -> Comparison:
    """Matches the tensors of two files by name."""
    first = {row.name: row for row in one.rows}
    second = {row.name: row for row in other.rows}
    pairs = [Pair(name, first.get(name), second.get(name)) for name in {**first, **second}]
    order = sorted(range(len(pairs)), key=lambda n: (-abs(pairs[n].change), n))
    shown, rest = sorted(order[:most]), order[most:]
    return Comparison(
        totals=[
            ("tensors", sum(row.bytes for row in one.rows), sum(row.bytes for row in other.rows)),
            ("architecture and other metadata", one.metadata_bytes, other.metadata_bytes),
            ("names, shapes, header", one.header_bytes, other.header_bytes),
            ("whole file", one.file_bytes, other.file_bytes),
        ],
        pairs=[pairs[n] for n in shown],
        others=len(rest),
        other_change=sum(pairs[n].change for n in rest),
    )
