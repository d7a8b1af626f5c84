import json

import numpy as np
import pytest
from micro_models import Graph, dense, maxima, scales, sparse

from keras_deepcomp import cli
from keras_deepcomp.tflite import compress_for_micro
from keras_deepcomp.tflite.micro import (
    MicroError,
    OutputsDifferError,
    UnsupportedModelError,
    compression,
    pruning,
    selection,
)
from keras_deepcomp.tflite.micro.flatbuffer import read

RNG = np.random.default_rng


def compress(tmp_path, graph, method="auto", **arguments):
    """The report; raises unless the interpreter gives the same bits for both files."""
    path = tmp_path / "model.tflite"
    path.write_bytes(graph.to_bytes())
    return compress_for_micro(
        path, tmp_path / "small.tflite", method, verbose=False, random_runs=6, **arguments
    )


def methods(report):
    return [tensor.method for tensor in report.tensors]


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_dense_layer_by_every_method(tmp_path, per_channel):
    graph = dense(RNG(0), per_channel=per_channel, inputs=200)
    sizes = {}
    for method in ("huffman", "pruning", "lut", "auto"):
        report = compress(tmp_path, graph, method)
        weights, bias = report.tensors
        assert weights.method == (method if method != "auto" else "huffman")
        assert bias.method == "none"
        assert report.file_bytes_after == (tmp_path / "small.tflite").stat().st_size
        assert report.file_bytes_after < report.file_bytes_before
        # The decoded weights lie in the arena.
        assert report.arena_bytes_after >= report.arena_bytes_before + 200 * 40
        sizes[method] = report.file_bytes_after
    assert sizes["auto"] == min(sizes.values())


def convolutions(rng):
    """A convolution, a depthwise one, and a transposed one, per channel along either axis."""
    graph = Graph()
    x = graph.input((1, 8, 8, 8))
    kernel = graph.constant(sparse(rng, (32, 3, 3, 8)), scales=scales(rng, 32))
    bias = graph.constant(
        np.where(rng.random(32) < 0.5, 0, 300).astype(np.int32), scales=0.05 * scales(rng, 32)
    )
    x = graph.operator("CONV_2D", [x, kernel, bias], (1, 6, 6, 32))
    kernel = graph.constant(sparse(rng, (1, 3, 3, 32), kept=0.4), scales=scales(rng, 32), axis=3)
    bias = graph.constant(rng.integers(-99, 99, 32).astype(np.int32), scales=scales(rng, 32))
    x = graph.operator("DEPTHWISE_CONV_2D", [x, kernel, bias], (1, 4, 4, 32))
    shape = graph.constant(np.array([1, 9, 9, 16], np.int32))
    kernel = graph.constant(sparse(rng, (16, 3, 3, 32)), scales=scales(rng, 16))
    return graph.outputs(graph.operator("TRANSPOSE_CONV", [shape, kernel, x], (1, 9, 9, 16)))


@pytest.mark.parametrize("method", ["huffman", "pruning", "lut"])
def test_convolutions_per_channel(tmp_path, method):
    report = compress(tmp_path, convolutions(RNG(1)), method)
    chosen = {tensor.shape: tensor.method for tensor in report.tensors}
    assert chosen[32, 3, 3, 8] == chosen[16, 3, 3, 32] == method
    assert (1, 9, 9, 16) not in {tensor.shape for tensor in report.tensors}
    assert (4,) not in chosen  # the shape is read before anything is decoded


def test_a_tensor_that_several_operators_use(tmp_path):
    rng, graph = RNG(2), Graph()
    x = graph.input((1, 64))
    weights = graph.constant(sparse(rng, (64, 64)), scales=scales(rng, 64))
    for _ in range(3):
        x = graph.operator("FULLY_CONNECTED", [x, weights, -1], (1, 64))
    report = compress(tmp_path, graph.outputs(x))
    assert methods(report) == ["huffman"]
    model = read((tmp_path / "small.tflite").read_bytes())
    names = [code.customCode for code in model.operatorCodes]
    decodes = [op for op in model.subgraphs[0].operators if names[op.opcodeIndex]]
    assert len(decodes) == 3
    # Decoded anew for each, from the same bytes.
    assert len({tuple(op.inputs) for op in decodes}) == 1
    assert len({tuple(op.outputs) for op in decodes}) == 3


def test_tensors_that_share_a_buffer(tmp_path):
    rng, graph = RNG(3), Graph()
    x = graph.input((1, 64))
    values = sparse(rng, (64, 64))
    first = graph.constant(values, scales=scales(rng, 64))
    second = graph.constant(values, buffer=graph.buffer(first), scales=(0.003,))
    for weights in (first, second):
        x = graph.operator("FULLY_CONNECTED", [x, weights, -1], (1, 64))
    report = compress(tmp_path, graph.outputs(x))
    assert methods(report) == ["huffman", "huffman"] and report.ratio > 1.5


