"""Code lengths, canonical codes and streams."""

import heapq
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_deepcomp.container import FormatError, huffman

counts_lists = st.lists(st.integers(0, 1000), min_size=1, max_size=60).filter(any)


def plain_huffman_bits(counts):
    """Return the total bits of an unbounded Huffman code: the sum of all merged weights."""
    heap = [count for count in counts if count]
    if len(heap) == 1:
        return heap[0]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged
        heapq.heappush(heap, merged)
    return total


def total_bits(counts, lengths):
    return int(np.asarray(counts, np.int64) @ lengths.astype(np.int64))


@given(counts_lists)
def test_lengths_are_optimal(counts):
    lengths = huffman.code_lengths(np.array(counts))
    assert total_bits(counts, lengths) == plain_huffman_bits(counts)
    assert ((lengths > 0) == (np.array(counts) > 0)).all()
    huffman.check_lengths(lengths, "the stream")


@given(st.lists(st.integers(1, 300), min_size=2, max_size=6), st.integers(3, 4))
@settings(max_examples=30)
def test_bounded_lengths_are_optimal(counts, limit):
    lengths = huffman.code_lengths(np.array(counts), limit)
    assert lengths.max() <= limit
    best = min(
        sum(count * length for count, length in zip(counts, tried, strict=True))
        for tried in itertools.product(range(1, limit + 1), repeat=len(counts))
        if sum(2.0**-length for length in tried) <= 1
    )
    assert total_bits(counts, lengths) == best


def test_fibonacci_counts_stay_within_the_bound():
    counts = [1, 1]
    while len(counts) < 60:
        counts.append(counts[-1] + counts[-2])
    lengths = huffman.code_lengths(np.array(counts))
    assert lengths.max() == huffman.MAX_LENGTH
    huffman.check_lengths(lengths, "the stream")
    symbols = np.arange(60)
    decoder = huffman.Decoder(*stream(symbols, lengths), "the stream")
    np.testing.assert_array_equal(decoder.read(60), symbols)


@pytest.mark.parametrize("size", [2, 3, 1000, 65_536])
def test_equal_counts_give_a_balanced_code(size):
    lengths = huffman.code_lengths(np.ones(size, np.int64))
    assert set(lengths.tolist()) <= {(size - 1).bit_length() - 1, (size - 1).bit_length()}
    huffman.check_lengths(lengths, "the stream")


def test_canonical_codes():
    codes = huffman.canonical_codes(np.array([2, 1, 0, 3, 3], np.uint8))
    assert {symbol: code.to01() for symbol, code in codes.items()} == {
        1: "0",
        0: "10",
        3: "110",
        4: "111",
    }


@given(st.lists(st.integers(0, huffman.MAX_LENGTH), min_size=1, max_size=50))
def test_packed_lengths(lengths):
    packed = huffman.pack_lengths(np.array(lengths, np.uint8))
    assert len(packed) == huffman.packed_size(len(lengths))
    bits = "".join(f"{length:05b}" for length in lengths)
    assert packed == bytes(
        int(bits[start : start + 8].ljust(8, "0"), 2) for start in range(0, len(bits), 8)
    )
    unpacked = huffman.unpack_lengths(memoryview(packed), len(lengths), "the stream")
    assert unpacked.tolist() == lengths


def test_padding_of_packed_lengths_is_checked():
    with pytest.raises(FormatError, match="padding"):
        huffman.unpack_lengths(memoryview(b"\x09"), 1, "the stream")


@pytest.mark.parametrize(
    "lengths", [[0], [0, 0], [2], [1, 1, 1], [1, 2], [2, 2, 2], [0, 24], [25, 1], [31, 31]]
)
def test_incomplete_and_overfull_codes_are_refused(lengths):
    with pytest.raises(FormatError, match="the stream"):
        huffman.check_lengths(np.array(lengths, np.uint8), "the stream")


@pytest.mark.parametrize("lengths", [[1], [0, 1], [1, 0, 1], [2, 2, 2, 2], [*range(1, 25), 24]])
def test_complete_codes_are_accepted(lengths):
    huffman.check_lengths(np.array(lengths, np.uint8), "the stream")


def stream(symbols, lengths):
    """Return what `Decoder` takes for these symbols."""
    symbols = np.asarray(symbols)
    return memoryview(huffman.encode(symbols, lengths)), int(lengths[symbols].sum()), lengths


@given(st.lists(st.integers(0, 40), min_size=1, max_size=300))
def test_stream_round_trip(symbols):
    lengths = huffman.code_lengths(np.bincount(symbols))
    codes = huffman.canonical_codes(lengths)
    bits = "".join(codes[symbol].to01() for symbol in symbols)
    data, count, _ = stream(symbols, lengths)
    assert count == len(bits)
    assert bytes(data) == int(bits.ljust(len(data) * 8, "0"), 2).to_bytes(len(data), "big")
    decoder = huffman.Decoder(data, count, lengths, "the stream")
    half = len(symbols) // 2
    assert decoder.read(half).tolist() == symbols[:half]
    assert decoder.read(len(symbols) - half).tolist() == symbols[half:]
    decoder.finish()


def test_streams_longer_than_a_block(monkeypatch):
    monkeypatch.setattr(huffman, "_BLOCK", 3)
    symbols = [0, 1, 2, 1, 0, 0, 0, 2]
    data, count, lengths = stream(symbols, huffman.code_lengths(np.bincount(symbols)))
    assert huffman.Decoder(data, count, lengths, "the stream").read(8).tolist() == symbols


def test_decoder_refuses_what_does_not_fit():
    lengths = np.array([1, 2, 2], np.uint8)
    with pytest.raises(FormatError, match="padding"):
        huffman.Decoder(memoryview(b"\x81"), 2, lengths, "the stream")
    with pytest.raises(FormatError, match="ends before"):
        huffman.Decoder(memoryview(b"\x80"), 1, lengths, "the stream").read(1)
    with pytest.raises(FormatError, match="ends before"):
        huffman.Decoder(memoryview(b"\x80"), 2, lengths, "the stream").read(2)
    for data, bits in ((b"\xa0", 3), (b"\x90", 4)):
        decoder = huffman.Decoder(memoryview(data), bits, lengths, "the stream")
        decoder.read(1)
        with pytest.raises(FormatError, match="goes on"):
            decoder.finish()
    with pytest.raises(FormatError, match="stands for nothing"):
        huffman.Decoder(memoryview(b"\x40"), 2, np.array([0, 1], np.uint8), "the stream")
