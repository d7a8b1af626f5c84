import contextlib
import functools
import inspect
import json
import math
import resource
import time

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import array, bits, dense_model, run_python

import keras_deepcomp as kdc
from keras_deepcomp import architecture
from keras_deepcomp.architecture import spelling
from keras_deepcomp.architecture.building import FREE_ELEMENTS, initialize
from keras_deepcomp.architecture.table import ACTIVATIONS, ENTRIES


def configuration(**first_layer):
    """A Sequential configuration as Keras writes it, with its Dense layer changed."""
    config = architecture.configuration(architecture.to_text(dense_model((4,))))
    config["config"]["layers"][1].update(first_layer)
    return json.dumps(config)


def load(text, custom_objects=None, tensors=100, elements=1_000_000):
    return architecture.from_text(text, custom_objects, tensors=tensors, elements=elements)


def test_canonical():
    model = dense_model()
    text = architecture.to_text(model)
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    again = load(text)
    assert again.get_config() == model.get_config()
    assert architecture.to_text(again) == text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"module": "os", "class_name": "system"}, "'system' of module 'os'"),
        ({"module": "builtins", "class_name": "eval"}, "'eval' of module 'builtins'"),
        ({"module": None, "class_name": "Dense"}, "of module None"),
        ({"module": "keras.utils", "class_name": "get_file"}, "module 'keras.utils'"),
        ({"module": "keras.src.saving.saving_lib", "class_name": "load_model"}, "saving_lib"),
        ({"module": "keras.models", "class_name": "load_model"}, "'load_model'"),
        ({"module": "keras.layers", "class_name": "NoSuchLayer"}, "'NoSuchLayer'"),
        ({"class_name": "Lambda"}, "Lambda layer, which runs code"),
        ({"class_name": "TFSMLayer"}, "TFSMLayer layer"),
        ({"class_name": "__lambda__", "module": None}, "'__lambda__'"),
        ({"class_name": "__typespec__", "module": None}, "'__typespec__'"),
        ({"class_name": ["Dense"]}, "in a wrong way"),
        ({"module": 3}, "in a wrong way"),
        ({"registered_name": "Own>Thing", "module": "own"}, "module 'own'"),
        (
            {"class_name": "function", "module": "os", "config": "system"},
            "the function 'system' of module 'os'",
        ),
        (
            {
                "class_name": "function",
                "module": "os",
                "config": "system",
                "registered_name": "keras_deepcomp>ClusterWeights",
            },
            "the function 'system' of module 'os'",
        ),
        (
            {"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
            "would read a vocabulary from the file '/etc/passwd'",
        ),
        ({"config": {"units": -1}}, "cannot build the architecture"),
    ],
)
def test_what_is_refused(change, says):
    with pytest.raises(kdc.FormatError, match=says):
        load(configuration(**change))


def test_refused_wherever_it_stands():
    hidden = {"module": "os", "class_name": "system", "config": "true"}
    for place in ("kernel_initializer", "activation", "name", "anything"):
        config = json.loads(configuration())
        config["config"]["layers"][1]["config"][place] = [{"deep": hidden}]
        with pytest.raises(kdc.FormatError, match="'system' of module 'os'"):
            load(json.dumps(config))


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[", "3", "null", '"Dense"', "{}", "[1, 2]", "[" * 100_000, "1" * 5000]
)
def test_what_is_no_configuration(text):
    with pytest.raises(kdc.FormatError):
        load(text)


def test_too_deep():
    for text in ("[1," + "[" * 150 + "]" * 151, '{"a":' * 150 + "1" + "}" * 150):
        with pytest.raises(kdc.FormatError, match="levels deep"):
            load(text)


def test_a_layer_is_not_a_model():
    layer = json.loads(configuration())["config"]["layers"][1]
    with pytest.raises(kdc.FormatError, match="is a Dense, not a Keras model"):
        load(json.dumps(layer))


def test_a_layer_of_two_graphs_is_refused_when_saving(tmp_path):
    def make():
        x, shared = keras.Input((12,)), keras.layers.Dense(12, name="shared")
        inner = keras.Model(x, shared(x), name="inner")
        x = keras.Input((12,))
        return keras.Model(x, shared(inner(x)), name="outer")

    model = make()
    with pytest.raises(ValueError, match="layer 'shared' is shared by 'outer' and 'inner'"):
        kdc.save_model(model, tmp_path / "m.kdc")
    kdc.save_model(model, tmp_path / "m.kdc", architecture=False)
    again = make()
    kdc.load_weights(again, tmp_path / "m.kdc")
    for one, other in zip(model.variables, again.variables, strict=True):
        assert bits(array(one)) == bits(array(other))


def test_models_with_code_in_them_are_refused_when_saving():
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Lambda(lambda x: x)])
    with pytest.raises(ValueError, match=r"could not be loaded again: .*Lambda"):
        architecture.to_text(model)


