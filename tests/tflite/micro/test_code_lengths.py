import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_deepcomp.container import huffman
from keras_deepcomp.tflite.micro.code_lengths import limited_code_lengths

COUNTS = st.lists(st.integers(1, 10**6), min_size=2, max_size=80).map(np.array)


def bits(counts, lengths):
    return int((counts * lengths.astype(np.int64)).sum())


@given(counts=COUNTS)
def test_without_need_for_the_limit_the_code_is_huffmans(counts):
    lengths = limited_code_lengths(counts, 40)
    assert bits(counts, lengths) == bits(counts, huffman.code_lengths(counts))


@given(counts=COUNTS, extra=st.integers(0, 3))
def test_the_codes_are_within_the_limit_and_leave_no_gap(counts, extra):
    longest = (counts.size - 1).bit_length() + extra
    lengths = limited_code_lengths(counts, longest)
    assert lengths.min() >= 1 and lengths.max() <= longest
    assert sum(2.0**-length for length in lengths.tolist()) == 1


@given(counts=st.lists(st.integers(1, 100), min_size=2, max_size=5).map(np.array))
def test_no_other_code_within_the_limit_is_shorter(counts):
    longest = (counts.size - 1).bit_length()
    fewest = min(
        int(counts @ np.array(lengths))
        for lengths in itertools.product(range(1, longest + 1), repeat=counts.size)
        if sum(2.0**-length for length in lengths) <= 1
    )
    assert bits(counts, limited_code_lengths(counts, longest)) == fewest


def test_too_many_symbols_for_the_limit():
    with pytest.raises(ValueError, match="5 symbols have no codes of at most 2 bits"):
        limited_code_lengths(np.ones(5, int), 2)
