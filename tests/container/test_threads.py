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
    monkeypatch.setattr(threads, "_MOST", 1)
    taken = []
    results = each(str, (taken.append(item) or item for item in range(100)))
    assert next(results) == "0"
    assert len(taken) < 10
    before = threading.active_count()
    results.close()
    assert threading.active_count() == before - 1


def test_the_first_of_the_errors_is_raised(monkeypatch):
    def work(item):
        if item >= 3:
            raise ValueError(f"no {item}")
        return item

    results = each(work, range(100))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="no 3"):
        next(results)
    assert list(results) == []


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
