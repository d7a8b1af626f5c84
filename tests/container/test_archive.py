"""Open files: tensors one by one."""

import itertools
import threading

import numpy as np
import pytest
from container.samples import file_of, same, weights

from keras_deepcomp import container
from keras_deepcomp.container import Archive, FormatError
from keras_deepcomp.container.archive import FileSource, MemorySource
from keras_deepcomp.container.directory import RAW, Record
from keras_deepcomp.container.dtypes import BY_NAME

TENSORS = {
    "dense/kernel": weights((40, 30), 0.2, 8),
    "dense/bias": np.random.default_rng(1).normal(size=3000),
    "empty": np.zeros((3, 0), np.int8),
    "zeros": np.zeros(10**6, np.float32),
    "conv/kernel": weights((3, 3, 8, 16), 0.5, 4),
}
METADATA = {"key": "value"}
DATA = container.save(TENSORS, METADATA)


class CountingSource(MemorySource):
    """Bytes in memory that remember what was read of them."""

    def __init__(self, data):
        super().__init__(data)
        self.reads = []

    def read(self, start, length):
        self.reads.append((start, length))
        return super().read(start, length)

    @property
    def bytes_read(self):
        return sum(length for _, length in self.reads)


def archive_of(data=DATA, max_bytes=1 << 30):
    return Archive(MemorySource(data), max_bytes)


def test_names():
    archive = archive_of()
    assert list(archive) == archive.keys() == list(TENSORS)
    assert len(archive) == 5
    assert "empty" in archive
    assert "other" not in archive
    assert 3 not in archive
    assert archive.version == 1
    assert archive.file_bytes == len(DATA)
    assert archive.metadata == METADATA
    pairs = len(b"\1\3key\5value")
    assert archive.decoded_bytes == sum(array.nbytes for array in TENSORS.values()) + pairs


@pytest.mark.parametrize("name", TENSORS)
def test_tensors(name):
    archive = archive_of()
    array = TENSORS[name]
    assert archive.shape(name) == array.shape
    assert archive.dtype(name) == array.dtype.name
    same(archive[name], array)
    read, info = archive.read(name)
    same(read, array)
    assert read is not archive[name]
    assert archive.describe(name) == info


def test_opening_reads_only_the_ends():
    source = CountingSource(DATA)
    archive = Archive(source, 1 << 30)
    small = len(container.save({name: np.zeros(1) for name in TENSORS}, METADATA))
    assert source.bytes_read < small + 100
    assert len(source.reads) <= 5
    before = source.bytes_read
    for name in TENSORS:
        archive.shape(name), archive.dtype(name)
    assert source.bytes_read == before


def test_a_tensor_is_read_by_itself():
    source = CountingSource(DATA)
    archive = Archive(source, 1 << 30)
    for name, array in TENSORS.items():
        source.reads.clear()
        info = archive.read(name)[1]
        assert source.bytes_read == info.record_bytes
        assert len(source.reads) == (info.record_bytes > 0)
        assert info.record_bytes < array.nbytes + 10
    places = sorted(place for name in TENSORS for place in places_of(name))
    # The blocks lie one after the other from the start.
    assert places[0][0] == 5
    assert all(
        start + length == after for (start, length), (after, _) in itertools.pairwise(places)
    )


def places_of(name, data=DATA):
    """Return where the blocks of a tensor lie, and their lengths."""
    source = CountingSource(data)
    archive = Archive(source, 1 << 30)
    source.reads.clear()
    archive.read(name)
    return list(source.reads)


