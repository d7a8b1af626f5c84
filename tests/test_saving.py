import json
import os
import re
from pathlib import Path

import keras
import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support import (
    COLOUR,
    array,
    bits,
    compiled,
    dense_model,
    regression_data,
    run_python,
    terminal_as_stderr,
)

import keras_deepcomp as kdc
from keras_deepcomp import architecture, container
from keras_deepcomp.wrappers.substitution import find_wrappers


def pruned_and_shared():
    model = compiled(kdc.prune_low_magnitude(dense_model(), kdc.schedules.Constant(0.8, begin=0)))
    model.fit(*regression_data(), verbose=0, callbacks=[kdc.UpdatePruningStep()])
    model = compiled(kdc.cluster_weights(model, 6))
    model.fit(*regression_data(), verbose=0)
    return model


def as_json(model):
    # As Keras' own files do, JSON makes tuples lists. How layers were built is not kept.
    config = json.loads(json.dumps(model.get_config()))
    return json.dumps(architecture.slim(config), sort_keys=True)


def every_bit(model):
    # torch holds uint16 and uint32 in wider types.
    return [bits(array(v).astype(numpy_type(v.dtype))) for v in model.variables]


def test_the_decoded_model_is_the_stripped_one_bit_for_bit(tmp_path):
    model = pruned_and_shared()
    size = kdc.save_model(model, tmp_path / "m.kdc")
    assert size == os.path.getsize(tmp_path / "m.kdc")
    again, plain = kdc.load_model(tmp_path / "m.kdc"), kdc.strip(model)
    assert every_bit(again) == every_bit(plain)
    assert [v.path for v in again.variables] == [v.path for v in plain.variables]
    assert again.get_config() == plain.get_config()
    assert type(again) is keras.Sequential and not again.compiled and not find_wrappers(again)
    x, _ = regression_data()
    np.testing.assert_array_equal(again.predict(x, verbose=0), plain.predict(x, verbose=0))


def layers_of_all_kinds():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(8, 3, padding="same", name="conv", kernel_regularizer="l2")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.RandomFlip(seed=3, name="flip")(x)
    x = keras.layers.DepthwiseConv2D(3, name="depthwise")(x) * 2.0
    x = keras.ops.relu(x)[:, :, :4]
    x = keras.layers.Dropout(0.2, name="dropout")(x)
    x = keras.layers.Reshape((6, 32), name="reshape")(x)
    x = keras.layers.Bidirectional(keras.layers.GRU(4, name="gru"), name="both")(x)
    outputs = {
        "a": keras.layers.Dense(3, dtype="mixed_bfloat16", name="a")(x),
        "b": keras.layers.Dense(2, dtype="bfloat16", name="b", activation="softmax")(x),
    }
    return keras.Model(inputs, outputs, name="kinds")


def test_a_functional_model_with_state_and_operations(tmp_path):
    model = layers_of_all_kinds()
    kdc.save_model(model, tmp_path / "m.kdc")
    again = kdc.load_model(tmp_path / "m.kdc")
    assert every_bit(again) == every_bit(model)
    assert as_json(again) == as_json(model)
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 3), np.float32)
    one, other = model.predict(x, verbose=0), again.predict(x, verbose=0)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


@keras.saving.register_keras_serializable("tests")
class Holder(keras.layers.Layer):
    """A layer that is nothing but variables of given types and shapes."""

    def __init__(self, variables, **kwargs):
        super().__init__(**kwargs)
        self.specs = [(dtype, tuple(shape)) for dtype, shape in variables]

    def build(self, input_shape):
        for i, (dtype, shape) in enumerate(self.specs):
            self.add_weight(name=f"v{i}", shape=shape, dtype=dtype, initializer="zeros",
                            trainable=False, autocast=False)  # fmt: skip

    def call(self, x):
        return x

    def get_config(self):
        return {**super().get_config(), "variables": self.specs}


