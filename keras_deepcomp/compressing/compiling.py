"""Copies of a compiled model that train and are measured as it is, and leave it alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from keras_deepcomp.compressing.data import Data
from keras_deepcomp.devices import to_numpy

LAST_SHARE_OF_RATE = 0.02
"""What is left of the learning rate at the end of a stage."""

_RATES_LOOKED_AT = 64


def check_compiled(model: Any) -> None:
    """Refuses what cannot be trained.

    Raises:
        TypeError: Not a Keras model.
        ValueError: It is not built or not compiled, or its `compile` cannot be repeated.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected a Keras 3 model; got {model!r}.")
    if not model.built:
        raise ValueError(
            f"'{model.name}' is not built, so it has no weights yet. Train it first: compress "
            "starts from a model that does what it should."
        )
    if not getattr(model, "compiled", False) or model.optimizer is None:
        raise ValueError(
            f"'{model.name}' is not compiled, so nobody knows by which loss to train it and by "
            "which metric to measure it. Call model.compile(optimizer, loss, metrics=[...]) first; "
            "a model that was loaded with compile=False as well."
        )
    if _has_own_compile(model) and not _repeats_own_compile(model):
        raise ValueError(
            f"{type(model).__name__} has a compile() of its own. Give it get_compile_config() and "
            "compile_from_config(config), so that copies of it can be compiled too."
        )


def compile_alike(model: keras.Model, like: keras.Model, rate: Any = None) -> keras.Model:
    """Compiles a copy of a model as that was compiled.

    Args:
        model: The copy; wrapped or plain.
        like: The user's model.
        rate: A learning rate or schedule for the copy's optimizer; None keeps it.

    Returns:
        `model`.
    """
    if _has_own_compile(like):
        model.compile_from_config(like.get_compile_config())
    else:
        config = dict(like._compile_config.config)
        config["optimizer"] = _copy_of(config["optimizer"])
        for kind in ("metrics", "weighted_metrics"):
            config[kind] = keras.tree.map_structure(_copy_of, config[kind])
        model.compile(**config)
    if rate is not None:
        _innermost(model.optimizer).learning_rate = rate
    return model


def peak_rate(optimizer: keras.optimizers.Optimizer) -> float:
    """The learning rate that a model was trained with: of a schedule, the largest so far."""
    optimizer = _innermost(optimizer)
    schedule = getattr(optimizer, "_learning_rate", None)
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        steps = np.linspace(0, int(to_numpy(optimizer.iterations)), _RATES_LOOKED_AT).astype(int)
        return max(float(schedule(int(step))) for step in steps)
    return float(to_numpy(keras.ops.convert_to_tensor(optimizer.learning_rate)))


def fit(
    model: keras.Model,
    like: keras.Model,
    train: Data,
    epochs: int,
    rate: float,
    callbacks: list[keras.callbacks.Callback],
    prepare: Callable[[keras.Model], None] | None = None,
) -> None:
    """Trains a copy: the learning rate falls along a cosine.

    Args:
        model: The copy, wrapped or plain.
        like: The user's model, whose loss and optimizer it gets.
        train: The data.
        epochs: How many.
        rate: The learning rate at the beginning.
        callbacks: For `fit`.
        prepare: Called with the compiled copy before it trains.

    Raises:
        FloatingPointError: The loss became NaN or infinite.
    """
    accumulated = getattr(_innermost(like.optimizer), "gradient_accumulation_steps", None) or 1
    steps = max(1, epochs * train.batches // accumulated)
    falling = keras.optimizers.schedules.CosineDecay(rate, steps, alpha=LAST_SHARE_OF_RATE)
    compile_alike(model, like, falling)
    if prepare is not None:
        prepare(model)
    model.fit(**train.arguments(), epochs=epochs, verbose=0, callbacks=[_StopAtNaN(), *callbacks])


def seed_all(*numbers: int) -> None:
    """Lets all that draws random numbers draw those that belong to some numbers."""
    keras.utils.set_random_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))


@contextmanager
def random_states_kept() -> Iterator[None]:
    """Leaves the generators of Python and numpy as they were.

    The backend's own cannot be asked for its state, and goes on from the last seed.
    """
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


class _StopAtNaN(keras.callbacks.Callback):
    """Ends a training that has gone wrong, before its masks and centroids are made of NaN."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None and not np.isfinite(loss):
            raise FloatingPointError(f"the loss became {loss} in epoch {epoch + 1}")


def _has_own_compile(model: keras.Model) -> bool:
    return type(model).compile is not keras.Model.compile


def _repeats_own_compile(model: keras.Model) -> bool:
    return type(model).compile_from_config is not keras.Model.compile_from_config


def _innermost(optimizer: Any) -> Any:
    """What loss scaling wraps."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def _copy_of(part: Any) -> Any:
    """An optimizer or metric with a state of its own; anything else has none."""
    if not isinstance(part, keras.optimizers.Optimizer | keras.metrics.Metric):
        return part
    return type(part).from_config(part.get_config())
