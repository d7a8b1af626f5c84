"""What `save` gives and what it refuses; round trips, bit for bit, over all types."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_deepcomp import container
from keras_deepcomp.container import dtypes, wire

pytest.importorskip("ml_dtypes")

shapes = st.one_of(
    st.sampled_from([(), (0,), (1,), (3, 0, 2), (1,) * 32]),
    st.lists(st.integers(0, 9), min_size=1, max_size=4).map(tuple),
    st.tuples(st.integers(100, 2000)),
)


@st.composite
def arrays(draw):
    """Arrays of any bits: all types, shapes, densities and numbers of distinct values."""
    element = draw(st.sampled_from(list(dtypes.BY_CODE.values())))
    shape = draw(shapes)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    density = draw(st.sampled_from([0.0, 0.01, 0.1, 0.5, 0.9, 1.0]))
    clusters = draw(st.sampled_from([1, 2, 16, 300, 10**6]))
    size = math.prod(shape)
    book = random.bytes(min(clusters, size) * element.itemsize)
    values = np.frombuffer(book, f"V{element.itemsize}")
    flat = np.zeros(size, values.dtype)
    nonzero = np.flatnonzero(random.random(size) < density)
    flat[nonzero] = values[random.integers(0, max(values.size, 1), nonzero.size)]
    loose = flat.view(element.numpy_dtype())
    # All bits are allowed in memory; the format keeps one spelling of each bool and int4.
    patterns = dtypes.patterns_of(loose, element)
    return patterns.view(element.numpy_dtype()).reshape(shape)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


def same(loaded, saved):
    saved = np.asarray(saved)
    assert loaded.dtype == saved.dtype.newbyteorder("=")
    assert loaded.dtype.isnative
    assert loaded.shape == saved.shape
    assert loaded.flags.owndata and loaded.flags.writeable and loaded.flags.c_contiguous
    assert loaded.tobytes() == saved.astype(loaded.dtype).tobytes()


@given(st.dictionaries(names, arrays(), max_size=4), st.dictionaries(names, texts, max_size=3))
@settings(max_examples=400)
def test_round_trip(tensors, metadata):
    data = container.save(tensors, metadata)
    assert container.save(tensors, metadata) == data
    loaded, info = container.load_with_info(data)
    assert list(loaded) == list(tensors)
    for name, array in tensors.items():
        same(loaded[name], array)
    assert list(info.metadata.items()) == list(metadata.items())
    assert info == container.inspect(data)
    # What was loaded gives the same file again.
    assert container.save(loaded, info.metadata) == data


SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-45, -1e-45, 1.0]


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("repeat", [1, 1000])
def test_special_values(name, repeat):
    array = np.tile(np.array(SPECIAL), repeat).astype(name)
    same(container.load(container.save({"x": array}))["x"], array)


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
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
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


def test_empty_file():
    data = container.save({})
    assert data.hex() == "894b444300000000" + data[-4:].hex()
    assert container.load(data) == {}


def test_arguments_are_not_changed():
    array = np.array([1, 0, 2], ">f4")
    before = array.copy()
    container.save({"x": array})
    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("value", [[1.0], 1.0, "text", None, b"bytes", np.ma.array([1.0])])
def test_what_is_not_an_array(value):
    kind = type(value).__name__
    with pytest.raises(TypeError, match=f"Tensor 'weights' must be a numpy array, got {kind}"):
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
    with pytest.raises(ValueError, match=r"'x' has 33 dimensions.*at most 32"):
        container.save({"x": np.zeros((1,) * 33)})


def test_wide_but_empty_shapes():
    wide = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (0, 2**62), (0, 0))
    same(container.load(container.save({"x": wide}))["x"], wide)


def test_metadata_limit():
    text = "\0" * wire.MAX_METADATA_BYTES
    data = container.save({}, {"key": text})
    assert len(data) < 50
    assert container.inspect(data).metadata == {"key": text}
    with pytest.raises(ValueError, match="67,108,865 bytes of text, at most 67,108,864"):
        container.save({}, {"key": text, "more": "x"})


def test_long_metadata_gets_small():
    text = '{"class_name": "Dense", "größe": 1}' * 500
    info = container.inspect(container.save({}, {"config": text}))
    assert info.metadata == {"config": text}
    assert info.metadata_bytes < 0.7 * len(text)


def test_sparse_clustered_weights_get_as_small_as_in_the_paper():
    random = np.random.default_rng(0)
    weights = random.normal(size=20).astype(np.float32)[random.integers(0, 16, 50_000)]
    weights[random.random(50_000) < 0.9] = 0
    data = container.save({"dense": weights})
    assert len(data) < 4 * 50_000 / 35
    same(container.load(data)["dense"], weights)
