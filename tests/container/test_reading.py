"""Files that are not right: each gives FormatError, fast, and nothing else."""

import random
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_deepcomp import container
from keras_deepcomp.container import FormatError, huffman
from keras_deepcomp.container.wire import varint


def sealed(body):
    """Return bytes with the checksum that belongs to them."""
    return bytes(body) + zlib.crc32(bytes(body)).to_bytes(4, "little")


def file_of(*records, decoded, metadata=(), version=0):
    """Return a file with these tensor records and metadata records as they are."""
    body = b"\x89KDC" + bytes([version]) + varint(decoded)
    body += varint(len(metadata)) + b"".join(metadata)
    return sealed(body + varint(len(records)) + b"".join(records))


def record(name, dtype, shape, payload):
    """Return a tensor record."""
    head = varint(len(name)) + name + bytes([dtype, len(shape)])
    return head + b"".join(map(varint, shape)) + payload


ZEROS = b"\x01\x03\x00\x00\x00"


def small_file():
    """Return a small file with a coded, a raw and an empty tensor and coded metadata."""
    weights = np.zeros(88, np.float32)
    weights[[21, 29, 45, 53, 69, 77]] = 0.5
    weights[[7, 37, 61, 85]] = -1.0
    dense = np.repeat(np.array([1, 2, 3], np.uint8), [30, 9, 5])
    tensors = {"w": weights, "d": dense, "b": np.ones(2, bool), "e": np.zeros((0, 2))}
    return container.save(tensors, {"k": "aaaaaaaabaaaaaaacaaaaaa" * 2})


def test_each_flipped_bit_is_found():
    data = small_file()
    for place in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            with pytest.raises(FormatError):
                container.load(damaged)


def test_each_cut_is_found():
    data = small_file()
    for length in range(len(data)):
        with pytest.raises(FormatError):
            container.load(data[:length])
    for more in (b"\0", b"\0" * 100, data):
        with pytest.raises(FormatError, match="checksum"):
            container.load(data + more)


def test_each_resealed_cut_is_found():
    body = small_file()[:-4]
    for length in range(len(body)):
        with pytest.raises(FormatError):
            container.load(sealed(body[:length]))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a .kdc file: it is empty"),
        (b"PK\x03\x04" + b"\0" * 50, "begins with the bytes 50 4b 03 04.*89 4b 44 43"),
        (b"x", "begins with the bytes 78"),
        (b"\x89K", "cut off after 2 bytes"),
        (b"\x89KDC", "cut off after 4 bytes"),
        (b"\x89KDC\x07", "format version 7, and this reader knows 0. Upgrade keras_deepcomp"),
        (b"\x89KDC\x00\x00\x00\x00\x00\x00\x00", "cut off after 11 bytes"),
        (b"\x89KDC\x00\x00\x00\x00\x00\x00\x00\x00", "checksum"),
        (file_of(decoded=0, version=1), "format version 1"),
    ],
)
@pytest.mark.parametrize("read", [container.load, container.inspect])
def test_frame(data, message, read):
    with pytest.raises(FormatError, match=message):
        read(data)


def test_bytes_like_objects():
    data = container.save({"x": np.arange(3)})
    for same in (bytearray(data), memoryview(data), np.frombuffer(data, np.uint8)):
        assert container.load(same)["x"].tolist() == [0, 1, 2]
    with pytest.raises(FormatError, match="empty"):
        container.load(np.zeros(0, np.float32))
    with pytest.raises(TypeError):
        container.load("text")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (file_of(record(b"x", 27, (), b"\0\0"), decoded=0), "type code 27"),
        (file_of(record(b"x", 5, (1,) * 33, b"\0\1\7"), decoded=1), "33 dimensions, at most 32"),
        (file_of(record(b"x", 5, (2,), b"\0\1\7"), decoded=1), "1 raw bytes"),
        (file_of(record(b"x", 5, (1,), b"\0\1\7"), decoded=2), "declares 2 .* holds 1"),
        (file_of(record(b"x", 5, (1,), b"\0\1\7"), decoded=0), "declares 0 .* holds 1"),
        (file_of(record(b"x", 5, (0, 2**62, 2), b"\0\0"), decoded=0), "shape .* too large"),
        (file_of(record(b"x", 10, (2**62,), ZEROS), decoded=2**63 - 1), "shape .* too large"),
        (file_of(record(b"", 5, (1,), b"\0\1\7"), decoded=1), "has 0 bytes"),
        (file_of(record(b"\xff", 5, (1,), b"\0\1\7"), decoded=1), "not UTF-8"),
        (file_of(*[record(b"x", 5, (1,), b"\0\1\7")] * 2, decoded=2), "tensor 'x' is there twice"),
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
def test_records(data, message, read):
    with pytest.raises(FormatError, match=message):
        read(data)


