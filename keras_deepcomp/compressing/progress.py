"""What a search shows while it runs: a bar on a terminal, and a line for each file."""

from __future__ import annotations

import sys
import time
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from keras_deepcomp.compressing.goals import Goal
from keras_deepcomp.compressing.result import Point
from keras_deepcomp.compressing.rounds import TimeIsUp


class Show:
    """Shows a search.

    Args:
        verbose: Whether to show anything.
        deadline: When the time is up, as `time.monotonic` counts; None for never.
    """

    def __init__(self, verbose: bool, deadline: float | None) -> None:
        self._verbose, self._deadline = verbose, deadline
        # Where a program's output goes is where its result goes; this is beside it.
        self._console = Console(stderr=True, soft_wrap=True, highlight=False)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._best = ""
        self._round = 0

    def __enter__(self) -> Show:
        if self._verbose and sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("looking at the layers", total=None, note="")
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._bar is not None:
            self._bar.stop()

    def line(self, text: str) -> None:
        """Says something."""
        if self._verbose:
            self._console.print(text, markup=False)

    def round(self, number: int) -> None:
        """A round begins."""
        self._round = number

    def point(self, point: Point, goal: Goal, best: Point) -> None:
        """A file was measured; the best so far may be another one."""
        name = goal.main.name
        self._best = f"best {best.bytes:,} B"
        values = f"{point.clusters} values" if point.clusters else "as it is"
        verdict = "" if point.keeps_budget else "  over the budget"
        self.line(
            f"round {point.round}: {point.sparsity:.2%} zeros, {values}: {point.bytes:,} bytes, "
            f"{name} {point.metrics[name]:.6g}{verdict}  ({self._best}{self._left()})"
        )

    def stage(self, name: str, epochs: int) -> list[keras.callbacks.Callback]:
        """The callbacks that watch a training."""
        if self._bar is not None and self._task is not None:
            self._bar.reset(
                self._task,
                total=epochs,
                description=f"round {self._round}, {name}",
                note=self._best + self._left(),
            )
        return [_Watch(self)]

    def epoch(self) -> None:
        """An epoch is over."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=1, note=self._best + self._left())

    def check_time(self) -> None:
        """Ends the training when the time is up.

        Raises:
            TimeIsUp: It is.
        """
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise TimeIsUp

    def _left(self) -> str:
        if self._deadline is None:
            return ""
        minutes = max(0.0, self._deadline - time.monotonic()) / 60.0
        return f", {minutes:.1f} min left"


class _Watch(keras.callbacks.Callback):
    def __init__(self, show: Show) -> None:
        super().__init__()
        self._show = show

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._show.check_time()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._show.epoch()
