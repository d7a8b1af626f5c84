"""Whole files of version 0, right and wrong."""

import random
import tracemalloc

import numpy as np
import pytest
from container.samples import same, sealed
from container.version0.payloads import (
    ZEROS,
    canonical_codes,
    code_lengths,
    file_of,
    pack,
    pack_lengths,
    record,
)
from golden.manifests import FOLDER
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_deepcomp import container
from keras_deepcomp.container import Archive, FormatError
from keras_deepcomp.container.archive import MemorySource
from keras_deepcomp.container.wire import varint

pytest.importorskip("ml_dtypes")

ONE = b"\0\1\7"


def golden(name):
    return (FOLDER / "v0" / f"{name}.kdc").read_bytes()


def test_each_flipped_bit_is_found():
    data = golden("hand_metadata")
    for place in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            with pytest.raises(FormatError):
                container.load(changed)


@pytest.mark.parametrize("name", ["hand_metadata", "type_float32"])
def test_each_cut_is_found(name):
    data = golden(name)
    for length in range(len(data)):
        with pytest.raises(FormatError):
            container.load(data[:length])
    for more in (b"\0", b"\0" * 100, data):
        with pytest.raises(FormatError, match="checksum"):
            container.load(data + more)


def test_each_resealed_cut_is_found():
    body = golden("type_float32")[:-4]
    for length in range(len(body)):
        with pytest.raises(FormatError):
            container.load(sealed(body[:length]))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x89KDC\x00\x00\x00\x00\x00\x00\x00", "cut off after 11 bytes"),
        (b"\x89KDC\x00\x00\x00\x00\x00\x00\x00\x00", "its checksum is .* and should be"),
        (file_of(record(b"x", 27, (), b"\0\0"), decoded=0), "type code 27, which version 0"),
        (file_of(record(b"x", 5, (1,) * 33, ONE), decoded=1), "33 dimensions, at most 32"),
        (file_of(record(b"x", 5, (2,), ONE), decoded=1), "1 raw bytes"),
        (file_of(record(b"x", 5, (1,), ONE), decoded=2), "declares 2 .* holds 1"),
        (file_of(record(b"x", 5, (1,), ONE), decoded=0), "declares 0 .* holds 1"),
        (file_of(record(b"x", 5, (0, 2**62, 2), b"\0\0"), decoded=0), "shape .* too large"),
        (file_of(record(b"x", 10, (2**62,), ZEROS), decoded=2**63 - 1), "shape .* too large"),
        (file_of(record(b"", 5, (1,), ONE), decoded=1), "has 0 bytes"),
        (file_of(record(b"\xff", 5, (1,), ONE), decoded=1), "not UTF-8"),
        (file_of(*[record(b"x", 5, (1,), ONE)] * 2, decoded=2), "tensor 'x' is there twice"),
        (file_of(decoded=2, metadata=[b"\1k\1\0\1v"] * 2), "metadata value 'k' is there twice"),
        (file_of(decoded=1, metadata=[b"\1k\1\0\1\xff"]), "metadata value of 'k' is not UTF-8"),
        (file_of(decoded=1, metadata=[b"\1k\2\0\1v"]), "need 2"),
        (
            file_of(decoded=2**40, metadata=[b"\1k" + varint(2**40) + ZEROS]),
            "metadata has 1,099,511,627,776 bytes",
        ),
        (sealed(b"\x89KDC\0\0\0" + varint(2**62)), "needs 1 bytes, and 0 are left"),
        (sealed(b"\x89KDC\0\0\0\0\0"), "1 bytes are left over after the last tensor"),
        (sealed(b"\x89KDC\0\x80\0\0\0"), "shortest"),
    ],
)
@pytest.mark.parametrize("read", [container.load, container.inspect])
def test_each_rule_broken_once(data, message, read):
    with pytest.raises(FormatError, match=message):
        read(data)


def test_wide_but_empty():
    data = file_of(record(b"x", 5, (0, 2**62), b"\0\0"), decoded=0)
    assert container.load(data)["x"].shape == (0, 2**62)


def test_max_bytes():
    metadata = [b"\1k\5\0\5value"]
    data = file_of(record(b"x", 10, (1000,), ZEROS), decoded=4005, metadata=metadata)
    assert container.load(data, max_bytes=4005)["x"].size == 1000
    with pytest.raises(
        FormatError, match=r"holds 4,005 bytes.*max_bytes allows 4,004.*pass max_bytes=4005"
    ):
        container.load(data, max_bytes=4004)


