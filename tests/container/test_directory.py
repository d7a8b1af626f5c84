"""Directories."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_deepcomp.container import FormatError, directory
from keras_deepcomp.container.directory import CODED, RAW, ZERO, Record
from keras_deepcomp.container.dtypes import BY_CODE, BY_NAME
from keras_deepcomp.container.wire import varint

UINT8 = BY_NAME["uint8"]
MUCH = 1 << 62
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@st.composite
def records(draw, name):
    element = draw(st.sampled_from(list(BY_CODE.values())))
    shape = tuple(draw(st.lists(st.integers(0, 2**13), max_size=4)))
    size = math.prod(shape) * element.itemsize
    codings = [ZERO]
    if size:
        codings += [RAW] if size < 1 << 30 else []
        codings += [CODED] if element.codable else []
    coding = draw(st.sampled_from(codings))
    lengths = ()
    if coding == RAW:
        lengths = tuple(directory.blocks.raw_lengths(size))
    elif coding == CODED:
        lengths = tuple(draw(st.lists(st.integers(0, 2**40), min_size=1, max_size=5)))
    return Record(name, element, shape, coding, lengths)


@given(
    st.lists(names, unique=True, max_size=6).flatmap(
        lambda drawn: st.tuples(*(records(name) for name in drawn))
    ),
    st.integers(0, 2**40),
    st.integers(0, 2**40),
)
@settings(max_examples=100)
def test_round_trip(drawn, size, length):
    data = directory.encode(size, length, list(drawn))
    assert directory.decode(data, MUCH) == (size, length, list(drawn))
    for cut in range(0, len(data), 5):
        with pytest.raises(FormatError):
            directory.decode(data[:cut], MUCH)
    with pytest.raises(FormatError, match="1 bytes are left over after the last tensor"):
        directory.decode(data + b"\0", MUCH)


def test_by_hand():
    record = Record("w", BY_NAME["float32"], (8, 300), CODED, (16, 5))
    data = bytes.fromhex("00 00 01 01 77 0a 82 08 ac 02 02 10 05")
    assert directory.encode(0, 0, [record]) == data
    assert record.size == 2400
    assert record.decoded_bytes == 9600
    assert record.stored_bytes == 16 + 2 + 5 + 2
    assert record.what == "tensor 'w'"
    raw = Record("r", UINT8, (5 << 20,), RAW, (4 << 20, 1 << 20))
    assert raw.encode() == b"\x01r\x05\x41" + varint(5 << 20)
    assert raw.stored_bytes == (5 << 20) + 8
    assert Record("s", UINT8, (), ZERO, ()).size == 1


def listing(*records_, count=None):
    return varint(0) * 2 + varint(len(records_) if count is None else count) + b"".join(records_)


def record(name=b"x", code=5, coding=0, shape=(), more=b""):
    head = varint(len(name)) + name + bytes([code, coding << 6 | len(shape)])
    return head + b"".join(map(varint, shape)) + more


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the size of the metadata needs 1 bytes"),
        (b"\0\0", "the number of tensors needs 1 bytes"),
        (listing(count=65_537), "its directory has 65,537 tensors, at most 65,536"),
        (listing(record(name=b"")), "the name of tensor 0 has 0 bytes"),
        (listing(record(name=b"\xff")), "the name of tensor 0 is not UTF-8"),
        (listing(record(), record()), "tensor 'x' is there twice"),
        (listing(record(code=27)), "tensor 'x' has the type code 27, which version 1"),
        (listing(record(shape=(1,) * 33)), "tensor 'x' has 33 dimensions, at most 32"),
        (listing(record(shape=(0, 2**62, 2))), "the shape of tensor 'x' is too large"),
        (listing(record(code=10, shape=(2**61,))), "the shape of tensor 'x' is too large"),
        (listing(record(coding=1, shape=(1001,))), "needs 1,001 bytes, and the file has 1,000"),
        (listing(record(coding=1, shape=(2**62,))), "needs 4,611,686,018,427,387,904 bytes"),
        (listing(record(coding=3)), "tensor 'x' has coding 3, and version 1 knows 0, 1 and 2"),
        (listing(record(coding=1, shape=(0,))), "tensor 'x' has no elements, and yet blocks"),
        (listing(record(coding=2, shape=(3, 0))), "tensor 'x' has no elements, and yet blocks"),
        (listing(record(coding=3, shape=(0,))), "tensor 'x' has"),
        (listing(record(code=13, coding=2, more=b"\x01\x01")), "complex128 tensors never are"),
        (listing(record(coding=2, more=b"\0")), "tensor 'x' has 0 blocks"),
        (listing(record(coding=2, more=b"\2\1")), "tensor 'x' has 2 blocks"),
        (listing(record(coding=2, more=varint(2**60))), "has 1,152,921,504,606,846,976 blocks"),
        (listing(record(), b"\0"), "the name of tensor 1 has 0 bytes"),
    ],
)
def test_each_rule_broken_once(data, message):
    with pytest.raises(FormatError, match=message):
        directory.decode(data, 1000)


def test_wide_but_empty():
    (found,) = directory.decode(listing(record(shape=(0, 2**62))), 0)[2]
    assert (found.shape, found.size) == ((0, 2**62), 0)


def test_long_names_are_cut_in_messages():
    data = listing(record(name=b"n" * 10_000, code=99))
    with pytest.raises(FormatError) as caught:
        directory.decode(data, 0)
    assert len(str(caught.value)) < 300