def test_safe_mode_holds_though_the_process_has_switched_it_off():
    from keras.src.saving import serialization_lib

    before = serialization_lib.in_safe_mode()
    seen = []

    class Spy(keras.layers.Dense):
        @classmethod
        def from_config(cls, config):
            seen.append(serialization_lib.in_safe_mode())
            return super().from_config(config)

    try:
        keras.config.enable_unsafe_deserialization()
        text = configuration(class_name="Spy", module=None, registered_name="Spy")
        load(text, {"Spy": Spy})
        assert serialization_lib.in_safe_mode() is False
    finally:
        keras.src.backend.common.global_state.set_global_attribute("safe_mode_saving", before)
    assert seen == [True]


def test_registered_layers_and_functions_are_loaded():
    @keras.saving.register_keras_serializable("tests_architecture")
    def double(x):
        return x * 2

    @keras.saving.register_keras_serializable("tests_architecture")
    class Registered(keras.layers.Dense):
        pass

    model = keras.Sequential([keras.layers.Input((3,)), Registered(4, activation=double)])
    again = load(architecture.to_text(model))
    assert type(again.layers[0]) is Registered and again.layers[0].activation is double


def short(*layers):
    """The text of a Sequential model of layers in the short spelling."""
    return json.dumps([1, ["Sequential", "m", list(layers)]])


def full(model):
    """A model's configuration, as Keras writes it."""
    return architecture.slim(json.loads(json.dumps(keras.saving.serialize_keras_object(model))))


def assert_restored(model):
    text = architecture.to_text(model)
    again = load(text, tensors=len(model.variables), elements=elements_of(model))
    assert json.dumps(full(again), sort_keys=True) == json.dumps(full(model), sort_keys=True)
    assert architecture.to_text(again) == text
    assert shapes_of(again) == shapes_of(model)
    assert all(variable._value is None for variable in again.variables)


def elements_of(model):
    return sum(math.prod(v.shape) for v in model.variables)


def shapes_of(model):
    return [(v.path.rpartition("/")[2], tuple(v.shape), v.dtype) for v in model.variables]


# The short spelling.


@pytest.mark.parametrize(("make", "most"), [("lenet_300_100", 200), ("lenet_5", 350)])
def test_texts_are_short(make, most):
    model = getattr(kdc.models, make)()
    assert len(architecture.to_text(model)) <= most
    assert_restored(model)


def test_what_the_spelling_looks_like():
    inputs = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, name="a", padding="same")(inputs)
    y = keras.layers.Conv2D(4, 3, name="b", padding="same", dtype="mixed_bfloat16")(inputs)
    model = keras.Model(inputs, keras.layers.Add(name="sum")([x, y])[:, :2] * 2.0, name="m")
    last = [layer.name for layer in model.operations[-2:]]
    assert json.loads(architecture.to_text(model)) == [1, ["Functional", "m", [
        ["InputLayer", "image", [None, 8, 8, 3]],
        ["Conv2D", "a", 4, [3, 3], {"padding": "same"}],
        ["Conv2D", "b", 4, [3, 3], {"padding": "same", "<": [0],
                                    "dtype": ["DTypePolicy", "mixed_bfloat16"]}],
        ["Add", "sum", {"<": [[1, 2]]}],
        ["numpy.GetItem", last[0], {"<": [{"args": [["<", 3], [["slice", None, None, None],
                                                               ["slice", None, 2, None]]]}]}],
        ["numpy.Multiply", last[1], {"<": [{"args": [["<", 4], 2.0]}]}],
    ]]]  # fmt: skip
    assert_restored(model)


@pytest.mark.parametrize(
    "name",
    ["MobileNetV2", "MobileNetV3Small", "ResNet50", "EfficientNetB0", "EfficientNetV2B0",
     "DenseNet121", "NASNetMobile", "InceptionV3", "Xception", "VGG16"],
)  # fmt: skip
def test_families_of_models(name):
    if name == "NASNetMobile" and keras.backend.backend() == "torch":
        pytest.skip("Keras does not make it on torch")
    with keras.StatelessScope(initialize_variables=False):
        model = getattr(keras.applications, name)(weights=None)
    keras.src.backend.common.global_state.set_global_attribute("uninitialized_variables", [])
    assert_restored(model)
    assert len(architecture.to_text(model)) < len(json.dumps(full(model))) / 8


