"""What is around the blocks of a file."""

import tracemalloc
import zlib

import pytest
from container.samples import deflated, file_around, file_of, sealed_file
from hypothesis import given
from hypothesis import strategies as st

from keras_deepcomp import container
from keras_deepcomp.container import FormatError, frame, text
from keras_deepcomp.container.archive import MemorySource
from keras_deepcomp.container.directory import RAW, ZERO, Record
from keras_deepcomp.container.dtypes import BY_NAME
from keras_deepcomp.container.wire import varint

EMPTY = b"\0\0\0"
UINT8 = BY_NAME["uint8"]


def read(data):
    return frame.read(MemorySource(data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"^This is not a \.kdc file: it is empty\. Save the tensors again\.$"),
        (b"PK\x03\x04" + b"\0" * 50, "begins with the bytes 50 4b 03 04.*89 4b 44 43.*right file"),
        (b"x", "begins with the bytes 78, and"),
        (b"\x89K", "cut off after 2 bytes"),
        (b"\x89KDC", "cut off after 4 bytes"),
        (b"\x89KDC\x01", "cut off after 5 bytes"),
        (b"\x89KDC\x01" + bytes(11), "cut off after 16 bytes"),
        (
            b"\x89KDC\x07",
            r"format version 7, and this reader knows 1\. Upgrade keras_deepcomp: pip install",
        ),
    ],
)
@pytest.mark.parametrize("reading", [container.load, container.inspect])
def test_not_a_file(data, message, reading):
    with pytest.raises(FormatError, match=message):
        reading(data)


def trailer(index, body, length=None, checksum=None):
    start = (len(index) if length is None else length).to_bytes(4, "little")
    start += (zlib.crc32(index) if checksum is None else checksum).to_bytes(4, "little")
    return start + zlib.crc32(start, zlib.crc32(body)).to_bytes(4, "little")


INDEX = b"\x03" + text.compress(EMPTY)
BODY = frame.HEAD + INDEX


def test_as_it_should_be():
    data = BODY + trailer(INDEX, BODY)
    assert data == container.save({}) == file_around(EMPTY, compress=text.compress)
    assert frame.trailer(INDEX, zlib.crc32(BODY)) == trailer(INDEX, BODY)
    assert read(data).records == ()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (BODY + trailer(INDEX, BODY, length=len(INDEX) + 1), "longer than the file, or bytes were"),
        (BODY + trailer(INDEX, BODY, length=2**32 - 1), "longer than the file, or bytes were"),
        (BODY + trailer(INDEX, BODY, length=len(INDEX) - 1), "checksum of its directory is wrong"),
        (BODY + trailer(INDEX, BODY, checksum=5), "checksum of its directory is wrong"),
        (BODY + trailer(INDEX, BODY[1:]), "its checksum is ........ and should be ........, so"),
        (sealed_file(b"x", INDEX), "its blocks do not fill the file up to its directory"),
        (sealed_file(b"", b""), "the size of the directory needs 1 bytes"),
        (sealed_file(b"", b"\x83\x00" + INDEX[1:]), "shortest form"),
        (sealed_file(b"", b"\x02" + INDEX[1:]), "the directory has more than the 2 bytes"),
        (sealed_file(b"", b"\x04" + INDEX[1:]), "the directory has 3 bytes, and should have 4"),
        (sealed_file(b"", INDEX + b"\0"), "1 bytes are left over after the directory"),
        (sealed_file(b"", INDEX[:-1]), "the directory ends early"),
        (sealed_file(b"", b"\x03\xff\xff\xff"), "the directory is not a DEFLATE stream"),
        (file_around(EMPTY + b"\0"), "1 bytes are left over after the last tensor"),
        (file_around(b"\x05\x00\x00"), "its metadata has 5 bytes when decompressed, at most"),
        (file_around(b"\x00\x05\x00", b"12345"), "its metadata has 0 bytes when decompressed"),
        (file_around(varint((16 << 20) + 1) + b"\1\0", b"x"), "its metadata has 16,777,217 bytes"),
        (file_around(b"\x01" + varint(2**62) + b"\0"), "do not fill the file"),
    ],
)
@pytest.mark.parametrize("reading", [container.load, container.inspect])
def test_each_rule_broken_once(data, message, reading):
    with pytest.raises(FormatError, match=message):
        reading(data)


