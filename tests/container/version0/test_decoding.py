"""The rules of the coded form of version 0, each broken once."""

import numpy as np
import pytest
from container.version0.payloads import hand_made
from hypothesis import given
from hypothesis import strategies as st

from keras_deepcomp.container import FormatError
from keras_deepcomp.container.dtypes import BY_NAME
from keras_deepcomp.container.version0 import decoding
from keras_deepcomp.container.wire import Reader

UINT8 = BY_NAME["uint8"]


def decode(data, element, size):
    """Return the patterns of a payload."""
    parsed = decoding.parse(Reader(memoryview(data)), element, size, "tensor 'x'")
    patterns = np.zeros(size * element.itemsize // element.pattern.itemsize, element.pattern)
    decoding.expand(parsed, patterns)
    assert parsed.count_nonzero() == np.count_nonzero(patterns)
    return patterns


def test_hand_made_payload():
    for size in (8, 9, 1000):
        expected = [1, 0, 0, 0, 0, 0, 2, 1] + [0] * (size - 8)
        assert decode(hand_made(), UINT8, size).tolist() == expected


@pytest.mark.parametrize(
    ("change", "size", "message"),
    [
        ({}, 7, "past its 7 elements"),
        ({}, 3, "4 entries for 3 elements"),
        ({"bits": 16}, 8, "gaps of 16 bits"),
        ({"bits": 1}, 8, "4 gap code lengths for gaps of 1 bits"),
        ({"bits": 3}, 8, "does not come after 7 zeros"),
        ({"nonzero": 2, "fillers": 2}, 8, "has 1 fillers, and declares 2"),
        ({"nonzero": 4, "fillers": 0}, 8, "exactly if there are fillers"),
        ({"index_lengths": (0, 1, 1), "index_bits": "0010"}, 8, "exactly if there are fillers"),
        ({"index_lengths": (1, 0, 1)}, 8, "a codebook value of tensor 'x' has no code"),
        ({"nonzero": 0, "fillers": 0}, 8, "no non-zero elements"),
        ({"nonzero": 0}, 8, "no non-zero elements"),
        ({"nonzero": 0, "fillers": 0, "bits": 0}, 8, "left over"),
        ({"clusters": 0}, 8, "codebook of 0"),
        ({"clusters": 4}, 8, "codebook of 4"),
        ({"codebook": b"\x00\x01"}, 8, "strictly ascending"),
        ({"codebook": b"\x01\x01"}, 8, "strictly ascending"),
        ({"codebook": b"\x02\x01"}, 8, "strictly ascending"),
        ({"gap_count": 0}, 8, "0 gap code lengths"),
        ({"gap_count": 4, "gap_lengths": (1, 2, 2, 0)}, 8, "last code length"),
        ({"gap_lengths": (1, 1, 0, 1)}, 8, "complete prefix code"),
        ({"gap_lengths": (1, 3, 0, 3)}, 8, "complete prefix code"),
        ({"index_lengths": (2, 2, 2)}, 8, "complete prefix code"),
        ({"index_lengths": (25, 1, 2)}, 8, "longer than 24"),
        ({"gap_size": 3}, 8, "3 bits for 4 entries"),
        ({"index_size": 3}, 8, "3 bits for 4 entries"),
        ({"gap_size": 5}, 8, "gap stream of tensor 'x' ends before"),
        ({"gap_size": 7}, 8, "gap stream of tensor 'x' goes on"),
        ({"gap_size": 9}, 8, "needs 1 bytes|ends before|index stream"),
        ({"index_size": 5}, 8, "padding|ends before"),
        ({"index_size": 2**62}, 8, "needs"),
        ({"gap_bits": "0111001"}, 8, "gap stream of tensor 'x' goes on"),
        ({"index_bits": "0101100"}, 8, "index stream of tensor 'x' goes on"),
        ({"index_bits": "001110"}, 8, "does not come after 3 zeros"),
        ({"extra": b"\x00"}, 8, "1 bytes are left over"),
    ],
)
def test_wrong_in_one_place(change, size, message):
    with pytest.raises(FormatError, match=message):
        decode(hand_made(**change), UINT8, size)


def test_last_entry_is_not_a_filler():
    data = hand_made(nonzero=3, fillers=1, gap_bits="010011", index_bits="011010")
    with pytest.raises(FormatError, match="last entry of tensor 'x' is a filler"):
        decode(data, UINT8, 1000)


@pytest.mark.parametrize(
    ("data", "element", "size", "message"),
    [
        (b"\x02\x00", UINT8, 0, "coding 2"),
        (b"\x00\x01\x05", UINT8, 2, "1 raw bytes.*need 2"),
        (b"\x00\x02\x05", UINT8, 2, "needs 2 bytes, and 1 are left"),
        (b"\x00\x01\x02", BY_NAME["bool"], 1, "bool and has the byte 2"),
        (b"\x00\x01\x10", BY_NAME["int4"], 1, "int4 and has the byte 16"),
        (b"\x01\x03\x00\x00\x00", BY_NAME["complex128"], 1, "always raw"),
        (b"\x01\x00", UINT8, 1, "needs 1 bytes"),
        (hand_made(codebook=b"\x01\x02"), BY_NAME["bool"], 8, "bool and has the byte 2"),
    ],
)
def test_bad_payloads(data, element, size, message):
    with pytest.raises(FormatError, match=message):
        decode(data, element, size)


@pytest.mark.parametrize("block", [1, 2, 3])
def test_blocks_of_entries(block, monkeypatch):
    monkeypatch.setattr(decoding, "_BLOCK", block)
    assert decode(hand_made(), UINT8, 9).tolist() == [1, 0, 0, 0, 0, 0, 2, 1, 0]


@given(st.binary(max_size=40), st.integers(0, 100))
def test_any_bytes(data, size):
    for payload in (data, b"\1" + data, b"\1" + bytes([len(data)]) + data):
        try:
            decode(payload, UINT8, size)
        except FormatError as error:
            assert "tensor 'x'" in str(error)
