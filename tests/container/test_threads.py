import subprocess
import sys
import threading

import numpy as np
import pytest

from keras_deepcomp import container
from keras_deepcomp.container import threads, writing
from keras_deepcomp.container.threads import each, in_order

SIZES = {"small": 1, "large": 100, "middle": 10, "other": 10}


def test_results_come_in_order_and_work_largest_first(monkeypatch):
    monkeypatch.setattr(threads, "_MOST", 1)
    worked, sizes = [], []
    found = list(in_order(lambda name: worked.append(name) or name.upper(), SIZES, sizes.append))
    assert found == [(name, name.upper()) for name in SIZES]
    assert worked == ["large", "middle", "other", "small"]
    assert sorted(sizes) == sorted(SIZES.values())


def test_nothing():
    assert list(in_order(str, {}, print)) == []


def test_two_at_the_same_time(monkeypatch):
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 2)
    both = threading.Barrier(2, timeout=60)
    assert len(list(in_order(lambda name: both.wait(), SIZES, lambda size: None))) == 4


def test_work_that_fails(monkeypatch):
    monkeypatch.setattr(threads, "_MOST", 1)
    worked = []

    def work(name):
        worked.append(name)
        raise ValueError(f"no {name}")

    with pytest.raises(ValueError, match="no large"):
        list(in_order(work, SIZES, print))
    assert len(worked) < len(SIZES)


def test_a_caller_that_goes_away(monkeypatch):
    monkeypatch.setattr(threads, "_MOST", 1)
    before = threading.active_count()
    results = in_order(str, SIZES, lambda size: None)
    next(results)
    results.close()
    assert threading.active_count() == before


def test_each_is_map(monkeypatch):
    assert list(each(str, range(50))) == list(map(str, range(50)))
    assert list(each(str, [])) == []
    monkeypatch.setattr(threads, "_MOST_BANDS", 1)
    taken = []
    results = each(str, (taken.append(item) or item for item in range(100)))
    assert next(results) == "0"
    assert len(taken) < 10
    before = threading.active_count()
    results.close()
    assert threading.active_count() == before - 1


def test_the_first_of_the_errors_is_raised():
    def work(item):
        if item >= 3:
            raise ValueError(f"no {item}")
        return item

    before = threading.active_count()
    results = each(work, range(100))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="no 3"):
        next(results)
    assert threading.active_count() == before


def test_without_threads(monkeypatch):
    """As while the interpreter shuts down, or where the system has too many already."""

    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert list(each(str, range(9))) == list(map(str, range(9)))
    assert list(in_order(str.upper, SIZES, lambda size: None)) == [
        (name, name.upper()) for name in SIZES
    ]
    with pytest.raises(ZeroDivisionError):
        list(each(lambda item: 1 // item, [1, 0]))


def test_a_file_is_loaded_and_saved_after_the_end_of_the_main_thread():
    """As in `atexit` functions: the interpreter gives out no more threads."""
    script = """
import atexit
import numpy as np
from keras_deepcomp import container

values = np.arange(3 << 20, dtype=np.uint32).reshape(1, -1) % 7
data = container.save({"x": values}, effort=0)

@atexit.register
def last():
    again = container.load(data)["x"]
    assert (again == values).all()
    assert container.save({"x": again}, effort=0) == data
    print("done", flush=True)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("done\n", "")


def test_a_file_does_not_depend_on_threads(monkeypatch):
    rng = np.random.default_rng(0)
    arrays = {
        str(n): (rng.integers(1, 8, (60, n)) * (rng.random((60, n)) < 0.2)).astype(np.float32)
        for n in (30, 10, 50, 1)
    }
    alone = container.save(arrays)
    monkeypatch.setattr(writing, "_WORTH_THREADS", 0)
    assert container.save(arrays) == alone
    monkeypatch.setattr(threads, "_MOST", 1)
    assert container.save(arrays) == alone
