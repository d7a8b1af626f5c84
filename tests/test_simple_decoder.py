"""The package and a reader written from docs/format.md alone say the same about each file."""

import random
import zlib

import ml_dtypes
import numpy as np
import pytest
import simple_decoder
from golden.manifests import MANIFESTS, described, digest, entries, patterns, read
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from keras_deepcomp import container
from keras_deepcomp.container import FormatError

WRITTEN = container.save({})[4]
of_written_version = pytest.mark.skipif(
    WRITTEN not in simple_decoder.VERSIONS,
    reason=f"the package writes version {WRITTEN}, which simple_decoder.py does not know yet",
)


def known(kind):
    """Parametrizes a test with the golden files of a kind, as far as the decoder knows them."""
    return pytest.mark.parametrize(
        ("folder", "entry"),
        [
            pytest.param(
                *(folder, entry),
                id=f"{folder}/{entry['file']}",
                marks=pytest.mark.skipif(
                    MANIFESTS[folder]["version"] not in simple_decoder.VERSIONS,
                    reason=f"simple_decoder.py does not know {folder} yet",
                ),
            )
            for folder, entry in entries(kind)
        ],
    )


@known("files")
def test_golden(folder, entry):
    data = read(folder, entry)
    assert digest(data) == entry["sha256"]
    metadata, tensors = simple_decoder.decode(data)
    assert list(metadata.items()) == list(entry["metadata"].items())
    assert [described(name, *tensor) for name, tensor in tensors.items()] == entry["tensors"]


@known("invalid")
def test_invalid(folder, entry):
    with pytest.raises(ValueError):
        simple_decoder.decode(read(folder, entry))


@pytest.mark.parametrize(
    "data", [b"", b"\x89KD", b"\x89KDC", b"\x89KDC\xff" + b"\0" * 20, b"x" * 9]
)
def test_not_a_file(data):
    with pytest.raises(ValueError):
        simple_decoder.decode(data)


def by_package(data, max_bytes):
    """Returns what the package finds in the form of the simple decoder, None if it refuses."""
    try:
        tensors, info = container.load_with_info(data, max_bytes=max_bytes)
    except FormatError:
        return None
    return info.metadata, {
        name: (array.dtype.name, array.shape, patterns(array)) for name, array in tensors.items()
    }


def by_simple_decoder(data, max_bytes):
    try:
        return simple_decoder.decode(data, max_bytes)
    except ValueError:
        return None


@pytest.mark.parametrize("folder", MANIFESTS)
def test_mutants(folder):
    """Damaged files with a mended checksum: both readers take them, or neither does."""
    if MANIFESTS[folder]["version"] not in simple_decoder.VERSIONS:
        pytest.skip(f"simple_decoder.py does not know {folder} yet")
    rng = random.Random(0)
    bodies = [read(folder, entry)[:-4] for entry in MANIFESTS[folder]["files"]]
    bodies = [body for body in bodies if len(body) < 400]
    taken = 0
    for _ in range(3000):
        changed = bytearray(rng.choice(bodies))
        for _ in range(rng.choice([1, 1, 1, 2])):
            place = rng.randrange(5, len(changed))
            match rng.randrange(5):
                case 0 | 1:
                    changed[place] ^= 1 << rng.randrange(8)
                case 2:
                    changed[place] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
                case 3:
                    changed[place] = (changed[place] + rng.choice([-1, 1])) % 256
                case 4:
                    del changed[place]
        data = bytes(changed) + zlib.crc32(changed).to_bytes(4, "little")
        expected = by_simple_decoder(data, 100_000)
        assert by_package(data, 100_000) == expected, data.hex()
        taken += expected is not None
    assert 300 < taken < 2700


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


@of_written_version
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
