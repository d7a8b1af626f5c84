"""The description of a file adds up, and says what is in the tensors."""

import numpy as np
import pytest
from container.samples import weights

from keras_deepcomp import container

RANDOM = np.random.default_rng(0)

TENSORS = {
    "conv/kernel": weights((3, 3, 20, 22), 0.3, 256),
    "dense/kernel": weights((200, 150), 0.08, 16),
    "dense/bias": RANDOM.normal(size=30).astype(np.float32),
    "long runs": weights((200_000,), 0.0001, 4),
    "zeros": np.zeros((100, 100)),
    "empty": np.zeros((3, 0), np.int8),
    "step": np.int64(3),
    "mask": RANDOM.random(1000) < 0.01,
    "complex": np.zeros(3, np.complex128) + np.array([0, 1, 1j]),
    "dense uint8": np.minimum(RANDOM.geometric(0.3, 5000), 255).astype(np.uint8),
}
FILES = {
    count: container.save(TENSORS, metadata)
    for count, metadata in enumerate([None, {"a": "b", "config": "text " * 100}])
}


@pytest.mark.parametrize("data", FILES.values(), ids=["bare", "with metadata"])
def test_parts_add_up(data):
    info = container.inspect(data)
    assert info.version == 1
    assert info.file_bytes == len(data)
    records = sum(tensor.record_bytes for tensor in info.tensors)
    assert info.header_bytes + info.metadata_bytes + records == info.file_bytes
    # Magic, version, trailer and a directory of some twenty bytes for each tensor.
    assert 5 + 12 < info.header_bytes < 17 + 25 * len(TENSORS)
    texts = sum(len(key) + len(text) + 3 for key, text in info.metadata.items())
    arrays = sum(array.nbytes for array in TENSORS.values())
    assert arrays + texts <= info.decoded_bytes <= arrays + texts + 2
    assert (info.metadata_bytes > 0) == bool(info.metadata)


def test_metadata():
    info = container.inspect(FILES[1])
    assert info.metadata == {"a": "b", "config": "text " * 100}
    # The length in the directory leaves out two bytes of checksum.
    assert 10 < info.metadata_bytes < 100
    assert container.inspect(FILES[0]).metadata == {}


def test_tensors():
    infos = {tensor.name: tensor for tensor in container.inspect(FILES[0]).tensors}
    assert list(infos) == list(TENSORS)
    for name, info in infos.items():
        array = np.asarray(TENSORS[name])
        assert (info.dtype, info.shape, info.size) == (array.dtype.name, array.shape, array.size)
        assert info.decoded_bytes == array.nbytes
        assert info.nonzero == np.count_nonzero(array)
        if info.coding == "raw":
            assert info.record_bytes == array.nbytes + 2
        if info.coding == "raw" or not info.nonzero:
            coded_only = (info.clusters, info.entries, info.gap_bits, info.index_bits)
            assert coded_only == (0, 0, 0, 0)
            assert (info.codebook_bytes, info.table_bytes) == (0, 0)
            assert (info.gap_huffman_bits, info.index_huffman_bits) == (0, 0)
            continue
        assert info.entries in (info.nonzero, info.size)
        parts = info.codebook_bytes + info.table_bytes
        parts += (info.gap_huffman_bits + info.index_huffman_bits) // 8
        assert abs(info.record_bytes - 2 - parts) <= 4
    assert infos["zeros"].coding == infos["empty"].coding == "coded"
    assert infos["zeros"].record_bytes == 0
    assert infos["dense/kernel"].clusters == 16
    assert infos["dense/kernel"].index_bits == 4
    assert infos["dense/kernel"].entries == infos["dense/kernel"].nonzero
    assert 4 <= infos["dense/kernel"].gap_bits <= 6
    assert infos["long runs"].gap_bits >= 12
    dense = infos["dense uint8"]
    assert (dense.coding, dense.gap_bits, dense.gap_huffman_bits) == ("coded", 0, 0)
    assert dense.entries == dense.size
    assert infos["complex"].coding == "raw"
    assert infos["step"].shape == ()


def test_frozen():
    info = container.inspect(FILES[0])
    with pytest.raises(AttributeError):
        info.version = 1
    with pytest.raises(AttributeError):
        info.tensors[0].name = "y"