TENSORFLOW_TYPES = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "bfloat16",
]  # fmt: skip
# JAX has no 64-bit types unless told so for the whole process; Keras has no uint64 on torch.
MISSING = {"tensorflow": "none", "jax": "64", "torch": "uint64"}[keras.backend.backend()]
TYPES = [t for t in TENSORFLOW_TYPES if MISSING not in t]
SPECIAL = {2: [0x7E01, 0xFC00, 0x8000, 0x7D55, 0xFFFF], 4: [0x7FC12345, 0xFF800000, 0x80000000],
           8: [0x7FF8000000012345, 0xFFF0000000000000, 0x8000000000000000]}  # fmt: skip


def numpy_type(name):
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


@st.composite
def tensors(draw):
    dtype = numpy_type(draw(st.sampled_from(TYPES)))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=7))
    pattern = np.dtype(f"u{dtype.itemsize}")
    top = 1 if dtype.kind == "b" else np.iinfo(pattern).max
    few = draw(st.lists(st.integers(0, top), min_size=1, max_size=5))
    if dtype.kind not in "biu":
        few += [x & top for x in SPECIAL[dtype.itemsize]]
    values = draw(hnp.arrays(pattern, shape, elements=st.sampled_from([0, *few])))
    return values.view(dtype) if values.ndim else values.reshape(1).view(dtype).reshape(())


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(tensors(), min_size=1, max_size=4))
def test_every_type_and_pattern_comes_back(tmp_path, values):
    specs = [(v.dtype.name, v.shape) for v in values]
    model = keras.Sequential([keras.layers.Input((2,)), Holder(specs, name="holder")], name="m")
    for variable, value in zip(model.variables, values, strict=True):
        variable.assign(value)
    expected = every_bit(model)
    kdc.save_model(model, tmp_path / "m.kdc")
    assert every_bit(kdc.load_model(tmp_path / "m.kdc")) == expected
    # What a backend does to a NaN on its way into a variable is not ours; the file is exact.
    stored = container.load_file(tmp_path / "m.kdc")
    assert [bits(v) for v in stored.values()] == expected


def test_the_same_model_gives_the_same_bytes(tmp_path):
    model = kdc.prune_low_magnitude(layers_of_all_kinds(), kdc.schedules.Constant(0.5))
    for name in "ab":
        kdc.save_model(model, tmp_path / name)
    again = kdc.load_model(tmp_path / "a")
    kdc.save_model(again, tmp_path / "c")
    contents = {(tmp_path / name).read_bytes() for name in "abc"}
    assert len(contents) == 1


def test_paths_that_occur_twice(tmp_path):
    one = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(8, name="d")], name="x")
    two = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(8, name="d")], name="x")
    inputs = keras.Input((8,))
    two.name = "y"
    model = keras.Model(inputs, two(one(inputs)))
    kdc.save_model(model, tmp_path / "m.kdc")
    assert every_bit(kdc.load_model(tmp_path / "m.kdc")) == every_bit(model)
    assert len(container.load_file(tmp_path / "m.kdc")) == 4


def test_an_unbuilt_model(tmp_path):
    with pytest.raises(ValueError, match="is not built"):
        kdc.save_model(keras.Sequential([keras.layers.Dense(3)]), tmp_path / "m.kdc")


def test_a_file_without_an_architecture(tmp_path):
    container.save_file({"a": np.ones(3)}, tmp_path / "m.kdc")
    with pytest.raises(kdc.FormatError, match=r"no Keras architecture.*container\.load_file"):
        kdc.load_model(tmp_path / "m.kdc")


