"""A copy that learns from a teacher's answers beside the labels, whatever its data comes from.

The targets of `keras_deepcomp.distillation` are computed ahead, for arrays. Here the teacher
answers each batch as it comes, within the copy's own `compute_loss`; so data sets of all kinds will
do, and models with several outputs, of which those that tell classes apart are taught.
"""

from __future__ import annotations

from typing import Any, Literal

import keras

from keras_deepcomp.distillation import TEACHER_SHARE, TEMPERATURE

Answers = Literal["logits", "probabilities"]

_LEAST_PROBABILITY = 1e-7


class Teacher:
    """Teaches copies of a model.

    Args:
        model: The user's model, whose losses say which outputs tell classes apart.
        teacher: The model that answers; with outputs like those of `model`.

    Raises:
        ValueError: No output of the model tells classes apart.
    """

    def __init__(self, model: keras.Model, teacher: keras.Model) -> None:
        self._answers = answers_of(model)
        if not any(self._answers):
            raise ValueError(
                f"'{model.name}' was not compiled with a categorical cross-entropy, so a teacher "
                "has no probabilities to teach it. Leave teacher= out."
            )
        # A teacher that was compiled knows better what its answers are.
        compiled = getattr(teacher, "compiled", False) and teacher.optimizer is not None
        theirs = answers_of(teacher) if compiled else self._answers
        self._theirs = theirs if len(theirs) == len(self._answers) else self._answers
        # Held in a tuple: the teacher is no part of the copy that asks it.
        self._teacher = (teacher,)

    def teach(self, student: keras.Model) -> None:
        """Mixes the teacher's answers into the loss that a compiled copy is trained by."""
        own = student.compute_loss

        def compute_loss(
            x: Any = None,
            y: Any = None,
            y_pred: Any = None,
            sample_weight: Any = None,
            training: bool = True,
        ) -> Any:
            loss = own(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
            if not training:
                return loss
            soft = self._soft_loss(x, y_pred, sample_weight)
            return TEACHER_SHARE * soft + (1.0 - TEACHER_SHARE) * loss

        student.compute_loss = compute_loss

    def _soft_loss(self, x: Any, y_pred: Any, sample_weight: Any) -> Any:
        answers = self._teacher[0](x, training=False)
        weights = keras.tree.flatten(sample_weight)
        losses = []
        for place, (student, teacher) in enumerate(
            zip(keras.tree.flatten(y_pred), keras.tree.flatten(answers), strict=True)
        ):
            kind = self._answers[place]
            if kind is None:
                continue
            target = keras.ops.stop_gradient(_logits(teacher, self._theirs[place] or kind))
            each = TEMPERATURE**2 * keras.losses.categorical_crossentropy(
                keras.ops.softmax(target / TEMPERATURE),
                _logits(student, kind) / TEMPERATURE,
                from_logits=True,
            )
            weight = weights[place if len(weights) > 1 else 0] if weights else None
            if weight is not None and len(weight.shape) == len(each.shape):
                each = each * keras.ops.cast(weight, each.dtype)
            losses.append(keras.ops.mean(each))
        return sum(losses)


def answers_of(model: keras.Model) -> list[Answers | None]:
    """What each output of a compiled model gives; None for one that tells no classes apart."""
    loss = model.loss
    outputs = list(getattr(model, "output_names", None) or [None])
    if isinstance(loss, dict):
        return [_answers(loss.get(output)) for output in outputs]
    if isinstance(loss, list | tuple):
        return [_answers(each) for each in loss]
    return [_answers(loss)] * len(outputs)


def _answers(loss: Any) -> Answers | None:
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    if loss in (
        keras.losses.categorical_crossentropy,
        keras.losses.sparse_categorical_crossentropy,
    ):
        return "probabilities"
    kinds = (keras.losses.CategoricalCrossentropy, keras.losses.SparseCategoricalCrossentropy)
    if type(loss) not in kinds:
        return None
    config = loss.get_config()
    if config.get("ignore_class") is not None or config.get("axis", -1) != -1:
        return None
    return "logits" if config.get("from_logits") else "probabilities"


def _logits(answers: Any, kind: Answers) -> Any:
    if kind == "logits":
        return answers
    return keras.ops.log(keras.ops.maximum(answers, _LEAST_PROBABILITY))
