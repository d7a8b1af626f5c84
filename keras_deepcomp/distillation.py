"""Learning from a teacher's answers beside the labels (Hinton, Vinyals and Dean 2015).

A sparse network keeps more of what a dense one knew if it learns from the dense one's answers, made
softer by a temperature, and from those of a larger network it learns more still. The teacher may be
the model from before pruning. The answers are computed once, so that an epoch costs what it did.
`teacher_share` and `temperature` have the same meaning, and the same defaults, everywhere.

Example:
    >>> soft = keras_deepcomp.distillation.soft_targets(teacher.predict(x), labels)
    >>> pruned.compile("adam", keras_deepcomp.distillation.SoftCrossentropy())
    >>> history = pruned.fit(x, soft, callbacks=[keras_deepcomp.UpdatePruningStep()])
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

TEMPERATURE = 3.0
TEACHER_SHARE = 0.9


def soft_targets(
    logits: ArrayLike,
    labels: ArrayLike | None = None,
    temperature: float = TEMPERATURE,
    teacher_share: float = TEACHER_SHARE,
) -> NDArray[np.float32]:
    """What the student is to answer: the teacher's softened answers, and for the rest the labels.

    Args:
        logits: The teacher's answers before softmax, shape (..., classes).
        labels: Integers of shape (...) or one-hot floats of the logits' shape; None leaves all to
            the teacher.
        temperature: What the logits are divided by, above 0.
        teacher_share: How much of the target is the teacher's, in [0, 1]; all of it without labels.

    Returns:
        Probabilities, of the logits' shape. Their largest is nearly always the label's, so that
        metrics such as accuracy have a meaning.

    Raises:
        ValueError: A temperature or a share out of range, or labels of another shape.
    """
    _check(temperature, teacher_share)
    answers = np.asarray(logits, np.float32) / np.float32(temperature)
    soft = np.exp(answers - answers.max(axis=-1, keepdims=True))
    soft /= soft.sum(axis=-1, keepdims=True)
    if labels is None:
        return soft
    hard = np.asarray(labels)
    if hard.shape == soft.shape[:-1] and np.issubdtype(hard.dtype, np.integer):
        hard = np.eye(soft.shape[-1], dtype=np.float32)[hard]
    if hard.shape != soft.shape:
        raise ValueError(
            f"labels of shape {hard.shape} and type {hard.dtype} do not fit logits of shape "
            f"{soft.shape}. Pass integers of shape {soft.shape[:-1]}, or one-hot floats."
        )
    share = np.float32(teacher_share)
    return share * soft + (1 - share) * hard.astype(np.float32)


@keras.saving.register_keras_serializable("keras_deepcomp")
class SoftCrossentropy(keras.losses.Loss):
    """Cross-entropy at a temperature, times its square, so that gradients do not depend on it.

    Args:
        temperature: That of the targets.
        name: The loss' name.
        **kwargs: For `keras.losses.Loss`.

    Raises:
        ValueError: A temperature that is not above 0.
    """

    def __init__(
        self, temperature: float = TEMPERATURE, name: str = "soft_crossentropy", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        _check(temperature, 1.0)
        self.temperature = temperature

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Losses for targets from `soft_targets` and logits, both of shape (..., classes)."""
        return self.temperature**2 * keras.losses.categorical_crossentropy(
            y_true, y_pred / self.temperature, from_logits=True
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments, as plain data."""
        return {**super().get_config(), "temperature": self.temperature}


def _check(temperature: float, teacher_share: float) -> None:
    if not 0.0 < temperature < float("inf"):
        raise ValueError(f"temperature divides logits and must be above 0; got {temperature!r}.")
    if not 0.0 <= teacher_share <= 1.0:
        raise ValueError(
            f"teacher_share is the teacher's part of the target, in [0, 1]; got {teacher_share!r}."
        )
