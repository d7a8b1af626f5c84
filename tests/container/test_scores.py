"""Scores of lines, and the classes that follow from them."""

import itertools

import numpy as np
import pytest
from container import reference
from container.samples import reader_of
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_deepcomp.container import FormatError, scores
from keras_deepcomp.container.bits import BitWriter
from keras_deepcomp.container.runs import BitSequences
from keras_deepcomp.container.scores import FixedClasses, Lines, Live

score_lists = st.lists(st.integers(-1, 7), min_size=1, max_size=40).map(
    lambda values: np.array(values, np.int8)
)


@given(st.one_of(score_lists, st.integers(1, 300).map(lambda size: np.zeros(size, np.int8))))
def test_round_trip(values):
    writer = BitWriter()
    scores.write(values, writer)
    if not values.any():
        assert writer.bits.to01() == "0000"
    reader = reader_of(writer)
    read = scores.read(reader, values.size)
    assert (read.dtype, read.tolist()) == (np.int8, values.tolist())
    assert reader.position == len(writer.bits)


def test_few_dead_lines_take_few_bits():
    values = np.zeros(1000, np.int8)
    values[::100] = scores.DEAD
    writer = BitWriter()
    scores.write(values, writer)
    # The entropy is 81 bits, and there are no more than 8 scores in a code.
    assert len(writer.bits) < 210


def test_ends_early():
    writer = BitWriter()
    writer.number(3, 4)
    with pytest.raises(FormatError, match=r"ends early|cut off"):
        scores.read(reader_of(writer), 2**20)


def test_scores_of_very_many_lines():
    writer = BitWriter()
    writer.number(3, 4)
    with pytest.raises(FormatError, match="scores of 1,048,577 lines, at most 1,048,576"):
        scores.read(reader_of(writer), 2**20 + 1)


def test_lines():
    rows = Live.of(np.array([0, -1, 3], np.int8))
    lines = Lines.of(rows, np.array([-1, 2, 0, -1, 5], np.int8))
    assert lines.rows.lines.tolist() == [0, 2]
    assert lines.columns.lines.tolist() == [1, 2, 4]
    assert lines.rows.scores.tolist() == [0, 3]
    assert lines.columns.scores.tolist() == [2, 0, 5]
    assert (lines.width, lines.shape) == (5, (2, 3))
    assert lines.sums().tolist() == [[2, 0, 5], [5, 3, 8]]
    assert rows.numbers(np.array([2, 0])).tolist() == [1, 0]
    assert lines.columns.numbers(np.array([4, 1])).tolist() == [2, 0]
    scores, kinds = lines.columns.kinds
    assert scores[kinds].tolist() == [2, 0, 5] and scores.tolist() == [0, 2, 5]


@given(score_lists, score_lists, st.integers(1, 16), st.integers(0, 2**32), st.booleans())
@settings(max_examples=150)
def test_fixed_classes(row_scores, column_scores, count, seed, small_tables):
    """Against the elements of each class one after the other."""
    with pytest.MonkeyPatch.context() as patch:
        if small_tables:
            patch.setattr(scores, "_ENTRIES", 8)
        check_fixed_classes(row_scores, column_scores, count, seed)


def check_fixed_classes(row_scores, column_scores, count, seed):
    lines = Lines.of(Live.of(row_scores), column_scores)
    fixed = FixedClasses(lines, count)
    elements = [[] for _ in range(count)]
    for row, column in reference.coding_order(
        None, row_scores.tolist(), column_scores.tolist(), None
    ):
        own = min(int(row_scores[row]) + int(column_scores[column]), count - 1)
        elements[own].append(row * column_scores.size + column)
    assert fixed.totals == list(map(len, elements))
    all_ones = BitSequences.of([np.arange(len(own)) for own in elements], fixed.totals)
    found, of_found = fixed.elements(all_ones)
    assert found.tolist() == list(itertools.chain(*elements))
    assert of_found.tolist() == [own for own in range(count) for _ in elements[own]]

    everything = np.array(sorted(itertools.chain(*elements)), np.int64)
    random = np.random.default_rng(seed)
    chosen = everything[random.random(everything.size) < 0.3]
    places = np.divmod(chosen, column_scores.size)
    sequences, classes = fixed.sequences(*places)
    assert [element in elements[own] for own, element in zip(classes, chosen, strict=True)] == [
        True
    ] * chosen.size
    assert sequences.lengths.tolist() == list(map(len, elements))
    for own, ones in zip(elements, sequences.each(), strict=True):
        assert [own[place] for place in ones] == [item for item in own if item in set(chosen)]
