"""The description of a file adds up, and says what is in the tensors."""

import numpy as np
import pytest

from keras_deepcomp import container

RANDOM = np.random.default_rng(0)


def clustered(size, density, clusters):
    weights = RANDOM.normal(size=clusters).astype(np.float32)[RANDOM.integers(0, clusters, size)]
    weights[RANDOM.random(size) >= density] = 0
    return weights


TENSORS = {
    "conv/kernel": clustered(4000, 0.3, 256).reshape(10, 400),
    "dense/kernel": clustered(30_000, 0.08, 16),
    "dense/bias": RANDOM.normal(size=30).astype(np.float32),
    "long runs": clustered(200_000, 0.0001, 4),
    "zeros": np.zeros((100, 100)),
    "empty": np.zeros((3, 0), np.int8),
    "step": np.int64(3),
    "mask": RANDOM.random(1000) < 0.01,
    "complex": np.zeros(3, np.complex128) + np.array([0, 1, 1j]),
    "dense uint8": np.minimum(RANDOM.geometric(0.3, 5000), 255).astype(np.uint8),
}


@pytest.mark.parametrize("metadata", [None, {}, {"a": "b", "config": "text " * 100}])
def test_parts_add_up(metadata):
    data = container.save(TENSORS, metadata)
    info = container.inspect(data)
    assert info.version == 0
    assert info.file_bytes == len(data)
    assert info.metadata == (metadata or {})
    records = sum(tensor.record_bytes for tensor in info.tensors)
    assert info.header_bytes + info.metadata_bytes + records == info.file_bytes
    empty = container.inspect(container.save({}, metadata))
    assert info.metadata_bytes == empty.metadata_bytes
    # Magic, version, the declared size as a varint, two counts and the checksum.
    assert info.header_bytes == 4 + 1 + -(-info.decoded_bytes.bit_length() // 7) + 2 + 4
    assert info.decoded_bytes == sum(array.nbytes for array in TENSORS.values()) + sum(
        map(len, info.metadata.values())
    )


def test_tensors():
    infos = {tensor.name: tensor for tensor in container.inspect(container.save(TENSORS)).tensors}
    assert list(infos) == list(TENSORS)
    for name, info in infos.items():
        array = np.asarray(TENSORS[name])
        assert (info.dtype, info.shape, info.size) == (array.dtype.name, array.shape, array.size)
        assert info.decoded_bytes == array.nbytes
        assert info.nonzero == np.count_nonzero(array)
        if info.coding == "raw":
            coded_only = (info.clusters, info.entries, info.gap_bits, info.index_bits)
            assert coded_only == (0, 0, 0, 0)
            assert (info.codebook_bytes, info.table_bytes) == (0, 0)
            continue
        fillers = info.entries - info.nonzero
        assert fillers >= 0
        assert info.clusters == len(np.unique(array[array != 0]))
        assert info.codebook_bytes == info.clusters * array.itemsize
        symbols = info.clusters + (fillers > 0)
        if info.entries:
            assert info.index_bits == max(1, int(np.ceil(np.log2(symbols))))
            assert info.index_huffman_bits >= info.entries
            assert info.gap_huffman_bits >= (info.entries if info.gap_bits else 0)
        parts = info.codebook_bytes + info.table_bytes
        parts += -(-info.gap_huffman_bits // 8) + -(-info.index_huffman_bits // 8)
        assert 0 <= info.record_bytes - parts - len(name.encode()) < 40
    assert infos["zeros"].entries == infos["zeros"].index_bits == 0
    assert infos["dense/kernel"].clusters == 16
    assert infos["dense/kernel"].gap_bits > 3
    assert infos["long runs"].gap_bits >= 8
    assert infos["dense uint8"].coding == "coded"
    assert infos["dense uint8"].gap_bits == 0
    assert infos["complex"].coding == infos["dense/bias"].coding == "raw"
    assert infos["step"].shape == ()


def test_frozen():
    info = container.inspect(container.save({"x": np.zeros(1)}))
    with pytest.raises(AttributeError):
        info.version = 1
    with pytest.raises(AttributeError):
        info.tensors[0].name = "y"