def recurrent():
    inputs = keras.Input((None, 5))
    x = keras.layers.Masking()(inputs)
    x = keras.layers.Bidirectional(keras.layers.LSTM(4, return_sequences=True))(x)
    x = keras.layers.RNN([keras.layers.GRUCell(3), keras.layers.LSTMCell(3)],
                         return_sequences=True)(x)  # fmt: skip
    x = keras.layers.TimeDistributed(keras.layers.Dense(2))(x)
    x, state = keras.layers.GRU(3, return_state=True, return_sequences=True)(x)
    return keras.Model(inputs, [keras.layers.SimpleRNN(2)(x, initial_state=None), state])


def attention():
    tokens, image = keras.Input((7,), dtype="int32", name="t"), keras.Input((7, 8), name="i")
    x = keras.layers.Embedding(11, 8)(tokens)
    attended = keras.layers.MultiHeadAttention(2, 4)(
        x, value=image, key=image, use_causal_mask=True
    )
    x = keras.layers.LayerNormalization()(keras.layers.Add()([x, attended]))
    x = keras.layers.EinsumDense("abc,cd->abd", (7, 4), activation="gelu")(x)
    x = keras.layers.GroupQueryAttention(4, 4, 2)(x, x)
    return keras.Model({"t": tokens, "i": image}, {"out": keras.ops.mean(x, axis=1)})


def shared():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)], name="inner")
    start = keras.Input((4,))
    nested = keras.Model(start, keras.layers.Dense(4)(inner(start)) + start, name="nested")
    one, two = keras.Input((4,)), keras.Input((4,))
    x = keras.layers.Concatenate()([nested(one), nested(two), nested(one + two)])
    return keras.Model([one, two], [x, keras.ops.concatenate([one, np.ones((1, 4), "float32")], 0)])


def preprocessing():
    words = keras.Input((1,), dtype="string")
    x = keras.layers.StringLookup(vocabulary=["Dense", "", "<", "b"], output_mode="one_hot")(words)
    y = keras.layers.TextVectorization(vocabulary=["a", "b"], output_sequence_length=3)(words)
    image = keras.Input((8, 8, 3))
    z = keras.layers.Rescaling([1.0, 2.0, 3.0])(keras.layers.RandomCrop(6, 6, seed=2**40)(image))
    z = keras.layers.Normalization(mean=0.5, variance=2)(keras.layers.Resizing(4, 4)(z))
    d = keras.layers.Discretization([0.0, 1.0])(keras.layers.RandomFlip("vertical")(z))
    return keras.Model([words, image], [x, y, keras.layers.CategoryEncoding(3)(d[:, 0, 0])])


def arguments_of_all_kinds():
    init = keras.initializers
    return keras.Sequential([
        keras.Input((6, 6, 2)),
        keras.layers.Conv2D(
            4, (1, 3), (1, 2), activation=keras.activations.leaky_relu, trainable=False,
            kernel_initializer=init.VarianceScaling(2.0, seed=1),
            kernel_regularizer=keras.regularizers.L1L2(0.1),
            bias_constraint=keras.constraints.MaxNorm(1), bias_initializer=init.Constant(0.5)),
        keras.layers.Activation(keras.layers.ReLU(6.0)),
        keras.layers.Conv2D(4, 3, padding="same", kernel_initializer=init.Orthogonal(2)),
        keras.layers.SpectralNormalization(keras.layers.Dense(3, use_bias=False)),
        keras.layers.Dense(3, kernel_initializer=init.Identity(2)),
        keras.layers.PReLU(shared_axes=[1, 2]), keras.layers.UnitNormalization(axis=[1, 2]),
        keras.layers.Dropout(1, seed=3),
    ])  # fmt: skip


@pytest.mark.filterwarnings("ignore:Do not pass an instance of")
@pytest.mark.parametrize(
    "make", [recurrent, attention, shared, preprocessing, arguments_of_all_kinds]
)
def test_models_of_all_kinds(make):
    if make is preprocessing and keras.backend.backend() != "tensorflow":
        pytest.skip("strings need TensorFlow")
    assert_restored(make())


def test_configurations_as_keras_writes_them_load():
    model = dense_model()
    text = json.dumps(full(model), sort_keys=True, separators=(",", ":"))
    again = load(text)
    assert again.get_config() == model.get_config()
    assert architecture.to_text(again) == architecture.to_text(model)