def damaged_in(name, data=DATA):
    """Return a file in which a byte of one tensor was changed."""
    changed = bytearray(data)
    start, length = places_of(name, data)[0]
    changed[start + length // 2] ^= 4
    return bytes(changed)


@pytest.mark.parametrize("name", ["dense/kernel", "dense/bias", "conv/kernel"])
def test_damage_is_told_by_the_tensor(name):
    archive = archive_of(damaged_in(name))
    with pytest.raises(FormatError, match=f"the checksum of tensor '{name}' is wrong"):
        archive[name]
    with pytest.raises(FormatError, match="its checksum is"):
        archive.check()
    ((found, error),) = archive.damaged()
    assert found == name
    assert f"tensor '{name}'" in str(error)
    for other in TENSORS:
        if other != name:
            same(archive[other], TENSORS[other])


def test_a_damaged_block_is_told_by_its_number():
    lengths = (4 << 20, 4 << 20, 1 << 20)
    record = Record("x", BY_NAME["uint8"], (9 << 20,), RAW, lengths)
    data = bytearray(file_of((record, [bytes(length) for length in lengths])))
    assert [length for _, length in places_of("x", data)] == [length + 4 for length in lengths]
    data[5 << 20] ^= 1
    with pytest.raises(FormatError, match="the checksum of block 1 of tensor 'x' is wrong"):
        archive_of(data)["x"]


def test_nothing_is_damaged():
    archive, steps = archive_of(), []
    archive.check()
    assert archive.damaged(lambda done, total: steps.append((done, total))) == []
    total = sum(tensor.nbytes for tensor in TENSORS.values())
    assert len(steps) == len(TENSORS) and steps[-1] == (total, total)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dense/kernl", "The file has no tensor 'dense/kernl'. Did you mean 'dense/kernel'"),
        ("xyz123", "The file has no tensor 'xyz123'.\""),
        (5, "The file has no tensor 5."),
    ],
)
def test_unknown_names(name, message):
    archive = archive_of()
    for ask in (archive.__getitem__, archive.shape, archive.dtype, archive.describe):
        with pytest.raises(KeyError) as caught:
            ask(name)
        assert message in str(caught.value)


def test_max_bytes_of_a_tensor():
    archive = archive_of(max_bytes=24_000)
    same(archive["dense/bias"], TENSORS["dense/bias"])
    with pytest.raises(
        FormatError,
        match="^The tensor 'zeros' holds 4,000,000 bytes when decoded, and max_bytes allows "
        r"24,000\. If you trust the file, pass max_bytes=4000000 or more\.$",
    ):
        archive["zeros"]
    # Looking is free.
    assert archive.describe("zeros").size == 10**6
    assert archive.damaged() == []
    with pytest.raises(FormatError, match="The metadata holds 11 bytes when decoded"):
        archive_of(max_bytes=10)


def test_closing():
    closed = []
    with Archive(MemorySource(DATA), 1 << 30, close=lambda: closed.append(True)) as archive:
        assert closed == []
        assert list(archive) == list(TENSORS)
    assert closed == [True]


def test_a_closed_file(tmp_path):
    path = tmp_path / "x.kdc"
    path.write_bytes(DATA)
    with container.open_file(path) as archive:
        same(archive["dense/kernel"], TENSORS["dense/kernel"])
    # What was read stays, and nothing more comes.
    assert archive.shape("empty") == (3, 0)
    assert archive.metadata == METADATA
    with pytest.raises(ValueError, match="closed file"):
        archive["dense/kernel"]
    archive.close()


def test_a_file_that_gets_shorter(tmp_path):
    path = tmp_path / "x.kdc"
    path.write_bytes(DATA)
    with container.open_file(path) as archive:
        with path.open("r+b") as file:
            file.truncate(20)
        with pytest.raises(FormatError, match=r"cut off while it was read\. Open it again"):
            archive["dense/bias"]


def test_sources(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(DATA)
    with path.open("rb") as file:
        for source in (
            FileSource(file),
            MemorySource(DATA),
            MemorySource(np.array(bytearray(DATA))),
        ):
            assert source.size == len(DATA)
            assert bytes(source.read(7, 20)) == DATA[7:27]
            assert bytes(source.read(0, 0)) == b""
    assert MemorySource(np.zeros((2, 0))).size == 0


def test_threads_read_side_by_side(tmp_path):
    path = tmp_path / "x.kdc"
    path.write_bytes(DATA)
    failures = []
    start = threading.Barrier(6)

    def work(seed, archive):
        try:
            start.wait()
            for name in np.random.default_rng(seed).permutation(list(TENSORS) * 8).tolist():
                same(archive[name], TENSORS[name])
        except BaseException as error:
            failures.append(error)

    with container.open_file(path) as archive:
        threads = [threading.Thread(target=work, args=(seed, archive)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_info():
    archive = archive_of()
    info = archive.info([archive.describe(name) for name in archive])
    assert info == container.inspect(DATA)
