"""Several tensors or bands at the same time: most of coding is numpy, which lets threads run."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import TypeVar

# Each takes a few times the memory of a tensor; and each band that is decoded, too.
_MOST, _MOST_BANDS = 4, 2

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def _count(most: int) -> int:
    return min(most, os.cpu_count() or 1)


def _submit(
    pool: ThreadPoolExecutor, work: Callable[[_Item], _Result], item: _Item
) -> Future[_Result]:
    """Have a pool do the work; or do it here, where there are no more threads to be had.

    So it is while the interpreter shuts down, and where the system has too many of them.
    """
    try:
        return pool.submit(work, item)
    except RuntimeError:
        future: Future[_Result] = Future()
        try:
            future.set_result(work(item))
        except Exception as error:
            future.set_exception(error)
        return future


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
    pool = ThreadPoolExecutor(_count(_MOST))
    try:
        largest_first = sorted(sizes, key=lambda name: sizes[name], reverse=True)
        futures: dict[Future[_Result], str] = {_submit(pool, work, n): n for n in largest_first}
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


def each(work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Yield what the work on each item returns, in order; `map` in a few threads.

    Items are taken from the iterable a few at a time. A caller that goes away, or work that fails,
    leaves nothing running.
    """
    count = _count(_MOST_BANDS)
    pool = ThreadPoolExecutor(count)
    futures: deque[Future[_Result]] = deque()
    try:
        for item in items:
            futures.append(_submit(pool, work, item))
            if len(futures) > count:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
