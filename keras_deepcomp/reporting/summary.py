"""The size of a model or a file, tensor by tensor, in the layout of the paper's tables 4 and 5."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any

from keras_deepcomp import container
from keras_deepcomp.consoles import as_text, console
from keras_deepcomp.container import FileInfo, TensorInfo
from keras_deepcomp.tflite.restoring import MARK as TFLITE
from keras_deepcomp.tflite.restoring import declared_size as size_of_tflite

if TYPE_CHECKING:
    import keras

    from keras_deepcomp.selection import Participation

FLOAT32_BITS = 32


@dataclass(frozen=True)
class Row:
    """One tensor, or all of them.

    Attributes:
        name: The tensor's name.
        shape: Its shape.
        dtype: Its type.
        size: Number of elements.
        kept_percent: Share of elements that are not zero.
        clusters: Size of the codebook; 0 where there is none.
        weight_bits: Bits per stored weight as a fixed-width index; the type's own width if raw.
        weight_bits_huffman: The same as coded, signs included where they are coded apart.
        gap_bits: Bits per stored weight for its position, fixed width; 0 where every element is
            stored.
        gap_bits_huffman: The same as coded.
        bytes: What the tensor takes in the file: tables, codebook, codes and checksums. Names and
            shapes are in the directory, which is compressed as a whole.
        ratio: Bytes as float32 divided by `bytes`; None for a tensor that takes none, and in a
            file that holds a `.tflite` file.
        value_bytes: Of `bytes`, those of the values: codebook indices, signs and low bits, or the
            elements as they are. This and the next four add up to `bytes`; a byte that two parts
            have bits of counts as one of checks.
        position_bytes: Those that say which elements are not zero.
        codebook_bytes: Those of the codebook.
        table_bytes: Those of code tables, and of what else stands before the elements.
        check_bytes: Those of checksums and of bits that fill up bytes; in version 0, of name and
            shape as well.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    size: int
    kept_percent: float
    clusters: int
    weight_bits: float
    weight_bits_huffman: float
    gap_bits: float
    gap_bits_huffman: float
    bytes: int
    value_bytes: int
    position_bytes: int
    codebook_bytes: int
    table_bytes: int
    check_bytes: int
    ratio: float | None