# What makes a default instance of each class; everything else is made without arguments.
ARGUMENTS = {
    "Activation": ["relu"], "AlphaDropout": [0.5], "Bidirectional": [["LSTM", "l", 2]],
    "CenterCrop": [2, 2], "Dot": [1], "Dropout": [0.5], "EinsumDense": ["ab,bc->ac", 3],
    "Embedding": [5, 3], "ReversibleEmbedding": [5, 3], "GaussianDropout": [0.5],
    "GaussianNoise": [0.1], "GroupQueryAttention": [2, 2, 2], "HashedCrossing": [4],
    "Hashing": [4], "InputLayer": [[None, 3]], "MaxNumBoundingBoxes": [3],
    "MultiHeadAttention": [2, 2], "Permute": [[1]], "Pipeline": [[]], "RNN": [["LSTMCell", "c", 2]],
    "RandomCrop": [2, 2], "RandomPosterization": [4], "RandomTranslation": [0.1, 0.1],
    "RepeatVector": [2], "Rescaling": [2.0], "Reshape": [[3]], "Resizing": [2, 2],
    "SpatialDropout1D": [0.5], "SpatialDropout2D": [0.5], "SpatialDropout3D": [0.5],
    "SpectralNormalization": [["Dense", "d", 2]], "StackedRNNCells": [[["LSTMCell", "c", 2]]],
    "TimeDistributed": [["Dense", "d", 2]], "CategoryEncoding": [3], "Discretization": [[1.0]],
}  # fmt: skip


def layer_entries():
    return [n for n, e in ENTRIES.items() if e.module == "keras.layers"]


def default_instance(name):
    """A layer made by Keras with its required arguments alone."""
    cls, given = getattr(keras.layers, name), ARGUMENTS.get(name)
    if name == "InputLayer":
        return cls(batch_shape=(None, 3), name="x")
    if name in ("CategoryEncoding", "Discretization"):
        return cls(given[0], name="x")
    if given is None:
        usual = {"filters": 4, "kernel_size": 3, "units": 3, "output_size": 2, "pool_size": 2,
                 "factor": 0.1, "height_factor": 0.1}  # fmt: skip
        required = [
            p.name for p in inspect.signature(cls.__init__).parameters.values()
            if p.default is p.empty and p.name not in ("self", "args", "kwargs")
        ]  # fmt: skip
        return cls(**{key: usual[key] for key in required}, name="x")
    made = [keras.saving.deserialize_keras_object(spelling.expand(value)) for value in given]
    return cls(*made, name="x")


@pytest.mark.parametrize("name", layer_entries())
def test_the_table_has_the_defaults_of_the_installed_keras(name):
    instance = default_instance(name)
    config = full(instance)
    text = json.loads(json.dumps(spelling.shorten(config)))
    assert spelling.expand(text)["config"] == config["config"]
    given = {*ENTRIES[name].arguments, "name"}
    extra = text[-1].keys() - given if isinstance(text[-1], dict) else set()
    assert not extra - {"mode", "backward_layer", "num_bins", "seed"}, (
        f"{extra} are not in the table"
    )


@pytest.mark.parametrize("name", [n for n in ENTRIES if n != "slice"])
def test_the_table_names_classes_that_there_are(name):
    entry = ENTRIES[name]
    module = inspect.importlib.import_module(entry.module)
    cls = getattr(module, entry.class_name)
    assert isinstance(cls, type)
    assert not {"fn", "function", "path", "filepath", "url", "file"} & {
        parameter.lower() for parameter in inspect.signature(cls.__init__).parameters
    }


def test_activations_are_those_of_keras():
    from keras.src.activations import ALL_OBJECTS_DICT

    assert ALL_OBJECTS_DICT.keys() >= ACTIVATIONS - {"hard_swish", "swish"}
    assert not ACTIVATIONS & {"get", "serialize", "deserialize"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[2,[]]", "in spelling 2"),
        ("[1]", "neither of ours"),
        ("[true,[]]", "neither of ours"),
        ('[1,["NoSuchLayer"]]', "does not know"),
        ('[1,["Dense","a",1,"relu",3]]', "4 arguments"),
        ('[1,["Dense","a",{"name":"b"}]]', "'name' twice"),
        ('[1,["Functional","m"]]', "list of layers"),
        ('[1,["Functional","m",[3]]]', "no object"),
        ('[1,["Functional","m",[["Dense"]]]]', "no name"),
        ('[1,["Functional","m",[["Dense","a",1,{"<":3}]]]]', "are no list"),
        ('[1,["Functional","m",[["Dense","a",1,{"<":[7]}]]]]', "is no tensor"),
        ('[1,["Functional","m",[["Dense","a",1,{"<":["a"]}]]]]', "is no call"),
        ('[1,["Functional","m",[["Dense","a",1]]]]', "is no tensor"),
        ('[1,["<",0]]', "is no tensor"),
    ],
)
def test_wrong_spellings(text, says):
    with pytest.raises(kdc.FormatError, match=says):
        load(text)


