"""How far a long save or load is: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich import progress as rich
from rich.console import Console

SECONDS_BETWEEN_LINES = 10.0
"""How often a line is written where there is no terminal; so short work writes none."""


@contextlib.contextmanager
def counting_bytes(wanted: bool, what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Shows how much is done, and how long the rest will take; on standard error.

    What a command prints goes to standard output, and its progress does not. Colours follow
    `NO_COLOR`.

    Args:
        wanted: Whether to show anything.
        what: What is going on, such as "Saving".

    Yields:
        What to call with the bytes done so far and all bytes; None if nothing is wanted.
    """
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if not wanted:
        yield None
    elif not console.is_terminal:
        yield _Lines(console, what)
    else:
        columns = (
            rich.TextColumn("{task.description}"),
            rich.BarColumn(),
            rich.DownloadColumn(),
            rich.TimeRemainingColumn(),
        )
        with rich.Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)


class _Lines:
    def __init__(self, console: Console, what: str) -> None:
        self._console, self._what = console, what
        self._start = self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last < SECONDS_BETWEEN_LINES or not 0 < done < total:
            return
        self._last = now
        left = (now - self._start) * (total - done) / done
        self._console.print(
            f"{self._what}: {done / total:.0%} of {total / 1e6:,.1f} MB, about {left:,.0f} s left"
        )