@dataclass(frozen=True, repr=False)
class Summary:
    """What `keras_deepcomp.summary` returns; prints as a table.

    Attributes:
        rows: One per tensor, in the order of the file.
        file_bytes: Bytes of the whole file.
        header_bytes: Bytes of the directory, with names and shapes, and of header and trailer.
        metadata_bytes: Bytes of the architecture and other metadata.
        float32_bytes: Bytes of all elements as float32.
        tflite_bytes: Bytes of the `.tflite` file that the file holds; 0 if it holds none.
        version: Format version.
        participation: For a pruned or shared model, which of its weights take part and why the
            others do not; empty for a file, which does not know.
    """

    rows: tuple[Row, ...]
    file_bytes: int
    header_bytes: int
    metadata_bytes: int
    float32_bytes: int
    version: int
    tflite_bytes: int = 0
    participation: tuple[Participation, ...] = ()

    @cached_property
    def ratio(self) -> float:
        """Bytes of all variables as float32 divided by the bytes of the whole file.

        If the file holds a `.tflite` file, those of that one instead.
        """
        return (self.tflite_bytes or self.float32_bytes) / self.file_bytes

    @cached_property
    def kept_percent(self) -> float:
        """Share of all elements that are not zero."""
        elements = sum(row.size for row in self.rows)
        return sum(row.kept_percent * row.size for row in self.rows) / max(elements, 1)

    def largest(self, most: int) -> list[Row]:
        """The rows that take the most bytes, at most so many, in the order of the file."""
        order = sorted(range(len(self.rows)), key=lambda number: (-self.rows[number].bytes, number))
        return [self.rows[number] for number in sorted(order[:most])]

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain data, for JSON."""
        return {
            "format_version": self.version,
            "file_bytes": self.file_bytes,
            "float32_bytes": self.float32_bytes,
            **({"tflite_bytes": self.tflite_bytes} if self.tflite_bytes else {}),
            "ratio": self.ratio,
            "kept_percent": self.kept_percent,
            "header_bytes": self.header_bytes,
            "metadata_bytes": self.metadata_bytes,
            "tensors": [_as_dict(row) for row in self.rows],
            "participation": [_as_dict(row) for row in self.participation],
        }

    def print(self, file: IO[str] | None = None) -> None:
        """Prints the table."""
        out = console(file)
        out.print(self.table())
        if self.participation:
            out.print(self._left_alone(), markup=False, highlight=False, soft_wrap=True)

    def _left_alone(self) -> str:
        from keras_deepcomp.participation import in_words

        return in_words(self.participation, "pruned or shared")

    def table(self) -> Any:
        """The table, for a rich console."""
        from keras_deepcomp.reporting.table import table_of

        return table_of(self)

    def __repr__(self) -> str:
        tensors = f"{len(self.rows)} tensors"
        return f"<Summary: {tensors}, {self.file_bytes:,} bytes, {self.ratio:.1f}x>"

    def __str__(self) -> str:
        return as_text(self.table())


def summary(model_or_path: keras.Model | str | os.PathLike[str], verbose: bool = True) -> Summary:
    """Shows what a model takes as a `.kdc` file, or what a file holds, tensor by tensor.

    Args:
        model_or_path: A pruned, shared or plain Keras model, which is coded for this; or the path
            of a `.kdc` file, for which no framework is imported.
        verbose: Whether to print the table.

    Returns:
        The numbers.

    Raises:
        FormatError: The file is damaged or not ours.
        ValueError: The model is not built.
    """
    if isinstance(model_or_path, str | os.PathLike):
        result = from_info(container.inspect_file(model_or_path))
    else:
        from keras_deepcomp.saving import contents_of

        info = container.inspect(container.save(*contents_of(model_or_path)))
        result = from_info(info, participation_of(model_or_path))
    if verbose:
        result.print()
    return result


def participation_of(model: keras.Model) -> tuple[Participation, ...]:
    """Which weights of a pruned or shared model take part; empty for a plain one."""
    from keras_deepcomp import participation

    purpose = participation.converted_for(model)
    return () if purpose is None else participation.of_model(model, purpose)


def _as_dict(row: Row | Participation) -> dict[str, Any]:
    return {**asdict(row), "shape": list(row.shape)}


def from_info(info: FileInfo, participation: tuple[Participation, ...] = ()) -> Summary:
    """The summary of a file that has been inspected, and what its model knows beside it."""
    rows = tuple(_row(tensor) for tensor in info.tensors)
    text = info.metadata.get(TFLITE)
    if text is not None:
        rows = tuple(replace(row, ratio=None) for row in rows)
    return Summary(
        rows=rows,
        file_bytes=info.file_bytes,
        header_bytes=info.header_bytes,
        metadata_bytes=info.metadata_bytes,
        float32_bytes=sum(row.size for row in rows) * FLOAT32_BITS // 8,
        version=info.version,
        tflite_bytes=0 if text is None else size_of_tflite(text),
        participation=participation,
    )


def shares(row: Row) -> bool:
    """Whether a tensor's values are few: each serves two weights, and has no bits beside its index.

    The format has codebooks for other tensors as well, of the leading bits that values have.
    """
    kept = row.size * row.kept_percent / 100
    index_bits = max(1, (row.clusters - 1).bit_length())
    return 0 < 2 * row.clusters <= kept and row.weight_bits <= index_bits


def _row(tensor: TensorInfo) -> Row:
    stored = tensor.entries if tensor.coding == "coded" else tensor.size
    width = 8 * tensor.decoded_bytes / max(tensor.size, 1)
    if tensor.coding == "coded":
        index, index_huffman = float(tensor.index_bits), tensor.index_huffman_bits / max(stored, 1)
    else:
        index = index_huffman = width
    value_bytes = tensor.index_huffman_bits // 8
    if tensor.coding == "raw":
        value_bytes = min(tensor.decoded_bytes, tensor.record_bytes)
    position_bytes = tensor.gap_huffman_bits // 8
    parts = value_bytes + position_bytes + tensor.codebook_bytes + tensor.table_bytes
    return Row(
        name=tensor.name,
        shape=tensor.shape,
        dtype=tensor.dtype,
        size=tensor.size,
        kept_percent=100.0 * tensor.nonzero / tensor.size if tensor.size else 0.0,
        clusters=tensor.clusters,
        weight_bits=index,
        weight_bits_huffman=index_huffman,
        gap_bits=float(tensor.gap_bits),
        gap_bits_huffman=tensor.gap_huffman_bits / max(stored, 1),
        bytes=tensor.record_bytes,
        value_bytes=value_bytes,
        position_bytes=position_bytes,
        codebook_bytes=tensor.codebook_bytes,
        table_bytes=tensor.table_bytes,
        check_bytes=tensor.record_bytes - parts,
        ratio=tensor.size * FLOAT32_BITS / 8 / tensor.record_bytes if tensor.record_bytes else None,
    )