def test_tensors_that_do_not_fit_the_architecture(tmp_path):
    kdc.save_model(dense_model(), tmp_path / "m.kdc")
    path = tmp_path / "m.kdc"
    tensors = container.load_file(path)
    metadata = container.inspect_file(path).metadata
    first = next(iter(tensors))
    for wrong, says in (
        ({**tensors, "more": np.ones(1)}, "4 variables and 5 tensors"),
        ({**tensors, first: tensors[first][1:]}, r"shape \(19, 32\)"),
        ({**tensors, first: tensors[first].astype("float16")}, "float16"),
    ):
        container.save_file(wrong, path, metadata)
        with pytest.raises(kdc.FormatError, match=says):
            kdc.load_model(path)


def test_max_bytes(tmp_path):
    kdc.save_model(dense_model(), tmp_path / "m.kdc")
    with pytest.raises(kdc.FormatError, match="pass max_bytes="):
        kdc.load_model(tmp_path / "m.kdc", max_bytes=1000)


def test_each_bit_of_a_model_file(tmp_path):
    path = tmp_path / "m.kdc"
    keras.utils.set_random_seed(0)
    kdc.save_model(dense_model((1,), 1), path)
    data = path.read_bytes()
    for position in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            path.write_bytes(changed)
            with pytest.raises(kdc.FormatError):
                kdc.load_model(path)
        path.write_bytes(data[:position])
        with pytest.raises(kdc.FormatError):
            kdc.load_model(path)


def test_a_disk_that_fills_leaves_the_old_file(tmp_path):
    kdc.save_model(dense_model((8,)), tmp_path / "m.kdc")
    before = (tmp_path / "m.kdc").read_bytes()
    printed = run_python(
        """
        import resource, signal, sys
        import keras, keras_deepcomp as kdc
        model = keras.Sequential([keras.layers.Input((100,)), keras.layers.Dense(1000)])
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        try:
            kdc.save_model(model, sys.argv[1])
        except OSError as error:
            print("failed:", error.strerror)
        """,
        tmp_path / "m.kdc",
    )
    assert printed.splitlines()[-1] == "failed: File too large"
    assert (tmp_path / "m.kdc").read_bytes() == before
    assert os.listdir(tmp_path) == ["m.kdc"]


def test_custom_objects(tmp_path):
    class Own(keras.layers.Dense):
        pass

    model = keras.Sequential([keras.layers.Input((4,)), Own(3)])
    kdc.save_model(model, tmp_path / "m.kdc")
    with pytest.raises(kdc.FormatError, match=r"the class 'Own' .* custom_objects="):
        kdc.load_model(tmp_path / "m.kdc")
    again = kdc.load_model(tmp_path / "m.kdc", custom_objects={"Own": Own})
    assert type(again.layers[0]) is Own
    with keras.saving.custom_object_scope({"Own": Own}):
        assert type(kdc.load_model(tmp_path / "m.kdc").layers[0]) is Own


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint64", "float32"])
def test_the_random_state_of_another_backend(tmp_path, dtype):
    """Keras has it as int64, uint32 or int32, depending on the backend."""
    layers = [keras.layers.Input((3,)), keras.layers.Dropout(0.5, seed=7, name="drop")]
    model, name = keras.Sequential(layers), "drop/seed_generator_state"
    kdc.save_model(model, tmp_path / "m.kdc")
    with container.open_file(tmp_path / "m.kdc") as file:
        metadata = file.metadata
    container.save_file({name: np.array([7, 40], dtype)}, tmp_path / "other.kdc", metadata)
    if dtype == "float32":
        with pytest.raises(kdc.FormatError, match="differ: tensor 'drop/seed_generator_state'"):
            kdc.load_model(tmp_path / "other.kdc")
        return
    again = kdc.load_model(tmp_path / "other.kdc")
    kdc.load_weights(model, tmp_path / "other.kdc")
    for each in (again, model):
        (state,) = each.variables
        assert (state.dtype, array(state).tolist()) == (model.variables[0].dtype, [7, 40])
        np.testing.assert_array_equal(each.predict(np.ones((2, 3)), verbose=0), np.ones((2, 3)))


