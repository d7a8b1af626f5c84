"""Code lengths and streams of version 0."""

import numpy as np
import pytest
from container.version0.payloads import canonical_codes, code_lengths, pack, pack_lengths
from hypothesis import given
from hypothesis import strategies as st

from keras_deepcomp.container import FormatError
from keras_deepcomp.container.version0 import huffman


@given(st.lists(st.integers(0, huffman.MAX_LENGTH), min_size=1, max_size=50))
def test_packed_lengths(lengths):
    packed = pack_lengths(lengths)
    assert len(packed) == huffman.packed_size(len(lengths))
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


@given(st.lists(st.integers(0, 40), min_size=1, max_size=300))
def test_streams(symbols):
    lengths = code_lengths(np.bincount(symbols).tolist())
    codes = canonical_codes(lengths)
    bits = "".join(codes[symbol] for symbol in symbols)
    packed = np.array(lengths, np.uint8)
    huffman.check_lengths(packed, "the stream")
    assert huffman.canonical_order(packed).tolist() == list(codes)
    decoder = huffman.Decoder(memoryview(pack(bits)), len(bits), packed, "the stream")
    half = len(symbols) // 2
    assert decoder.read(half).tolist() == symbols[:half]
    assert decoder.read(len(symbols) - half).tolist() == symbols[half:]
    decoder.finish()


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
