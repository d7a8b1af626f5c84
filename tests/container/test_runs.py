"""Codes for sequences of bits."""

import math

import numpy as np
import pytest
from container.reference import slow_lengths
from container.samples import reader_of
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_deepcomp.container import FormatError, runs
from keras_deepcomp.container.bits import BitReader, BitWriter
from keras_deepcomp.container.huffman import MAX_LENGTH
from keras_deepcomp.container.runs import BitSequences, Likelihood

PLACES = range(-runs.STEPS, runs.STEPS)
QUARTERS = (1_073_741_824, 902_905_651, 759_250_125, 638_450_708)


def probability(likelihood):
    """Return how likely the rarer bit is."""
    return 2 ** (-(likelihood.step + 4) / 4)


def slow_code(step):
    """Return s, B, M and the weights of all symbols by the words of the page."""
    shift = max(0, (step - 24) // 4)
    rest = step - 4 * shift
    bound, together = next(
        pair
        for last, pair in ((1, (1, 8)), (5, (3, 4)), (14, (15, 2)), (27, (255, 1)))
        if rest <= last
    )
    one = QUARTERS[rest % 4] >> (rest // 4 + 1)
    zero = 2**30 - one
    weights, left = [], 2**30
    for _ in range(bound):
        weights.append(left * one >> 30)
        left = left * zero >> 30
    weights.append(left)
    joint = [2**30]
    for number in range(together):
        joint = [a * b >> 30 for a in joint for b in weights] if number else weights
    return shift, bound, together, [max(1, weight >> 13) for weight in joint]


@pytest.mark.parametrize("step", range(runs.STEPS))
def test_codes_are_those_of_the_page(step):
    shift, bound, together, weights = slow_code(step)
    code = runs.run_code(step)
    assert (code.low_bits, code.bound, code.together) == (shift, bound, together)
    assert code.lengths.tolist() == slow_lengths(weights)
    assert code.lengths.max() <= MAX_LENGTH
    base = bound + 1
    expected = [
        [symbol // base**place % base for place in reversed(range(together))]
        for symbol in range(base**together)
    ]
    assert code.split.tolist() == expected


def test_quarters():
    assert list(QUARTERS) == [round(2 ** (30 - quarter / 4)) for quarter in range(4)]


def slow_bits(sequence, likelihood):
    """Return the bits of a sequence by the words of the page, code by code."""
    rare = 0 if likelihood.inverted else 1
    code = runs.run_code(likelihood.step)
    found, remainders, zeros = [], [], 0
    for bit in sequence:
        if bit != rare:
            zeros += 1
            continue
        units, remainder = divmod(zeros, 2**code.low_bits)
        found += [code.bound] * (units // code.bound) + [units % code.bound]
        remainders.append(remainder)
        zeros = 0
    while len(found) % code.together:
        found.append(code.bound)
    symbols = []
    for start in range(0, len(found), code.together):
        symbol = 0
        for run in found[start : start + code.together]:
            symbol = symbol * (code.bound + 1) + run
        symbols.append(symbol)
    writer = BitWriter()
    writer.golomb(len(symbols), 6)
    codes = runs.huffman.canonical_codes(code.lengths).tolist()
    for symbol in symbols:
        writer.number(codes[symbol], int(code.lengths[symbol]))
    for plane in reversed(range(code.low_bits)):
        for remainder in remainders:
            writer.number(remainder >> plane & 1, 1)
    return writer.bits


@st.composite
def sequences(draw):
    likelihood = Likelihood.at(draw(st.integers(-64, 63)))
    # Somewhat more or less likely than the code is made for.
    density = min(0.7, probability(likelihood) * draw(st.sampled_from([0.1, 1, 5])))
    length = draw(st.integers(0, int(min(30_000, 20 / density))))
    rare = np.random.default_rng(draw(st.integers(0, 2**32))).random(length) < density
    return (rare != likelihood.inverted).astype(np.uint8), likelihood


def encode(ones, length, likelihood, writer):
    runs.encode(BitSequences.of([ones], [length]), [likelihood], [writer])


@given(st.lists(sequences(), min_size=1, max_size=5))
@settings(max_examples=100)
def test_many_sequences_are_one_after_the_other(drawn):
    ones = [np.flatnonzero(sequence) for sequence, _ in drawn]
    lengths = [sequence.size for sequence, _ in drawn]
    likelihoods = [likelihood for _, likelihood in drawn]
    together, one_by_one = BitWriter(), BitWriter()
    runs.encode(BitSequences.of(ones, lengths), likelihoods, [together])
    for each in zip(ones, lengths, likelihoods, strict=True):
        encode(*each, one_by_one)
    assert together.bits == one_by_one.bits
    twice = [BitWriter(), BitWriter()]
    runs.encode(BitSequences.of(2 * ones, 2 * lengths), likelihoods, twice)
    assert [writer.bits for writer in twice] == 2 * [together.bits]


@given(sequences())
@settings(max_examples=300)
def test_round_trip(drawn):
    sequence, likelihood = drawn
    writer = BitWriter()
    ones = np.flatnonzero(sequence)
    encode(ones, sequence.size, likelihood, writer)
    if sequence.size < 3000:
        assert writer.bits == slow_bits(sequence.tolist(), likelihood)
    reader = reader_of(writer)
    rare = runs.decode(reader, sequence.size, likelihood)
    assert reader.position == len(writer.bits)
    expected = runs.others(ones, sequence.size) if likelihood.inverted else ones
    np.testing.assert_array_equal(rare, expected)


def loss(step):
    """Return how much more than the entropy a long sequence takes on average, as a share."""
    code, p = runs.run_code(step), probability(Likelihood(step, False))
    unit_of_zeros = (1 - p) ** 2**code.low_bits
    run = (1 - unit_of_zeros) * unit_of_zeros ** np.arange(code.bound + 1)
    run[-1] = unit_of_zeros**code.bound
    symbol = np.ones(1)
    for _ in range(code.together):
        symbol = np.multiply.outer(symbol, run).reshape(-1)
    has_one = 1 - run[-1]
    bits = symbol @ code.lengths / code.together + has_one * code.low_bits
    # A run has `has_one` ones on average, and so `has_one` / p elements.
    return bits / (has_one / p * -(p * math.log2(p) + (1 - p) * math.log2(1 - p))) - 1


def test_close_to_the_entropy():
    losses = [loss(step) for step in range(runs.STEPS)]
    assert min(losses) > -1e-6
    assert max(losses) < 0.0065
    assert np.mean(losses) < 0.0043


@pytest.mark.parametrize("step", range(0, runs.STEPS, 7))
def test_as_long_as_expected(step):
    likelihood = Likelihood(step, False)
    p = probability(likelihood)
    ones = np.cumsum(np.random.default_rng(step).geometric(p, 40_000)) - 1
    length = int(ones[-1]) + 1
    writer = BitWriter()
    encode(ones, length, likelihood, writer)
    ideal = -ones.size * math.log2(p) - (length - ones.size) * math.log2(1 - p)
    assert len(writer.bits) == pytest.approx((1 + loss(step)) * ideal, rel=0.002)
    rare = runs.decode(reader_of(writer), length, likelihood)
    np.testing.assert_array_equal(rare, ones)


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_fit_takes_the_best(ones, zeros):
    total = ones + zeros
    fitted = Likelihood.fit(ones, total)
    assert fitted.inverted == (2 * ones > total)

    def bits(likelihood):
        p = probability(likelihood)
        rare = zeros if likelihood.inverted else ones
        return -rare * math.log2(p) - (total - rare) * math.log2(1 - p)

    best = min(bits(Likelihood(step, fitted.inverted)) for step in range(runs.STEPS))
    assert bits(fitted) <= best + 3 * total / 2**20
    # Each element's cost is off by little more than a unit.
    (least,) = runs.least_bits(np.array([ones]), np.array([total]))
    assert least / 2**20 == pytest.approx(bits(fitted), abs=2 * total / 2**20)


def test_places():
    assert [Likelihood.at(place).place for place in PLACES] == list(PLACES)
    assert Likelihood.at(-1) == Likelihood(0, True)
    assert Likelihood.at(63) == Likelihood(63, False)


@given(st.lists(st.integers(-64, 63), max_size=16))
def test_likelihoods_round_trip(places):
    likelihoods = [Likelihood.at(place) for place in places]
    writer = BitWriter()
    runs.write_likelihoods(likelihoods, writer)
    reader = reader_of(writer)
    assert runs.read_likelihoods(reader, len(places)) == likelihoods
    assert reader.position == len(writer.bits)


@pytest.mark.parametrize("differences", [[64], [-65], [63, 1], [0, -60, -5]])
def test_likelihoods_out_of_range(differences):
    writer = BitWriter()
    for difference in differences:
        writer.signed_golomb(difference, 2)
    with pytest.raises(FormatError, match="tensor 'x' has a likelihood that is out of range"):
        runs.read_likelihoods(reader_of(writer), len(differences))


def coded(symbols, likelihood, remainders="", count=None):
    """Return a cursor over these symbols of a run code."""
    code = runs.run_code(likelihood.step)
    writer = BitWriter()
    writer.golomb(len(symbols) if count is None else count, runs.COUNT_ORDER)
    array = np.array(symbols, np.int64)
    writer.bits += runs.huffman.encode(array, [array.size], [code])[0]
    writer.append(np.array([int(bit) for bit in remainders], np.int64))
    return reader_of(writer)


def test_by_hand():
    # B = 15, M = 2: runs of 3 and 15 with no one, of 0 and 2, of 4 and a filler.
    likelihood = Likelihood(9, False)
    symbols = [3 * 16 + 15, 0 * 16 + 2, 4 * 16 + 15]
    assert runs.decode(coded(symbols, likelihood), 100, likelihood).tolist() == [3, 19, 22, 27]
    # B = 255, s = 1: 2 units and 1, 255 units with no one and then 0 units and 0.
    likelihood = Likelihood(28, False)
    reader = coded([2, 255, 0], likelihood, "10")
    assert runs.decode(reader, 1000, likelihood).tolist() == [5, 516]


def test_no_runs():
    for place in PLACES:
        likelihood = Likelihood.at(place)
        assert runs.decode(coded([], likelihood), 0, likelihood).size == 0


@pytest.mark.parametrize("place", PLACES)
def test_the_last_symbol_holds_a_one(place):
    likelihood = Likelihood.at(place)
    code = runs.run_code(likelihood.step)
    reader = coded([0, code.lengths.size - 1], likelihood, "0" * 100)
    with pytest.raises(FormatError, match="tensor 'x' has runs after its last one"):
        runs.decode(reader, 10**6, likelihood)


@pytest.mark.parametrize("place", PLACES)
def test_cut_off(place):
    likelihood = Likelihood.at(place)
    writer = BitWriter()
    rare = np.arange(30) * 7
    ones = runs.others(rare, 300) if likelihood.inverted else rare
    encode(ones, 300, likelihood, writer)
    data = writer.bits.tobytes()
    for length in range(len(data) - 1):
        with pytest.raises(FormatError, match=r"ends early|ends before|too large or cut off"):
            runs.decode(BitReader(data[:length], "it"), 300, likelihood)


def test_a_count_of_more_than_there_can_be():
    for place in PLACES:
        likelihood = Likelihood.at(place)
        for count in (2**61, 10**4):
            with pytest.raises(FormatError, match=r"more runs than elements|ends before"):
                runs.decode(coded([0], likelihood, count=count), 1000, likelihood)


def test_others():
    assert runs.others(np.array([0, 3]), 5).tolist() == [1, 2, 4]
    assert runs.others(np.zeros(0, np.int64), 3).tolist() == [0, 1, 2]
    assert runs.others(np.arange(3), 3).size == 0