def test_a_small_file_cannot_ask_for_much():
    huge = file_of(record(b"x", 10, (10**15,), ZEROS), decoded=4 * 10**15)
    many = [record(f"{number}".encode(), 5, (2**32,), ZEROS) for number in range(1000)]
    chain = file_of(*many, decoded=1000 * 2**32)
    lying = file_of(record(b"x", 10, (10**15,), ZEROS), decoded=4)
    tracemalloc.start()
    try:
        for data in (huge, chain, lying):
            for read in (container.load, container.inspect):
                with pytest.raises(FormatError):
                    read(data)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_archive():
    """An old file looks like a new one, though all of it is decoded at once."""
    archive = Archive(MemorySource(golden("network")), 1 << 30)
    expected, info = container.load_with_info(golden("network"))
    assert archive.version == info.version == 0
    assert archive.keys() == list(expected)
    for name, array in expected.items():
        assert archive.shape(name) == array.shape
        assert archive.dtype(name) == array.dtype.name
        same(archive[name], array)
        assert archive.describe(name) == archive.read(name)[1]
    archive.check()
    assert archive.damaged() == []
    assert archive.info([]) == info == container.inspect(golden("network"))
    name = next(iter(expected))
    assert list(container.load(golden("network"), names=[name])) == [name]
    with pytest.raises(KeyError, match="no tensor 'nothing'"):
        archive["nothing"]


def test_arrays_are_the_callers_to_keep():
    archive = Archive(MemorySource(golden("network")), 1 << 30)
    name = archive.keys()[0]
    before = archive[name].copy()
    archive[name].fill(7)
    np.testing.assert_array_equal(archive[name], before)


def test_parts_add_up():
    for name in ("network", "metadata", "type_float32", "empty"):
        info = container.inspect(golden(name))
        records = sum(tensor.record_bytes for tensor in info.tensors)
        assert info.header_bytes + info.metadata_bytes + records == info.file_bytes
        for tensor in info.tensors:
            assert tensor.entries >= tensor.nonzero or tensor.coding == "raw"


def check_anything(data):
    """Load bytes that may be anything: valid tensors or FormatError."""
    try:
        tensors, info = container.load_with_info(data, max_bytes=1 << 20)
    except FormatError:
        return False
    assert container.inspect(data) == info
    assert sum(array.nbytes for array in tensors.values()) <= 1 << 20
    return True


def test_resealed_changes():
    """A writer with bugs, or with bad intentions, mends the checksum."""
    body = golden("type_float32")[:-4]
    rng = random.Random(0)
    accepted = 0
    for _ in range(2000):
        changed = bytearray(body)
        for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
            place = rng.randrange(5, len(changed))
            match rng.randrange(4):
                case 0:
                    changed[place] ^= 1 << rng.randrange(8)
                case 1:
                    changed[place] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
                case 2:
                    del changed[place : place + rng.randrange(1, 4)]
                case 3:
                    changed[place:place] = rng.randbytes(rng.randrange(1, 4))
        accepted += check_anything(sealed(changed))
    assert 0 < accepted < 2000


@given(st.binary(max_size=200))
def test_any_bytes_behind_a_good_frame(body):
    check_anything(sealed(b"\x89KDC\0" + body))


@st.composite
def almost_payloads(draw):
    """Coded payloads that are right, or nearly so: some numbers may be off by one."""
    off = st.sampled_from([0] * 20 + [1, -1])
    bits = draw(st.integers(0, 4))
    bound = 2**bits - 1
    symbols = [*draw(st.lists(st.integers(0, 5), max_size=15)), draw(st.integers(0, 5))]
    gaps = [
        bound if symbol == 0 and draw(off) == 0 else draw(st.integers(0, bound))
        for symbol in symbols
    ]
    counts = np.bincount(symbols, minlength=2)
    # The codebook is packed down to the symbols that occur.
    used = [0, *np.flatnonzero(counts[1:]) + 1]
    symbols = [used.index(symbol) for symbol in symbols]
    counts = counts[used]
    clusters = len(used) - 1
    codebook = bytes(range(7, 7 + clusters))
    fillers = int(counts[0])
    body = bytes([bits]) + varint(max(0, len(symbols) - fillers + draw(off)))
    body += varint(max(0, fillers + draw(off)))
    body += varint(clusters) + codebook
    streams = [(gaps, np.bincount(gaps))] * (bits > 0) + [(symbols, counts)]
    head, data = b"", b""
    for number, (values, value_counts) in enumerate(streams):
        lengths = code_lengths(value_counts.tolist())
        codes = canonical_codes(lengths)
        if number < len(streams) - 1:
            body += varint(len(value_counts))
        body += pack_lengths(lengths)
        stream = "".join(codes[value] for value in values)
        head += varint(max(0, len(stream) + draw(off)))
        data += pack(stream)
    body += head + data
    size = sum(gaps) + len(gaps) + draw(st.sampled_from([0, 0, 1, 30, -1]))
    return b"\x01" + varint(len(body)) + body, max(0, size)


@given(almost_payloads())
@settings(max_examples=300)
def test_plausible_payloads(payload_and_size):
    payload, size = payload_and_size
    check_anything(file_of(record(b"x", 5, (size,), payload), decoded=size))
