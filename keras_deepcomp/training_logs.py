"""Numbers that say how far a compression is, of a model that trains: what its logs hold.

Each function reads the variables of the wrappers as they are. During `fit` under JAX these are up
to date only after `keras_deepcomp.devices.sync`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_deepcomp.devices import to_numpy
from keras_deepcomp.wrappers.clustering import ClusterWeights
from keras_deepcomp.wrappers.pruning import PruneLowMagnitude
from keras_deepcomp.wrappers.substitution import WeightSubstitution, find_wrappers

SIGNIFICAND_BITS = {"bfloat16": 7, "float16": 10, "float32": 23, "float64": 52}
"""Bits of a value below its sign and exponent."""

Centroids = dict[str, npt.NDArray[np.float64]]


def sparsities(wrappers: Sequence[WeightSubstitution]) -> dict[str, float]:
    """`sparsity` over all the weights of the wrappers, and `sparsity/<layer>` for each layer."""
    zeros, sizes = [], []
    for wrapper in wrappers:
        weights = wrapper.weight_variables
        zeros.append(sum(_zeros(wrapper, name) for name in weights))
        sizes.append(sum(math.prod(variable.shape) for variable in weights.values()))
    each = [count / size if size else 0.0 for count, size in zip(zeros, sizes, strict=True)]
    names = [f"sparsity/{wrapper.layer.name}" for wrapper in wrappers]
    return {"sparsity": sum(zeros) / max(sum(sizes), 1), **dict(zip(names, each, strict=True))}


def thresholds(wrappers: Sequence[PruneLowMagnitude]) -> dict[str, float]:
    """`threshold/<layer>`, under which weights were pruned; one for each weight if it has more."""
    return {
        f"threshold/{label}": wrapper.threshold(name)
        for wrapper in wrappers
        for name, label in labels(wrapper).items()
    }


def centroids_of(wrappers: Sequence[ClusterWeights]) -> Centroids:
    """Layer -> its present centroids, of one weight after the other."""
    return {
        wrapper.layer.name: np.concatenate(
            [
                wrapper.centroids(name).astype(np.float64).ravel()
                for name in wrapper.weight_variables
            ]
        )
        for wrapper in wrappers
    }


def centroid_shifts(before: Centroids, after: Centroids) -> dict[str, float]:
    """`centroid_shift`, how far centroids have moved in the mean, and that of each layer."""
    moved = {layer: np.abs(after[layer] - before[layer]) for layer in after}
    each = {f"centroid_shift/{layer}": float(np.mean(way)) for layer, way in moved.items()}
    return {"centroid_shift": float(np.mean(np.concatenate(list(moved.values())))), **each}


def coded_bytes(model: keras.Model) -> dict[str, float]:
    """An estimate of what the tensors of the model's file would take if it were saved now.

    Positions of zeros, indices of centroids and exponents of unshared weights count by their
    entropy, which the file's codes come close to; centroids and significands by their bits. The
    architecture comes on top, some hundred bytes for a small model.

    Returns:
        `coded_bytes` for the whole model, and `coded_bytes/<layer>` for what is wrapped in it.
    """
    wrappers: list[WeightSubstitution] = find_wrappers(model)
    each, covered = {}, set()
    for wrapper in wrappers:
        state = [*wrapper._trainable_variables, *wrapper._non_trainable_variables]
        covered |= {id(v) for v in [*state, *wrapper.weight_variables.values()]}
        bits = sum(_coded_bits(wrapper, name) for name in wrapper.weight_variables)
        each[f"coded_bytes/{wrapper.layer.name}"] = bits / 8
    others = [variable for variable in model.variables if id(variable) not in covered]
    rest = sum(_plain_bits(to_numpy(variable, copy=False)) for variable in others) / 8
    return {"coded_bytes": float(math.ceil(sum(each.values()) + rest)), **each}


def labels(wrapper: WeightSubstitution) -> dict[str, str]:
    """Weight -> what it is called in logs: by its layer alone if this has no other weight."""
    names, layer = list(wrapper.weight_variables), wrapper.layer.name
    return {name: layer if len(names) == 1 else f"{layer}/{name}" for name in names}


def _zeros(wrapper: WeightSubstitution, name: str) -> int:
    if isinstance(wrapper, ClusterWeights):
        return int(wrapper.member_counts(name)[0])
    assert isinstance(wrapper, PruneLowMagnitude)
    mask = wrapper.mask(name)
    return mask.size - int(np.count_nonzero(mask))


def _coded_bits(wrapper: WeightSubstitution, name: str) -> float:
    if not isinstance(wrapper, ClusterWeights):
        return _plain_bits(to_numpy(wrapper.effective_value(name)))
    counts = wrapper.member_counts(name)
    used = wrapper.centroids(name).ravel()[counts[1:] > 0]
    return _entropy_bits(counts) + 8 * used.nbytes


def _plain_bits(array: npt.NDArray[Any]) -> float:
    """Bits of values that are not shared: few exponents occur often, but each significand once."""
    significand = SIGNIFICAND_BITS.get(array.dtype.name)
    if significand is None:
        return float(8 * array.nbytes)
    values = array[array != 0]
    patterns = values.view(f"u{array.itemsize}")
    exponents = np.bincount((patterns >> significand).astype(np.intp))
    places = np.array([array.size - values.size, values.size])
    return _entropy_bits(places) + _entropy_bits(exponents) + significand * values.size


def _entropy_bits(counts: npt.NDArray[np.intp]) -> float:
    """The entropy, in bits, of a whole sequence in which symbols occur so many times."""
    counts = counts[counts > 0]
    return float(counts @ np.log2(counts.sum() / counts)) if counts.size else 0.0
