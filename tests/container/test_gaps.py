"""Bounded gaps and fillers against a slow reference written from the paper's description."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_deepcomp.container import gaps

tensors = st.lists(st.sampled_from([0, 0, 0, 0, 1, 2, 3]), min_size=1, max_size=120).filter(any)
sparse = st.builds(
    lambda places: np.isin(np.arange(max(places) + 1), places).astype(int).tolist(),
    st.lists(st.integers(0, 600), min_size=1, max_size=5),
)


def slow_entries(elements, bits):
    """Walk over the elements and write down an entry whenever one is due."""
    bound = 2**bits - 1
    last = max(place for place, element in enumerate(elements) if element)
    entries = []
    zeros = 0
    for element in elements[: last + 1]:
        if element != 0 or zeros == bound:
            entries.append((zeros, element))
            zeros = 0
        else:
            zeros += 1
    return entries


@given(st.one_of(tensors, sparse), st.integers(0, gaps.MAX_GAP_BITS))
def test_entries_match_the_reference(elements, bits):
    flat = np.array(elements)
    positions = np.flatnonzero(flat)
    runs = gaps.runs_of_zeros(positions)
    entry_gaps, symbols = gaps.insert_fillers(runs, flat[positions], bits)
    expected = slow_entries(elements, bits)
    assert list(zip(entry_gaps.tolist(), symbols.tolist(), strict=True)) == expected

    places = gaps.positions_of(entry_gaps, -1)
    assert places[symbols != gaps.FILLER].tolist() == positions.tolist()
    assert (flat[places] == symbols).all()
    half = places.size // 2
    if half:
        rest = gaps.positions_of(entry_gaps[half:], int(places[half - 1]))
        assert rest.tolist() == places[half:].tolist()


@given(st.one_of(tensors, sparse))
def test_counts_match_the_entries(elements):
    flat = np.array(elements)
    positions = np.flatnonzero(flat)
    runs = gaps.runs_of_zeros(positions)
    candidates = gaps.count_gaps(runs)
    assert [candidate.bits for candidate in candidates] == list(range(len(candidates)))
    for candidate in candidates:
        entry_gaps, symbols = gaps.insert_fillers(runs, flat[positions], candidate.bits)
        assert (
            candidate.counts.tolist()
            == np.bincount(entry_gaps, minlength=2**candidate.bits).tolist()
        )
        assert candidate.fillers == np.count_nonzero(symbols == gaps.FILLER)
    assert candidates[-1].fillers == 0


@pytest.mark.parametrize("run", [0, 1, 2**15 - 1, 2**15, 2**15 + 1, 10**6])
def test_widest_bound(run):
    runs = np.array([run, 0, 5])
    candidates = gaps.count_gaps(runs)
    assert len(candidates) == min(max(run, 5).bit_length(), 15) + 1
    for candidate in candidates:
        entry_gaps, symbols = gaps.insert_fillers(runs, np.array([1, 1, 1]), candidate.bits)
        assert candidate.fillers == (symbols == 0).sum()
        assert (
            candidate.counts.tolist()
            == np.bincount(entry_gaps, minlength=2**candidate.bits).tolist()
        )
        assert gaps.positions_of(entry_gaps, -1)[symbols > 0].tolist() == [
            run,
            run + 1,
            run + 7,
        ]


def test_the_example_of_the_paper():
    # Figure 2: non-zero at 1, 4 and 15, three bits, so a filler is needed at 12.
    runs = gaps.runs_of_zeros(np.array([1, 4, 15]))
    entry_gaps, symbols = gaps.insert_fillers(runs, np.array([1, 2, 3]), 3)
    assert entry_gaps.tolist() == [1, 2, 7, 2]
    assert symbols.tolist() == [1, 2, 0, 3]
