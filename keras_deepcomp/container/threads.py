"""Several tensors at the same time: most of coding is in numpy, which lets other threads run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import TypeVar

# Each takes a few times the memory of a tensor.
_MOST = 4

_Result = TypeVar("_Result")


def in_order(
    work: Callable[[str], _Result], sizes: Mapping[str, int], done: Callable[[int], None]
) -> Iterator[tuple[str, _Result]]:
    """Yield names with what the work on each returns, in order, each as soon as it can be.

    The largest are worked on first, so that none of them is left when all others are done. A caller
    that goes away, or work that fails, leaves nothing running.

    Args:
        work: What to do with a name; called in threads.
        sizes: About how much work each name is, in the order of the results.
        done: Called in this thread with the size of each one that is finished.
    """
    pool = ThreadPoolExecutor(min(_MOST, os.cpu_count() or 1))
    try:
        largest_first = sorted(sizes, key=lambda name: sizes[name], reverse=True)
        futures: dict[Future[_Result], str] = {pool.submit(work, n): n for n in largest_first}
        finished = as_completed(futures)
        ready: dict[str, _Result] = {}
        for name in sizes:
            while name not in ready:
                future = next(finished)
                other = futures.pop(future)
                ready[other] = future.result()
                done(sizes[other])
            yield name, ready.pop(name)
    finally:
        pool.shutdown(cancel_futures=True)
