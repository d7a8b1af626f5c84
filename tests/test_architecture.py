import json

import keras
import pytest
from support import dense_model

import keras_deepcomp as kdc
from keras_deepcomp import architecture


def configuration(**first_layer):
    """A Sequential configuration as in a file, with its Dense layer changed."""
    config = json.loads(architecture.to_text(dense_model((4,))))
    config["config"]["layers"][1].update(first_layer)
    return json.dumps(config)


def test_canonical():
    model = dense_model()
    text = architecture.to_text(model)
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    again = architecture.from_text(text)
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
            "would read its vocabulary from the file '/etc/passwd'",
        ),
        ({"config": {"units": -1}}, "cannot build the architecture"),
    ],
)
def test_what_is_refused(change, says):
    with pytest.raises(kdc.FormatError, match=says):
        architecture.from_text(configuration(**change))


def test_refused_wherever_it_stands():
    hidden = {"module": "os", "class_name": "system", "config": "true"}
    for place in ("kernel_initializer", "activation", "name", "anything"):
        config = json.loads(configuration())
        config["config"]["layers"][1]["config"][place] = [{"deep": hidden}]
        with pytest.raises(kdc.FormatError, match="'system' of module 'os'"):
            architecture.from_text(json.dumps(config))


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[", "3", "null", '"Dense"', "{}", "[1, 2]", "[" * 100_000, "1" * 5000]
)
def test_what_is_no_configuration(text):
    with pytest.raises(kdc.FormatError):
        architecture.from_text(text)


def test_too_deep():
    text = "[" * 150 + "]" * 150
    with pytest.raises(kdc.FormatError, match="levels deep"):
        architecture.from_text(text)


def test_a_layer_is_not_a_model():
    layer = json.loads(configuration())["config"]["layers"][1]
    with pytest.raises(kdc.FormatError, match="is a Dense, not a Keras model"):
        architecture.from_text(json.dumps(layer))


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
        architecture.from_text(text, {"Spy": Spy})
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
    again = architecture.from_text(architecture.to_text(model))
    assert type(again.layers[0]) is Registered and again.layers[0].activation is double