def test_a_buffer_that_something_else_needs_stays(tmp_path):
    rng, graph = RNG(3), Graph()
    x = graph.input((1, 64))
    values = sparse(rng, (64, 64))
    weights = graph.constant(values, scales=scales(rng, 64))
    graph.outputs(graph.constant(values, buffer=graph.buffer(weights)))
    graph.outputs(graph.operator("FULLY_CONNECTED", [x, weights, -1], (1, 64)))
    assert compress(tmp_path, graph).tensors == ()


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "float32"])
def test_decoded_tensors_are_the_tensors(tmp_path, dtype):
    """Tensors of many kinds, given back by the model itself."""
    rng = RNG(4)
    tensors = [
        sparse(rng, (1, 2000), dtype, values, kept)
        for values, kept in ((1, 0.5), (2, 0.02), (5, 0.2), (40, 0.3))
    ]
    if dtype in ("int8", "int16"):
        lowest = np.iinfo(dtype).min
        tensors.append(rng.normal(0, 25, (1, 2000)).astype(dtype))
        tensors.append(np.resize(np.arange(lowest, 128, dtype=np.int64), (1, 2000)).astype(dtype))
    low = -np.inf if dtype == "float32" else np.iinfo(dtype).min
    graph = maxima(tensors, dtype)
    for method in selection.ENCODERS:
        report = compress(tmp_path, graph, method, inputs=[np.full((1, 2000), low, dtype)])
        takes = method != "huffman" or dtype in ("int8", "int16")
        assert methods(report).count(method) >= (3 if takes else 0) and report.runs == 7
        assert set(methods(report)) <= {"none", method if takes else "none"}


def test_biases_of_zeros_and_weights_with_zero_points(tmp_path):
    rng, graph = RNG(5), Graph()
    x = graph.input((1, 16), "int16", scales=(0.001,))
    weights = graph.constant(sparse(rng, (600, 16)), scales=scales(rng, 600))
    bias = graph.constant(
        np.where(rng.random(600) < 0.95, 0, 10**10).astype(np.int64), scales=scales(rng, 600)
    )
    graph.outputs(graph.operator("FULLY_CONNECTED", [x, weights, bias], (1, 600), "int16"))
    report = compress(tmp_path, graph)
    # int64 biases, int16 activations.
    assert [(t.dtype, t.method) for t in report.tensors][1] == ("int64", "pruning")


def test_pruned_weights_are_their_zero_point(tmp_path):
    rng, graph = RNG(6), Graph()
    x = graph.input((1, 60))
    values = np.where(rng.random((40, 60)) < 0.9, -7, rng.integers(-128, 128, (40, 60)))
    weights = graph.constant(values.astype(np.int8), scales=(0.01,), zero_points=(-7,))
    graph.outputs(graph.operator("FULLY_CONNECTED", [x, weights, -1], (1, 40)))
    report = compress(tmp_path, graph, "pruning")
    assert methods(report) == ["pruning"] and report.tensors[0].bytes_after < 900


def test_nothing_is_encoded_where_nothing_helps(tmp_path):
    rng, graph = RNG(7), Graph()
    x = graph.input((1, 64))
    weights = graph.constant(rng.integers(-128, 128, (64, 64)).astype(np.int8))
    graph.outputs(graph.operator("FULLY_CONNECTED", [x, weights, -1], (1, 64)))
    report = compress(tmp_path, graph)
    assert methods(report) == ["none"]
    assert (tmp_path / "small.tflite").read_bytes() == (tmp_path / "model.tflite").read_bytes()


def test_a_limit_to_the_arena(tmp_path):
    graph = convolutions(RNG(8))
    free = compress(tmp_path, graph)
    limit = free.arena_bytes_after - 1
    held = compress(tmp_path, graph, max_arena_bytes=limit)
    assert held.arena_bytes_after <= limit and 0 < methods(held).count("none") < len(held.tensors)
    assert held.file_bytes_after > free.file_bytes_after
    with pytest.raises(MicroError, match="100 bytes are not enough"):
        compress(tmp_path, graph, max_arena_bytes=100)


@pytest.mark.parametrize("left", [None, b"older"])
def test_a_file_whose_outputs_differ_is_never_left(tmp_path, monkeypatch, left):
    def wrong(values, zero_points):
        encoding = pruning.encode(values, zero_points)
        # The last value that is kept, one off.
        ancillary = encoding.ancillary[:-1] + bytes([encoding.ancillary[-1] ^ 1])
        return type(encoding)(encoding.kind, encoding.data, ancillary)

    out = tmp_path / "small.tflite"
    if left:
        out.write_bytes(left)
    monkeypatch.setitem(selection.ENCODERS, "pruning", lambda c: wrong(c.values, c.zero_points))
    with pytest.raises(OutputsDifferError, match="Nothing was written"):
        compress(tmp_path, dense(RNG(0)), "pruning")
    assert (out.read_bytes() if out.exists() else None) == left
    assert {path.name for path in tmp_path.iterdir()} <= {"model.tflite", "small.tflite"}


