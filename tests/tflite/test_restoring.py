import io
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tflite_files import kinds

from keras_deepcomp import container
from keras_deepcomp.container import FormatError
from keras_deepcomp.container.wire import varint
from keras_deepcomp.container.writing import leave_raw, write
from keras_deepcomp.tflite.packing import to_kdc
from keras_deepcomp.tflite.restoring import restore

DATA = kinds()["signature"]
PACKED = to_kdc(DATA)
PIECES = b"abcdef", np.arange(6, dtype=np.int8).reshape(2, 3)


def from_kdc(packed, max_bytes=1 << 24):
    return restore(container.Archive(container.archive.MemorySource(packed), max_bytes), max_bytes)


def kdc_of(numbers, rest=b"abcdef", tensors=None, size=None, whole=None, **changes):
    """A file with these segments; it is right unless something is changed."""
    plain = (
        varint(changes.get("count", len(numbers) // 2))
        + b"".join(map(varint, numbers))
        + changes.get("sides", b"")
        + rest
    )
    head = varint(changes.get("length", len(plain))) + zlib.crc32(whole or b"").to_bytes(
        4, "little"
    )
    stream = np.frombuffer(head + b"\0" + plain, np.uint8)
    tensors = {"buffer 1": PIECES[1]} if tensors is None else tensors
    out = io.BytesIO()
    contents = {"rest": leave_raw(changes.get("stream", stream)), **tensors}
    write(out, contents, {"tflite": str(len(whole or b"") if size is None else size)}, 5)
    return out.getvalue()


@pytest.mark.parametrize(
    ("numbers", "whole"),
    [
        ([0, 0], b"\0\1\2\3\4\5abcdef"),
        ([6, 0], b"abcdef\0\1\2\3\4\5"),
        ([2, 1], b"ab\0\3\1\4\2\5cdef"),
        ([2, 0, 1, 4], b"ab\0\1\2\3\4\5c\0\1\2\3\4\5def"),
        ([0, 0, 0, 4, 0, 5], bytes(range(6)) * 3 + b"abcdef"),
    ],
)
def test_segments(numbers, whole):
    assert from_kdc(kdc_of(numbers, whole=whole)) == whole


def test_no_segments():
    assert from_kdc(kdc_of([], tensors={}, whole=b"abcdef")) == b"abcdef"


SIDE = b"\1\0\5" + np.arange(1, 6, dtype="<f4").tobytes() + b"\1\xff" + bytes(5)
"""Of int8, with the values 1 to 5: channel 0 has 1 and 2, channel 1 has -3, -4 and -5."""
SCALED = b"\0\x40\x7f" + bytes(256 - v for v in (76, 102, 127))


def test_shared_values_under_factors():
    packed = kdc_of([0, 2, len(SIDE)], whole=SCALED + b"abcdef", sides=SIDE, count=1)
    assert from_kdc(packed) == SCALED + b"abcdef"
    again = kdc_of([0, 2, len(SIDE), 0, 4], whole=SCALED * 2 + b"abcdef", sides=SIDE, count=2)
    assert from_kdc(again) == SCALED * 2 + b"abcdef"


def scaled_of(side, **changes):
    return kdc_of([0, 2, len(side)], whole=SCALED + b"abcdef", sides=side, count=1, **changes)


RIGHT = b"\0\1\2\3\4\5abcdef"


@pytest.mark.parametrize(
    "packed",
    [
        kdc_of([0, 0], whole=RIGHT[:-1] + b"x"),
        kdc_of([0, 0], whole=RIGHT, size=11),
        kdc_of([0, 0], whole=RIGHT, size=13),
        kdc_of([0, 0], whole=RIGHT, size="x"),
        kdc_of([0, 0], whole=RIGHT, size="9" * 30),
        kdc_of([7, 0], whole=RIGHT),
        kdc_of([0, 4], whole=RIGHT),
        kdc_of([0, 0, 0, 5], whole=bytes(18)),
        kdc_of([], whole=b"abcdef"),
        kdc_of([0, 0, 0, 0], whole=RIGHT),
        kdc_of([0, 0], whole=RIGHT, count=1 << 40),
        kdc_of([0, 0], whole=RIGHT, count=2),
        kdc_of([0, 0], whole=RIGHT, length=1 << 50),
        kdc_of([0, 0], whole=RIGHT, length=3),
        kdc_of([0, 0], whole=RIGHT, stream=np.ones(2, np.uint8)),
        kdc_of([0, 0], whole=RIGHT, stream=np.ones((4, 4), np.uint8)),
        kdc_of([0, 0], whole=RIGHT, stream=np.ones(16, np.int8)),
        kdc_of([0, 1], whole=RIGHT, tensors={"a": np.arange(6, dtype=np.int8)}),
        kdc_of([0, 0], whole=bytes(22), tensors={"a": np.ones(1, np.complex128)}),
        scaled_of(SIDE[:-1]),
        scaled_of(SIDE + b"\0"),
        scaled_of(b""),
        scaled_of(b"\5" + SIDE[1:]),
        scaled_of(b"\x0a" + SIDE[1:]),
        scaled_of(SIDE, tensors={"a": np.arange(6, dtype=np.int8)}),
        scaled_of(SIDE, tensors={"a": np.arange(6, dtype=np.uint8).reshape(2, 3)}),
        scaled_of(SIDE, tensors={"a": np.full((2, 3), 6, np.int8)}),
        kdc_of([0, 2, 1 << 40], whole=SCALED, sides=SIDE, count=1),
        container.save({"other": np.ones(3)}, {"tflite": "3"}),
        container.save({}, {"tflite": "0"}),
    ],
)
def test_files_that_break_a_rule_are_refused(packed):
    with pytest.raises(FormatError):
        from_kdc(packed)


def test_no_more_memory_than_allowed():
    zeros = {"a": np.zeros(1 << 22, np.int8)}
    packed = kdc_of([0, 0], tensors=zeros, size=(1 << 22) + 6, whole=b"")
    with pytest.raises(FormatError, match="max_bytes=4194310"):
        from_kdc(packed, 1 << 20)
    again = kdc_of([0, 0] + [0, 4] * 1000, tensors=zeros, size=1 << 23, whole=b"")
    with pytest.raises(FormatError, match="its parts have"):
        from_kdc(again, 1 << 23)


@given(st.integers(0, len(PACKED) - 1), st.integers(1, 255))
def test_damage_is_found(place, change):
    damaged = bytearray(PACKED)
    damaged[place] ^= change
    with pytest.raises(FormatError):
        from_kdc(bytes(damaged))


@given(st.integers(0, len(PACKED) - 1))
def test_a_file_that_is_cut_off_is_refused(length):
    with pytest.raises(FormatError):
        from_kdc(PACKED[:length])
