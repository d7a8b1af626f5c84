"""What `save` gives and what it refuses; round trips, bit for bit, over all types."""

import hashlib
import tracemalloc

import numpy as np
import pytest
from container.samples import arrays, same, weights
from hypothesis import given, settings
from hypothesis import strategies as st
from support import run_python

from keras_deepcomp import container
from keras_deepcomp.container import frame, wire, writing

pytest.importorskip("ml_dtypes")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(
    st.dictionaries(names, arrays(), max_size=4),
    st.dictionaries(names, texts, max_size=3),
    st.sampled_from([0, 1, 3, 5, 5, 6]),
)
@settings(max_examples=40)
def test_round_trip(tensors, metadata, effort):
    data = container.save(tensors, metadata, effort)
    loaded, info = container.load_with_info(data)
    assert list(loaded) == list(tensors)
    for name, array in tensors.items():
        same(loaded[name], array)
    assert list(info.metadata.items()) == list(metadata.items())
    assert info == container.inspect(data)
    # What was loaded gives the same file again.
    assert container.save(loaded, info.metadata, effort) == data


SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-45, -1e-45, 1.0]


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "complex64", "complex128"])
def test_special_values(name):
    tensors = {
        f"{repeat}": np.tile(np.array(SPECIAL), repeat).astype(name) for repeat in (1, 10, 1000)
    }
    loaded = container.load(container.save(tensors))
    for key, array in tensors.items():
        same(loaded[key], array)


def test_nan_payloads_and_negative_zero():
    bits = np.zeros(1000, np.uint32)
    bits[::10] = 0x7FC00001
    bits[5::10] = 0xFF800001
    bits[7::10] = 0x80000000
    data = container.save({"x": bits.view(np.float32)})
    info = container.inspect(data).tensors[0]
    assert (info.coding, info.nonzero, info.clusters) == ("coded", 300, 3)
    np.testing.assert_array_equal(container.load(data)["x"].view(np.uint32), bits)


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i2", ">c8", ">u8"])
def test_byte_order_makes_no_difference(dtype):
    big = np.arange(100).astype(dtype)
    native = big.astype(big.dtype.newbyteorder("="))
    assert container.save({"x": big}) == container.save({"x": native})
    same(container.load(container.save({"x": big}))["x"], native)


def test_layout_makes_no_difference():
    array = weights((3, 4, 50), 0.3, 5)
    expected = container.save({"x": array})
    assert container.save({"x": np.asfortranarray(array)}) == expected
    assert container.save({"x": np.repeat(array, 3, axis=1)[:, ::3]}) == expected
    read_only = array.copy()
    read_only.flags.writeable = False
    assert container.save({"x": read_only}) == expected
    # An equal type under another name.
    long_long = np.arange(5, dtype=np.longlong)
    assert container.save({"x": long_long}) == container.save({"x": np.arange(5)})


def test_scalars_count_as_arrays():
    loaded = container.load(container.save({"a": np.float32(1.5), "b": np.array(True)}))
    same(loaded["a"], np.array(1.5, np.float32))
    same(loaded["b"], np.array(True))


def test_wide_but_empty_shapes():
    wide = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (0, 2**62), (0, 0))
    same(container.load(container.save({"x": wide}))["x"], wide)


def integers(count, seed=1):
    """Return numbers that do not depend on numpy's generators."""
    values = []
    for _ in range(count):
        seed = (seed * 1_103_515_245 + 12_345) % 2**31
        values.append(seed >> 16)
    return np.array(values)


def test_canonical_bytes():
    """The bytes of a file are part of what does not change without need."""
    empty = container.save({})
    assert empty.hex() == "894b44430103636060000006000000b3e2359a9d69f82f"
    raw = container.save({"x": np.array([1, 2, 250], np.uint8)})
    assert raw[:10].hex(" ") == "89 4b 44 43 01 01 02 fa a5 ca"
    zeros = container.save({"z": np.zeros((100, 100), np.float32)})
    assert len(zeros) == 29


