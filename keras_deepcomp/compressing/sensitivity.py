"""How much each layer minds losing its small weights, and what follows for a common threshold.

Before anything is trained, the small weights of one layer after the other are set to zero, and the
loss on validation data is measured. In the second-order picture of Optimal Brain Damage (LeCun,
Denker and Solla 1990), zeroing weights w costs `curvature / 2 * sum(w ** 2)`. The measured loss
gives each layer one such curvature; so `sqrt(curvature) * |w|` ranks the weights of layers whose
scales do not compare, as those before a batch normalization. Whether this or the plain magnitude is
the better rank is measured too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_deepcomp.devices import to_numpy
from keras_deepcomp.masks import keep_largest, wide
from keras_deepcomp.naming import variable_names
from keras_deepcomp.rebuilding import leaves
from keras_deepcomp.selection import participation

LEVELS = (0.5, 0.75, 0.9)
"""Sparsities at which each layer is looked at by itself."""

COMPARED = (0.6, 0.75, 0.85)
"""Sparsities at which the two ranks are compared."""

STARTS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9)
"""Sparsities among which the first round's is looked for."""

SAMPLES = 4096
"""Validation samples that are looked at."""

Loss = Callable[[], float]


@dataclass(frozen=True)
class Sensitivity:
    """What was measured.

    Attributes:
        loss: Of the model as it is, on the same samples.
        losses: Weight -> loss with its small weights at zero, for each of `LEVELS`.
        scales: Weight -> what its magnitudes are multiplied with to rank them among all; all 1.0
            where the plain magnitude ranks better.
        bearable: The largest of `STARTS` that, without any training, at most doubles the loss.
    """

    loss: float
    losses: dict[str, list[float]]
    scales: dict[str, float]
    bearable: float

    @property
    def by_magnitude(self) -> bool:
        """Whether weights rank by plain magnitude."""
        return set(self.scales.values()) <= {1.0}

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "levels": list(LEVELS),
            "loss": self.loss,
            "losses": self.losses,
            "scales": self.scales,
            "bearable": self.bearable,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Sensitivity:
        """What `as_dict` came from."""
        return cls(data["loss"], data["losses"], data["scales"], data["bearable"])


def prunable(model: keras.Model) -> dict[str, tuple[str, keras.Variable]]:
    """The weights that take part: `layer/weight` -> the layer's name and the variable."""
    found = {}
    for layer in leaves(model):
        taking = {row.weight for row in participation(layer, "prune") if row.takes_part}
        names = variable_names(layer)
        for variable in layer.weights:
            if names[id(variable)] in taking:
                name = names[id(variable)]
                found[f"{layer.name}/{name}"] = (layer.name, variable)
    return found


def sensitivity(model: keras.Model, loss: Loss) -> Sensitivity:
    """Measures a model. Its weights change on the way, and are as they were at the end.

    Args:
        model: A plain copy of the model.
        loss: Measures the copy on validation data.
    """
    variables = {name: variable for name, (_, variable) in prunable(model).items()}
    values = {name: to_numpy(variable) for name, variable in variables.items()}
    everywhere = dict.fromkeys(values, 1.0)

    def without(scales: dict[str, float], sparsity: float) -> tuple[float, float]:
        """The loss with small weights at zero, and the sum of their squares."""
        kept = _kept({name: values[name] for name in scales}, scales, sparsity)
        gone = 0.0
        for name, mask in kept.items():
            gone += float(np.sum(np.square(wide(values[name])[~mask], dtype=np.float64)))
            variables[name].assign(np.where(mask, values[name], 0))
        found = loss()
        for name in kept:
            variables[name].assign(values[name])
        return (found if np.isfinite(found) else np.inf), gone

    present = loss()
    losses, curvatures = {}, {}
    for name in values:
        looks = [without({name: 1.0}, level) for level in LEVELS]
        losses[name] = [found for found, _ in looks]
        curvatures[name] = _curvature(present, looks)
    scales = _scales(curvatures)
    worse = [
        np.mean([min(without(ranks, level)[0], 1e30) for level in COMPARED])
        for ranks in (everywhere, scales)
    ]
    if worse[0] <= worse[1]:
        scales = everywhere
    bearable = 0.0
    for start in STARTS:
        if without(scales, start)[0] > present + max(abs(present), 1e-3):
            break
        bearable = start
    return Sensitivity(present, losses, scales, bearable)


def layer_sparsities(
    model: keras.Model, scales: dict[str, float], sparsity: float
) -> dict[str, float]:
    """How sparse each layer becomes if all weights together, ranked, become so sparse.

    Args:
        model: A plain model.
        scales: As measured.
        sparsity: Of all weights together.
    """
    weights = prunable(model)
    kept = _kept({name: to_numpy(v) for name, (_, v) in weights.items()}, scales, sparsity)
    sizes: dict[str, list[int]] = {}
    for name, (layer, _) in weights.items():
        size = sizes.setdefault(layer, [0, 0])
        size[0] += int(np.count_nonzero(kept[name]))
        size[1] += kept[name].size
    # A layer without any weight left would cut the network in two.
    return {layer: 1.0 - max(left, 1) / size for layer, (left, size) in sizes.items()}


def sparsity_of(model: keras.Model) -> float:
    """Share of zeros among the weights of a plain model that take part."""
    values = [to_numpy(variable) for _, variable in prunable(model).values()]
    zeros = sum(v.size - int(np.count_nonzero(v)) for v in values)
    return zeros / max(sum(v.size for v in values), 1)


def _kept(
    values: dict[str, np.ndarray], scales: dict[str, float], sparsity: float
) -> dict[str, np.ndarray]:
    ranked = [wide(value) * scales[name] for name, value in values.items()]
    masks, _ = keep_largest(ranked, [np.ones(value.shape, bool) for value in ranked], sparsity)
    return dict(zip(values, masks, strict=True))


def _curvature(loss: float, looks: list[tuple[float, float]]) -> float:
    """Loss per square of what went, from the first level at which the loss rose clearly."""
    for found, gone in looks:
        if gone and np.isfinite(found) and found - loss > 0.05 * max(abs(loss), 1e-3):
            return (found - loss) / gone
    found, gone = looks[-1]
    return max(found - loss, 0.0) / gone if gone and np.isfinite(found) else 0.0


def _scales(curvatures: dict[str, float]) -> dict[str, float]:
    """Square roots of the curvatures, the largest 1.0; no layer counts for nothing."""
    largest = max(curvatures.values(), default=0.0)
    if largest <= 0.0:
        return dict.fromkeys(curvatures, 1.0)
    return {name: max(value / largest, 1e-4) ** 0.5 for name, value in curvatures.items()}
