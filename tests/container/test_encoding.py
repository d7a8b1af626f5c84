"""The choice of the form of a tensor, and the way there and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_deepcomp.container import decoding, encoding, gaps, huffman
from keras_deepcomp.container.dtypes import BY_NAME
from keras_deepcomp.container.wire import CODED, MAX_CLUSTERS, RAW, Reader, varint

UINT16 = BY_NAME["uint16"]
FLOAT32 = BY_NAME["float32"]


def decode(data, element, size):
    """Return the patterns of a payload."""
    parsed = decoding.parse(Reader(memoryview(data)), element, size, "tensor 'x'")
    patterns = np.zeros(size * element.itemsize // element.pattern.itemsize, element.pattern)
    decoding.expand(parsed, patterns)
    return patterns


def parse(data, element, size):
    return decoding.parse(Reader(memoryview(data)), element, size, "tensor 'x'")


def sparse_patterns(size, density, clusters, dtype, seed=0):
    random = np.random.default_rng(seed)
    patterns = random.integers(1, clusters + 1, size).astype(dtype)
    patterns[random.random(size) >= density] = 0
    return patterns


@pytest.mark.parametrize("density", [0.0, 0.001, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("name", ["uint8", "uint16", "float32", "float64"])
def test_chosen_bound_is_the_best(density, name, monkeypatch):
    """Try each bound for real, one after the other, and compare with the choice."""
    element = BY_NAME[name]
    patterns = sparse_patterns(5000, density, 12, element.pattern)
    chosen = encoding.encode(patterns, element)
    np.testing.assert_array_equal(decode(chosen, element, patterns.size), patterns)
    if not patterns.any():
        assert chosen == b"\x01\x03\x00\x00\x00"
        return
    sizes = {}
    candidates = gaps.count_gaps(gaps.runs_of_zeros(np.flatnonzero(patterns)))
    for candidate in candidates:
        monkeypatch.setattr(gaps, "count_gaps", lambda runs, only=candidate: [only])
        data = encoding.encode(patterns, element)
        np.testing.assert_array_equal(decode(data, element, patterns.size), patterns)
        if data[0] == CODED:
            sizes[candidate.bits] = len(data)
    parsed = parse(chosen, element, patterns.size)
    assert parsed.entries is not None
    best = min(sizes, key=lambda bits: (sizes[bits], bits))
    assert (parsed.entries.gap_bits, len(chosen)) == (best, sizes[best])


@given(st.lists(st.integers(0, 3), max_size=200), st.sampled_from(["uint8", "float32"]))
def test_planned_size_is_the_size(elements, name):
    element = BY_NAME[name]
    patterns = np.array(elements, element.pattern)
    data = encoding.encode(patterns, element)
    assert len(data) <= 1 + len(varint(patterns.nbytes)) + patterns.nbytes
    np.testing.assert_array_equal(decode(data, element, patterns.size), patterns)


@pytest.mark.parametrize("block", [1, 7, 64])
def test_blocks(block, monkeypatch):
    patterns = sparse_patterns(1000, 0.3, 50, "<u4")
    expected = encoding.encode(patterns, FLOAT32)
    monkeypatch.setattr(encoding, "_BLOCK", block)
    monkeypatch.setattr(decoding, "_BLOCK", block)
    assert encoding.encode(patterns, FLOAT32) == expected
    np.testing.assert_array_equal(decode(expected, FLOAT32, patterns.size), patterns)


def test_large_codebooks():
    patterns = np.tile(np.arange(65_536, dtype="<u4"), 4)
    data = encoding.encode(patterns, FLOAT32)
    parsed = parse(data, FLOAT32, patterns.size)
    assert parsed.entries is not None
    assert parsed.entries.codebook.size == MAX_CLUSTERS
    np.testing.assert_array_equal(decode(data, FLOAT32, patterns.size), patterns)
    patterns[0] = 65_536
    assert encoding.encode(patterns, FLOAT32)[0] == RAW


def test_all_patterns_of_two_bytes():
    patterns = np.concatenate((np.arange(65_536), np.full(300_000, 7))).astype("<u2")
    data = encoding.encode(patterns, UINT16)
    assert data[0] == CODED
    np.testing.assert_array_equal(decode(data, UINT16, patterns.size), patterns)


def test_random_values_stay_raw_without_huffman(monkeypatch):
    patterns = np.random.default_rng(0).integers(1, 2**32, 3000, dtype=np.uint32)
    monkeypatch.setattr(huffman, "code_lengths", None)
    data = encoding.encode(patterns.astype("<u4"), FLOAT32)
    assert data == b"\x00" + varint(12_000) + patterns.astype("<u4").tobytes()