# Published ways around Keras' safe mode, and their like.


def hostile(text, tmp_path=None, says=None, tensors=100):
    """The text is refused, safe mode stays on, and nothing is built."""
    from keras.src.saving import serialization_lib

    before = serialization_lib.in_safe_mode()
    with pytest.raises(kdc.FormatError, match=says):
        load(text, tensors=tensors)
    assert serialization_lib.in_safe_mode() is before
    if tmp_path is not None:
        assert not list(tmp_path.iterdir())


def lambda_layer(path):
    layer = keras.layers.Lambda(eval(f"lambda x: (open({str(path)!r}, 'w').close(), x)[1]"))
    return json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))


def test_lambda_bytecode_cve_2024_3660(tmp_path):
    config = lambda_layer(tmp_path / "ran")
    assert config["config"]["function"]["class_name"] == "__lambda__"
    hostile(configuration(**config), tmp_path, "Lambda layer, which runs code")
    renamed = {**config, "class_name": "Dense"}
    hostile(configuration(**renamed), tmp_path, "'__lambda__' of module None")


def test_modules_and_functions_of_any_name_cve_2025_1550(tmp_path):
    command = f"touch {tmp_path / 'ran'}"
    for function in (
        {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"},
        {"module": "os", "class_name": "system", "config": {"command": command}},
        {"module": "subprocess", "class_name": "Popen", "config": {"args": command}},
        {"module": "keras.src.utils.python_utils", "class_name": "func_load", "config": {}},
    ):
        hostile(configuration(**function), tmp_path, "of module")
        node = {"args": [command], "kwargs": {}}
        hostile(configuration(**function, inbound_nodes=[node]), tmp_path)
        for place in ("activation", "kernel_initializer", "dtype", "quantization_config"):
            config = json.loads(configuration())
            config["config"]["layers"][1]["config"][place] = function
            hostile(json.dumps(config), tmp_path, "of module")


def test_functions_of_keras_that_load_or_fetch_cve_2025_8747(tmp_path):
    for module, name in (
        ("keras.utils", "get_file"),
        ("keras.saving", "load_model"),
        ("keras.models", "load_model"),
        ("keras.src.saving.saving_lib", "load_weights_only"),
        ("keras.ops", "load"),
        ("keras.activations", "get"),
        ("keras.activations", "deserialize"),
        ("builtins", "get"),
        ("builtins", "serialize"),
        ("builtins", "exec"),
    ):
        arguments = {"fname": str(tmp_path / "ran"), "origin": "http://127.0.0.1:9/x"}
        hostile(configuration(module=module, class_name=name, config=arguments), tmp_path)
        function = {"module": module, "class_name": "function", "config": name}
        hostile(configuration(config={"units": 3, "activation": function}), tmp_path, "function")


def test_safe_mode_switched_off_from_inside_cve_2025_9906(tmp_path):
    switch = {"module": "keras.config", "class_name": "function",
              "config": "enable_unsafe_deserialization",
              "registered_name": "enable_unsafe_deserialization"}  # fmt: skip
    then = lambda_layer(tmp_path / "ran")
    model = json.loads(configuration())
    for layers in ([switch, then], [{**switch, "class_name": switch["config"], "config": {}}]):
        model["config"]["layers"] = [*layers, *model["config"]["layers"]]
        hostile(json.dumps(model), tmp_path, "enable_unsafe_deserialization")
    scope = {"module": "keras.src.saving.serialization_lib", "class_name": "SafeModeScope",
             "config": {"safe_mode": False}}  # fmt: skip
    hostile(configuration(**scope), tmp_path, "SafeModeScope")


@pytest.mark.parametrize(
    "layer",
    [
        ["StringLookup", "x", {"vocabulary": "/etc/passwd"}],
        ["IntegerLookup", "x", {"vocabulary": "http://127.0.0.1:9/x"}],
        ["TextVectorization", "x", {"vocabulary": "/etc/passwd"}],
        ["TextVectorization", "x", {"idf_weights": "/etc/passwd"}],
        ["TimeDistributed", "x", ["StringLookup", "y", {"vocabulary": "/etc/passwd"}]],
        ["StringLookup", "x", {"anything": {"deep": [{"vocabulary": "/etc/passwd"}]}}],
    ],
)
def test_files_and_addresses_for_lookup_layers(layer):
    hostile(short(["InputLayer", "i", [None, 1]], layer), says="would read a|not one of")


@pytest.mark.parametrize(
    ("module", "name"),
    [("keras.layers", "TFSMLayer"), ("keras.layers", "TorchModuleWrapper"),
     ("keras.layers", "JaxLayer"), ("keras.layers", "FlaxLayer"),
     ("keras.utils", "FeatureSpace"), ("keras.quantizers", "GPTQConfig"),
     ("keras.src.ops.core", "Map"), ("keras.src.ops.core", "WhileLoop"),
     ("keras.src.ops.function", "Function"), ("keras.layers", "Layer")],
)  # fmt: skip
def test_classes_that_run_or_read_what_they_are_given(module, name):
    hostile(configuration(module=module, class_name=name), says=f"{name}")


def test_configurations_that_keras_hands_to_bare_from_config(tmp_path):
    bad = lambda_layer(tmp_path / "ran")
    no_module = {"class_name": "Lambda", "config": bad["config"]}
    legacy = {"class_name": "GlorotUniform", "config": {"seed": None}}
    for inner in (bad, no_module, {"class_name": "__lambda__", "config": {"value": "x"}}):
        for wrapper, key in (
            ("Bidirectional", "layer"), ("TimeDistributed", "layer"), ("RNN", "cell"),
            ("StackedRNNCells", "cells"), ("SpectralNormalization", "layer"),
            ("Pipeline", "layers"), ("Bidirectional", "backward_layer"),
        ):  # fmt: skip
            config = {key: [inner] if key in ("cells", "layers") else inner}
            text = configuration(class_name=wrapper, config=config)
            hostile(text, tmp_path, "Lambda layer|__lambda__")
    hostile(configuration(config={"units": 3, "kernel_initializer": legacy}), says="module None")
    policy = {"module": "keras.dtype_policies", "class_name": "GPTQDTypePolicy", "config": {}}
    hostile(configuration(config={"units": 3, "dtype": policy}), says="GPTQDTypePolicy")


def test_registered_names_do_not_lend_themselves():
    hostile(configuration(module="os", class_name="system", registered_name="Dense"), says="system")
    text = configuration(registered_name="Dense2")
    with pytest.raises(kdc.FormatError, match="registered"):
        load(text)


# Sizes.


IMAGE, VECTOR, SEQUENCE = [None, 8, 8, 3], [None, 4], [None, 6, 4]


@pytest.mark.parametrize(
    ("shape", "layer"),
    [
        (VECTOR, ["Dense", "x", 2_000_000_000]),
        (VECTOR, ["Dense", "x", 10**12]),
        (VECTOR, ["Embedding", "x", 2_000_000_000, 2_000_000_000]),
        (IMAGE, ["Conv2D", "x", 100_000, [1000, 1000]]),
        (SEQUENCE, ["LSTM", "x", 1_000_000]),
        ([1_000_000, 6, 4], ["LSTM", "x", 1_000_000, {"stateful": True}]),
        ([1_000_000, 6, 4], ["GRU", "x", 1_000, {"stateful": True}]),
        ([100_000, 6, 9, 9, 3], ["ConvLSTM2D", "x", 10_000, [3, 3], {"stateful": True}]),
        ([None, 2_000_000_000], ["Normalization", "x"]),
        ([None, 2_000_000_000], ["Normalization", "x", {"mean": 0.0, "variance": 1.0}]),
        (
            [None, 60_000, 60_000],
            ["Normalization", "x", {"mean": 0, "variance": 1, "axis": [1, 2]}],
        ),
        ([None, 10_000_000, 1_000], ["BatchNormalization", "x", {"axis": 1}]),
        (VECTOR, ["Dense", "x", 2_000, {"kernel_initializer": ["initializers.Identity"]}]),
        (VECTOR, ["Dense", "x", 3, {"kernel_initializer": ["Constant", [[0] * 600] * 600]}]),
        (SEQUENCE, ["Bidirectional", "x", ["LSTM", "y", 1_000_000]]),
    ],
)
def test_huge_shapes_take_no_memory(shape, layer):
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    text = short(["InputLayer", "i", shape], layer)
    if len(text) > 100_000 or 2_000 in layer:  # no more than its text, so it is built
        load(text, elements=10_000_000)
    else:
        with pytest.raises(kdc.FormatError):
            load(text, elements=1_000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "layer",
    [["RepeatVector", "x", 2**31 - 1], ["Reshape", "x", [2, 2]], ["UpSampling1D", "x", 2**31 - 1],
     ["ZeroPadding1D", "x", [2**31 - 1, 3]], ["CategoryEncoding", "x", 2**31 - 1],
     ["HashedCrossing", "x", 2**31 - 1], ["Hashing", "x", 2**31 - 1],
     ["Resizing", "x", 2**31 - 1, 2**31 - 1], ["MelSpectrogram", "x", {"num_mel_bins": 2**31 - 1}],
     ["RandAugment", "x", {"num_ops": 2**31 - 1}], ["AugMix", "x", {"num_chains": 2**31 - 1}],
     ["LSTM", "x", 3, {"unroll": True}]],
)  # fmt: skip
def test_huge_numbers_that_are_no_shapes_of_variables(layer):
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    for shape in (VECTOR, [None, 2**31 - 1, 4], IMAGE):
        try:
            load(short(["InputLayer", "i", shape], layer), elements=1_000)
        except kdc.FormatError:
            continue
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("units", 2**31, "number 2.147e"),
        ("seed", 2**64, "number 1.845e"),
        ("ngrams", 100_000, "number 1.000e"),
        ("num", 100_000, "number 1.000e"),
        ("units", [1] * 1001, "1,001 values"),
        ("activation", "x" * 100_001, "100,001 characters"),
        ("units", {"class_name": "__numpy__", "config": {"value": ["a"] * 9, "dtype": "S100000"}},
         "of type 'S100000'"),
        ("units", {"class_name": "__tensor__", "config": {"value": [1], "dtype": "object"}},
         "of type 'object'"),
    ],
)  # fmt: skip
def test_bounds_of_values(key, value, says):
    with pytest.raises(kdc.FormatError, match=says):
        load(configuration(config={key: value}))