def test_a_decoder_that_is_led_astray_is_caught(tmp_path, monkeypatch):
    """Tables that point out of themselves: the interpreter may end, or compute anything."""

    def wrong(constant):
        encoding = selection.huffman.encode(constant.values)
        if encoding is None:
            return None
        entries = len(encoding.ancillary) // 2 - 8
        ancillary = encoding.ancillary[:16] + entries * b"\xff\x7f"
        return type(encoding)(encoding.kind, encoding.data, ancillary)

    monkeypatch.setitem(selection.ENCODERS, "huffman", wrong)
    with pytest.raises(MicroError):
        compress(tmp_path, dense(RNG(0)), "huffman")
    assert not (tmp_path / "small.tflite").exists()


def test_an_operator_that_is_not_there_is_named(tmp_path):
    graph = Graph()
    x = graph.input((1, 2, 2, 2, 2), "float32")
    kernel = graph.constant(np.ones((1, 1, 1, 2, 2), np.float32))
    graph.outputs(graph.operator("CONV_3D", [x, kernel], (1, 2, 2, 2, 2), "float32"))
    with pytest.raises(UnsupportedModelError, match="no operator CONV_3D") as error:
        compress(tmp_path, graph)
    assert error.value.operator == "CONV_3D" and not (tmp_path / "small.tflite").exists()


def test_an_operator_that_does_not_take_its_tensors_is_named(tmp_path):
    graph = Graph()
    x = graph.input((1, 8))
    weights = graph.constant(np.ones((4, 8), np.float32))
    graph.outputs(graph.operator("FULLY_CONNECTED", [x, weights, -1], (1, 4)))
    with pytest.raises(UnsupportedModelError, match="does not take it") as error:
        compress(tmp_path, graph)
    assert error.value.operator == "FULLY_CONNECTED"


def test_what_is_asked_for_is_checked(tmp_path):
    graph = dense(RNG(0))
    with pytest.raises(ValueError, match="no method 'zip'; there are auto, huffman"):
        compress(tmp_path, graph, "zip")
    with pytest.raises(ValueError, match="Input 0 is int16 of shape"):
        compress(tmp_path, graph, inputs=[np.zeros((1, 96), np.int16)])
    with pytest.raises(ValueError, match="has 1 inputs, not 2"):
        compress(tmp_path, graph, inputs=[2 * [np.zeros((1, 96), np.int8)]])
    with pytest.raises(ValueError, match="random_runs above 0"):
        compress_for_micro(tmp_path / "model.tflite", tmp_path / "small.tflite", random_runs=0)


def test_the_report_prints_and_goes_into_json(tmp_path, capsys):
    path, out = tmp_path / "model.tflite", tmp_path / "small.tflite"
    path.write_bytes(dense(RNG(0), inputs=200).to_bytes())
    report = compress_for_micro(path, out, random_runs=1)
    text = capsys.readouterr().out
    assert "huffman" in text and f"{report.file_bytes_after:,}" in text and "arena" in text
    assert report.operators == ("FULLY_CONNECTED", "TFLM_DECODE")
    assert "operators: FULLY_CONNECTED, TFLM_DECODE" in " ".join(text.split())
    assert report.as_dict()["tensors"][0]["shape"] == (40, 200)
    assert report.as_dict()["ratio"] == report.ratio
    with pytest.raises(MicroError, match="compressed already"):
        compress_for_micro(out, tmp_path / "again.tflite")


def test_the_files_outputs_are_compared_bit_by_bit():
    def did(*outputs):
        return compression.Execution((tuple(outputs),), 0, 0.0)

    zero = np.zeros(2, np.float32)
    compression._compare(did(zero), did(zero.copy()))
    with pytest.raises(OutputsDifferError):
        compression._compare(did(zero), did(-zero))


def test_the_command(tmp_path, capsys):
    path, out = tmp_path / "model.tflite", tmp_path / "small.tflite"
    path.write_bytes(dense(RNG(0), inputs=200).to_bytes())
    words = ["tflite", "micro", str(path), str(out), "--method", "lut", "--json"]
    assert cli.main(words) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["file_bytes_after"] == out.stat().st_size
    assert result["tensors"][0]["method"] == "lut"
    assert cli.main(["tflite", "micro", str(out), str(path)]) == 1
    assert "compressed already" in capsys.readouterr().err
