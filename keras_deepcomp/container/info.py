"""What a file holds and what each part of it costs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a file.

    The fields from `clusters` on describe the coded form; for a raw tensor they are all 0.

    Attributes:
        name: The tensor's name.
        dtype: The name of its type, such as "float32".
        shape: Its shape.
        size: The number of its elements.
        decoded_bytes: Bytes of the tensor in memory.
        coding: "raw" or "coded".
        record_bytes: Bytes of the tensor in the file: in version 1 its blocks with their checksums,
            in version 0 its whole record, with name and shape.
        nonzero: The number of elements whose bit pattern is not all zero; -0.0 counts.
        clusters: The number of codebook values k.
        entries: The number of elements that have an index; in version 0 fillers are among them.
        gap_bits: What a gap between non-zero elements would cost in bits without Huffman coding; 0
            if there are no gaps because each element has an index.
        index_bits: What an index would cost in bits without Huffman coding: the base-2
            logarithm, rounded up and at least 1, of the number of symbols in use, and the low
            bits that are stored as they are. 0 if there are no entries.
        gap_huffman_bits: Bits that say which elements are not zero.
        index_huffman_bits: Bits of the indices, with signs and low bits where they are apart.
        codebook_bytes: Bytes of the codebook, rounded up.
        table_bytes: Bytes of all that is in the file before the elements, but for the codebook.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    decoded_bytes: int
    coding: str
    record_bytes: int
    nonzero: int
    clusters: int = 0
    entries: int = 0
    gap_bits: int = 0
    index_bits: int = 0
    gap_huffman_bits: int = 0
    index_huffman_bits: int = 0
    codebook_bytes: int = 0
    table_bytes: int = 0


@dataclass(frozen=True)
class FileInfo:
    """A whole file: `header_bytes`, `metadata_bytes` and all `record_bytes` add up to it.

    Attributes:
        version: The format version.
        file_bytes: Bytes of the file.
        decoded_bytes: Bytes of all tensors and metadata values in memory, as the file declares.
        header_bytes: Bytes that belong to no tensor and no metadata: magic and version, directory,
            checksums of the whole.
        metadata: The metadata.
        metadata_bytes: Bytes of the metadata's records in the file.
        tensors: The tensors, in the order of the file.
    """

    version: int
    file_bytes: int
    decoded_bytes: int
    header_bytes: int
    metadata: dict[str, str]
    metadata_bytes: int
    tensors: tuple[TensorInfo, ...]
