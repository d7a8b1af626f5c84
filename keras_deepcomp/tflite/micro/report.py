"""What became of a model on its way to TensorFlow Lite Micro."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import IO, Any

from keras_deepcomp.consoles import console


@dataclass(frozen=True)
class MicroTensor:
    """One tensor that might be decoded on the device.

    Attributes:
        name: Its name.
        shape: Its shape.
        dtype: Its type.
        method: "huffman", "pruning" or "lut"; "none" where nothing makes the file smaller.
        bytes_before: Bytes of its values.
        bytes_after: Bytes of the encoded tensor and its tables.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    method: str
    bytes_before: int
    bytes_after: int


@dataclass(frozen=True, repr=False)
class MicroReport:
    """What `compress_for_micro` returns; prints as a table.

    Attributes:
        tensors: The tensors that might be decoded on the device.
        operators: The operators that the written file uses, which the device's program must have.
        file_bytes_before: Bytes of the file that was read.
        file_bytes_after: Bytes of the file that was written.
        arena_bytes_before: Bytes of the arena that the interpreter used for the first.
        arena_bytes_after: The same for the second: decoded weights lie in the arena.
        runs: Number of inputs on which the outputs of both were compared, and equal.
        milliseconds_before: The fastest run of the first, on this machine, not on a device.
        milliseconds_after: The fastest run of the second.
    """

    tensors: tuple[MicroTensor, ...]
    operators: tuple[str, ...]
    file_bytes_before: int
    file_bytes_after: int
    arena_bytes_before: int
    arena_bytes_after: int
    runs: int
    milliseconds_before: float
    milliseconds_after: float

    @property
    def ratio(self) -> float:
        """How many times smaller the file has become."""
        return self.file_bytes_before / self.file_bytes_after

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain data, for JSON."""
        return {**asdict(self), "ratio": self.ratio}

    def print(self, file: IO[str] | None = None) -> None:
        """Prints the table."""
        console(file).print(self.table())

    def table(self) -> Any:
        """The table, for a rich console."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        caption = (
            f"outputs equal, bit for bit, on {self.runs} inputs; times on this machine, no device\n"
            f"operators: {', '.join(self.operators)}"
        )
        table = Table(
            box=box.SIMPLE_HEAD,
            caption=caption,
            caption_justify="left",
            padding=(0, 1, 0, 0),
            pad_edge=False,
        )
        table.add_column("tensor", overflow="fold", min_width=12)
        for heading in ("shape", "type", "method", "before", "after", "ratio"):
            table.add_column(heading, justify="right", no_wrap=True)
        for row in self.tensors:
            table.add_row(
                Text(row.name),
                "x".join(map(str, row.shape)) or "scalar",
                row.dtype,
                row.method,
                *_three(row.bytes_before, row.bytes_after),
            )
        table.add_section()
        arena = (f"{self.arena_bytes_before:,}", f"{self.arena_bytes_after:,}", "")
        times = (f"{self.milliseconds_before:.2f}", f"{self.milliseconds_after:.2f}", "")
        table.add_row("arena, bytes", "", "", "", *arena)
        table.add_row("milliseconds", "", "", "", *times)
        file = _three(self.file_bytes_before, self.file_bytes_after)
        table.add_row("whole file, bytes", "", "", "", *file, style="bold")
        return table

    def __repr__(self) -> str:
        return f"<MicroReport: {self.file_bytes_after:,} bytes, {self.ratio:.1f}x>"


def _three(before: int, after: int) -> tuple[str, str, str]:
    return f"{before:,}", f"{after:,}", f"{before / after:.1f}x"
