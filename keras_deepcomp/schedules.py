"""How sparse a layer should be, as a function of training progress.

A schedule says three things: from which step to which step it acts, how often, and what value it
asks for at a step. The value is a sparsity (`Polynomial`, `Constant`, callables) or a quality
parameter, a multiple of the standard deviation of the layer's weights (`Threshold`). Nothing here
knows of layers or frameworks; `keras_deepcomp.UpdatePruningStep` carries a schedule out.

Begin and end are given in one of two units:

- a float is a fraction of the training that `fit` has planned (`end=0.7`: the last 30 % of the
  steps are left for retraining at full sparsity);
- an int is a number of optimizer steps, as in tfmot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, Literal

Point = int | float | None

_DEFAULT_FREQUENCY = 100
_FEWEST_UPDATES = 20


@dataclass(frozen=True)
class Plan:
    """A schedule laid over one training: everything in optimizer steps.

    Attributes:
        begin: The first step at which the schedule acts.
        end: The last one, or None for a schedule that never ends.
        frequency: Steps between two updates.
    """

    begin: int
    end: int | None
    frequency: int

    def latest_update(self, step: int) -> int | None:
        """The last update point at or before `step`, or None if there is none yet.

        Update points are `begin`, every `frequency` steps after it, and `end` itself, so that the
        final sparsity is reached whatever the frequency.
        """
        if step < self.begin:
            return None
        if self.end is not None and step >= self.end:
            return self.end
        return step - (step - self.begin) % self.frequency

    def is_done(self, step: int) -> bool:
        """Whether nothing is left to do after `step`."""
        return step >= (self.begin if self.end is None else self.end)

    def progress(self, step: int) -> float:
        """How far the schedule is at `step`, from 0.0 (begin) to 1.0 (end)."""
        if self.end is None or self.end <= self.begin:
            return 1.0 if step >= self.begin else 0.0
        return min(max((step - self.begin) / (self.end - self.begin), 0.0), 1.0)


class Schedule:
    """What every schedule has: a begin, an end and a frequency.

    Args:
        begin: When it starts to act: a fraction of the planned training (float in 0..1) or an
            optimizer step (int).
        end: When it is done, in the same units; None where it has no end.
        frequency: Optimizer steps between two updates of the masks. None means every 100 steps (as
            in tfmot), or oftener where the schedule is so short that this would give fewer than
            20 updates.

    Raises:
        ValueError: A fraction outside 0..1, a negative step, an end before the begin.
        TypeError: A begin or end that is neither int nor float.
    """

    target: Literal["sparsity", "quality"] = "sparsity"
    """What `value` is: a share of zeros, or a multiple of the weights' standard deviation."""

    may_fall = False
    """Whether a smaller value than before brings pruned weights back (from zero)."""

    def __init__(self, begin: Point = 0.0, end: Point = 0.7, frequency: int | None = None) -> None:
        self.begin = _check_point("begin", begin)
        self.end = None if end is None else _check_point("end", end)
        if type(self.begin) is type(self.end) and self.end is not None and self.end < self.begin:
            raise ValueError(
                f"A schedule must end after it begins: got begin={begin}, end={end}. Swap them, or "
                "give a later end."
            )
        wrong = isinstance(frequency, bool) or not isinstance(frequency, Integral | None)
        if wrong or (frequency is not None and frequency < 1):
            raise ValueError(
                f"frequency counts optimizer steps and is an int of at least 1; got {frequency!r}."
            )
        self.frequency = frequency

    @property
    def needs_planned_training(self) -> bool:
        """Whether begin or end is a fraction, which has a meaning only for a known training."""
        return any(isinstance(point, float) and point for point in (self.begin, self.end))

    def plan(self, first: int, last: int | None) -> Plan:
        """Lays the schedule over a training.

        Args:
            first: The optimizer step at which the training starts.
            last: The optimizer step at which it ends; None if nobody knows.

        Returns:
            The plan, in optimizer steps.

        Raises:
            ValueError: A fraction was given and `last` is None.
        """
        if last is None and self.needs_planned_training:
            raise ValueError(
                f"begin={self.begin}, end={self.end}: a float is a fraction of the planned "
                "training, but the data set does not tell how many batches it has. Pass "
                "steps_per_epoch= to fit (or last_step= to PruningDriver), or give begin= and "
                "end= as optimizer steps (ints)."
            )
        begin = self._to_step(self.begin, first, last)
        end = None if self.end is None else max(self._to_step(self.end, first, last), begin)
        frequency = self.frequency
        if frequency is None:
            frequency = _DEFAULT_FREQUENCY
            until = last if end is None else end
            if until is not None:
                frequency = max(1, min(frequency, (until - begin) // _FEWEST_UPDATES))
        return Plan(begin, end, frequency)

    @staticmethod
    def _to_step(point: int | float, first: int, last: int | None) -> int:
        if isinstance(point, int):
            return point
        return first + round(point * ((last or first) - first))

    def value(self, step: int, plan: Plan) -> float:
        """The sparsity or quality asked for at an optimizer step of a plan."""
        raise NotImplementedError

    @property
    def final(self) -> float | None:
        """The value that it ends at; None if nobody knows before."""
        return None

    def __call__(self, step: int, planned_steps: int | None = None) -> float:
        """The value at a step, for looking at a schedule without a model.

        Args:
            step: Optimizer steps done.
            planned_steps: Length of the training in steps; needed where begin or end is a fraction.

        Returns:
            A sparsity in [0, 1), or a quality for `Threshold`.
        """
        return self.value(step, self.plan(0, planned_steps))

    def get_config(self) -> dict[str, Any]:
        """The arguments, as plain data."""
        return {"begin": self.begin, "end": self.end, "frequency": self.frequency}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Schedule:
        """The schedule that `get_config` came from."""
        return cls(**config)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


class Polynomial(Schedule):
    """Sparsity that rises along a polynomial: fast at first, slowly at the end.

    With p the progress from begin (0) to end (1), the sparsity is
    `final + (initial - final) * (1 - p) ** power` (Zhu and Gupta 2017, equation 1; tfmot's
    `PolynomialDecay`).

    Args:
        final_sparsity: Share of weights that are zero at the end, in [0, 1).
        initial_sparsity: The same at the beginning, in [0, 1).
        begin: See `Schedule`.
        end: See `Schedule`.
        power: Exponent; 1.0 is a straight line.
        frequency: See `Schedule`.

    Raises:
        ValueError: A sparsity outside [0, 1), or a power that is not above 0.

    Example:
        >>> Polynomial(0.9, begin=0, end=100)(50)
        0.7875
    """

    def __init__(
        self,
        final_sparsity: float,
        initial_sparsity: float = 0.0,
        begin: int | float = 0.0,
        end: int | float = 0.7,
        power: float = 3.0,
        frequency: int | None = None,
    ) -> None:
        super().__init__(begin, end, frequency)
        self.final_sparsity = check_sparsity(final_sparsity, "final_sparsity")
        self.initial_sparsity = check_sparsity(initial_sparsity, "initial_sparsity")
        self.power = _check_power(power)

    def value(self, step: int, plan: Plan) -> float:
        """The sparsity at an optimizer step of a plan."""
        left = (1.0 - plan.progress(step)) ** self.power
        return self.final_sparsity + (self.initial_sparsity - self.final_sparsity) * left

    @property
    def final(self) -> float:
        """The sparsity that it ends at."""
        return self.final_sparsity

    def get_config(self) -> dict[str, Any]:
        """The arguments, as plain data."""
        return {
            "final_sparsity": self.final_sparsity,
            "initial_sparsity": self.initial_sparsity,
            "power": self.power,
            **super().get_config(),
        }


class Constant(Schedule):
    """One sparsity from begin on (tfmot's `ConstantSparsity`).

    Args:
        sparsity: Share of weights that are zero, in [0, 1).
        begin: See `Schedule`.
        end: See `Schedule`; None, the default, has no end.
        frequency: See `Schedule`.

    Raises:
        ValueError: A sparsity outside [0, 1).
    """

    def __init__(
        self,
        sparsity: float,
        begin: int | float = 0.0,
        end: int | float | None = None,
        frequency: int | None = None,
    ) -> None:
        super().__init__(begin, end, frequency)
        self.sparsity = check_sparsity(sparsity, "sparsity")

    def value(self, step: int, plan: Plan) -> float:
        """The sparsity at an optimizer step of a plan."""
        return self.sparsity

    @property
    def final(self) -> float:
        """The sparsity that it has throughout."""
        return self.sparsity

    def get_config(self) -> dict[str, Any]:
        """The arguments, as plain data."""
        return {"sparsity": self.sparsity, **super().get_config()}


class Threshold(Schedule):
    """The paper's own rule: weights under quality x standard deviation become zero.

    "The pruning threshold is chosen as a quality parameter multiplied by the standard deviation of
    a layer's weights" (Han et al., NIPS 2015, section 4; this is the pruning of Deep Compression,
    section 2). The standard deviation is that of the dense layer, taken when pruning begins: later
    ones would be of the survivors. The quality rises from 0 along the same polynomial as
    `Polynomial`'s sparsity, so that the network is pruned in steps with retraining in between.

    Args:
        quality: The multiple of the standard deviation that the threshold ends at, above 0.
        begin: See `Schedule`.
        end: See `Schedule`. Equal to begin, it prunes once.
        power: Exponent of the rise.
        frequency: See `Schedule`.

    Raises:
        ValueError: A quality or a power that is not above 0.
    """

    target = "quality"

    def __init__(
        self,
        quality: float,
        begin: int | float = 0.0,
        end: int | float = 0.7,
        power: float = 3.0,
        frequency: int | None = None,
    ) -> None:
        super().__init__(begin, end, frequency)
        if not 0.0 < _check_number("quality", quality) < float("inf"):
            raise ValueError(
                "quality times the standard deviation of a layer's weights is the pruning "
                f"threshold; expected a number above 0 (usually 0.5 to 3), got {quality!r}."
            )
        self.quality = float(quality)
        self.power = _check_power(power)

    def value(self, step: int, plan: Plan) -> float:
        """The quality at an optimizer step of a plan."""
        return self.quality * (1.0 - (1.0 - plan.progress(step)) ** self.power)

    def get_config(self) -> dict[str, Any]:
        """The arguments, as plain data."""
        return {"quality": self.quality, "power": self.power, **super().get_config()}


class FromCallable(Schedule):
    """Any function from the optimizer step to a sparsity, as a schedule.

    Unlike the schedules above it may fall: weights that come back start from zero (as in
    dense-sparse-dense training, Han et al. 2017). A model that holds one can be saved as `.keras`
    only if the function is registered with `keras.saving.register_keras_serializable`.

    Args:
        function: step (int) -> sparsity in [0, 1).
        begin: See `Schedule`.
        end: See `Schedule`; None, the default, has no end.
        frequency: See `Schedule`.
    """

    may_fall = True

    def plan(self, first: int, last: int | None) -> Plan:
        """Lays the schedule over a training; without an end it goes on to the training's."""
        plan = super().plan(first, last)
        return plan if plan.end is not None or last is None else replace(plan, end=last)

    def __init__(
        self,
        function: Callable[[int], float],
        begin: int | float = 0,
        end: int | float | None = None,
        frequency: int | None = None,
    ) -> None:
        super().__init__(begin, end, frequency)
        self.function = function

    def value(self, step: int, plan: Plan) -> float:
        """The sparsity at an optimizer step."""
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return check_sparsity(self.function(step), f"the schedule {name}({step})")

    def get_config(self) -> dict[str, Any]:
        """The arguments; the function as it is."""
        return {"function": self.function, **super().get_config()}


def as_schedule(schedule: Any) -> Schedule:
    """Takes what users have as a schedule.

    Args:
        schedule: One of ours, a tfmot `PruningSchedule`, or a callable from step to sparsity.

    Returns:
        One of ours. tfmot's `PolynomialDecay` and `ConstantSparsity` become `Polynomial` and
        `Constant` with the same numbers; other tfmot schedules are asked at each update.

    Raises:
        TypeError: Something else.
    """
    if isinstance(schedule, Schedule):
        return schedule
    if _is_tfmot(schedule):
        return _from_tfmot(schedule)
    if callable(schedule) and not isinstance(schedule, type):
        return FromCallable(schedule)
    hint = ""
    if isinstance(schedule, int | float):
        hint = f" For a fixed sparsity, pass schedules.Constant({schedule})."
    raise TypeError(
        "Expected a schedule from keras_deepcomp.schedules, a tfmot pruning schedule or a callable "
        f"step -> sparsity; got {schedule!r}.{hint}"
    )


def _is_tfmot(schedule: Any) -> bool:
    # By name: asking isinstance would import tfmot, which nobody needs for this.
    return any(
        base.__name__ == "PruningSchedule"
        and base.__module__.startswith("tensorflow_model_optimization.")
        for base in type(schedule).__mro__
    )


def _from_tfmot(schedule: Any) -> Schedule:
    kind = type(schedule).__name__
    if type(schedule).__module__.startswith("tensorflow_model_optimization."):
        config = dict(schedule.get_config()["config"])
        begin, end = config.pop("begin_step"), config.pop("end_step")
        config.update(begin=begin, end=None if end == -1 else end)
        if kind == "PolynomialDecay":
            return Polynomial(**config)
        if kind == "ConstantSparsity":
            return Constant(config.pop("target_sparsity"), **config)

    def sparsity_of(step: int) -> float:
        return float(schedule(step)[1])

    end = getattr(schedule, "end_step", -1)
    return FromCallable(
        sparsity_of,
        begin=getattr(schedule, "begin_step", 0),
        end=None if end == -1 else end,
        frequency=getattr(schedule, "frequency", None),
    )


def check_sparsity(sparsity: Any, name: str) -> float:
    """Gives the sparsity back as a float if it is one.

    Raises:
        ValueError: It is outside [0, 1).
        TypeError: It is not a number.
    """
    try:
        number = float(sparsity)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number in [0, 1); got {sparsity!r}.") from None
    if not 0.0 <= number < 1.0:
        percent = f" For {number:g} %, pass {number / 100:g}." if 1.0 < number < 100.0 else ""
        raise ValueError(
            f"{name} is the share of weights that are zero and must be in [0, 1); got "
            f"{sparsity!r}.{percent}"
        )
    return number


def _check_number(name: str, value: Any) -> float:
    if not isinstance(value, Real):
        raise TypeError(f"{name} must be a number; got {value!r}.")
    return float(value)


def _check_power(power: float) -> float:
    if not 0.0 < _check_number("power", power) < float("inf"):
        raise ValueError(f"power is the exponent of the rise and must be above 0; got {power!r}.")
    return float(power)


def _check_point(name: str, point: Any) -> int | float:
    if isinstance(point, Integral) and not isinstance(point, bool):
        point = int(point)
    elif isinstance(point, Real) and not isinstance(point, bool):
        point = float(point)
    else:
        raise TypeError(
            f"{name} is a fraction of the planned training (float) or an optimizer step (int); got "
            f"{point!r}."
        )
    if isinstance(point, float) and not 0.0 <= point <= 1.0:
        raise ValueError(
            f"{name}={point} is a float and so a fraction of the planned training, which lies in "
            f"0.0..1.0. For optimizer steps pass an int, such as {name}={int(max(point, 0))}."
            if point == point and abs(point) != float("inf")
            else f"{name} must be a finite number; got {point}."
        )
    if point < 0:
        raise ValueError(f"{name} counts optimizer steps and cannot be negative; got {point}.")
    return point
