"""Pictures and numbers of the largest tensors, as many as a page has room for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from keras_deepcomp.container import Archive, FormatError
from keras_deepcomp.plot import codes, histogram, masks
from keras_deepcomp.plot.numbers import Numbers, numbers
from keras_deepcomp.plot.sources import Array
from keras_deepcomp.printable import printable
from keras_deepcomp.reporting.figures import figure
from keras_deepcomp.reporting.subjects import Subject
from keras_deepcomp.reporting.summary import Row, shares

MOST_LAYERS = 12
PIXELS = 200
TOO_LARGE = "No pictures: it is too large to draw, or of a type that is not installed here."
_SMALLEST = 16
_LARGEST_BYTES = 1 << 30


@dataclass(frozen=True)
class Layer:
    """One tensor in pictures.

    Attributes:
        number: Its place in the file, from 1.
        row: Its numbers.
        pictures: Pairs of an `<svg>` element and what is to be said below it.
        notes: What is odd about it, or why there are no pictures.
    """

    number: int
    row: Row
    pictures: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Characters of its pictures."""
        return sum(len(svg) for svg, _ in self.pictures)


def layers(subject: Subject, before: Archive | None, room: int) -> list[Layer]:
    """Draws the tensors that take the most bytes, in the order of the file.

    Args:
        subject: The file.
        before: The tensors before they were compressed, found by name and shape.
        room: The most characters that all pictures together may take.
    """
    rows = subject.summary.rows
    largest = sorted(range(len(rows)), key=lambda n: (-rows[n].bytes, n))
    chosen = [n for n in largest if rows[n].size >= _SMALLEST and rows[n].bytes][:MOST_LAYERS]
    done: list[Layer] = []
    for number in chosen:
        layer = _layer(subject.archive, rows[number], number + 1, before)
        room -= layer.length
        if room < 0:
            break
        done.append(layer)
    return sorted(done, key=lambda layer: layer.number)


def _layer(archive: Archive, row: Row, number: int, before: Archive | None) -> Layer:
    array = _read(archive, row)
    if array is None:
        return Layer(number, row, notes=[TOO_LARGE])
    now = numbers(array)
    pictures = list(_pictures(array, now, row, number, _earlier(before, row)))
    return Layer(number, row, pictures, _notes(now, row))


def _pictures(
    array: Array, now: Numbers, row: Row, number: int, earlier: Numbers | None
) -> Iterator[tuple[str, str]]:
    name, first = printable(row.name), 10 * number
    said = "The values before and after." if earlier is not None else "The values."
    if shares(row):
        said += f" {row.clusters:,} are shared by all weights that are kept."
    yield _picture(lambda ax: histogram.draw(now, "", earlier, ax), f"{said} {name}", first, said)
    code = codes.code_of(now) if shares(row) else None
    if code is not None:
        said = (
            "Code lengths against probabilities: the dots are the paper's Huffman code, the dashed "
            "line is what a value takes in this file."
        )
        yield _picture(lambda ax: codes.draw(code, "", row.weight_bits_huffman, ax),
                       f"{said} {name}", first + 1, said)  # fmt: skip
    if len(row.shape) > 1 and row.kept_percent < 100:
        mask = masks.mask_of(array, PIXELS)
        said = f"Where the weights are that are not zero: {mask.in_words}."
        yield _picture(lambda ax: masks.draw(mask, "", ax), f"{said} {name}", first + 2, said)


def _notes(now: Numbers, row: Row) -> list[str]:
    """A word on -0.0, which looks like a zero, and which a file keeps like any other value."""
    negative = now.zeros - (row.size - round(row.size * row.kept_percent / 100))
    if not negative:
        return []
    return [
        f"{negative:,} weights are -0.0, and count as kept: their bits are not zero. "
        "Adding 0.0 to the tensor makes them zeros, which take less."
    ]


def _picture(draw: Any, label: str, number: int, said: str) -> tuple[str, str]:
    return figure(draw, label, number), said


def _earlier(before: Archive | None, row: Row) -> Numbers | None:
    if before is None or row.name not in before or before.shape(row.name) != row.shape:
        return None
    array = _read(before, row)
    return None if array is None else numbers(array)


def _read(archive: Archive, row: Row) -> Array | None:
    if row.size * 8 > _LARGEST_BYTES:
        return None
    try:
        return archive[row.name]
    except (ImportError, FormatError):
        return None
