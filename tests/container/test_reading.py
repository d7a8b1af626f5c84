"""Whole files, right and wrong: what is wrong gives FormatError, fast, and nothing else."""

import random
import tracemalloc

import numpy as np
import pytest
from container.samples import bits_of, file_of, same, sealed, weights
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_deepcomp import container
from keras_deepcomp.container import FormatError, frame
from keras_deepcomp.container.archive import MemorySource
from keras_deepcomp.container.directory import CODED, RAW, ZERO, Record
from keras_deepcomp.container.dtypes import BY_NAME

UINT8 = BY_NAME["uint8"]
SMALL = {
    "w": weights((8, 11), 0.1, 2),
    "d": np.repeat(np.array([1, 2, 3], np.uint8), [30, 9, 5]),
    "b": np.ones(2, bool),
    "e": np.zeros((0, 2)),
    "z": np.zeros(5, np.int16),
}
METADATA = {"k": "aaaaaaaabaaaaaaacaaaaaa" * 2}
DATA = container.save(SMALL, METADATA)


def test_small_file():
    loaded, info = container.load_with_info(DATA)
    assert list(loaded) == list(SMALL)
    for name, array in SMALL.items():
        same(loaded[name], array)
    assert info.metadata == METADATA
    assert [tensor.coding for tensor in info.tensors] == ["coded", "coded", "raw", "coded", "coded"]


@pytest.mark.parametrize("read", [container.load, container.inspect])
def test_each_changed_byte_is_found(read):
    for place in range(len(DATA)):
        for change in (0xFF, 1 << place % 8):
            changed = bytearray(DATA)
            changed[place] ^= change
            with pytest.raises(FormatError):
                read(changed)


def test_each_flipped_bit_is_found():
    for place in range(len(DATA)):
        for bit in range(8):
            changed = bytearray(DATA)
            changed[place] ^= 1 << bit
            with pytest.raises(FormatError):
                container.load(changed)


@pytest.mark.parametrize("read", [container.load, container.inspect])
def test_each_cut_is_found(read):
    for length in range(len(DATA)):
        with pytest.raises(FormatError):
            read(DATA[:length])


@pytest.mark.parametrize("more", [b"\0", b"\0" * 100, DATA, DATA[-12:]])
def test_anything_after_the_end_is_found(more):
    for read in (container.load, container.inspect):
        with pytest.raises(FormatError):
            read(DATA + more)


def test_each_resealed_cut_is_found():
    for length in range(5, len(DATA) - 4):
        with pytest.raises(FormatError):
            container.load(sealed(DATA[:length]))


def test_blocks_that_changed_places():
    noise = np.random.default_rng(0).integers(0, 256, (2, 100), np.uint8)
    data = container.save({"x": noise[0], "y": noise[1]})
    swapped = data[:5] + data[107:209] + data[5:107] + data[209:]
    # The checksums of the blocks cannot see it, that of the file does.
    assert container.load(swapped, names=["x"])["x"].tolist() == noise[1].tolist()
    with pytest.raises(FormatError, match="its checksum is"):
        container.load(swapped)


def test_bytes_like_objects():
    for data in (bytearray(DATA), memoryview(DATA), np.frombuffer(DATA, np.uint8)):
        same(container.load(data)["w"], SMALL["w"])
    with pytest.raises(FormatError, match="empty"):
        container.load(np.zeros(0, np.float32))
    with pytest.raises(TypeError):
        container.load("text")


def test_loaded_arrays_do_not_hold_the_bytes():
    data = bytearray(DATA)
    loaded = container.load(data)
    data[:] = bytes(len(data))
    data.clear()
    for name, array in SMALL.items():
        same(loaded[name], array)


def test_names():
    loaded = container.load(DATA, names=["b", "w"])
    assert list(loaded) == ["b", "w"]
    same(loaded["w"], SMALL["w"])
    assert list(container.load(DATA, names=iter(["z"]))) == ["z"]
    assert container.load(DATA, names=[]) == {}
    with pytest.raises(TypeError, match="names"):
        container.load(DATA, names="wd")
    with pytest.raises(KeyError, match=r"no tensor 'ww'\. Did you mean 'w'"):
        container.load(DATA, names=["ww"])


def test_names_leave_other_tensors_alone():
    changed = bytearray(DATA)
    changed[8] ^= 1
    with pytest.raises(FormatError, match="tensor 'w'"):
        container.load(changed, names=["w"])
    with pytest.raises(FormatError, match="its checksum is"):
        container.load(changed)
    same(container.load(changed, names=["d"])["d"], SMALL["d"])


def test_max_bytes():
    data = container.save({"x": np.zeros(1000, np.float32)}, {"key": "value"})
    # The metadata has a count and two lengths more than its text.
    assert container.load(data, max_bytes=4011)["x"].size == 1000
    with pytest.raises(
        FormatError,
        match="^The file holds 4,011 bytes when decoded, and max_bytes allows 4,010. If you trust "
        r"the file, pass max_bytes=4011 or more\.$",
    ):
        container.load(data, max_bytes=4010)
    for read in (container.load, container.load_with_info):
        with pytest.raises(FormatError, match="max_bytes"):
            read(data, 0)