def test_wide_but_empty():
    data = file_of(record(b"x", 5, (0, 2**62), b"\0\0"), decoded=0)
    assert container.load(data)["x"].shape == (0, 2**62)


def test_max_bytes():
    data = container.save({"x": np.zeros(1000, np.float32)}, {"key": "value"})
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
            with pytest.raises(FormatError):
                container.load(data)
        assert container.inspect(huge).tensors[0].size == 10**15
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


def test_memory_of_loading_is_bounded():
    # One byte in memory for each bit of the file, the most that a list of entries can expand to.
    data = container.save({"x": np.ones(8 << 20, np.uint8)})
    assert len(data) < 1.1 * (1 << 20)
    container.load(container.save({"x": np.ones(8)}))
    tracemalloc.start()
    try:
        container.load(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (8 << 20) + 2 * len(data) + (16 << 20)


def check_anything(data):
    """Load bytes that may be anything: valid tensors or FormatError."""
    try:
        tensors, info = container.load_with_info(data, max_bytes=1 << 20)
    except FormatError:
        return False
    assert container.inspect(data) == info
    assert sum(array.nbytes for array in tensors.values()) <= 1 << 20
    # Whatever was accepted can be saved again.
    again = container.load(container.save(tensors, info.metadata))
    for name, array in tensors.items():
        assert again[name].tobytes() == array.tobytes()
    return True


def test_resealed_mutations():
    """A writer with bugs, or with bad intentions, mends the checksum."""
    body = small_file()[:-4]
    rng = random.Random(0)
    accepted = 0
    for _ in range(6000):
        changed = bytearray(body)
        for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
            place = rng.randrange(5, len(changed))
            match rng.randrange(5):
                case 0:
                    changed[place] ^= 1 << rng.randrange(8)
                case 1:
                    changed[place] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
                case 2:
                    del changed[place : place + rng.randrange(1, 4)]
                case 3:
                    changed[place:place] = rng.randbytes(rng.randrange(1, 4))
                case 4:
                    start = rng.randrange(5, len(changed))
                    changed[place : place + 4] = changed[start : start + 4]
        accepted += check_anything(sealed(changed))
    assert 0 < accepted < 6000


def test_each_resealed_flip():
    body = small_file()[:-4]
    for place in range(len(body)):
        for bit in range(8):
            changed = bytearray(body)
            changed[place] ^= 1 << bit
            check_anything(sealed(changed))


@given(st.binary(max_size=200))
def test_any_bytes_behind_a_good_frame(body):
    check_anything(body)
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
        lengths = huffman.code_lengths(value_counts)
        if number < len(streams) - 1:
            body += varint(len(value_counts))
        body += huffman.pack_lengths(lengths)
        head += varint(max(0, int(lengths[values].sum()) + draw(off)))
        data += huffman.encode(np.array(values), lengths)
    body += head + data
    size = sum(gaps) + len(gaps) + draw(st.sampled_from([0, 0, 1, 30, -1]))
    return b"\x01" + varint(len(body)) + body, max(0, size)


@given(almost_payloads())
@settings(max_examples=1000)
def test_plausible_payloads(payload_and_size):
    payload, size = payload_and_size
    check_anything(file_of(record(b"x", 5, (size,), payload), decoded=size))