def test_long_texts_and_many_objects():
    for text, says in (
        (" " * (architecture.MAX_TEXT + 1), "characters"),
        ("[1,[" + ",".join(['["Dense"]'] * (spelling.MAX_OBJECTS + 1)) + "]]", "50,000 objects"),
        (short(*[["ReLU", f"r{i}"] for i in range(2_100)]), "layers for 0 tensors"),
    ):
        with pytest.raises(kdc.FormatError, match=says):
            load(text, tensors=0)


def test_models_that_call_models_twice_again_and_again():
    model = ["Functional", "m", [["InputLayer", "i", [None, 4]], ["ReLU", "r"]]]
    for depth in range(25):
        model = ["Functional", f"m{depth}", [["InputLayer", "i", [None, 4]], model]]
        model[2][1] = [*model[2][1], {"<": [0, {"args": [["<", 1]]}]}]
    began = time.monotonic()
    hostile(json.dumps([1, model]), says="calls of layers within layers|levels deep")
    assert time.monotonic() - began < 30


def test_graphs_out_of_order():
    layers = [["ReLU", f"r{i}", {"<": [i + 1]}] for i in range(1_500)]
    text = json.dumps([1, ["Functional", "m", [*layers, ["InputLayer", "i", [None, 4]]]]])
    hostile(text, says="before those that they take")


