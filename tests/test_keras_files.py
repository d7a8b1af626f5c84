import io
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
from support import array, bits, dense_model

import keras_deepcomp as kdc
from keras_deepcomp import cli
from keras_deepcomp.keras_files import load_keras_file

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")


def lambda_model(path):
    """A model whose Lambda layer makes a file when it is called."""
    function = eval(f"lambda x: (open({str(path)!r}, 'w').close(), x)[1]")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(function)])
    path.unlink(missing_ok=True)
    return model


def rewritten(path, change=None, members=()):
    """Writes a `.keras` file anew with its configuration changed, or with other members."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    if change is not None:
        config = json.loads(contents["config.json"])
        contents["config.json"] = json.dumps(change(config) or config).encode()
    contents.update(members)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def refused(path, says, tmp_path, capsys=None):
    from keras.src.saving import serialization_lib

    before, files = serialization_lib.in_safe_mode(), sorted(tmp_path.iterdir())
    with pytest.raises(kdc.FormatError, match=says):
        load_keras_file(path)
    assert serialization_lib.in_safe_mode() is before
    assert cli.main(["pack", str(path), str(tmp_path / "x.kdc")]) == 1
    assert sorted(tmp_path.iterdir()) == files


@pytest.fixture
def keras_file(tmp_path):
    dense_model().save(tmp_path / "m.keras")
    return tmp_path / "m.keras"


@pytest.fixture
def h5_file(tmp_path):
    dense_model().save(tmp_path / "m.h5")
    return tmp_path / "m.h5"


def models():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2")(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Add()([x, keras.layers.Dropout(0.2, seed=1)(x)])
    x = keras.layers.Reshape((6, 24))(x)
    x = keras.layers.Bidirectional(keras.layers.LSTM(3))(x)
    functional = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))
    nested = keras.Sequential([keras.Input((20,)), dense_model(), keras.layers.Dense(1)])
    nested.layers[0].compile("adam", "mse")
    nested.compile("adam", "mse")
    nested.fit(np.ones((2, 20)), np.ones((2, 1)), verbose=0)
    return [dense_model(), functional, nested]


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".hdf5"])
def test_models_are_read_as_keras_reads_them(tmp_path, suffix):
    for model in models():
        path = tmp_path / f"m{suffix}"
        model.save(path)
        again = load_keras_file(path)
        assert [bits(array(v)) for v in again.weights] == [bits(array(v)) for v in model.weights]
        assert type(again) is type(model) and again.name == model.name and not again.compiled
        x = np.random.default_rng(0).random((2, *model.input_shape[1:]), np.float32)
        np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


def test_wrapped_models_are_read(tmp_path):
    model = kdc.cluster_weights(dense_model(), 4)
    model.save(tmp_path / "m.keras")
    again = load_keras_file(tmp_path / "m.keras")
    assert [bits(array(v)) for v in again.variables] == [bits(array(v)) for v in model.variables]


def test_custom_objects(tmp_path):
    class Own(keras.layers.Dense):
        pass

    keras.Sequential([keras.Input((4,)), Own(3)]).save(tmp_path / "m.keras")
    with pytest.raises(kdc.FormatError, match="custom_objects="):
        load_keras_file(tmp_path / "m.keras")
    assert type(load_keras_file(tmp_path / "m.keras", {"Own": Own}).layers[0]) is Own


def test_lambda_bytecode_in_a_keras_file_cve_2024_3660(tmp_path):
    lambda_model(tmp_path / "ran").save(tmp_path / "m.keras")
    refused(tmp_path / "m.keras", "Lambda layer, which runs code", tmp_path)


def test_lambda_in_a_legacy_h5_file_cve_2025_9905(tmp_path):
    lambda_model(tmp_path / "ran").save(tmp_path / "m.h5")
    refused(tmp_path / "m.h5", "Lambda layer, which runs code", tmp_path)


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("keras.utils", "get_file"), ("keras.saving", "load_model"),
     ("keras.config", "enable_unsafe_deserialization"), ("builtins", "exec")],
)  # fmt: skip
def test_functions_named_in_a_keras_file_cve_2025_1550_8747_9906(
    keras_file, tmp_path, module, name
):
    for kind in (
        {"class_name": "function", "config": name, "registered_name": name},
        {"class_name": name, "config": {"command": f"touch {tmp_path / 'ran'}"}},
    ):

        def change(config, kind=kind):
            config["config"]["layers"].insert(0, {"module": module, **kind})

        refused(rewritten(keras_file, change), name, tmp_path)


def test_switching_safe_mode_off_first_does_not_help_cve_2025_9906(keras_file, tmp_path):
    lambda_model(tmp_path / "ran").save(tmp_path / "l.keras")
    keras.config.enable_unsafe_deserialization()
    try:
        refused(tmp_path / "l.keras", "Lambda", tmp_path)
    finally:
        keras.src.backend.common.global_state.set_global_attribute("safe_mode_saving", None)


@pytest.mark.parametrize("class_name", ["Lambda", "TFSMLayer", "get_file", "Layer", "Wrapper"])
def test_classes_named_without_modules_in_a_legacy_file(h5_file, tmp_path, class_name):
    with h5py.File(h5_file, "a") as h5:
        config = json.loads(h5.attrs["model_config"])
        config["config"]["layers"][1]["class_name"] = class_name
        h5.attrs["model_config"] = json.dumps(config)
    refused(h5_file, class_name, tmp_path)


def test_vocabularies_from_files(keras_file, h5_file, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("word")
    layer = {"class_name": "StringLookup", "config": {"vocabulary": str(secret)}}

    def change(config):
        config["config"]["layers"].append({"module": "keras.layers", **layer})

    refused(rewritten(keras_file, change), "would read a vocabulary", tmp_path)
    with h5py.File(h5_file, "a") as h5:
        config = json.loads(h5.attrs["model_config"])
        config["config"]["layers"].append(layer)
        h5.attrs["model_config"] = json.dumps(config)
    refused(h5_file, "would read a vocabulary", tmp_path)


def test_compile_configurations_are_not_looked_at(keras_file):
    def change(config):
        config["compile_config"] = {"optimizer": {"module": "os", "class_name": "system"}}
        config["build_config"] = {"input_shape": [None, 10**12]}

    load_keras_file(rewritten(keras_file, change))


def test_a_configuration_of_gigabytes(keras_file, tmp_path):
    bomb = b"[" + b" " * (100 << 20) + b"]"
    refused(rewritten(keras_file, members={"config.json": bomb}), "more than", tmp_path)


def test_weights_of_gigabytes(keras_file, h5_file, tmp_path):
    with h5py.File(h5_file, "a") as h5:  # a few kilobytes in the file
        h5.create_dataset("model_weights/more", (1 << 40,), "f4", chunks=(1 << 20,), fillvalue=0)
    refused(h5_file, "bytes, and", tmp_path)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as h5:
        h5.create_dataset("x", (1 << 40,), "f4", chunks=(1 << 20,), compression="gzip")
    refused(
        rewritten(keras_file, members={"model.weights.h5": buffer.getvalue()}),
        "bytes, and",
        tmp_path,
    )
    with pytest.raises(kdc.FormatError, match="bytes, and"):
        load_keras_file(dense_saved(tmp_path), max_bytes=100)


def dense_saved(tmp_path):
    dense_model().save(tmp_path / "d.keras")
    return tmp_path / "d.keras"


def test_an_architecture_larger_than_its_weights(keras_file, h5_file, tmp_path):
    def change(config):
        config["config"]["layers"][1]["config"]["units"] = 2_000_000_000

    refused(rewritten(keras_file, change), "more weights than", tmp_path)
    with h5py.File(h5_file, "a") as h5:
        config = json.loads(h5.attrs["model_config"])
        change(config)
        h5.attrs["model_config"] = json.dumps(config)
    refused(h5_file, "more weights than", tmp_path)


def test_weights_of_other_shapes(keras_file, h5_file, tmp_path):
    def change(config):
        config["config"]["layers"][1]["config"]["units"] = 33

    refused(rewritten(keras_file, change), "do not fit", tmp_path)
    with h5py.File(h5_file, "a") as h5:
        config = json.loads(h5.attrs["model_config"])
        change(config)
        h5.attrs["model_config"] = json.dumps(config)
    refused(h5_file, "do not fit", tmp_path)


def test_weights_in_other_files(h5_file, tmp_path):
    np.ones(4, "f4").tofile(tmp_path / "other.bin")
    for add in (
        lambda h5: h5.create_dataset(
            "x", (4,), "f4", external=[(str(tmp_path / "other.bin"), 0, 16)]
        ),
        lambda h5: h5.__setitem__("x", h5py.ExternalLink("other.h5", "/")),
        lambda h5: h5.__setitem__("x", h5py.SoftLink("/model_weights")),
        lambda h5: h5.create_virtual_dataset("x", h5py.VirtualLayout((4,), "f4")),
    ):
        with h5py.File(h5_file, "a") as h5:
            if "x" in h5 or h5.get("x", getlink=True) is not None:
                del h5["x"]
            add(h5)
        refused(h5_file, "another|external|virtual", tmp_path)


def test_a_vocabulary_that_adapt_gave(tmp_path):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("strings need TensorFlow")
    layer = keras.layers.StringLookup()
    layer.adapt(["a", "b"])
    keras.Sequential([keras.Input((1,), dtype="string"), layer]).save(tmp_path / "m.keras")
    refused(tmp_path / "m.keras", "vocabulary from adapt", tmp_path)


def test_damaged_files(keras_file, h5_file, tmp_path):
    for path in (keras_file, h5_file):
        data = path.read_bytes()
        for wrong in (b"", b"nonsense", data[: len(data) // 2], data[:100]):
            path.write_bytes(wrong)
            with pytest.raises(kdc.FormatError):
                load_keras_file(path)
    with pytest.raises(FileNotFoundError):
        load_keras_file(tmp_path / "nowhere.keras")
    with h5py.File(h5_file, "w") as h5:
        h5.attrs["model_config"] = "{"
    refused(h5_file, "not JSON", tmp_path)
    with h5py.File(h5_file, "w") as h5:
        h5.attrs["x"] = 1
    refused(h5_file, "no Keras model", tmp_path)
