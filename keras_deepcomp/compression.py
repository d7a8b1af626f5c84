"""`keras_deepcomp.compress`: the smallest file within a budget, in one call."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import keras

from keras_deepcomp.compressing.compiling import check_compiled, peak_rate, random_states_kept
from keras_deepcomp.compressing.data import Data
from keras_deepcomp.compressing.goals import Measure, Metric, goal_for, name_of
from keras_deepcomp.compressing.journal import Journal, digest_of
from keras_deepcomp.compressing.progress import Show
from keras_deepcomp.compressing.result import CompressionResult
from keras_deepcomp.compressing.rounds import Settings, Task
from keras_deepcomp.compressing.searching import Search
from keras_deepcomp.compressing.steering import MOST_ROUNDS, PATIENCE
from keras_deepcomp.compressing.teaching import Teacher, answers_of


def compress(
    model: keras.Model,
    train: Any,
    validation: Any = None,
    *,
    max_metric_drop: float | Mapping[str, float] | None = None,
    max_bytes: int | None = None,
    metric: Metric = None,
    metric_direction: str | None = None,
    teacher: keras.Model | bool | None = None,
    budget_minutes: float | None = None,
    directory: str | os.PathLike[str] | None = None,
    epochs: int = 10,
    sharing_epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    patience: int = PATIENCE,
    max_rounds: int = MOST_ROUNDS,
    seed: int = 0,
    verbose: bool = True,
) -> CompressionResult:
    """Looks for the smallest file within a budget: prunes, shares, trains and codes, in rounds.

    The first look is at how much each layer minds losing its small weights. Then each round makes
    the model sparser by gradual pruning, lets its weights share few values, trains these, codes
    the model and measures what is decoded from the file on the validation data. What was measured
    decides on the next round. The given model is not changed.

    Args:
        model: A trained and compiled Keras model of any kind, with any loss.
        train: Training data: `(x, y)`, `(x, y, sample_weight)`, a `tf.data.Dataset`, a `PyDataset`
            or a `DataLoader`.
        validation: The same for validation; None takes a tenth of the arrays in `train`, drawn at
            random.
        max_metric_drop: The budget is a metric, and the file is to be as small as it can be: by how
            much the metric may get worse, in its own units. A dict from metric name to number holds
            several.
        max_bytes: The budget is the size of the whole file, and the metric is to be as good as it
            can be.
        metric: Name of a compiled metric, as `evaluate` calls it; or a callable from a compiled
            model to a number. None takes the first compiled metric that is not a loss, of each
            output of a model with several; the loss where there is none, and for `max_bytes` of a
            model with several outputs.
        metric_direction: "max" if more of the metric is better, "min" if less is. None goes by its
            name.
        teacher: A model whose answers, softened, are mixed into the loss of outputs that tell
            classes apart; it takes the same inputs and has such outputs. None takes the given model
            itself, False none.
        budget_minutes: Ends the search after so many minutes, interrupted runs included. None lets
            it end by itself.
        directory: Where all of the search is kept, the best file so far as `best.kdc`. A search
            that was interrupted goes on if the call is repeated. None takes a new folder among the
            system's temporary ones.
        epochs: Of pruning in each round.
        sharing_epochs: Of each training of shared values; None takes a third of `epochs`.
        batch_size: For arrays. None takes 32, or 128 from 10,000 samples on.
        learning_rate: At the beginning of each round. None takes the largest that the model was
            trained with.
        patience: Rounds without a better file after which the search ends.
        max_rounds: Rounds after which it ends in any case. May be another when it goes on.
        seed: For all random numbers. The same seed gives the same files, where the backend computes
            the same and no time limit ends a round early.
        verbose: Whether to show the progress: a bar on a terminal, and a line for each file.

    Returns:
        The best model, its file, all that was measured, and why the search ended. A budget that
        was not met is said there, with what comes closest.

    Raises:
        TypeError: Not a Keras model, or data that can be gone through only once.
        ValueError: The model is not built or not compiled, or cannot be pruned or written into a
            file; not exactly one budget was given; there is no such metric, or its direction is
            unknown.
        ResumeError: The directory holds another search.

    Example:
        >>> result = keras_deepcomp.compress(model, (x, y), (x_val, y_val), max_metric_drop=0.002)
        >>> print(result)
    """
    began = time.monotonic()
    check_compiled(model)
    if (max_metric_drop is None) == (max_bytes is None):
        raise ValueError(
            "compress needs one budget: max_metric_drop=0.002 for the smallest file at that cost, "
            "or max_bytes=20_000 for the best model of that size."
        )
    settings = Settings(
        epochs,
        sharing_epochs or max(1, epochs // 3),
        learning_rate or peak_rate(model.optimizer),
        seed,
    )
    training = Data(train, "train", batch_size)
    if validation is None:
        training, validating = training.split(0.1, seed)
    else:
        validating = Data(validation, "validation", batch_size)
    budget: Any = dict(max_metric_drop) if isinstance(max_metric_drop, Mapping) else max_metric_drop
    identity = {
        "model": digest_of(model),
        "training data": training.fingerprint(),
        "validation data": validating.fingerprint(),
        "max_metric_drop": budget,
        "max_bytes": max_bytes,
        "metric": None if metric is None else name_of(metric),
        "metric_direction": metric_direction,
        "patience": patience,
        "teacher": digest_of(teacher) if isinstance(teacher, keras.Model) else teacher,
        **asdict(settings),
    }
    taught_by = _teacher_for(model, teacher)
    if directory is None:
        directory = tempfile.mkdtemp(prefix="keras_deepcomp-")
    journal = Journal(directory, identity)
    deadline = None if budget_minutes is None else began + 60.0 * budget_minutes - journal.seconds
    measure = Measure(validating, metric if callable(metric) else None)
    with random_states_kept(), Show(verbose, deadline) as show:
        search = Search(Task(model, training, measure, settings, taught_by), journal, show)
        search.prepare(
            lambda before: goal_for(
                model, before, max_metric_drop, max_bytes, metric, metric_direction
            )
        )
        reason = search.run(patience, max_rounds, deadline)
        return search.result(reason, time.monotonic() - began)


def _teacher_for(model: keras.Model, teacher: Any) -> Teacher | None:
    """Who teaches: somebody, the model itself where it tells classes apart, or nobody."""
    if isinstance(teacher, keras.Model):
        return Teacher(model, teacher)
    if teacher is False or not any(answers_of(model)):
        return None
    return Teacher(model, model)