@pytest.mark.parametrize(
    "operation",
    [
        ["numpy.Arange", "x", {"<": [{"args": [0, 2**31 - 1]}]}],
        ["numpy.Full", "x", {"shape": [2**31 - 1], "<": [{"args": [[2**31 - 1], 1.0]}]}],
        ["numpy.Tile", "x", {"repeats": 2**31 - 1, "<": [{"args": [[1.0, 2.0]]}]}],
        ["numpy.Repeat", "x", {"repeats": 2**31 - 1, "<": [{"kwargs": {"x": [1.0]}}]}],
        ["nn.OneHot", "x", {"num_classes": 2**31 - 1, "<": [{"args": [["", "i", 0, 0], 3]}]}],
        ["Dense", "x", 3, {"<": [{}]}],
    ],
)
def test_operations_that_would_compute_at_once(operation):
    text = json.dumps([1, ["Functional", "m", [["InputLayer", "i", [None, 4]], operation]]])
    hostile(text, says="calls 'x' without a tensor")


def test_variables_are_given_the_files_values_and_never_random_ones():
    class Counting(keras.initializers.Initializer):
        calls = 0

        def __call__(self, shape, dtype=None):
            Counting.calls += 1
            return keras.ops.zeros(shape, dtype)

        def get_config(self):
            return {}

    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, kernel_initializer=Counting())]
    )
    text, before = architecture.to_text(model), Counting.calls
    again = load(text, {"Counting": Counting})
    values = [np.full(v.shape, 7, "float32") for v in again.variables]
    for variable, value in zip(again.variables, values, strict=True):
        initialize(variable, value)
    assert Counting.calls == before
    assert [bits(array(v)) for v in again.variables] == [bits(v) for v in values]


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 2**70)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "<", "a", "i", "Dense", "Functional", "slice", "__numpy__", "function"]),
    lambda values: st.lists(values, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["<", "args", "kwargs", "class_name", "module", "config", "name", "layers", "dtype",
             "registered_name", "inbound_nodes", "keras_history", "value", "x"]
        ),
        values, max_size=4,
    ),
    max_leaves=6,
)  # fmt: skip


