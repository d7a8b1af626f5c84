import struct

import numpy as np
import pytest
from tflite_files import Maker, kinds, weights

from keras_deepcomp.container import FormatError
from keras_deepcomp.tflite.buffers import BufferRange, find

KINDS = kinds()


def test_ranges_hold_the_buffers():
    first, second = weights((32, 3, 3, 16)), weights((64, 128), seed=1)
    for kind in ("two subgraphs", "outside", "signature"):
        found = find(KINDS[kind])
        if kind == "signature":
            first = weights((32, 3, 3, 16))
        bytes_of = {one.number: KINDS[kind][one.start : one.stop] for one in found}
        assert len(found) == 2
        assert {first.tobytes(), second.tobytes()} == set(bytes_of.values())
        assert {(one.dtype, one.shape) for one in found} == {
            ("int8", (32, 3, 3, 16)), ("int8", (64, 128)),
        }  # fmt: skip
        assert found == sorted(found, key=lambda one: one.start)


def test_shared_empty_and_small_buffers():
    assert len(find(KINDS["shared buffer"])) == 1
    assert find(KINDS["empty buffers"]) == []
    assert find(Maker().add(np.arange(9, dtype=np.int8)).bytes()) == []


def test_buffers_that_overlap_are_left_out():
    data = bytearray(KINDS["outside"])
    first, second = find(bytes(data))
    for place in range(0, first.start - 8, 4):
        if struct.unpack_from("<Q", data, place)[0] == second.start:
            struct.pack_into("<Q", data, place, first.start + 100)
    assert find(bytes(data)) == [first]


def test_elements():
    def elements(size, shape, bits=32):
        return BufferRange(1, 100, 100 + size, "float32", shape).elements(bits)

    assert elements(24, (2, 3)) == (2, 3)
    assert elements(20, (2, 3)) == (5,)
    assert elements(24, (-1, -6)) == (6,)
    assert elements(24, ()) == (6,)
    assert elements(3, (5,), 4) == (5,)
    assert elements(3, (4,), 4) == (6,)


@pytest.mark.parametrize(
    ("place", "value"), [(0, 1 << 31), (0, 0xFFFFFFF0), (0, 8), (0, 4)], ids=str
)
def test_broken_roots_are_refused_or_have_no_buffers(place, value):
    data = bytearray(KINDS["one"])
    struct.pack_into("<I", data, place, value)
    try:
        found = find(bytes(data))
    except FormatError as error:
        assert "Damaged .tflite file" in str(error)
    else:
        assert all(0 <= one.start < one.stop <= len(data) for one in found)


def test_lists_that_are_too_long_are_refused():
    data = bytearray(KINDS["two subgraphs"])
    places = [p for p in range(0, 600, 4) if data[p : p + 4] in (b"\2\0\0\0", b"\3\0\0\0")]
    refused = 0
    for place in places:
        changed = bytearray(data)
        struct.pack_into("<I", changed, place, 0x3FFFFFFF)
        try:
            find(bytes(changed))
        except FormatError:
            refused += 1
    assert refused
