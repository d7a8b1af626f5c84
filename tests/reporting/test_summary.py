import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from support import dense_model, run_python

import keras_deepcomp as kdc
from keras_deepcomp import container
from keras_deepcomp.reporting.summary import from_info


def test_of_a_model_and_of_its_file_are_the_same(tmp_path, capsys):
    shared = kdc.cluster_weights(dense_model((64, 10)), 4)
    of_model = kdc.summary(shared)
    kdc.save_model(shared, tmp_path / "m.kdc")
    of_file = kdc.summary(tmp_path / "m.kdc", verbose=False)
    assert replace(of_model, participation=()) == of_file
    printed = capsys.readouterr().out
    assert "d0/kernel" in printed and f"{of_file.file_bytes:,}" in printed
    assert "d0/kernel" in str(of_file)


def test_parts_add_up_to_the_file_and_the_ratio_is_of_the_whole_file(tmp_path):
    kdc.save_model(kdc.cluster_weights(dense_model((64, 10)), 4), tmp_path / "m.kdc")
    result = kdc.summary(tmp_path / "m.kdc", verbose=False)
    size = (tmp_path / "m.kdc").stat().st_size
    parts = sum(row.bytes for row in result.rows)
    assert result.file_bytes == size == result.header_bytes + result.metadata_bytes + parts
    assert result.float32_bytes == 4 * sum(math.prod(row.shape) for row in result.rows)
    assert result.ratio == result.float32_bytes / size
    assert json.loads(json.dumps(result.as_dict()))["ratio"] == result.ratio


def test_bits_before_and_after_huffman():
    rng = np.random.default_rng(0)
    weights = np.zeros(10_000, np.float32)
    kept = rng.choice(10_000, 1000, replace=False)
    weights[kept] = rng.choice([1.0, -1.0, 2.0], 1000, p=[0.8, 0.1, 0.1])
    row = from_info(container.inspect(container.save({"w": weights}))).rows[0]
    assert (row.size, row.clusters, row.kept_percent) == (10_000, 3, 10.0)
    assert row.weight_bits == 2 and 0.9 <= row.weight_bits_huffman <= 0.95
    _, counts = np.unique(np.diff(np.sort(kept), prepend=-1), return_counts=True)
    entropy = -(counts / 1000 * np.log2(counts / 1000)).sum()
    assert entropy - 0.05 <= row.gap_bits_huffman <= entropy + 0.1 < row.gap_bits
    assert row.ratio == 40_000 / row.bytes


def test_raw_tensors():
    values = np.random.default_rng(0).standard_normal(10)
    row = from_info(container.inspect(container.save({"w": values}))).rows[0]
    assert (row.weight_bits, row.weight_bits_huffman, row.gap_bits, row.clusters) == (64, 64, 0, 0)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2)])
def test_empty_and_scalar_tensors(shape):
    result = from_info(container.inspect(container.save({"w": np.zeros(shape)})))
    out = io.StringIO()
    result.print(out)
    assert "whole file" in out.getvalue()


def test_markup_in_names_is_printed_as_it_is():
    data = container.save({"[red]x[/red]": np.zeros(3), "[/]": np.zeros(3)})
    assert "[red]x[/red]" in str(from_info(container.inspect(data)))


def test_of_a_file_needs_no_framework(tmp_path):
    container.save_file({"w": np.zeros(3)}, tmp_path / "m.kdc")
    code = """
        import sys, keras_deepcomp as kdc
        kdc.summary(sys.argv[1])
        assert not {"keras", "tensorflow", "jax", "torch"} & sys.modules.keys()
    """
    assert "whole file" in run_python(code, tmp_path / "m.kdc")
