"""The summary as a table on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from keras_deepcomp.printable import printable

if TYPE_CHECKING:
    from keras_deepcomp.reporting.summary import Summary

MOST_ROWS = 200
"""Of files with more tensors, that many are printed, the largest ones."""


def table_of(found: Summary) -> Table:
    """The table, for a rich console."""
    table = Table(
        box=box.SIMPLE_HEAD,
        title=_title(found),
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("tensor", overflow="fold", min_width=12)
    for heading in ("shape", "kept %", "values", "weight bits", "gap bits", "bytes", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    common = _common_prefix([row.name for row in found.rows])
    shown = found.largest(MOST_ROWS)
    for row in shown:
        table.add_row(
            Text(printable(row.name[common:])),
            "x".join(map(str, row.shape)) or "scalar",
            f"{row.kept_percent:.1f}",
            str(row.clusters) if row.clusters else row.dtype,
            _before_after(row.weight_bits, row.weight_bits_huffman),
            _before_after(row.gap_bits, row.gap_bits_huffman) if row.gap_bits else "-",
            f"{row.bytes:,}",
            "-" if row.ratio is None else f"{row.ratio:.1f}x",
        )
    if len(shown) < len(found.rows):
        more = sum(row.bytes for row in found.rows) - sum(row.bytes for row in shown)
        others = f"{len(found.rows) - len(shown):,} others"
        table.add_row(others, "", "", "", "", "", f"{more:,}", "")
    table.add_section()
    kind = "metadata" if found.tflite_bytes else "architecture"
    table.add_row(kind, "", "", "", "", "", f"{found.metadata_bytes:,}", "")
    table.add_row("names, header", "", "", "", "", "", f"{found.header_bytes:,}", "")
    table.add_row(
        "whole file",
        f"{sum(row.size for row in found.rows):,}",
        f"{found.kept_percent:.1f}",
        "",
        "",
        "",
        f"{found.file_bytes:,}",
        f"{found.ratio:.1f}x",
        style="bold",
    )
    return table


def _title(found: Summary) -> str:
    title = "bits per stored weight: fixed width > Huffman"
    if found.tflite_bytes:
        return f"a .tflite file of {found.tflite_bytes:,} bytes; {title}"
    return title


def _common_prefix(names: list[str]) -> int:
    """Length of the path that all names begin with, such as the model's name in each of them."""
    parents = [name.split("/")[:-1] for name in names]
    if len(names) < 2:
        return 0
    length = 0
    for parts in zip(*parents, strict=False):
        if len(set(parts)) > 1:
            break
        length += len(parts[0]) + 1
    return length


def _before_after(before: float, after: float) -> str:
    return f"{before:.0f} > {after:.1f}" if after != before else f"{before:.0f}"