@functools.cache
def samples():
    inputs = keras.Input((4, 4, 1), name="i")
    x = keras.layers.Conv2D(2, 2, name="a", kernel_initializer="he_normal")(inputs)
    x = keras.layers.Add(name="b")([x, keras.layers.Activation("relu")(x)])[:, 0] * 2.0
    models = [dense_model((4,)), keras.Model(inputs, keras.layers.LSTM(2)(x))]
    return [*(full(m) for m in models), *(json.loads(architecture.to_text(m)) for m in models)]


def places_in(value, place=()):
    yield place
    items = value.items() if isinstance(value, dict) else ()
    for key, item in enumerate(value) if isinstance(value, list) else items:
        yield from places_in(item, (*place, key))


@settings(max_examples=400)
@given(st.data())
def test_whatever_stands_in_a_text_it_is_a_model_or_a_format_error(data):
    value = json.loads(json.dumps(data.draw(st.sampled_from(samples()))))
    *path, last = data.draw(st.sampled_from([p for p in places_in(value) if p]))
    holder = functools.reduce(lambda inner, key: inner[key], path, value)
    holder[last] = data.draw(ANYTHING)
    with contextlib.suppress(kdc.FormatError):
        assert isinstance(load(json.dumps(value)), keras.Model)


def test_large_values_of_any_alignment():
    layer = keras.layers.Dense(1000, use_bias=False)
    text = architecture.to_text(keras.Sequential([keras.Input((1000,)), layer]))
    memory = np.random.default_rng(0).random(1_000_100, np.float32)
    for start in (0, 1, 3, 16):
        model = load(text)
        value = memory[start : start + 1_000_000].reshape(1000, 1000)
        initialize(model.variables[0], value.copy() if start == 0 else value)
        assert bits(array(model.variables[0])) == bits(value)
        np.testing.assert_allclose(model.predict(np.ones((1, 1000)), verbose=0)[0],
                                   value.sum(0), rtol=1e-3)  # fmt: skip
        model.variables[0].assign_add(np.ones((1000, 1000)))
        assert array(model.variables[0])[0, 0] == value[0, 0] + np.float32(1)


def test_what_adapt_learned_and_a_file_would_lose():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("strings need TensorFlow")
    layer = keras.layers.StringLookup()
    layer.adapt(["a", "b"])
    model = keras.Sequential([keras.Input((1,), dtype="string"), layer])
    with pytest.raises(ValueError, match=r"adapt\(\) gave it.*vocabulary=layer.get_vocabulary"):
        architecture.to_text(model)
    words = layer.get_vocabulary(include_special_tokens=False)
    architecture.to_text(
        keras.Sequential(
            [keras.Input((1,), dtype="string"), keras.layers.StringLookup(vocabulary=words)]
        )
    )


def test_a_budget_beyond_the_tensors_is_small():
    assert FREE_ELEMENTS * 4 <= 32 << 20


def test_memory_of_a_hostile_file_in_a_process_of_its_own():
    text = short(["InputLayer", "i", VECTOR], *[["Dense", f"d{i}", 30_000] for i in range(9)])
    printed = run_python(
        """
        import resource, sys
        import keras, keras_deepcomp as kdc
        from keras_deepcomp import architecture
        keras.ops.zeros(1)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            architecture.from_text(sys.argv[1], tensors=18, elements=1000)
        except kdc.FormatError as error:
            print("refused:", error)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        """,
        text,
    )
    refused, kilobytes = printed.splitlines()[-2:]
    assert "more weights than the 1,000" in refused and int(kilobytes) < 100_000


def layer_of(name, config):
    inputs = ["InputLayer", "i", [None, 1], {"dtype": "string"}]
    return json.dumps([1, ["Sequential", "s", [inputs, [name, "l", config]]]])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            layer_of("StringLookup", {"vocabulary": ["", "a"], "num_oov_indices": 2**28}),
            "number 2.684e",
        ),
        ('[1,["Sequential","s",[["Dense","d",1' + "0" * 400 + "]]]]", "the number of 1329 bits"),
        ('{"a":' * 600 + "1" + "}" * 600, "more than 100 levels"),
        ("[1,[" + "[]," * 1_000_001 + "[]]]", "more than 1,000,000 values"),
    ],
)
def test_what_would_take_time_or_memory_is_refused(text, says):
    with pytest.raises(kdc.FormatError, match=says):
        architecture.from_text(text, tensors=1, elements=1)