@pytest.mark.parametrize(
    ("shape", "effort", "size", "digest"),
    [
        ((40, 50), 0, 595, "0b2b82c5961804d4"),
        ((40, 50), 5, 592, "33bded2eb8fd51ce"),
        ((3, 3, 10, 20), 5, 538, "e8fdf1b7c7c6cbbf"),
    ],
)
def test_known_files(shape, effort, size, digest):
    numbers = integers(int(np.prod(shape))).reshape(shape)
    kept = numbers // 16 % 8 < 1 + np.arange(shape[-1]) % 5
    tensors = {"w": np.where(kept, numbers % 13 - 6, 0).astype(np.float32)}
    data = container.save(tensors, effort=effort)
    found = hashlib.sha256(data).hexdigest()[:16]
    assert (len(data), found) == (size, digest)


DETERMINISM = """
import hashlib
import numpy as np
from keras_deepcomp import container

random = np.random.RandomState(0)
tensors = {
    "dense": np.where(random.rand(60, 40) < 0.2, random.randint(1, 9, (60, 40)), 0),
    "conv": np.where(random.rand(3, 3, 4, 20) < 0.4, random.randint(-4, 4, (3, 3, 4, 20)), 0),
    "full": random.randint(0, 5, (40, 30)).astype(np.uint8),
    "float": random.randn(30, 20).astype(np.float32),
}
tensors = {name: tensors[name] for name in ("dense", "conv", "full", "float")}
data = container.save(tensors, {"b": "1", "a": "2"}, effort=7)
print(hashlib.sha256(data).hexdigest())
"""


def test_the_same_bytes_in_every_process():
    digests = {run_python(DETERMINISM, PYTHONHASHSEED=seed) for seed in ("0", "1", "random")}
    digests.add(run_python(DETERMINISM, OPENBLAS_NUM_THREADS="1"))
    assert len(digests) == 1


def test_the_same_bytes_again():
    tensors = {"w": weights((50, 40), 0.2, 9), "v": weights((3, 3, 5, 9), 0.5, 4)}
    for effort in (0, 5, 9):
        assert container.save(tensors, effort=effort) == container.save(tensors, effort=effort)


def test_arguments_are_not_changed():
    tensors = {"x": np.array([1, 0, 2], ">f4"), "y": weights((9, 9), 0.3, 3)}
    before = {name: array.copy() for name, array in tensors.items()}
    for array in tensors.values():
        array.flags.writeable = False
    container.save(tensors)
    for name, array in tensors.items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("value", [[1.0], 1.0, "text", None, b"bytes", np.ma.array([1.0])])
def test_what_is_not_an_array(value):
    kind = type(value).__name__
    with pytest.raises(
        TypeError,
        match=f"^Tensor 'weights' must be a numpy array, got {kind}. Convert it first, for "
        r"example with numpy\.asarray\.$",
    ):
        container.save({"weights": value})


def test_bad_arguments():
    one = np.zeros(1)
    with pytest.raises(TypeError, match="tensors must be a mapping, got list"):
        container.save([one])
    with pytest.raises(TypeError, match="metadata must be a mapping, got str"):
        container.save({}, "text")
    with pytest.raises(TypeError, match="tensor name must be a str, got int"):
        container.save({1: one})
    with pytest.raises(ValueError, match="tensor name must have from 1 to 65,535"):
        container.save({"": one})
    with pytest.raises(ValueError, match="lone surrogate"):
        container.save({"\udc80": one})
    with pytest.raises(TypeError, match="metadata key must be a str"):
        container.save({}, {1: "text"})
    with pytest.raises(TypeError, match="metadata value of 'key' must be a str, got int"):
        container.save({}, {"key": 1})
    with pytest.raises(ValueError, match="metadata value of 'key' has a lone surrogate"):
        container.save({}, {"key": "\ud800"})
    with pytest.raises(ValueError, match=r"'x' has 33 dimensions.*at most 32. Reshape it first"):
        container.save({"x": np.zeros((1,) * 33)})


