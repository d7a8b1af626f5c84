"""Blocks to patterns."""

import numpy as np
import pytest
from container.samples import bits_of, decoded, encoded, weights
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_deepcomp.container import FormatError, decoding
from keras_deepcomp.container.directory import CODED, RAW, ZERO, Record
from keras_deepcomp.container.dtypes import BY_NAME


def decode(contents, name, shape, coding=CODED, patterns=True):
    """Return the patterns and the description of a tensor."""
    element = BY_NAME[name]
    record = Record("x", element, shape, coding, tuple(map(len, contents)))
    count = record.size * element.itemsize // element.pattern.itemsize
    flat = np.zeros(count, element.pattern) if patterns else None
    info = decoding.decode(record, map(memoryview, contents), flat)
    return flat, info


def test_zeros_have_no_blocks():
    patterns, info = decode([], "float32", (3, 4), ZERO)
    assert not patterns.any()
    assert (info.coding, info.nonzero, info.size, info.record_bytes) == ("coded", 0, 12, 0)
    assert (info.clusters, info.entries) == (0, 0)


@pytest.mark.parametrize("name", ["uint8", "float64", "complex128"])
def test_raw(name):
    element = BY_NAME[name]
    data = np.random.default_rng(0).bytes(30 * element.itemsize)
    data = data[: 10 * element.itemsize] + bytes(element.itemsize) + data[11 * element.itemsize :]
    for contents in ([data], [data[: 16 * element.itemsize], data[16 * element.itemsize :]]):
        patterns, info = decode(contents, name, (5, 6), RAW)
        assert patterns.tobytes() == data
        assert (info.coding, info.size) == ("raw", 30)
        assert info.nonzero == np.count_nonzero(np.frombuffer(data, element.numpy_dtype()))
        assert decode(contents, name, (5, 6), RAW, patterns=False) == (None, info)


@pytest.mark.parametrize(
    ("name", "byte", "most"), [("bool", 2, 1), ("int4", 0x10, 15), ("uint2", 4, 3), ("int2", 9, 3)]
)
def test_patterns_that_are_too_large(name, byte, most):
    message = f"tensor 'x' is {name} and has the byte {byte}, at most {most}"
    with pytest.raises(FormatError, match=message):
        decode([bytes([0, 1, byte])], name, (3,), RAW)
    # Dense, two codebook values, the larger one is too large, whether it occurs or not.
    first = bits_of(f"0 0 1001 000 1 {golomb(byte - 1)} 0 00 000 00 1000 1 000")
    with pytest.raises(FormatError, match=message):
        decode([first], name, (3,))


def golomb(value):
    """Return a code of order 0."""
    digits = f"{value + 1:b}"
    return "0" * (len(digits) - 1) + digits


DENSE = "0 0 1001 000 1 1 0 00 000 00 1000 1"  # The values 0 and 1, each in a bit.


def test_by_hand():
    patterns, info = decode([bits_of(DENSE + "0110 1")], "uint8", (5,))
    assert patterns.tolist() == [0, 1, 1, 0, 1]
    assert (info.nonzero, info.entries, info.clusters) == (3, 5, 2)
    assert (info.gap_bits, info.index_bits, info.gap_huffman_bits) == (0, 1, 0)
    assert info.index_huffman_bits == 5


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        (DENSE + "0110 1 0000000 00000000", "tensor 'x' has bits left over"),
        (DENSE + "0110 1 01", "tensor 'x' has bits left over"),
        (DENSE, "tensor 'x' ends before its last code"),
        ("", "tensor 'x' ends early"),
    ],
)
def test_bits_that_do_not_fit(bits, message):
    with pytest.raises(FormatError, match=message):
        decode([bits_of(bits)], "uint8", (5,))


def test_bands_by_hand():
    """Two bands, of 2^19 + 1 columns and of one less; the second block is a band alone."""
    shape = ((1 << 20) + 1,)
    first, second = shape[0] // 2, shape[0] - shape[0] // 2
    start = bits_of(DENSE)
    used = len(DENSE.replace(" ", ""))
    contents = [bits_of(DENSE + "1" * first), bits_of("1" + "0" * (second - 1))]
    patterns, info = decode(contents, "uint8", shape)
    assert patterns[: first + 1].all() and not patterns[first + 1 :].any()
    assert info.nonzero == first + 1
    assert len(start) * 8 - used < 8
    for changed in (
        contents[:1],
        [*contents, b""],
        [contents[0] + b"\0", contents[1]],
        [contents[0], contents[1] + b"\0"],
        [contents[0], contents[1][:-1]],
        contents[::-1],
    ):
        with pytest.raises(FormatError, match="tensor 'x'"):
            decode(changed, "uint8", shape)


@pytest.mark.parametrize("shape", [(40, 30), (3, 3, 7, 20), (2, 600_000)])
def test_looking_gives_the_same_description(shape):
    contents = encoded(weights(shape, 0.1, 8), 3)
    _, info = decode(contents, "float32", shape)
    assert decode(contents, "float32", shape, patterns=False) == (None, info)
    assert decoded(contents, "float32", shape)[1] == info


@given(st.integers(0, 2**32), st.sampled_from([(40, 30), (3, 3, 7, 5), (50,), (8, 8)]))
@settings(max_examples=40)
def test_damage_gives_an_error_or_other_patterns(seed, shape):
    random = np.random.default_rng(seed)
    contents = encoded(weights(shape, 0.3, 5, seed), int(random.integers(0, 10)))
    for _ in range(10):
        data = bytearray(contents[0])
        for place in random.integers(0, len(data), random.integers(1, 4)):
            data[place] ^= 1 << random.integers(0, 8)
        try:
            patterns, info = decode([bytes(data)], "float32", shape)
        except FormatError as error:
            assert "tensor 'x'" in str(error)
        else:
            assert info.nonzero == np.count_nonzero(patterns)
