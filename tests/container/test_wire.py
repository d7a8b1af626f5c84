"""Varints and strings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_deepcomp.container import FormatError, wire


def reader(data):
    return wire.Reader(memoryview(data))


@given(st.integers(0, 2**63 - 1))
def test_varint_round_trip(value):
    data = wire.varint(value)
    assert len(data) == max(1, -(-value.bit_length() // 7))
    cursor = reader(data)
    assert cursor.varint("it") == value
    cursor.end("it")


@pytest.mark.parametrize("value", [-1, 2**63])
def test_varint_out_of_range(value):
    with pytest.raises(ValueError, match="2\\*\\*63"):
        wire.varint(value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "needs 1 bytes"),
        (b"\x80", "needs 1 bytes"),
        (b"\x80\x00", "shortest"),
        (b"\xff\x80\x00", "shortest"),
        (b"\x80" * 9 + b"\x01", "more than 9 bytes"),
        (b"\xff" * 100, "more than 9 bytes"),
    ],
)
def test_bad_varints(data, message):
    with pytest.raises(FormatError, match=message):
        reader(data).varint("it")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_string_round_trip(text):
    assert reader(wire.string(text, "name")).string("it") == text


@pytest.mark.parametrize("text", ["x" * 65_535, "é" * 32_767, "\0"])
def test_longest_strings(text):
    assert reader(wire.string(text, "name")).string("it") == text


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", ValueError, "from 1 to 65,535"),
        ("x" * 65_536, ValueError, "got 65,536"),
        ("é" * 32_768, ValueError, "got 65,536"),
        ("a\ud800", ValueError, "lone surrogate at index 1"),
        (b"bytes", TypeError, "must be a str, got bytes"),
        (3, TypeError, "must be a str, got int"),
    ],
)
def test_refused_strings(text, error, message):
    with pytest.raises(error, match=message):
        wire.string(text, "name")


@pytest.mark.parametrize(
    "data", [b"\x00", b"\x02a", b"\x01\xff", b"\x03\xed\xa0\x80", b"\x80\x80\x04" + b"a" * 65_536]
)
def test_bad_strings(data):
    with pytest.raises(FormatError):
        reader(data).string("it")


def test_left_over_bytes():
    with pytest.raises(FormatError, match="1 bytes are left over"):
        reader(b"x").end("it")
