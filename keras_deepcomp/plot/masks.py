"""Where in a tensor the weights are that were kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp.plot import style
from keras_deepcomp.plot.sources import Array, tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PIXELS = 400
"""The most pixels in either direction, unless told otherwise."""

_WIDEST = 4.0


@dataclass(frozen=True)
class Mask:
    """A tensor as a matrix, of which each pixel is a block.

    Attributes:
        kept: Share of each block's weights that are not zero, shape (pixel rows, pixel columns).
        rows: Rows of the matrix: all axes of the tensor but the last.
        columns: Columns of the matrix: the last axis.
        block: Weights of the largest pixel.
    """

    kept: npt.NDArray[np.float64]
    rows: int
    columns: int
    block: int

    @property
    def in_words(self) -> str:
        """What a pixel stands for."""
        if self.block == 1:
            return "each pixel is a weight"
        return f"each pixel is the mean of up to {self.block:,} weights"


def mask_of(array: Array, pixels: int = MOST_PIXELS) -> Mask:
    """Shrinks the mask of an array to so many pixels, each of them the mean of its block.

    Every weight counts once: nothing is dropped, and no block is drawn as empty or full if it is
    not.
    """
    if array.size == 0:
        return Mask(np.zeros((1, 1)), 0, 0, 1)
    kept = (array != 0).reshape(-1, array.shape[-1] if array.ndim else 1)
    rows, columns = kept.shape
    down, tall = _edges(rows, pixels)
    across, wide = _edges(columns, pixels)
    # Row block by row block, so that no array of counts is as large as the tensor.
    sums = np.empty((down.size, columns), np.int64)
    for number, (start, stop) in enumerate(zip(down, [*down[1:], rows], strict=True)):
        sums[number] = kept[start:stop].sum(axis=0)
    blocks = np.add.reduceat(sums, across, axis=1)
    sizes = np.outer(np.diff(down, append=rows), np.diff(across, append=columns))
    return Mask(blocks / sizes, rows, columns, tall * wide)


def mask(
    source: Any,
    name: str | None = None,
    *,
    pixels: int = MOST_PIXELS,
    ax: Axes | None = None,
) -> Axes:
    """Draws where in a tensor the weights are that are not zero.

    Rows are all axes but the last, columns the last. A tensor with more of either than `pixels` is
    shrunk: a pixel is the share of its block's weights that are not zero, and the axes say how
    large a block is.

    Args:
        source: An array, a mapping from name to array, the path of a `.kdc` file, a Keras model or
            a result of `compress`.
        name: Name of the tensor; None takes the one with the most elements.
        pixels: The most pixels in either direction.
        ax: Where to draw; None makes a figure.

    Returns:
        The axes.

    Raises:
        ImportError: matplotlib is not installed.
        KeyError: There is no tensor of that name.
        FormatError: The file is damaged.
    """
    found, array = tensor(source, name)
    return draw(mask_of(array, pixels), found, ax)


def draw(found: Mask, name: str, ax: Axes | None) -> Axes:
    """Draws a mask; see `mask`. The longer side lies across."""
    ax = style.new_axes(ax)
    across, down = ("last axis", found.columns), ("other axes", found.rows)
    lying = found.rows > found.columns
    if lying:
        across, down = down, across
    wide, tall = max(across[1], 1), max(down[1], 1)
    picture = ax.imshow(
        found.kept.T if lying else found.kept,
        cmap=_colours(),
        vmin=0.0,
        vmax=float(found.kept.max()) or 1.0,
        interpolation="none",
        extent=(0, wide, tall, 0),
        aspect="equal" if wide <= _WIDEST * tall else "auto",
    )
    if found.block > 1:
        bar = ax.figure.colorbar(picture, ax=ax, shrink=0.6, pad=0.02)
        bar.ax.yaxis.set_major_formatter(style.formatter(lambda share: f"{100 * share:.3g} %"))
        bar.set_label("kept")
    ax.set_xlabel(f"{across[0]} ({across[1]:,})\n{found.in_words}")
    ax.set_ylabel(f"{down[0]} ({down[1]:,})")
    style.title(ax, name)
    return ax


def _edges(length: int, most: int) -> tuple[npt.NDArray[np.int64], int]:
    """Where the blocks of an axis begin, and the length of the longest one."""
    blocks = min(length, most)
    starts = np.arange(blocks, dtype=np.int64) * length // blocks
    return starts, int(np.diff(starts, append=length).max())


def _colours() -> Any:
    """From transparent to blue, for any background."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    blue = to_rgb("#1f86c8")
    return LinearSegmentedColormap.from_list("kept", [(*blue, 0.0), (*blue, 1.0)])
