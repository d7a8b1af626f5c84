"""What a conversion did to each weight, and to the outputs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import IO, Any

from keras_deepcomp.consoles import console
from keras_deepcomp.tflite.running import Fidelity


@dataclass(frozen=True)
class TensorReport:
    """A weight before and after.

    Attributes:
        name: Of the Keras variable; of the tensor in the file where no variable matches.
        shape: In the file.
        dtype: In the file.
        size: Number of elements.
        zeros_before: How many are zero in the Keras model.
        zeros_after: How many are in the file.
        values_before: How many distinct values there are in the Keras model, zero included.
        values_after: The same in the file, of the integers where it is quantized.
        values_per_channel: The same in the channel that has the most.
        values_of_converter: What `values_after` would be with the converter's own scales.
        scales: How many scales the integers have; 0 for floats.
        folded: Whether a batch normalization was folded into it.
        choice: Which scales: "float" for none; "one" that fits the codebook; "in proportion" to
            the factors of the normalization; the "converter's" where there is no codebook or
            nothing to gain; "converter's, for accuracy" where others would cost some.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    size: int
    zeros_before: int
    zeros_after: int
    values_before: int
    values_after: int
    values_per_channel: int
    values_of_converter: int
    scales: int
    folded: bool
    choice: str

    @property
    def kept(self) -> bool:
        """Whether no zero was lost and no value added."""
        return self.zeros_after >= self.zeros_before and self.values_after <= self.values_before


@dataclass(frozen=True, repr=False)
class ConversionReport:
    """What `keras_deepcomp.tflite.convert` returns; prints as a table.

    Attributes:
        quantize: None, "dynamic" or "int8".
        batch: The size of the batch, or None for any.
        file_bytes: Bytes of the file.
        converter_bytes: Bytes of the file with the converter's own scales.
        tensors: One row per weight of a convolution or dense layer.
        not_found: Keras kernels and embeddings that are no such weight of the file.
        fidelity: How near the file's outputs are to the Keras model's on the representative
            data; None without.
        converter_fidelity: The same with the converter's own scales; None for floats.
        notes: What is worth knowing.
    """

    quantize: str | None
    batch: int | None
    file_bytes: int
    converter_bytes: int
    tensors: tuple[TensorReport, ...]
    not_found: tuple[str, ...]
    fidelity: Fidelity | None
    converter_fidelity: Fidelity | None
    notes: tuple[str, ...]

    @property
    def kept(self) -> bool:
        """Whether every weight kept its zeros and got no new values."""
        return all(row.kept for row in self.tensors)

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain data, for JSON."""
        rows = [{**asdict(row), "shape": list(row.shape), "kept": row.kept} for row in self.tensors]
        return {**asdict(self), "tensors": rows, "kept": self.kept}

    def print(self, file: IO[str] | None = None) -> None:
        """Prints the table, and what is to be said beside it."""
        out = console(file)
        out.print(self.table())
        out.print(self._words(), markup=False, highlight=False, soft_wrap=True)

    def table(self) -> Any:
        """The table, for a rich console."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column("weight", overflow="fold")
        for heading in ("shape", "type", "zeros %", "values", "in a channel"):
            table.add_column(heading, justify="right", no_wrap=heading == "shape")
        table.add_column("scales")
        for row in self.tensors:
            table.add_row(
                Text(row.name),
                "x".join(map(str, row.shape)),
                row.dtype,
                _change(_percent(row.zeros_before, row), _percent(row.zeros_after, row)),
                _change(f"{row.values_before:,}", f"{row.values_after:,}"),
                f"{row.values_per_channel:,}",
                Text(row.choice + (" (*)" if row.folded and row.choice == "float" else "")),
            )
        return table

    def _words(self) -> str:
        mode = {None: "float32", "dynamic": "dynamic-range int8", "int8": "int8"}[self.quantize]
        batch = "any batch" if self.batch is None else f"batch of {self.batch}"
        lines = [f"{mode}, {batch}: {self.file_bytes:,} bytes"]
        if self.fidelity is not None:
            lines.append(f"outputs on {self.fidelity.samples} samples: {_in_words(self.fidelity)}")
        if self.converter_fidelity is not None:
            lines.append(f"with the converter's scales: {_in_words(self.converter_fidelity)}")
        if any(row.folded and row.choice == "float" for row in self.tensors):
            lines.append("(*) times the factors of a batch normalization, one per channel")
        if self.not_found:
            lines.append(f"not found as weights in the file: {', '.join(self.not_found)}")
        return "\n".join([*lines, *self.notes])


def _percent(count: int, row: TensorReport) -> str:
    return f"{100 * count / row.size:.1f}"


def _change(before: str, after: str) -> str:
    return before if before == after else f"{before} > {after}"


def _in_words(fidelity: Fidelity) -> str:
    parts = [f"error {100 * fidelity.error:.3g} %"]
    if fidelity.agreement is not None:
        parts.append(f"agreement {100 * fidelity.agreement:.2f} %")
    if fidelity.accuracy is not None:
        parts.append(f"accuracy {100 * fidelity.accuracy:.2f} %")
    return ", ".join(parts)
