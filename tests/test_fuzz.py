"""A few of the files of fuzz/campaign.py; the whole campaign is `make fuzz-mutants`."""

import time

import pytest
from fuzz import campaign, mutations

MUTANTS = 8000


@pytest.fixture(scope="module")
def seeds():
    return campaign.seeds()


def test_campaign():
    found = campaign.run(1, MUTANTS, 2)
    assert found["failures"] == []
    assert sum(found["outcomes"].values()) == MUTANTS
    assert found["outcomes"]["right"] > MUTANTS // 30
    assert set(found["kinds"]) >= set(mutations.MUTATIONS)
    for kind, outcomes in found["kinds"].items():
        if not kind.startswith("unsealed"):
            assert outcomes["right"] > 0, kind


def test_a_mutant_depends_on_its_number_alone(seeds):
    first = [campaign.mutant(seeds, 3, number) for number in range(50)]
    again = [campaign.mutant(seeds, 3, number) for number in reversed(range(50))]
    assert first == again[::-1]
    assert [fits for _, _, fits in first] == [False, True] * 25
    assert campaign.mutant(seeds, 4, 7) != first[7]


def test_what_is_wrong_is_seen(seeds, monkeypatch):
    data = next(seed.data for seed in seeds if seed.data[4] == 1 and seed.blocks())
    assert campaign.outcome(data, True)[0] == "right"
    assert campaign.outcome(data[:-1], True)[0] == "refused"
    assert campaign.outcome(data, False)[0] == "taken in spite of its checksums"

    right = campaign.container.load_with_info

    def other_name(data, max_bytes):
        tensors, info = right(data, max_bytes)
        return {name + "?": array for name, array in tensors.items()}, info

    def too_large(data, max_bytes):
        raise MemoryError

    def broken(data, max_bytes):
        raise IndexError("not a FormatError")

    def slow(data, max_bytes):
        end = time.thread_time() + 2 * campaign.MAX_SECONDS
        while time.thread_time() < end:
            pass
        return right(data, max_bytes)

    for function, said in (
        (other_name, "other tensors than declared"),
        (too_large, "too much memory"),
        (broken, "IndexError: not a FormatError"),
        (slow, "right"),
    ):
        monkeypatch.setattr(campaign.container, "load_with_info", function)
        result, seconds = campaign.outcome(data, True)
        assert said in result
    assert seconds > campaign.MAX_SECONDS
