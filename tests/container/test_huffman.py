"""Code lengths, canonical codes and bits."""

import heapq
import itertools

import numpy as np
import pytest
from bitarray import bitarray
from container.reference import slow_lengths
from container.samples import bits_of
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_deepcomp.container import FormatError, huffman
from keras_deepcomp.container.bits import BitReader

weight_lists = st.lists(
    st.one_of(st.integers(1, 4), st.integers(1, 2**30)), min_size=2, max_size=60
)


def least_bits(weights):
    """Return the total bits of an optimal code: the sum of all joined weights."""
    heap = list(weights)
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        total += joined
        heapq.heappush(heap, joined)
    return total


@given(weight_lists)
@settings(max_examples=300)
def test_lengths_are_optimal_and_ties_are_broken_as_the_page_says(weights):
    lengths = huffman.code_lengths(np.array(weights))
    assert int(np.array(weights) @ lengths.astype(np.int64)) == least_bits(weights)
    assert lengths.tolist() == slow_lengths(weights)
    assert sum(2.0 ** -lengths.astype(float)) == 1


@pytest.mark.parametrize("size", [2, 3, 1000, huffman.MAX_SYMBOLS])
def test_equal_weights_give_a_balanced_code(size):
    lengths = huffman.code_lengths(np.ones(size, np.int64))
    assert set(lengths.tolist()) <= {(size - 1).bit_length() - 1, (size - 1).bit_length()}


def fibonacci(count):
    weights = [1, 1]
    while len(weights) < count:
        weights.append(weights[-1] + weights[-2])
    return np.array(weights)


def test_canonical_codes():
    lengths = np.array([2, 1, 4, 3, 4], np.uint8)
    assert huffman.canonical_order(lengths).tolist() == [1, 0, 3, 2, 4]
    codes = huffman.canonical_codes(lengths).tolist()
    assert [f"{code:0{length}b}" for code, length in zip(codes, lengths, strict=True)] == [
        "10",
        "0",
        "1110",
        "110",
        "1111",
    ]


def encode(symbols, lengths):
    bits, ends = huffman.encode(symbols, [symbols.size], [huffman.Canonical(lengths)])
    assert ends == [len(bits)]
    return bits


@given(st.lists(st.lists(st.integers(0, 5), max_size=9), min_size=1, max_size=9), st.data())
def test_sequences_in_codes_of_their_own(sequences, data):
    weights = st.lists(st.integers(1, 99), min_size=6, max_size=9)
    lengths = [huffman.code_lengths(np.array(data.draw(weights))) for _ in sequences]
    symbols = np.array([symbol for sequence in sequences for symbol in sequence], np.int32)
    codes = [huffman.Canonical(each) for each in lengths]
    bits, ends = huffman.encode(symbols, list(map(len, sequences)), codes)
    expected = [
        encode(np.array(each, int), own) for each, own in zip(sequences, lengths, strict=True)
    ]
    assert bits == sum(expected, bitarray(endian="big"))
    assert ends == list(itertools.accumulate(map(len, expected)))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=300), st.integers(0, 2**20))
def test_round_trip(symbols, seed):
    weights = np.random.default_rng(seed).integers(1, 1000, 41)
    lengths = huffman.code_lengths(weights)
    codes = huffman.canonical_codes(lengths).tolist()
    expected = "".join(f"{codes[symbol]:0{lengths[symbol]}b}" for symbol in symbols)
    bits = encode(np.array(symbols), lengths)
    assert bits.to01() == expected
    reader = BitReader(bits.tobytes() + b"\xff", "it")
    assert huffman.decode(reader, len(symbols), lengths).tolist() == symbols
    assert reader.position == len(bits)


@pytest.mark.parametrize("count", [0, 1, 65_535, 65_536, 65_537, 200_000])
def test_many_symbols(count):
    lengths = huffman.code_lengths(np.random.default_rng(0).integers(1, 50, 300))
    symbols = np.random.default_rng(1).integers(0, 300, count)
    bits = encode(symbols, lengths)
    assert len(bits) == lengths[symbols].sum(dtype=int)
    decoded = huffman.decode(BitReader(bits.tobytes(), "it"), count, lengths)
    np.testing.assert_array_equal(decoded, symbols)


def test_longest_codes():
    lengths = huffman.code_lengths(fibonacci(huffman.MAX_LENGTH + 1))
    assert lengths.max() == huffman.MAX_LENGTH
    symbols = np.tile(np.arange(huffman.MAX_LENGTH + 1), 50)
    bits = encode(symbols, lengths)
    decoded = huffman.decode(BitReader(bits.tobytes(), "it"), symbols.size, lengths)
    np.testing.assert_array_equal(decoded, symbols)


@pytest.mark.parametrize(
    ("bits", "count"), [("", 1), ("1 0000000", 9), ("11111111", 5), ("0000000 1", 8)]
)
def test_ends_early(bits, count):
    lengths = np.array([1, 2, 2], np.uint8)
    with pytest.raises(FormatError, match="tensor 'x' ends before its last code"):
        huffman.decode(BitReader(bits_of(bits), "tensor 'x'"), count, lengths)


def test_a_count_beyond_all_bits_takes_no_memory():
    with pytest.raises(FormatError, match="ends before its last code"):
        huffman.decode(BitReader(b"\0" * 8, "it"), 2**60, np.array([1, 1], np.uint8))