def with_metadata(pairs, size=None):
    return file_of(metadata=deflated(pairs), metadata_size=len(pairs) if size is None else size)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (with_metadata(b"\0"), "its metadata is empty"),
        (with_metadata(b"\1\1k\1v\0"), "1 bytes are left over after the last metadata value"),
        (with_metadata(b"\2\1k\1v\1k\1v"), "the metadata value of 'k' is there twice"),
        (with_metadata(b"\1\1k\2v"), "the metadata value of 'k' needs 2 bytes, and 1 are left"),
        (with_metadata(b"\1\0\1v"), "the key of metadata value 0 has 0 bytes"),
        (with_metadata(b"\1\1k\1\xff"), "the metadata value of 'k' is not UTF-8 at byte 0"),
        (with_metadata(b"\1\1k\1v", size=4), "the metadata has more than the 4 bytes"),
        (with_metadata(b"\1\1k\1v", size=6), "the metadata has 5 bytes, and should have 6"),
        (with_metadata(varint(65_537)), "its metadata has 65,537 values, at most 65,536"),
    ],
)
@pytest.mark.parametrize("reading", [container.load, container.inspect])
def test_bad_metadata(data, message, reading):
    with pytest.raises(FormatError, match=message):
        reading(data)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(st.dictionaries(keys, texts, min_size=1, max_size=4))
def test_metadata_round_trip(metadata):
    pairs = frame.metadata_bytes(metadata)
    found = container.load_with_info(with_metadata(pairs))[1].metadata
    assert list(found.items()) == list(metadata.items())


def test_no_metadata_takes_nothing():
    assert frame.metadata_bytes({}) == b""
    assert read(container.save({})).stored_metadata_bytes == 0


def test_starts():
    tensors = [
        (Record("a", UINT8, (3,), RAW, (3,)), [b"123"]),
        (Record("b", UINT8, (7,), ZERO, ()), []),
        (Record("c", UINT8, (5000,), RAW, (5000,)), [b"x" * 5000]),
    ]
    pairs = b"\1\1k\1v"
    data = file_of(*tensors, metadata=text.compress(pairs), metadata_size=5)
    found = read(data)
    assert found.starts == (5, 10, 10)
    assert found.metadata_start == 10 + 5004
    assert found.decoded_bytes == 3 + 7 + 5000 + 5
    source = MemorySource(data)
    for number, (_, contents) in enumerate(tensors):
        assert list(map(bytes, found.read_blocks(source, number))) == contents
    assert found.read_metadata(source) == {"k": "v"}


def test_a_small_file_cannot_have_a_large_directory():
    """A directory may expand 32 times, and 4,096 bytes more."""
    shape = b"\x01" * 32
    listing = (
        EMPTY[:2]
        + varint(1000)
        + b"".join(
            b"\x03" + f"{number:03}".encode() + b"\x05\x20" + shape for number in range(1000)
        )
    )
    data = file_around(listing)
    assert len(container.inspect(data).tensors) == 1000
    bomb = (
        EMPTY[:2]
        + varint(2)
        + b"".join(
            varint(60_000) + bytes([65 + number]) * 60_000 + b"\x05\x00" for number in range(2)
        )
    )
    with pytest.raises(FormatError, match=r"its directory claims to have 120,0\d\d bytes in"):
        container.load(file_around(bomb))
    # The writer then stores it as it is.
    index = frame.directory_bytes(
        0, 0, [Record(letter * 60_000, UINT8, (), ZERO, ()) for letter in "AB"]
    )
    assert 32 * len(index) + 4096 >= 120_000
    assert [len(found.name) for found in read(sealed_file(b"", index)).records] == [60_000] * 2


def test_bombs_take_no_memory():
    # A megabyte for each thousand bytes.
    bomb = deflated(bytes(64 << 20))
    metadata_bomb = file_of(metadata=bomb, metadata_size=1000)
    directory_bomb = file_around(bytes(64 << 20), size=1000, compress=lambda _: bomb)
    tracemalloc.start()
    try:
        for data in (metadata_bomb, directory_bomb):
            with pytest.raises(FormatError, match="more than the 1,000 bytes"):
                container.load(data)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
