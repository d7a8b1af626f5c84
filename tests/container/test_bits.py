"""Fields of bits."""

import numpy as np
import pytest
from container.samples import bits_of, reader_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keras_deepcomp.container import FormatError
from keras_deepcomp.container import bits as bits_module
from keras_deepcomp.container.bits import BitReader, BitWriter, golomb_bits, joined, zigzag


def golomb(value, order):
    writer = BitWriter()
    writer.golomb(value, order)
    return writer.bits.to01()


@pytest.mark.parametrize(
    ("order", "codes"),
    [
        (0, ["1", "010", "011", "00100", "00101"]),
        (1, ["10", "11", "0100", "0101", "0110", "0111", "001000"]),
        (3, ["1000", "1001", "1010", "1011", "1100", "1101", "1110", "1111", "010000"]),
    ],
)
def test_golomb_codes(order, codes):
    assert [golomb(value, order) for value in range(len(codes))] == codes


lists_of_values = st.integers(0, 64).flatmap(
    lambda width: st.lists(st.integers(0, 2**width - 1), max_size=30)
)


@given(lists_of_values, st.integers(0, 63))
def test_many_golomb_codes(values, order):
    array = np.array(values, np.uint64)
    writer = BitWriter()
    writer.golombs(array, order)
    assert writer.bits.to01() == "".join(golomb(value, order) for value in values)
    assert golomb_bits(array, order) == len(writer.bits)


@given(
    st.integers(1, 64).flatmap(
        lambda most: st.lists(
            st.tuples(st.integers(1, most), st.integers(0, 2**64 - 1)), max_size=300
        )
    ),
    st.sampled_from([1, 3, 1000]),
)
@example(4 * [(32, 2**64 - 1)], 1)
@example(4 * [(33, 2**64 - 1)], 1)
@settings(max_examples=300)
def test_joined_fields(fields, many):
    widths = [width for width, _ in fields]
    values = [value >> (64 - width) for width, value in fields]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bits_module, "_MANY", many)
        bits = joined(np.array(values, np.uint64), np.array(widths, np.uint8))
    expected = [f"{value:0{width}b}" for value, width in zip(values, widths, strict=True)]
    assert bits.to01() == "".join(expected)


def test_signed_values_in_order():
    for number, value in enumerate([0, -1, 1, -2, 2, -3, 3]):
        writer = BitWriter()
        writer.signed_golomb(value, 2)
        assert writer.bits.to01() == golomb(number, 2)
        assert zigzag(np.array([value])) == [number]
        assert reader_of(writer).signed_golomb(2) == value


fields = st.one_of(
    st.tuples(st.just("number"), st.integers(0, 64)).flatmap(
        lambda kind: st.tuples(st.just(kind), st.integers(0, 2 ** kind[1] - 1))
    ),
    st.tuples(
        st.tuples(st.sampled_from(["golomb", "signed_golomb"]), st.integers(0, 12)),
        st.integers(0, 2**50),
    ),
    st.tuples(st.just(("array", 0)), st.lists(st.integers(0, 1), max_size=40)),
    st.tuples(st.just(("bytes", 0)), st.lists(st.integers(0, 255), max_size=9)),
)


@given(st.lists(fields, max_size=12))
@settings(max_examples=100)
def test_round_trip(parts):
    writer = BitWriter()
    for (kind, width), value in parts:
        if kind == "array":
            writer.append(np.array(value, np.int64))
        elif kind == "bytes":
            writer.append_bytes(np.array(value, np.uint8))
        else:
            value = value - 2**49 if kind == "signed_golomb" else value
            getattr(writer, kind)(value, width)
    reader = reader_of(writer)
    for (kind, width), value in parts:
        if kind == "array":
            assert reader.array(len(value)).tolist() == value
        elif kind == "bytes":
            assert reader.byte_array(len(value)).tolist() == value
        elif kind == "number":
            assert reader.number(width) == value
        else:
            expected = value - 2**49 if kind == "signed_golomb" else value
            assert getattr(reader, kind)(width) == expected
    assert reader.position == len(writer.bits)
    reader.finish()


def test_most_significant_bit_first():
    writer = BitWriter()
    writer.number(0b101, 3)
    writer.append(np.array([1, 1, 0, 1]))
    assert writer.bits.tobytes() == b"\xba"
    reader = BitReader(b"\xba", "it")
    assert reader.flag() and not reader.flag()
    assert reader.ahead(3).to01() == "111"
    assert reader.take(6).to01() == "111010"


def test_ends_early():
    for read in (
        lambda reader: reader.number(9),
        lambda reader: reader.take(9),
        lambda reader: reader.array(9),
        lambda reader: reader.byte_array(2),
        lambda reader: reader.array(2**60),
    ):
        with pytest.raises(FormatError, match="tensor 'x' ends early"):
            read(BitReader(b"\xff", "tensor 'x'"))
    assert BitReader(b"\xff", "it").ahead(100).to01() == "1" * 8


def test_longest_golomb_codes():
    zeros, longest = "0" * 63, "1" * 64
    assert BitReader(bits_of(zeros + longest), "it").golomb(0) == 2**64 - 2
    for data in (bits_of("0" * 64 + "1" * 70), b"", b"\0\0", bytes(10**6)):
        with pytest.raises(FormatError, match="number that is too large or cut off"):
            BitReader(data, "it").golomb(0)
    with pytest.raises(FormatError, match="ends early"):
        BitReader(b"\x01", "it").golomb(0)


@pytest.mark.parametrize(("data", "used"), [(b"", 0), (b"\xff\x80", 9), (b"\xff", 8), (b"\x80", 1)])
def test_padding_of_zeros_is_fine(data, used):
    reader = BitReader(data, "it")
    reader.take(used)
    reader.finish()


@pytest.mark.parametrize(("data", "used"), [(b"\x80\x00", 8), (b"\x81", 1), (b"\x00", 0)])
def test_anything_else_left_over_is_damage(data, used):
    reader = BitReader(data, "tensor 'x'")
    reader.take(used)
    with pytest.raises(FormatError, match="tensor 'x' has bits left over"):
        reader.finish()
