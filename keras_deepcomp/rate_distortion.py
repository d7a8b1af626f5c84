"""Which centroid a weight gets when bits count as well as distance (numpy, no framework).

The nearest centroid is the best one only if all cost the same. After Huffman coding a centroid with
many members costs few bits and one with few costs many, and a weight at zero costs almost none: so
a weight between two goes to the more common one. This is entropy-constrained scalar quantization
(Chou, Lookabaugh and Gray 1989), with the loss's curvature as the weight of a squared error, as
Choi, El-Khamy and Lee ("Towards the limit of network quantization", ICLR 2017) have it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 18


def code_lengths(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Bits of an ideal code for each symbol, from how often it occurs; unused ones count as one."""
    some = np.maximum(np.asarray(counts, np.float64), 1.0)
    return np.log2(some.sum()) - np.log2(some)


def assign(
    values: NDArray[Any],
    codebook: NDArray[Any],
    counts: NDArray[Any],
    rate: float,
    importance: NDArray[Any] | None = None,
) -> NDArray[np.intp]:
    """The entry of a codebook for each value that costs least in error and bits.

    The cost is h (value - entry)^2 / mean(h value^2) + rate * bits, so that `rate` has no unit: it
    is what share of the mean energy of the values a bit is worth. 0 gives the nearest entry; at
    0.01 or so files become noticeably smaller.

    Args:
        values: Finite floats, shape (n,).
        codebook: The entries, shape (k,), in any order; zero may be among them.
        counts: How often each entry occurs now, shape (k,).
        rate: What a bit is worth, at least 0.
        importance: h, at least 0, shape (n,); None for all alike.

    Returns:
        Indices of the codebook, shape (n,); the first of equal ones.

    Raises:
        ValueError: A rate below zero.
    """
    if not 0.0 <= rate < float("inf"):
        raise ValueError(f"rate is what a bit is worth, a number of at least 0; got {rate!r}.")
    wide = np.asarray(values, np.float64)
    weight = np.ones(wide.shape) if importance is None else np.asarray(importance, np.float64)
    energy = float(np.mean(weight * wide**2)) if wide.size else 0.0
    # Where nothing is important, distance and bits count alone.
    weight = weight / energy if energy > 0.0 else np.ones(wide.shape)
    entries = np.asarray(codebook, np.float64)
    bits = rate * code_lengths(counts)
    result = np.empty(wide.shape, np.intp)
    for start in range(0, wide.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        errors = (wide[part, np.newaxis] - entries) ** 2
        result[part] = (weight[part, np.newaxis] * errors + bits).argmin(axis=1)
    return result
