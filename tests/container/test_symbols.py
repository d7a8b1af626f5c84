"""Codes for sequences of symbols."""

import itertools
import math

import numpy as np
import pytest
from container.reference import slow_lengths
from container.samples import reader_of
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_deepcomp.container import FormatError, symbols
from keras_deepcomp.container.bits import BitReader, BitWriter
from keras_deepcomp.container.huffman import MAX_LENGTH, MAX_SYMBOLS
from keras_deepcomp.container.symbols import SymbolCode

QUARTERS = (1_048_576, 881_744, 741_455, 623_487)


@st.composite
def codes(draw, most=40):
    """Codes of any costs."""
    unit = draw(st.sampled_from([4, 2, 1]))
    costs = draw(st.lists(st.integers(0, 80 // unit), min_size=2, max_size=most))
    together = draw(st.integers(1, 8).filter(lambda number: len(costs) ** number <= MAX_SYMBOLS))
    return SymbolCode(tuple(cost * unit for cost in costs), unit, together)


def test_quarters():
    assert list(QUARTERS) == [round(2 ** (20 - quarter / 4)) for quarter in range(4)]


@given(codes())
@settings(max_examples=50)
def test_lengths_are_those_of_the_page(code):
    single = [max(1, QUARTERS[cost % 4] >> (cost // 4)) for cost in code.costs]
    weights = []
    for row in itertools.product(single, repeat=code.together):
        weight = row[0]
        for factor in row[1:]:
            weight = weight * factor >> 20
        weights.append(max(1, weight))
    assert code.lengths.tolist() == slow_lengths(weights)
    assert code.lengths.max() <= MAX_LENGTH


@given(codes(), st.integers(0, 300), st.integers(0, 2**32))
@settings(max_examples=100)
def test_round_trip(code, count, seed):
    values = np.random.default_rng(seed).integers(0, code.symbols, count)
    writer = BitWriter()
    code.write(writer)
    assert len(writer.bits) == code.table_bits()
    symbols.encode(values, [values.size], code, [writer])
    reader = reader_of(writer)
    read = SymbolCode.read(reader, code.symbols, MAX_SYMBOLS)
    assert read == code
    np.testing.assert_array_equal(symbols.decode(reader, count, read), values)
    assert reader.position == len(writer.bits)
    assert code.count_of(count) == math.ceil(count / code.together)


def fitted_bits(values, count):
    """Return the bits of values under the best code, the table included."""
    code = SymbolCode.fit([values], np.bincount(values, minlength=count), values.size)
    writer = BitWriter()
    code.write(writer)
    symbols.encode(values, [values.size], code, [writer])
    reader = reader_of(writer)
    assert SymbolCode.read(reader, count, values.size) == code
    np.testing.assert_array_equal(symbols.decode(reader, values.size, code), values)
    return len(writer.bits)


def entropy(values):
    counts = np.bincount(values)
    shares = counts[counts > 0] / values.size
    return -values.size * float(shares @ np.log2(shares))


@pytest.mark.parametrize("count", [2, 3, 5, 7, 12, 16, 31, 32, 64, 256, 1000])
@pytest.mark.parametrize("spread", [0.25, 0.5, 10])
def test_close_to_the_entropy(count, spread):
    """Codebooks with most values in the middle, as weights have them, or all alike."""
    random = np.random.default_rng(count)
    middle = (count - 1) / 2
    shares = np.exp(-(((np.arange(count) - middle) / (spread * count)) ** 2))
    values = random.choice(count, 150_000, p=shares / shares.sum())
    assert fitted_bits(values, count) < 1.01 * entropy(values) + 64 + 5 * count


@pytest.mark.parametrize("size", [1, 2, 5, 20])
def test_short_sequences_get_small_tables(size):
    values = np.arange(size) % 2
    assert fitted_bits(values, 2) <= size + 16


def test_symbols_that_never_occur():
    values = np.array([3, 3, 3, 9] * 500)
    assert fitted_bits(values, 12) < 2100
    code = SymbolCode.fit([], np.zeros(5, np.int64), 100)
    assert code.symbols == 5


def test_several_sequences_are_coded_each_on_its_own():
    parts = [np.random.default_rng(seed).integers(0, 5, 101) for seed in range(50)]
    counts = np.bincount(np.concatenate(parts))
    code = SymbolCode.fit(parts, counts, 5050)
    assert code.table_bits() + sum(
        int(code.lengths[0]) if code.together > 101 else len(encoded(part, code)) for part in parts
    ) < 1.05 * entropy(np.concatenate(parts))


def encoded(values, code):
    writer = BitWriter()
    symbols.encode(values, [values.size], code, [writer])
    return writer.bits


def table(unit=0, together=1, order=0, first=2, differences=()):
    """Return a cursor over a table, right or wrong."""
    writer = BitWriter()
    writer.number(unit, 2)
    writer.number(together - 1, 3)
    writer.number(order, 2)
    writer.golomb(first, 3)
    for difference in differences:
        writer.signed_golomb(difference, order)
    return reader_of(writer)


def test_table_by_hand():
    code = SymbolCode.read(table(1, 2, 3, 3, [1, -2]), 3, 100)
    assert (code.costs, code.unit, code.together) == ((6, 8, 4), 2, 2)


@pytest.mark.parametrize(
    ("arguments", "count", "values", "message"),
    [
        ({"unit": 3, "differences": [0]}, 2, 10, "costs in an unknown unit"),
        ({"first": 21, "differences": [0]}, 2, 10, "a cost that is out of range"),
        ({"unit": 2, "first": 81, "differences": [0]}, 2, 10, "a cost that is out of range"),
        ({"differences": [-3]}, 2, 10, "a cost that is out of range"),
        ({"differences": [19]}, 2, 10, "a cost that is out of range"),
        ({"together": 4, "differences": [0]}, 2, 15, r"a code of 2\*\*4 symbols"),
        ({"together": 2, "differences": [0] * 64}, 65, 10**6, r"a code of 65\*\*2 symbols"),
        ({}, 100, 100, "ends early|too large or cut off"),
    ],
)
def test_bad_tables(arguments, count, values, message):
    with pytest.raises(FormatError, match=message):
        SymbolCode.read(table(**arguments), count, values)


def test_largest_alphabets():
    assert SymbolCode.read(table(together=2, differences=[0] * 63), 64, 4096).lengths.size == 4096
    differences = [0] * (MAX_SYMBOLS - 1)
    assert SymbolCode.read(table(differences=differences), MAX_SYMBOLS, 1).lengths.size == 4096


@given(codes(6).filter(lambda code: code.together > 1), st.integers(1, 40))
@settings(max_examples=50)
def test_the_last_one_is_filled_up_with_symbol_0(code, count):
    if count % code.together == 0:
        count += 1
    padded = np.zeros(code.count_of(count) * code.together, np.int64)
    padded[-1] = 1
    reader = BitReader(encoded(padded, code).tobytes(), "tensor 'x'")
    with pytest.raises(FormatError, match="tensor 'x' has symbols after its last one"):
        symbols.decode(reader, count, code)


def test_ends_early():
    code = SymbolCode((4, 8, 8), 4, 1)
    with pytest.raises(FormatError, match="ends before its last code"):
        symbols.decode(BitReader(b"\xff", "it"), 5, code)


def test_codes_that_are_too_long_are_refused():
    # Weights that grow faster than Fibonacci's numbers make a deep tree, and many equal ones on
    # top of it make it deeper.
    code = SymbolCode((*range(80, 0, -3), *[0] * 4000), 1, 1)
    assert code.lengths.max() > MAX_LENGTH
    writer = BitWriter()
    code.write(writer)
    reader = BitReader(writer.bits.tobytes(), "it")
    with pytest.raises(FormatError, match="a code longer than 30 bits"):
        SymbolCode.read(reader, code.symbols, 1 << 20)


@pytest.mark.parametrize("symbols", [2, 3, 5, 8])
def test_codes_that_are_written_are_never_too_long(symbols):
    counts = (4 ** np.arange(symbols) * 1000).astype(np.int64)
    sequence = np.repeat(np.arange(symbols), np.minimum(counts, 5000))
    code = SymbolCode.fit([sequence], counts, 1 << 20)
    assert code.lengths.max() <= MAX_LENGTH