def test_max_bytes_of_names():
    data = container.save({name: np.zeros(1000, np.uint8) for name in "abc"})
    assert list(container.load(data, 2000, names=["c", "a"])) == ["c", "a"]
    with pytest.raises(FormatError, match="What was asked for holds 3,000 bytes"):
        container.load(data, 2999, names=["c", "a", "b"])


def test_max_bytes_of_names_is_checked_before_memory_is_taken():
    data = container.save({name: np.zeros(8 << 20, np.uint8) for name in "ab"})
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="holds 16,777,216 bytes"):
            container.load(data, 12 << 20, names=["a", "b"])
        assert tracemalloc.get_traced_memory()[1] < 12 << 20
    finally:
        tracemalloc.stop()


HUGE = file_of((Record("x", BY_NAME["float32"], (10**15,), ZERO, ()), []))


def test_a_small_file_cannot_ask_for_much():
    many = [(Record(str(number), UINT8, (2**32,), ZERO, ()), []) for number in range(1000)]
    chain = file_of(*many)
    lying = file_of((Record("x", UINT8, (2**40,), RAW, (4,)), [b"1234"]))
    one = bits_of("0 0 1000 000 1 0")
    vector = Record("x", UINT8, (2**45,), CODED, (len(one),))
    rows = Record("x", UINT8, (2**45, 3), CODED, (len(one),))
    files = [HUGE, chain, lying, file_of((vector, [one])), file_of((rows, [one]))]
    tracemalloc.start()
    try:
        for data in files:
            with pytest.raises(FormatError):
                container.load(data)
        for data in files[2:]:
            with pytest.raises(FormatError):
                container.inspect(data)
        assert container.inspect(HUGE, max_bytes=1 << 60).tensors[0].size == 10**15
        assert len(container.inspect(chain, max_bytes=1 << 60).tensors) == 1000
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("array", [np.ones(8 << 20, np.uint8), weights((2048, 1024), 0.1, 16)])
def test_memory_of_loading_is_bounded(array):
    """Beyond the tensor there is a band at a time, of at most 2^20 elements."""
    data = container.save({"x": array}, effort=0)
    container.load(container.save({"x": np.ones(8)}))
    tracemalloc.start()
    try:
        container.load(data)
        loading = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        container.inspect(data)
        inspecting = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    band = 64 << 20
    assert loading < array.nbytes + band
    assert inspecting < band


def check_anything(data):
    """Load bytes that may be anything: valid tensors or FormatError."""
    try:
        tensors, info = container.load_with_info(data, max_bytes=1 << 20)
    except FormatError:
        return False
    assert container.inspect(data) == info
    assert sum(array.nbytes for array in tensors.values()) <= 1 << 20
    # Whatever was accepted can be saved again.
    for name, array in tensors.items():
        again = container.load(container.save({name: array}, effort=0))
        assert again[name].tobytes() == array.tobytes()
    return True


def parts(data):
    """Return the records of a file with their blocks, and its metadata."""
    source = MemorySource(data)
    found = frame.read(source)
    tensors = [
        (record, list(map(bytes, found.read_blocks(source, number))))
        for number, record in enumerate(found.records)
    ]
    return tensors, found


@pytest.mark.parametrize("seed", range(3))
def test_resealed_changes_of_blocks(seed):
    """A writer with bugs, or with bad intentions, makes all checksums right."""
    rng = random.Random(seed)
    kernels = {
        "grid": weights((3, 3, 4, 6), 0.4, 6),
        "lines": weights((20, 15), 0.3, 6) * (np.arange(15) % 3 > 0),
        "dense": weights((16, 12), 1.0, 3),
        "cut": np.random.default_rng(0).normal(size=(10, 9)).astype(np.float16).astype(np.float32),
    }
    tensors, _ = parts(container.save(kernels, effort=6))
    accepted = tried = 0
    for _ in range(250):
        record, contents = rng.choice(tensors)
        block = bytearray(contents[0])
        for _ in range(rng.choice([1, 1, 1, 2, 4])):
            block[rng.randrange(len(block))] ^= 1 << rng.randrange(8)
        if rng.random() < 0.1:
            del block[rng.randrange(len(block)) :]
        changed = Record(record.name, record.element, record.shape, CODED, (len(block),))
        data = file_of((changed, [bytes(block)]))
        try:
            loaded, info = container.load_with_info(data, max_bytes=1 << 20)
        except FormatError as error:
            assert f"tensor '{record.name}'" in str(error)
        else:
            accepted += 1
            assert container.inspect(data) == info
            assert loaded[record.name].shape == record.shape
        tried += 1
    assert 0 < accepted < tried


def test_resealed_changes_anywhere():
    rng = random.Random(0)
    body = DATA[:-4]
    accepted = 0
    for _ in range(1500):
        changed = bytearray(body)
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
    # Most changes are found by the checksums of blocks and of the directory.
    assert accepted < 50


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_any_bytes_behind_a_good_frame(body):
    check_anything(body)
    check_anything(sealed(b"\x89KDC\1" + body))