@pytest.mark.parametrize("effort", [-1, 10, 2.5, "5", None, 5.0])
def test_bad_efforts(effort):
    with pytest.raises(ValueError, match=f"effort must be from 0 to 9, got {effort!r}"):
        container.save({"x": weights((5, 5), 0.5, 2)}, effort=effort)


def test_metadata_limit():
    # A count, a length of a key and its text, and a length of a text.
    text = "\0" * (wire.MAX_METADATA_BYTES - 9)
    assert len(frame.metadata_bytes({"key": text})) == wire.MAX_METADATA_BYTES
    with pytest.raises(
        ValueError,
        match=r"has 16,777,218 bytes of text, at most 16,777,216\. Store the rest as uint8",
    ):
        frame.metadata_bytes({"key": text + "\0\0"})


class Pieces:
    """A stream that remembers what is written to it."""

    def __init__(self):
        self.pieces = []

    def write(self, piece):
        self.pieces.append(bytes(piece))


def test_written_tensor_by_tensor():
    tensors = {"a": weights((20, 20), 0.3, 4), "b": np.random.default_rng(0).normal(size=100)}
    stream, calls = Pieces(), []

    def progress(done, total):
        calls.append((done, total, sum(map(len, stream.pieces))))

    size = writing.write(stream, tensors, {"k": "v"}, 5, progress)
    data = b"".join(stream.pieces)
    assert data == container.save(tensors, {"k": "v"})
    assert size == len(data)
    infos = container.inspect(data).tensors
    first, second = (info.record_bytes for info in infos)
    assert calls == [(1600, 2400, 5 + first), (2400, 2400, 5 + first + second)]


def test_sparse_clustered_weights_get_as_small_as_in_the_paper():
    array = weights((50_000,), 0.1, 16)
    data = container.save({"dense": array})
    assert len(data) < 4 * 50_000 / 35
    same(container.load(data)["dense"], array)


@pytest.mark.parametrize("values", [4095, 4096, 4097])
@pytest.mark.parametrize("with_zeros", [False, True])
def test_codebooks_at_their_limit(values, with_zeros):
    rng = np.random.default_rng(0)
    book = np.sort(rng.choice(2**32 - 2, values, replace=False).astype(np.uint32) + 1)
    # Sorted, so that columns differ and a dense codebook is worth its bytes.
    array = np.sort(rng.choice(book, 100_000)).reshape(50, 2000).T.copy()
    array.flat[:values] = book
    if with_zeros:
        array[500:510, 3] = 0
    np.testing.assert_array_equal(container.load(container.save({"w": array}))["w"], array)


def test_kernels_whose_sampled_columns_are_empty():
    array = np.zeros((3, 3, 64, 4096), np.float32)
    array[..., 1] = 1
    array[0, 0, 0, 1] = 0
    np.testing.assert_array_equal(container.load(container.save({"w": array}))["w"], array)


def test_long_vectors_take_memory_in_proportion():
    array = np.zeros(1 << 24, np.int8)
    array[np.random.default_rng(0).integers(0, array.size, array.size // 100)] = 3
    tracemalloc.start()
    data = container.save({"w": array})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * array.nbytes
    np.testing.assert_array_equal(container.load(data)["w"], array)


def test_too_many_tensors_and_pairs():
    too_many = {str(number): np.zeros(1, np.int8) for number in range(65_537)}
    with pytest.raises(ValueError, match="65,537 tensors"):
        container.save(too_many)
    with pytest.raises(ValueError, match="65,537 values, at most 65,536"):
        container.save({}, dict.fromkeys(too_many, ""))


def test_many_tensors():
    tensors = {f"t{number}": np.zeros(1, np.int8) for number in range(20_000)}
    assert container.load(container.save(tensors)).keys() == tensors.keys()
