"""The package and a reader written from the format's pages alone say the same about each file."""

import random

import ml_dtypes
import numpy as np
import pytest
import random_models
import simple_decoder
from fuzz import campaign, mutations
from fuzz.agreement import by_package, by_simple_decoder
from golden.manifests import described, digest, entries, patterns, read
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from simple_encoder import File, by_model, little_endian

from keras_deepcomp import container


def each(kind):
    """Parametrizes a test with the golden files of a kind."""
    names = [f"{folder}/{entry['file']}" for folder, entry in entries(kind)]
    return pytest.mark.parametrize(("folder", "entry"), entries(kind), ids=names)


@each("files")
def test_golden(folder, entry):
    data = read(folder, entry)
    assert digest(data) == entry["sha256"]
    metadata, tensors = simple_decoder.decode(data)
    assert list(metadata.items()) == list(entry["metadata"].items())
    assert [described(name, *tensor) for name, tensor in tensors.items()] == entry["tensors"]


@each("invalid")
def test_invalid(folder, entry):
    with pytest.raises(ValueError):
        simple_decoder.decode(read(folder, entry))


@pytest.mark.parametrize(
    "data", [b"", b"\x89KD", b"\x89KDC", b"\x89KDC\xff" + b"\0" * 20, b"x" * 9]
)
def test_not_a_file(data):
    with pytest.raises(ValueError):
        simple_decoder.decode(data)


# The simple decoder is slow.
LARGEST = 20_000


@pytest.mark.parametrize("version", [0, 1])
def test_mutants(version):
    """Damaged files with mended checksums: both readers take them, or neither does."""
    rng = random.Random(version)
    seeds = [seed for seed in campaign.seeds() if seed.version == version]
    taken = 0
    for _ in range(1500):
        _, data = mutations.resealed(rng, rng.choice(seeds))
        expected = by_simple_decoder(data, LARGEST)
        assert by_package(data, LARGEST) == expected, data.hex()
        taken += expected is not None
    assert 150 < taken < 1350


@given(st.integers(0, 2**64))
@settings(max_examples=300)
def test_random_models(seed):
    """Choices of all kinds, most of which the package's writer would never make."""
    kind, shape, patterns, model = random_models.draw(random.Random(seed))
    data = File([by_model("x", kind, shape, patterns, model)]).bytes()
    expected = {}, {"x": (kind, shape, little_endian(kind, patterns))}
    assert simple_decoder.decode(data) == expected
    assert by_package(data, 1 << 26) == expected


BYTES = ["float8_e4m3fn", "float8_e5m2fnuz", "float8_e8m0fnu", "float8_e3m4"]
TYPES = [
    np.dtype(name)
    for name in (
        *("bool", "int8", "uint16", "int32", "uint64"),
        *("float16", "float32", "float64", "complex64", "complex128"),
    )
] + [np.dtype(getattr(ml_dtypes, name)) for name in ("bfloat16", "int4", "uint2", *BYTES)]


@st.composite
def tensors(draw):
    """Tensors of any type: clustered, sparse or of random bits."""
    dtype = draw(st.sampled_from(TYPES))
    shape = draw(npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6))
    size = int(np.prod(shape))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.sampled_from([1, 2, 3, 17, max(1, size)]))
    if dtype.name in ("int4", "uint2"):
        codebook = rng.integers(0, 4, count).astype(dtype)
    elif dtype.name == "bool":
        codebook = rng.integers(0, 2, count).astype(bool)
    else:
        codebook = np.frombuffer(rng.bytes(count * dtype.itemsize), dtype)
    values = codebook[rng.geometric(draw(st.floats(0.05, 1)), size) % count]
    values[rng.random(size) < draw(st.sampled_from([0, 0.5, 0.9, 0.99]))] = np.zeros((), dtype)
    # A long run of zeros now and then.
    longer = draw(st.sampled_from([0, 0, 0, 200, 3000]))
    if longer:
        return np.concatenate([values, np.zeros(longer, dtype), values])
    return values.reshape(shape)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(
    st.dictionaries(TEXT, tensors(), max_size=3),
    st.dictionaries(TEXT, st.one_of(st.just(""), TEXT, TEXT.map(lambda t: t * 30)), max_size=2),
)
@settings(max_examples=300)
def test_random_tensors(arrays, metadata):
    data = container.save(arrays, metadata)
    expected = (
        metadata,
        {name: (array.dtype.name, array.shape, patterns(array)) for name, array in arrays.items()},
    )
    assert simple_decoder.decode(data) == expected
    assert by_package(data, 1 << 26) == expected
