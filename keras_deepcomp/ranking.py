"""By what weights rank when they are pruned: how large they are, or how much the loss needs them.

"magnitude" is the paper's. "worth" is the square root of what Optimal Brain Damage (LeCun, Denker
and Solla, 1990) estimates a weight's loss to cost, w^2 h / 2, with the mean of the squared gradient
for the curvature h, as in the empirical Fisher information. The optimizer has this mean already:
the second moments of Adam and its kin. So it costs nothing, follows the training, and is comparable
between layers, which magnitudes are not: with one threshold for all layers (`scope="global"`),
"worth" takes more from wide layers and leaves more to narrow ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_deepcomp.devices import to_numpy
from keras_deepcomp.masks import wide

if TYPE_CHECKING:
    from keras_deepcomp.wrappers.pruning import PruneLowMagnitude

RANKINGS = ("magnitude", "worth")

# AdamW is an Adam.
_WITH_MOMENTS = (
    keras.optimizers.Adam,
    keras.optimizers.Nadam,
    keras.optimizers.Lamb,
    keras.optimizers.RMSprop,
)


def check_ranking(ranking: str, target: str) -> str:
    """Gives a ranking back if there is such a one for a schedule's target.

    Raises:
        ValueError: There is none.
    """
    if ranking not in RANKINGS:
        raise ValueError(f"ranking must be one of {RANKINGS}; got {ranking!r}.")
    if ranking != "magnitude" and target == "quality":
        raise ValueError(
            f"Threshold compares magnitudes, and ranking={ranking!r} has none. Use "
            "a sparsity schedule, such as schedules.Polynomial."
        )
    return ranking


def scores(wrapper: PruneLowMagnitude, name: str, optimizer: Any) -> np.ndarray:
    """What the elements of a weight rank by, the larger the longer they stay.

    Args:
        wrapper: A pruning wrapper.
        name: The weight's path within the layer.
        optimizer: The optimizer that trains it; only "worth" asks it.

    Returns:
        Floats of the weight's shape.

    Raises:
        ValueError: The optimizer keeps no second moments.
    """
    values = wrapper.pruned_value(name)
    if wrapper.ranking == "magnitude":
        return values
    moments = second_moments(optimizer, wrapper.weight_variables[name])
    if moments is None or not moments.any():
        # Nothing has been trained yet: as if all layers had the same gradients for their size.
        deviation = float(np.sqrt(np.mean(wide(values).astype(np.float64) ** 2)))
        return wide(values) / np.float32(deviation or 1.0)
    return np.abs(wide(values)) * np.sqrt(wide(moments))


def second_moments(optimizer: Any, variable: Any) -> np.ndarray | None:
    """The running mean of a variable's squared gradient; None before the first step.

    Args:
        optimizer: A Keras optimizer; one inside a `LossScaleOptimizer` is asked for its own.
        variable: One of the variables that it trains.

    Raises:
        ValueError: It keeps none.
    """
    if not has_second_moments(optimizer):
        what = "None" if optimizer is None else f"'{optimizer.name}'"
        raise ValueError(
            'ranking="worth" needs the mean squared gradients that Adam, AdamW, Nadam, Lamb '
            f"and RMSprop keep, and the optimizer is {what}. Compile with one of these, hand it to "
            'PruningDriver(optimizer=...), or rank by "magnitude".'
        )
    optimizer = _inner(optimizer)
    if not optimizer.built:
        return None
    place = optimizer._trainable_variables_indices.get(optimizer._var_key(variable))
    return None if place is None else to_numpy(optimizer._velocities[place])


def has_second_moments(optimizer: Any) -> bool:
    """Whether an optimizer keeps the running means of squared gradients."""
    return isinstance(_inner(optimizer), _WITH_MOMENTS)


def _inner(optimizer: Any) -> Any:
    return getattr(optimizer, "inner_optimizer", optimizer)
