import json
import lzma
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import run_python
from tflite_files import Maker, kinds, weights

import keras_deepcomp as kdc
from keras_deepcomp import cli, container, tflite
from keras_deepcomp.container import FormatError
from keras_deepcomp.tflite.packing import to_kdc
from keras_deepcomp.tflite.restoring import restore

KINDS = kinds()
SMALL = [KINDS[name] for name in ("one", "outside", "int4", "folded", "zip behind")]


def from_kdc(packed, max_bytes=1 << 24):
    return restore(container.Archive(container.archive.MemorySource(packed), max_bytes), max_bytes)


def xz_size(data):
    return len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))


@pytest.fixture(scope="module")
def converted():
    """A small Keras model as TensorFlow Lite files, in float32 and int8."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.DepthwiseConv2D(3),
            layers.Flatten(),
            layers.Dense(32),
        ]
    )
    files = {}
    for way in ("none", "int8"):
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        if way != "none":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if way == "int8":
            converter.representative_dataset = lambda: [[np.zeros((1, 8, 8, 3), np.float32)]]
        files[way] = converter.convert()
    return files


@pytest.fixture
def file(tmp_path):
    (tmp_path / "m.tflite").write_bytes(KINDS["signature"])
    return tmp_path / "m.tflite"


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_come_back(kind):
    data = KINDS[kind]
    packed = to_kdc(data)
    assert from_kdc(packed) == data
    assert len(packed) <= 1.01 * xz_size(data)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_what_the_converter_writes_comes_back(converted):
    for data in converted.values():
        packed = to_kdc(data)
        assert from_kdc(packed) == data
        assert len(packed) <= 1.01 * xz_size(data)
    assert len(container.load(to_kdc(converted["none"]))) > 1


def test_pruned_and_shared_weights_get_small():
    data = Maker().add(weights((300, 784), kept=0.1)).bytes()
    assert len(to_kdc(data)) < 0.9 * xz_size(data)


def test_shared_values_are_found_under_the_factors_of_channels():
    for kind in ("folded", "folded int8"):
        (kernel,) = [v for name, v in container.load(to_kdc(KINDS[kind])).items() if name != "rest"]
        assert kernel.dtype == np.int8 and np.unique(kernel).size < 20
        assert len(to_kdc(KINDS[kind])) < 0.8 * xz_size(KINDS[kind])


def test_buffers_are_tensors_of_their_own_type():
    tensors = container.load(to_kdc(KINDS["two subgraphs"]))
    assert sorted(tensors) == ["buffer 1", "buffer 2", "rest"]
    assert tensors["buffer 2"].dtype == np.int8 and tensors["buffer 2"].shape == (64, 128)
    assert np.array_equal(tensors["buffer 2"], weights((64, 128), seed=1))
    assert container.load(to_kdc(KINDS["int4"]))["buffer 1"].shape == (33, 65)


def test_the_same_bytes_are_stored_once():
    assert len(container.load(to_kdc(KINDS["same bytes"]))) == 3
    assert list(container.load(to_kdc(KINDS["shared buffer"]))) == ["rest", "buffer 1"]


def test_the_same_file_gives_the_same_bytes():
    assert to_kdc(KINDS["signature"]) == to_kdc(KINDS["signature"])


def test_effort_is_passed_on():
    data = Maker().add(weights((300, 400))).bytes()
    assert from_kdc(to_kdc(data, effort=0)) == data
    assert len(to_kdc(data, effort=6)) <= len(to_kdc(data, effort=0))


def test_progress_counts_all_buffers():
    steps = []
    data = Maker().add(weights((30, 40))).add(weights((20, 40))).bytes()
    to_kdc(data, progress=lambda done, total: steps.append((done, total)))
    assert len(steps) > 1 and steps == sorted(steps)
    done, total = steps[-1]
    assert done == total >= 30 * 40 + 20 * 40


def test_files(file, tmp_path):
    size = tflite.pack(file, tmp_path / "m.kdc")
    assert size == (tmp_path / "m.kdc").stat().st_size
    assert tflite.unpack(tmp_path / "m.kdc", tmp_path / "again.tflite") == file.stat().st_size
    assert (tmp_path / "again.tflite").read_bytes() == file.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.tflite", "m.kdc", "m.tflite"]


@pytest.mark.parametrize("data", [b"", b"TFL3", b"PK\3\4" + bytes(100), bytes(4) + b"TFL2" * 9])
def test_what_is_no_tflite_file_is_said_to_be_none(data, tmp_path):
    (tmp_path / "x.tflite").write_bytes(data)
    with pytest.raises(FormatError, match=r"x\.tflite: Not a \.tflite file"):
        tflite.pack(tmp_path / "x.tflite", tmp_path / "x.kdc")
    assert not (tmp_path / "x.kdc").exists()


def test_what_was_not_packed_is_not_unpacked(tmp_path):
    container.save_file({"a": np.ones(3)}, tmp_path / "a.kdc")
    with pytest.raises(FormatError, match=r"a\.kdc: It holds no \.tflite file"):
        tflite.unpack(tmp_path / "a.kdc", tmp_path / "a.tflite")
    assert not (tmp_path / "a.tflite").exists()


def test_keras_loading_says_what_to_do(file, tmp_path):
    tflite.pack(file, tmp_path / "m.kdc")
    with pytest.raises(FormatError, match=r"keras_deepcomp\.tflite\.unpack"):
        kdc.load_model(tmp_path / "m.kdc")


def test_max_bytes(file, tmp_path):
    tflite.pack(file, tmp_path / "m.kdc")
    with pytest.raises(FormatError, match="max_bytes="):
        tflite.unpack(tmp_path / "m.kdc", tmp_path / "x", max_bytes=file.stat().st_size - 1)


@given(
    st.sampled_from(SMALL),
    st.lists(st.tuples(st.integers(0, 1 << 30), st.integers(0, 255)), max_size=8),
    st.integers(0, 200),
    st.booleans(),
)
def test_a_changed_flatbuffer_comes_back_or_is_refused(data, changes, cut, near_the_start):
    changed = bytearray(data[: len(data) - cut])
    for place, value in changes:
        # The structure is mostly in the first and the last few hundred bytes.
        span = min(len(changed), 600) if near_the_start else len(changed)
        changed[-1 - place % span if place % 2 else place % span] = value
    try:
        packed = to_kdc(bytes(changed), effort=0)
    except FormatError:
        return
    assert from_kdc(packed) == changed


def run(capsys, *arguments):
    code = cli.main(["tflite", *map(str, arguments)])
    return code, *capsys.readouterr()


def test_commands(file, capsys):
    code, out, err = run(capsys, "pack", file)
    assert code == 0 and "x smaller" in out and err == ""
    code, out, _ = run(capsys, "unpack", file.with_suffix(".kdc"), file.with_name("b.tflite"))
    assert code == 0 and file.with_name("b.tflite").read_bytes() == file.read_bytes()
    code, out, _ = run(capsys, "pack", file, file.with_name("c.kdc"), "--json", "--effort", "0")
    assert json.loads(out)["file_bytes"] == file.with_name("c.kdc").stat().st_size


def test_inspecting_says_what_it_is(file, capsys):
    before, packed = file.stat().st_size, file.with_suffix(".kdc")
    size = tflite.pack(file, packed)
    assert cli.main(["inspect", str(packed)]) == 0
    assert f"a .tflite file of {before:,} bytes" in " ".join(capsys.readouterr().out.split())
    assert cli.main(["inspect", str(packed), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["tflite_bytes"], shown["ratio"]) == (before, before / size)
    assert shown["tensors"][0]["name"] == "rest"


def test_commands_say_what_is_wrong(file, tmp_path, capsys):
    (tmp_path / "x.tflite").write_bytes(b"nonsense")
    for arguments in (["pack", tmp_path / "x.tflite"], ["pack", "nowhere"], ["unpack", file]):
        code, out, err = run(capsys, *arguments)
        assert code == 1 and out == "" and err.count("\n") == 1


def test_no_framework_is_imported(file):
    code = """
        import sys
        from keras_deepcomp import cli
        for arguments in (["--help"], ["pack", sys.argv[1]], ["unpack", sys.argv[1][:-6] + "kdc"]):
            try:
                assert cli.main(["tflite", *arguments]) == 0
            except SystemExit:
                assert "flatbuffers" not in sys.modules
        assert not {"keras", "tensorflow", "jax", "torch"} & sys.modules.keys()
    """
    run_python(code, file)


def test_without_the_library_the_error_says_how_to_get_it():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "ai_edge_litert", None)
        with pytest.raises(ImportError, match=r"pip install keras_deepcomp\[tflite\]"):
            to_kdc(KINDS["one"])
