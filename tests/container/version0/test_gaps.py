"""Places from bounded gaps."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from keras_deepcomp.container.version0 import gaps


@given(st.lists(st.integers(0, 2**gaps.MAX_GAP_BITS - 1), min_size=2, max_size=60), st.data())
def test_places(values, data):
    expected, place = [], -1
    for gap in values:
        place += gap + 1
        expected.append(place)
    found = gaps.positions_of(np.array(values), -1)
    assert found.tolist() == expected
    # A block goes on where the one before it ended.
    cut = data.draw(st.integers(1, len(values) - 1))
    rest = gaps.positions_of(np.array(values[cut:]), expected[cut - 1])
    assert rest.tolist() == expected[cut:]


def test_the_example_of_the_paper():
    # Figure 2: non-zero at 1, 4 and 15, three bits, so a filler is needed at 12.
    assert gaps.positions_of(np.array([1, 2, 7, 2]), -1).tolist() == [1, 4, 12, 15]
