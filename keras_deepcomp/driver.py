"""Carrying out pruning schedules, step by step, in any training loop.

A schedule only says how sparse a layer should be at a step; somebody has to count the steps and
move the masks. That is a `PruningDriver`: `keras_deepcomp.UpdatePruningStep` has one during `fit`,
and a loop of one's own calls it before each batch.
"""

from __future__ import annotations

import warnings
import weakref
from dataclasses import dataclass
from typing import Any

import keras

from keras_deepcomp.devices import to_numpy
from keras_deepcomp.ranking import scores
from keras_deepcomp.schedules import Plan
from keras_deepcomp.wrappers.pruning import PruneLowMagnitude
from keras_deepcomp.wrappers.substitution import find_wrappers

Member = tuple[PruneLowMagnitude, str]

_DRIVEN_IN: weakref.WeakKeyDictionary[PruneLowMagnitude, weakref.ref[keras.Model]] = (
    weakref.WeakKeyDictionary()
)
"""Through which model each wrapper was driven last."""


@dataclass
class Driven:
    """A wrapper whose schedule is being carried out, and the step of its last update."""

    wrapper: PruneLowMagnitude
    plan: Plan
    updated: int


class PruningDriver:
    """Moves the masks of a model as its schedules say; for training loops without `fit`.

    Call `update(step)` before each batch: it does what is due at that step, and only compares a few
    numbers where nothing is. Call `finish(step)` after the last one. Steps are optimizer steps; a
    step may be left out, and what was due at it is done at the next one.

    All state is in the model's variables. So a loop that goes on from a checkpoint, with
    `step=` where it stopped, goes on with the plan that it had.

    Under JAX, a stateless loop holds the variables' values itself: hand them to the model before
    `update`, and take them back after it, whenever `is_due(step)`.

    Args:
        model: A model with `PruneLowMagnitude` layers.
        last_step: The step at which the training ends, to which the fractions in schedules refer;
            None where nobody knows.
        first_step: The step at which the training starts.
        step: Where it is now, if it has begun before; `first_step` otherwise.
        optimizer: The optimizer that trains the model; only `ranking="worth"` needs it.

    Raises:
        ValueError: The model has no `PruneLowMagnitude` layer; or a schedule in fractions meets a
            training of unknown length.

    Example:
        >>> driver = keras_deepcomp.PruningDriver(pruned, last_step=1000)
        >>> for step, (x, y) in enumerate(batches):
        ...     driver.update(step)
        ...     train_step(x, y)
        >>> driver.finish(step + 1)
    """

    def __init__(
        self,
        model: keras.Model,
        last_step: int | None,
        first_step: int = 0,
        step: int | None = None,
        optimizer: Any = None,
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        self._driven = [
            _lay_out(wrapper, first_step, last_step, first_step if step is None else step)
            for wrapper in pruning_wrappers(model, type(self).__name__)
        ]
        self._warn_if_shared()
        self._unfinished_is_known = self._warn_if_unfinished(last_step)
        for driven in self._driven:
            driven.wrapper.driven = True
        self._announced = self._absence_is_known = False

    def is_due(self, step: int) -> bool:
        """Whether `update(step)` would move masks."""
        return bool(self._due(step))

    def update(self, step: int) -> bool:
        """Does what is due before the batch that starts at an optimizer step.

        Returns:
            Whether masks were moved.

        Raises:
            ValueError: Weights are NaN or infinite.
        """
        self._announced = True
        due = self._due(step)
        together: dict[tuple[Any, ...], list[PruneLowMagnitude]] = {}
        for driven in due:
            wrapper = driven.wrapper
            value = wrapper.pruning_schedule.value(step, driven.plan)
            if wrapper.scope == "global":
                together.setdefault((wrapper.structure, wrapper.ranking, value), []).append(wrapper)
            elif wrapper.pruning_schedule.target == "quality":
                _prune_by_deviation(wrapper, value)
            else:
                for name in wrapper.weight_variables:
                    _prune_by_rank([(wrapper, name)], value, self._optimizer)
        for (*_, value), wrappers in together.items():
            members = [(w, name) for w in wrappers for name in w.weight_variables]
            _prune_by_rank(members, value, self._optimizer)
        for driven in due:
            driven.updated = step
            driven.wrapper.pruning_step.assign(step)
        return bool(due)

    def finish(self, step: int) -> None:
        """Does what is due at the last step; warns if a schedule is not done there.

        Raises:
            ValueError: Weights are NaN or infinite.
        """
        self.update(step)
        self._announced = False
        for driven in self._driven:
            driven.wrapper.driven = False
            driven.wrapper.done = driven.plan.is_done(step)
        late = [driven for driven in self._driven if not driven.wrapper.done]
        if late and not self._unfinished_is_known:
            warnings.warn(
                f"Training stopped at step {step}, and the pruning schedule of "
                f"'{late[0].wrapper.name}' ends at step {late[0].plan.end}: its sparsity is "
                f"{late[0].wrapper.sparsity:.1%} so far. Go on with fit and "
                "UpdatePruningStep() (or PruningDriver), or give an earlier end=.",
                UserWarning,
                stacklevel=3,
            )

    def watch_fit(self) -> None:
        """Makes each batch of `fit` warn that comes without an `update` before it.

        `PruneLowMagnitude.call` cannot do that: in a training step that is compiled already, as in
        a second `fit` of the same model, it does not run again.
        """
        run = self._model.train_function
        if run is None:  # the callback is driven by hand, and so is the training
            return
        self._model.train_function = _WatchedTraining(getattr(run, "unwatched", run), self)

    def before_batch_of_fit(self) -> None:
        """Called before each batch of a watched `fit`; warns once if nobody drives it."""
        undone = [d.wrapper for d in self._driven if not d.plan.is_done(d.updated)]
        if undone and not self._announced and not self._absence_is_known:
            self._absence_is_known = True
            undone[0].warn_that_nobody_drives()
        self._announced = False

    def announce(self) -> None:
        """Says that the next batch is driven, though nothing is due at it."""
        self._announced = True

    def _warn_if_unfinished(self, last: int | None) -> bool:
        if last is None:
            return False
        plans = [driven.plan for driven in self._driven]
        never = [plan.begin for plan in plans if plan.begin > last]
        late = [plan.end for plan in plans if plan.end is not None and plan.end > last]
        if never:
            warnings.warn(
                f"The pruning schedule begins at step {never[0]}, but this training ends at step "
                f"{last}: nothing will be pruned. Give an earlier begin= (or a fraction, such as "
                "begin=0.0), or train longer.",
                UserWarning,
                stacklevel=3,
            )
        elif late:
            warnings.warn(
                f"The pruning schedule ends at step {late[0]}, but this training ends at step "
                f"{last}: the final sparsity will not be reached. Give an earlier end= (or a "
                "fraction, such as end=0.7), or train longer.",
                UserWarning,
                stacklevel=3,
            )
        return bool(never or late)

    def _warn_if_shared(self) -> None:
        """Two models that train one wrapped layer would each move its masks by their own steps."""
        for wrapper in (driven.wrapper for driven in self._driven):
            before = _DRIVEN_IN.get(wrapper, lambda: None)()
            if before is not None and before is not self._model:
                warnings.warn(
                    f"'{wrapper.name}' is a layer of '{before.name}' too, whose training has moved "
                    f"its masks; now '{self._model.name}' goes on with them, by its own steps. "
                    "Train one of the two models, or prune the plain models one by one, which "
                    "gives each its own layers.",
                    UserWarning,
                    stacklevel=4,
                )
                break
        for driven in self._driven:
            _DRIVEN_IN[driven.wrapper] = weakref.ref(self._model)

    def _due(self, step: int) -> list[Driven]:
        # From our own note of the last update: during fit, JAX has the variables elsewhere.
        return [
            driven
            for driven in self._driven
            if (latest := driven.plan.latest_update(step)) is not None and latest > driven.updated
        ]


class _WatchedTraining:
    """A model's `train_function`, which tells the driver of each call."""

    def __init__(self, unwatched: Any, driver: PruningDriver) -> None:
        self.unwatched = unwatched
        self._driver = driver

    def __call__(self, *args: Any) -> Any:
        self._driver.before_batch_of_fit()
        return self.unwatched(*args)


def pruning_wrappers(model: keras.Model, asked_by: str) -> list[PruneLowMagnitude]:
    """The `PruneLowMagnitude` layers of a model.

    Raises:
        ValueError: There are none.
    """
    wrappers = find_wrappers(model, PruneLowMagnitude)
    if not wrappers:
        raise ValueError(
            f"{asked_by} found no PruneLowMagnitude layer in '{model.name}'. Train the model that "
            "keras_deepcomp.prune_low_magnitude returned, or leave it out."
        )
    return wrappers


def _lay_out(wrapper: PruneLowMagnitude, first: int, last: int | None, step: int) -> Driven:
    """Lays a schedule over a training, or finds it laid out and begun."""
    begun, horizon_end = (int(x) for x in to_numpy(wrapper.horizon))
    updated = int(to_numpy(wrapper.pruning_step))
    plan = wrapper.plan()
    if plan is None or not max(begun, updated) <= step < horizon_end:
        plan = wrapper.pruning_schedule.plan(first, last)
        if last is not None:
            wrapper.horizon.assign([first, last])
        if updated > step:  # a new optimizer counts from 0 again
            updated = -1
            wrapper.pruning_step.assign(updated)
    return Driven(wrapper, plan, updated)


def _prune_by_rank(members: list[Member], sparsity: float, optimizer: Any) -> None:
    structure = members[0][0].structure
    masks = [wrapper.arranged(name, wrapper.mask(name)) for wrapper, name in members]
    if not members[0][0].pruning_schedule.may_fall:
        sparsity = max(sparsity, structure.present(masks))
    values = [wrapper.arranged(name, scores(wrapper, name, optimizer)) for wrapper, name in members]
    kept, threshold = structure.keep_largest(values, masks, sparsity)
    for (wrapper, name), mask in zip(members, kept, strict=True):
        # Where nothing more went, the threshold is still the one that the others fell under.
        wrapper.set_mask(name, wrapper.restored(name, mask), threshold or wrapper.threshold(name))


def _prune_by_deviation(wrapper: PruneLowMagnitude, quality: float) -> None:
    for name in wrapper.weight_variables:
        threshold = quality * wrapper.deviation(name)
        # The value has no name here, so that it is gone when the mask is set.
        kept = wrapper.structure.keep_above(
            wrapper.arranged(name, wrapper.pruned_value(name)),
            wrapper.arranged(name, wrapper.mask(name)),
            threshold,
        )
        wrapper.set_mask(name, wrapper.restored(name, kept), threshold)