def test_metadata_is_the_architecture(tmp_path):
    kdc.save_model(dense_model(), tmp_path / "m.kdc")
    metadata = container.inspect_file(tmp_path / "m.kdc").metadata
    assert list(metadata) == ["keras"]
    assert '["Dense","d0",32]' in metadata["keras"]


def test_weights_alone(tmp_path):
    model = pruned_and_shared()
    whole = kdc.save_model(model, tmp_path / "whole.kdc")
    assert kdc.save_model(model, tmp_path / "m.kdc", architecture=False) < whole
    assert container.inspect_file(tmp_path / "m.kdc").metadata == {}
    with pytest.raises(kdc.FormatError, match=r"no Keras architecture.*load_weights"):
        kdc.load_model(tmp_path / "m.kdc")
    for name in ("m.kdc", "whole.kdc"):
        again = dense_model(seed=1)
        kdc.load_weights(again, tmp_path / name)
        assert every_bit(again) == every_bit(kdc.strip(model))


def test_weights_that_do_not_fit_the_model(tmp_path):
    kdc.save_model(dense_model(), tmp_path / "m.kdc", architecture=False)
    unbuilt = keras.Sequential([keras.layers.Dense(3)])
    for model, says in (
        (dense_model((32,)), "2 variables and 4 tensors"),
        (dense_model((32, 11)), r"'d1/kernel' is float32 of shape \(32, 10\)"),
        (dense_model(dtype="bfloat16"), "bfloat16"),
        (kdc.prune_low_magnitude(dense_model(), kdc.schedules.Constant(0.5)), "without wrappers"),
        (unbuilt, "is not built"),
    ):
        before = every_bit(model)
        with pytest.raises(ValueError, match=says) as error:
            kdc.load_weights(model, tmp_path / "m.kdc")
        assert not isinstance(error.value, kdc.FormatError)
        assert every_bit(model) == before
    (tmp_path / "m.kdc").write_bytes(b"nonsense")
    with pytest.raises(kdc.FormatError):
        kdc.load_weights(dense_model(), tmp_path / "m.kdc")


def test_what_layers_derive_from_their_variables(tmp_path):
    normalization = keras.layers.Normalization(name="norm")
    normalization.adapt(np.array([[1.0, 50.0], [3.0, 100.0]], np.float32))
    model = keras.Sequential([keras.layers.Input((2,)), normalization])
    kdc.save_model(model, tmp_path / "m.kdc")
    x = np.array([[5.0, 6.0]], np.float32)
    expected = model.predict(x, verbose=0)
    np.testing.assert_array_equal(
        kdc.load_model(tmp_path / "m.kdc").predict(x, verbose=0), expected
    )
    fresh = keras.Sequential([keras.layers.Input((2,)), keras.layers.Normalization()])
    kdc.load_weights(fresh, tmp_path / "m.kdc")
    np.testing.assert_array_equal(fresh.predict(x, verbose=0), expected)


def test_states_of_recurrent_layers(tmp_path):
    inputs = keras.Input((5, 3), batch_size=2)
    x = keras.layers.LSTM(4, stateful=True, return_sequences=True)(inputs)
    model = keras.Model(inputs, keras.layers.Bidirectional(keras.layers.GRU(4, stateful=True))(x))
    model.predict(np.ones((2, 5, 3), np.float32), verbose=0)
    kdc.save_model(model, tmp_path / "m.kdc")
    again = kdc.load_model(tmp_path / "m.kdc")
    assert every_bit(again) == every_bit(model)
    assert as_json(again) == as_json(model)


