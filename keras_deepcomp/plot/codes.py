"""The Huffman code of a tensor's shared values: how long a code is, and how likely its value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp.container import huffman
from keras_deepcomp.plot import style
from keras_deepcomp.plot.numbers import Numbers, numbers
from keras_deepcomp.plot.sources import tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LABELS = 16


@dataclass(frozen=True)
class Code:
    """The paper's code: Huffman's, for how often each value occurs, each value for itself.

    A file may code several values together, or by where they stand, to get below it.

    Attributes:
        values: The distinct values that are not zero, ascending, shape (k,).
        probabilities: How often each occurs among them, shape (k,).
        lengths: Bits of each one's code, shape (k,).
    """

    values: npt.NDArray[np.float64]
    probabilities: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.uint8]

    @property
    def mean(self) -> float:
        """Bits per weight under the code."""
        return float(self.probabilities @ self.lengths)

    @property
    def entropy(self) -> float:
        """Bits per weight that no code of single values can go below."""
        return float(-(self.probabilities @ np.log2(self.probabilities)))


def code_of(now: Numbers) -> Code | None:
    """The code for an array's values; None if it has no codebook of at least two."""
    if now.values is None or not 2 <= now.values.size < max(now.kept, 3):
        return None
    return Code(now.values, now.counts / now.counts.sum(), huffman.code_lengths(now.counts))


def codebook(source: Any, name: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draws the length of each shared value's Huffman code against the value's probability.

    The line is what entropy asks for: -log2 of the probability. A code has whole bits, so its
    points lie around it.

    Args:
        source: An array, a mapping from name to array, the path of a `.kdc` file, a Keras model or
            a result of `compress`.
        name: Name of the tensor; None takes the one with the most elements.
        ax: Where to draw; None makes a figure.

    Returns:
        The axes.

    Raises:
        ImportError: matplotlib is not installed.
        KeyError: There is no tensor of that name.
        ValueError: The tensor has no two values that repeat, or more than 4,096 of them.
        FormatError: The file is damaged.
    """
    found, array = tensor(source, name)
    code = code_of(numbers(array))
    if code is None:
        raise ValueError(
            f"{found!r} has no codebook to draw: its weights do not share from 2 to 4,096 values. "
            "Share them first, with cluster_weights."
        )
    return draw(code, found, None, ax)


def draw(code: Code, name: str, in_file: float | None, ax: Axes | None) -> Axes:
    """Draws a code; `in_file` is what a weight's value takes in the file, in bits."""
    ax = style.new_axes(ax)
    likely, lengths = code.probabilities, code.lengths.astype(float)
    ends = np.geomspace(likely.min() / 1.3, min(1.0, likely.max() * 1.3), 40)
    ax.plot(ends, -np.log2(ends), color=style.GREY, linewidth=1.2, label="-log2 p")
    few = code.values.size <= MOST_LABELS
    for value, p, length in zip(code.values.tolist(), likely, lengths, strict=True):
        (dot,) = ax.plot([p], [length], "o", color=style.BLUE, markersize=5 if few else 3)
        style.hint(dot, f"value {value:.6g}: probability {p:.4f}, code of {length:.0f} bits")
    mean = f"Huffman {code.mean:.2f}, entropy {code.entropy:.2f}"
    if in_file is not None:
        ax.axhline(in_file, color=style.VERMILLION, linewidth=1.2, linestyle=(0, (4, 2)),
                   label=f"in the file: {in_file:.2f}")  # fmt: skip
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(_few_powers())
    ax.xaxis.set_major_formatter(style.formatter(_percent))
    ax.set_ylim(0, lengths.max() + 1)
    ax.set_xlabel("probability of the value")
    ax.set_ylabel("bits of its code")
    ax.legend(frameon=False, fontsize="small", title=f"bits per weight:\n{mean}",
              title_fontsize="small")  # fmt: skip
    style.plain_spines(ax)
    style.title(ax, name)
    return ax


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _few_powers() -> Any:
    from matplotlib.ticker import LogLocator

    return LogLocator(base=2, numticks=6)
