"""Grids of rows, their neighbours, and the bits that are dealt out to them."""

import numpy as np
import pytest
from container import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_deepcomp.container import FormatError
from keras_deepcomp.container.grid import NEAR, WIDE, Dealer, Grid

WEIGHTS = {NEAR: reference.NEAR, WIDE: reference.WIDE}


@st.composite
def grids(draw):
    rows = draw(st.integers(1, 60))
    width = draw(st.integers(1, rows))
    return Grid(rows, width, draw(st.integers(1, rows // width)))


def test_weights_are_those_of_the_page():
    for neighbourhood, weights in WEIGHTS.items():
        assert {(down, right): weight for down, right, weight in neighbourhood} == weights


@given(grids(), st.sampled_from([NEAR, WIDE]), st.integers(0, 2**32))
def test_votes(grid, neighbourhood, seed):
    random = np.random.default_rng(seed)
    columns = 3
    field = np.zeros((grid.rows + 1, columns), np.int8)
    field[:-1] = random.integers(-1, 2, (grid.rows, columns))
    expected = [
        [
            sum(
                weight * int(field[other, column])
                for other, weight in reference.neighbours(
                    row, grid.rows, grid.width, grid.depth, WEIGHTS[neighbourhood]
                )
            )
            for column in range(columns)
        ]
        for row in range(grid.rows)
    ]
    assert grid.size == grid.width * grid.depth
    everywhere = grid.votes(field, np.arange(grid.rows), neighbourhood)
    assert everywhere.tolist() == expected
    rows, places = random.integers(0, grid.rows, 10), random.integers(0, columns, 10)
    assert grid.votes(field, rows, neighbourhood).tolist() == [expected[row] for row in rows]
    at = grid.votes_at(field, rows, places, neighbourhood)
    assert at.tolist() == [expected[row][place] for row, place in zip(rows, places, strict=True)]


@given(grids())
def test_all_neighbours_are_in_earlier_steps(grid):
    steps = grid.step_of_row.tolist()
    for row in range(grid.rows):
        assert steps[row] == reference.step_of(row, grid.width, grid.depth)
        for weights in WEIGHTS.values():
            for other, _ in reference.neighbours(row, grid.rows, grid.width, grid.depth, weights):
                assert steps[other] < steps[row]


@given(grids())
def test_steps(grid):
    # The last row of the grid may end before the longest way through it.
    steps = 2 * (-(-grid.rows // (grid.width * grid.depth)) - 1) + grid.width
    assert grid.steps == steps >= grid.step_of_row.max() + 1


@pytest.mark.parametrize(
    ("grid", "columns", "allowed"),
    [
        (Grid(1 << 18, 256, 8), 1, True),
        (Grid((1 << 18) + 256, 256, 8), 100, False),
        (Grid(100, 50, 2), 8, True),
        (Grid(100, 50, 2), 7, False),
        (Grid(100, 51, 2), 100, False),
        (Grid(512, 512, 1), 16, True),
        (Grid(512, 512, 1), 15, False),
        (Grid(513, 513, 1), 100, False),
        (Grid(512, 2, 1), 100, True),
        (Grid(514, 2, 1), 100, False),
        (Grid(1, 1, 1), 16, True),
        (Grid(1, 1, 1), 15, False),
    ],
)
def test_which_grids_a_file_may_have(grid, columns, allowed):
    assert grid.is_allowed(columns) == allowed


def test_by_hand():
    grid = Grid(7, 3, 1)
    # 0 1 2
    # 3 4 5
    # 6
    assert grid.step_of_row.tolist() == [0, 1, 2, 2, 3, 4, 4]
    field = np.ones((8, 1), np.int8)
    field[7] = 0
    assert grid.votes(field, np.arange(7), WIDE)[:, 0].tolist() == [0, 3, 4, 4, 8, 7, 5]
    assert grid.votes(field, np.arange(7), NEAR)[:, 0].tolist() == [0, 2, 2, 3, 5, 4, 3]
    # With a depth of 2 only rows of the same layer are neighbours.
    assert Grid(8, 2, 2).step_of_row.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@given(st.data())
@settings(max_examples=100)
def test_dealer(data):
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    count = data.draw(st.integers(1, 5))
    inverted = [bool(bit) for bit in random.integers(0, 2, count)]
    classes = random.integers(0, count, data.draw(st.integers(0, 80)))
    totals = np.bincount(classes, minlength=count)
    sequences = [random.integers(0, 2, total) for total in totals]
    listed = [np.flatnonzero(bits != rare) for bits, rare in zip(sequences, inverted, strict=True)]
    dealer = Dealer(listed, inverted, "tensor 'x'")
    left = [iter(bits.tolist()) for bits in sequences]
    start = 0
    while start < classes.size:
        end = start + data.draw(st.integers(1, 30))
        own = classes[start:end]
        assert dealer.deal(own).tolist() == [next(left[number]) for number in own]
        start = end
    dealer.finish()


def test_dealer_goes_on_with_the_frequent_bit():
    dealer = Dealer([np.array([1]), np.array([0]), np.array([], int)], [False, True, True], "it")
    assert dealer.deal(np.array([0, 0, 0, 0])).tolist() == [0, 1, 0, 0]
    assert dealer.deal(np.array([1, 1, 1, 2])).tolist() == [0, 1, 1, 1]
    dealer.finish()


@pytest.mark.parametrize("dealt", [0, 1, 4])
def test_an_entry_past_the_last_element(dealt):
    dealer = Dealer([np.array([4]), np.array([], int)], [False, False], "tensor 'x'")
    dealer.deal(np.zeros(dealt, int))
    dealer.deal(np.ones(50, int))
    with pytest.raises(FormatError, match="tensor 'x' has an entry past its last element"):
        dealer.finish()
