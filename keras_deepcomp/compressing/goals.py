"""What a budget allows, and which of two files is better."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from keras_deepcomp.compressing.data import Data

Metric = str | Callable[[keras.Model], float] | None
Metrics = dict[str, float]

_UP = re.compile(
    r"acc|auc|precision|recall|f1|f_?beta|io_?u|r2|top_?k|similarity|sensitivity|specificity"
    r"|true_(pos|neg)|dice|psnr|ssim|bleu|rouge|correlation|score"
)
_DOWN = re.compile(
    r"loss|error|mse|mae|mape|msle|rmse|entropy|divergence|hinge|poisson|logcosh|perplexity"
    r"|false_(pos|neg)|deviation|distance|penalty"
)

ROUNDING = 1e-6
"""Metrics are float32: a difference smaller than this, in parts of the metric, is none."""


class Measure:
    """Measures a compiled model on validation data.

    Args:
        validation: The data.
        metric: A callable on the model that gives a number, besides the compiled metrics; or None.
    """

    def __init__(self, validation: Data, metric: Callable[[keras.Model], float] | None) -> None:
        self._validation = validation
        self._metric = metric

    def __call__(self, model: keras.Model, samples: int | None = None) -> Metrics:
        """Metrics by name, as `evaluate` calls them; of the first samples only, if so many."""
        data = self._validation
        arguments = data.arguments() if samples is None else data.head(samples)
        found = model.evaluate(**arguments, verbose=0, return_dict=True)
        metrics = {name: float(value) for name, value in _flat(found)}
        if self._metric is not None and samples is None:
            metrics[name_of(self._metric)] = float(self._metric(model))
        return metrics


@dataclass(frozen=True)
class Watched:
    """One metric that has a budget.

    Attributes:
        name: As `evaluate` calls it.
        sign: 1.0 if more is better, -1.0 if less is.
        before: Its value for the model before compression.
        drop: By how much it may get worse; None where bytes are the budget.
    """

    name: str
    sign: float
    before: float
    drop: float | None

    def worsening(self, metrics: Metrics) -> float:
        """By how much it is worse than before; NaN counts as infinitely."""
        value = self.sign * (self.before - metrics[self.name])
        return math.inf if math.isnan(value) else value

    def excess(self, metrics: Metrics) -> float:
        """By how much it is worse than allowed, at most 0.0 if it is not."""
        assert self.drop is not None
        excess = self.worsening(metrics) - self.drop
        return 0.0 if abs(excess) <= ROUNDING * max(1.0, abs(self.before)) else excess


@dataclass(frozen=True)
class Goal:
    """A budget: bytes as few as possible while metrics hold, or the other way round.

    Attributes:
        watched: The metrics; where bytes are the budget, the first one is to be as good as
            possible.
        max_bytes: The budget in bytes, or None.
    """

    watched: tuple[Watched, ...]
    max_bytes: int | None = None

    @property
    def main(self) -> Watched:
        """The metric that is shown."""
        return self.watched[0]

    def keeps(self, size: int, metrics: Metrics) -> bool:
        """Whether a file keeps the budget."""
        if self.max_bytes is not None:
            return size <= self.max_bytes and math.isfinite(self.main.worsening(metrics))
        return all(one.excess(metrics) <= 0.0 for one in self.watched)

    def rank(self, size: int, metrics: Metrics) -> tuple[float, ...]:
        """Sorts files, the best first: those that keep the budget, then those closest to it."""
        keeps = self.keeps(size, metrics)
        if self.max_bytes is None:
            if keeps:
                return (0.0, size, self.main.worsening(metrics))
            # In parts of what may be lost, so that metrics of different units compare.
            over = max(
                one.excess(metrics) / max(abs(one.drop or 0.0), ROUNDING) for one in self.watched
            )
            return (1.0, over, size)
        if keeps:
            return (0.0, self.main.worsening(metrics), size)
        return (1.0, size, self.main.worsening(metrics))

    def in_words(self) -> str:
        """The budget, for people."""
        if self.max_bytes is not None:
            return f"at most {self.max_bytes:,} bytes"
        return " and ".join(
            f"{one.name} {'at least' if one.sign > 0 else 'at most'} "
            f"{one.before - one.sign * (one.drop or 0.0):.6g} (is {one.before:.6g})"
            for one in self.watched
        )


def goal_for(
    model: keras.Model,
    before: Metrics,
    max_metric_drop: float | Mapping[str, float] | None,
    max_bytes: int | None,
    metric: Metric = None,
    direction: str | None = None,
) -> Goal:
    """Makes a goal of what the user said.

    Args:
        model: The user's model.
        before: Its metrics.
        max_metric_drop: One number, or one for each of several metrics by name.
        max_bytes: The other kind of budget.
        metric: A metric's name, a callable, or None for the first compiled metric of each output.
        direction: "max" or "min"; None goes by the metric's name.

    Raises:
        ValueError: There is no such metric, or nobody knows its direction.
    """
    if isinstance(max_metric_drop, Mapping):
        drops: dict[str, float | None] = {n: float(d) for n, d in max_metric_drop.items()}
    else:
        names = [name_of(metric)] if metric is not None else _default(model, before, max_bytes)
        drops = dict.fromkeys(names, max_metric_drop)
    for name in drops:
        if name not in before:
            raise ValueError(
                f"'{model.name}' has no metric '{name}'. It was compiled with "
                f"{', '.join(sorted(before))}: name one of these, or compile it with another."
            )
    return Goal(
        tuple(
            Watched(name, _sign(name, direction), before[name], drop)
            for name, drop in drops.items()
        ),
        max_bytes,
    )


def name_of(metric: Any) -> str:
    """What a metric is called: its name, or that of the function."""
    if isinstance(metric, str):
        return metric
    return str(getattr(metric, "__name__", type(metric).__name__))


def _default(model: keras.Model, before: Metrics, max_bytes: int | None) -> list[str]:
    """The first compiled metric of each output that is not a loss; the loss if there is none."""
    outputs = list(getattr(model, "output_names", None) or [])
    losses = {"loss", *(f"{output}_loss" for output in outputs)}
    names = [name for name in before if name not in losses]
    if len(outputs) < 2 or not names:
        return names[:1] or ["loss"]
    if max_bytes is not None:
        return ["loss"]
    found = [
        next((name for name in names if name.startswith(f"{output}_")), f"{output}_loss")
        for output in outputs
    ]
    return [name for name in found if name in before] or ["loss"]


def _sign(name: str, direction: str | None) -> float:
    if direction in ("max", "min"):
        return 1.0 if direction == "max" else -1.0
    if direction is not None:
        raise ValueError(f'metric_direction is "max" or "min"; got {direction!r}.')
    lower = name.lower()
    # A loss first: binary_accuracy_loss is one, and cosine_similarity is none.
    if _DOWN.search(lower):
        return -1.0
    if _UP.search(lower):
        return 1.0
    raise ValueError(
        f'Nobody knows whether more of \'{name}\' is better. Say metric_direction="max" or "min".'
    )


def _flat(found: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Metrics by name: some, such as F1Score without an average, give one number per class."""
    flat = []
    for name, value in found.items():
        if isinstance(value, Mapping):
            flat += _flat(value)
        elif getattr(value, "ndim", 0):
            flat.append((name, sum(map(float, value)) / max(len(value), 1)))
        else:
            flat.append((name, value))
    return flat
