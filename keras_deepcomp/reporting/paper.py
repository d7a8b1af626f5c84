"""What the paper reached with its own networks (table 1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from keras_deepcomp.reporting.summary import Row

Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class PaperRow:
    """A row of table 1.

    Attributes:
        network: The network's name.
        error_before: Top-1 error of the network, in percent.
        error_after: Top-1 error of the compressed one.
        size_before: Size as float32, in the paper's words.
        size_after: Size of the compressed one.
        ratio: How many times smaller that is.
    """

    network: str
    error_before: float
    error_after: float
    size_before: str
    size_after: str
    ratio: int


_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def _vgg_16() -> Shapes:
    kernels, channels = [], 3
    for filters, layers in _BLOCKS:
        for _ in range(layers):
            kernels.append((3, 3, channels, filters))
            channels = filters
    return (*kernels, (25088, 4096), (4096, 4096), (4096, 1000))


_BY_KERNELS: dict[Shapes, PaperRow] = {
    ((784, 300), (300, 100), (100, 10)): PaperRow(
        "LeNet-300-100", 1.64, 1.58, "1,070 KB", "27 KB", 40
    ),
    ((5, 5, 1, 20), (5, 5, 20, 50), (800, 500), (500, 10)): PaperRow(
        "LeNet-5", 0.80, 0.74, "1,720 KB", "44 KB", 39
    ),
    ((11, 11, 3, 96), (5, 5, 48, 256), (3, 3, 256, 384), (3, 3, 192, 384), (3, 3, 192, 256),
     (9216, 4096), (4096, 4096), (4096, 1000)): PaperRow(
        "AlexNet", 42.78, 42.78, "240 MB", "6.9 MB", 35
    ),
    _vgg_16(): PaperRow("VGG-16", 31.50, 31.17, "552 MB", "11.3 MB", 49),
}  # fmt: skip


def row_of(rows: Iterable[Row]) -> PaperRow | None:
    """The paper's row for a network, known by the shapes of its kernels; None for another one."""
    kernels = tuple(row.shape for row in rows if len(row.shape) > 1)
    return _BY_KERNELS.get(kernels)
