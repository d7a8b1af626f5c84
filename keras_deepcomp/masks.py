"""Which weights survive pruning: by rank or by threshold (numpy, no framework).

Masks only tighten: a weight that is gone ranks behind every weight that is still there, whatever
value it holds. So pruned weights stay pruned unless a schedule asks for fewer zeros than there are.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

_AT_ONCE = 1 << 20


def keep_largest(
    weights: Sequence[NDArray[Any]], alive: Sequence[Mask], sparsity: float
) -> tuple[list[Mask], float]:
    """Keeps the weights of largest magnitude over one or several tensors.

    Exactly `round(n * (1 - sparsity))` of the n weights are kept, but at least one (as in tfmot).
    Ties go to the weight that comes first, so the result does not depend on a sort's whim.

    Args:
        weights: Float tensors of any shape.
        alive: Their present masks, True where a weight is kept.
        sparsity: Share of all the weights together that is to be zero, in [0, 1).

    Returns:
        The new masks, and the threshold: the largest magnitude among living weights that went (0.0
        if none did).
    """
    magnitudes = np.concatenate([_magnitudes(tensor) for tensor in weights])
    living = np.concatenate([mask.ravel() for mask in alive])
    count = magnitudes.size
    keep = max(1, round(count * (1.0 - sparsity)))
    if keep >= count:
        return [np.ones(tensor.shape, bool) for tensor in weights], 0.0
    magnitudes[~living] = -1.0  # behind every living weight
    cut = np.partition(magnitudes, count - keep - 1)[count - keep - 1]
    kept = magnitudes > cut
    kept[np.flatnonzero(magnitudes == cut)[: keep - np.count_nonzero(kept)]] = True
    ends = np.cumsum([tensor.size for tensor in weights])[:-1]
    parts = np.split(kept, ends)
    return (
        [part.reshape(tensor.shape) for part, tensor in zip(parts, weights, strict=True)],
        max(float(cut), 0.0),
    )


def keep_above(weights: NDArray[Any], alive: Mask, threshold: float) -> Mask:
    """Keeps the living weights whose magnitude is above a threshold, and at least the largest.

    Args:
        weights: A float tensor of any shape.
        alive: Its present mask, of the same shape.
        threshold: In the weights' own units, at least 0.

    Returns:
        The new mask.
    """
    flat = weights.reshape(-1)
    kept = np.empty(flat.size, bool)
    for start in range(0, flat.size, _AT_ONCE):
        kept[start : start + _AT_ONCE] = _magnitudes(flat[start : start + _AT_ONCE]) > threshold
    kept &= alive.reshape(-1)
    if not kept.any():
        kept[np.argmax(np.where(alive.reshape(-1), _magnitudes(flat), -1.0))] = True
    return kept.reshape(weights.shape)


def standard_deviation(tensor: NDArray[Any]) -> float:
    """The standard deviation of all elements, in float64 and without a copy in that."""
    flat = tensor.reshape(-1)
    mean = float(flat.mean(dtype=np.float64))
    parts = (flat[i : i + _AT_ONCE].astype(np.float64) for i in range(0, flat.size, _AT_ONCE))
    return float(np.sqrt(sum(float(((part - mean) ** 2).sum()) for part in parts) / flat.size))


def wide(tensor: NDArray[Any]) -> NDArray[Any]:
    """The same values in a type that numpy is fast with: bfloat16 and float16 in float32."""
    return tensor.astype(np.float32) if tensor.dtype.itemsize < 4 else tensor


def _magnitudes(tensor: NDArray[Any]) -> NDArray[Any]:
    return np.abs(wide(tensor)).ravel()