def test_a_layer_that_makes_its_variables_from_arrays(tmp_path):
    class Table(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.table = keras.Variable(
                np.arange(6, dtype="float32"), trainable=False, name="table"
            )
            self.one = keras.Variable(1.0, dtype="float16", name="one")

        def call(self, x):
            return x + self.table[:1]

    model = keras.Sequential([keras.layers.Input((1,)), Table()])
    model.layers[0].table.assign(np.ones(6))
    kdc.save_model(model, tmp_path / "m.kdc")
    again = kdc.load_model(tmp_path / "m.kdc", {"Table": Table})
    assert every_bit(again) == every_bit(model)


def test_loading_leaves_nothing_behind_in_keras(tmp_path):
    from keras.src.backend.common import global_state

    kdc.save_model(dense_model(), tmp_path / "m.kdc")
    with keras.StatelessScope():
        other = dense_model()  # deferred until the scope ends
        with pytest.raises(kdc.FormatError):
            architecture.from_text("[1,[", tensors=1, elements=1)
    assert other.variables[0]._value is not None
    kdc.load_model(tmp_path / "m.kdc")
    assert not global_state.get_global_attribute("uninitialized_variables")
    dense_model()(np.ones((1, 20)))


def test_progress_is_shown_when_asked_for(tmp_path, capsys):
    path = tmp_path / "m.kdc"
    kdc.save_model(dense_model(), path, verbose=True)
    kdc.load_model(path, verbose=True)
    kdc.save_model(dense_model(), path)
    assert capsys.readouterr() == ("", "")  # no terminal, and too short for a line


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}])
def test_progress_on_a_terminal(tmp_path, monkeypatch, environment):
    terminal = terminal_as_stderr(monkeypatch, **environment)
    kdc.save_model(dense_model(), tmp_path / "m.kdc", verbose=True)
    kdc.load_model(tmp_path / "m.kdc", verbose=True)
    shown = terminal.getvalue()
    assert re.search(r"Saving.*4\.0/4\.0 kB.*\d:\d\d:\d\d", shown)  # the time that is left
    assert re.search(r"Loading.*4\.0/4\.0 kB", shown)
    assert bool(COLOUR.search(shown)) == (not environment)


def test_efforts(tmp_path):
    model = kdc.cluster_weights(dense_model((64, 10)), 4)
    sizes = [kdc.save_model(model, tmp_path / "m.kdc", effort=effort) for effort in (0, 5, 9)]
    assert sizes == sorted(sizes, reverse=True)
    with pytest.raises(ValueError, match="effort must be from 0 to 9"):
        kdc.save_model(model, tmp_path / "m.kdc", effort=10)


def test_loading_takes_little_more_than_the_weights(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input((2800,))])
    for _ in range(16):
        model.add(keras.layers.Dense(2800, use_bias=False, kernel_initializer="ones"))
    kdc.save_model(model, tmp_path / "m.kdc")
    printed = run_python(
        """
        import sys, threading, time
        import keras, numpy as np, keras_deepcomp as kdc
        def now():
            with open("/proc/self/status") as status:
                return next(int(l.split()[1]) for l in status if l.startswith("VmRSS"))
        kdc.load_model(sys.argv[1])  # what the libraries take once
        before, most, done = now(), [0], threading.Event()
        def watch():
            while not done.is_set():
                most[0] = max(most[0], now())
                time.sleep(0.001)
        watcher = threading.Thread(target=watch)
        watcher.start()
        model = kdc.load_model(sys.argv[1])
        done.set()
        watcher.join()
        print((most[0] - before) * 1024 / (16 * 2800 * 2800 * 4))
        """,
        tmp_path / "m.kdc",
    )
    assert float(printed.splitlines()[-1]) < 1.3


@pytest.mark.parametrize(
    ("version", "architecture"), [(0, '{"class_name":'), (1, '[1,["Sequential",')]
)
def test_models_of_all_format_versions_load(version, architecture):
    path = Path(__file__).parent / "golden" / "models" / f"v{version}_lenet_300_100.kdc"
    info = container.inspect_file(path)
    assert info.version == version
    assert info.metadata["keras"].startswith(architecture)
    model = kdc.load_model(path)
    stored = container.load_file(path).values()
    assert every_bit(model) == [bits(values) for values in stored]
