import keras
import numpy as np
import pytest
from support import array, bits, compiled, dense_model, regression_data

import keras_deepcomp as kdc
from keras_deepcomp.container import FormatError
from keras_deepcomp.keras_files import load_keras_file
from keras_deepcomp.naming import variable_names
from keras_deepcomp.selection import participation
from keras_deepcomp.wrappers.substitution import find_wrappers

L = keras.layers
CONSTANT = kdc.schedules.Constant(0.5, begin=0)
MODES = ["int8", "int4", "float8"]
# Keras warns of each layer that has nothing to quantize, or not in this mode.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method"),
    pytest.mark.filterwarnings("ignore:Invalid quantization mode"),
]


def every_bit(model):
    names = variable_names(model)
    return {names[id(v)]: bits(array(v)) for v in model.variables}


def texts():
    keras.utils.set_random_seed(0)
    tokens = keras.Input((6,), dtype="int32")
    x = L.Embedding(50, 16, name="embedding")(tokens)
    x = L.EinsumDense("abc,cd->abd", (None, 17), bias_axes="d", name="einsum")(x)
    x = L.Bidirectional(L.GRU(4, return_sequences=True, name="gru"), name="both")(x)
    x = L.TimeDistributed(L.Dense(9, name="dense"), name="each")(x)
    return keras.Model(tokens, L.Dense(5, name="head")(x), name="texts")


def attention():
    keras.utils.set_random_seed(0)
    tokens = keras.Input((6,), dtype="int32")
    x = L.Embedding(50, 16, name="embedding")(tokens)
    x = L.MultiHeadAttention(2, 8, name="mha")(x, x)
    return keras.Model(tokens, L.Dense(5, name="head")(x), name="attention")


TOKENS = np.arange(24).reshape(4, 6) % 50


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("make", [texts, attention])
def test_a_quantized_model_is_saved_bit_for_bit(make, mode, tmp_path):
    model = make()
    size = kdc.save_model(model, tmp_path / "float.kdc")
    model.quantize(mode)
    expected = model.predict(TOKENS, verbose=0)
    quantized = kdc.save_model(model, tmp_path / "m.kdc")
    assert mode == "float8" or quantized < size
    again = kdc.load_model(tmp_path / "m.kdc")
    assert every_bit(again) == every_bit(model)
    np.testing.assert_array_equal(again.predict(TOKENS, verbose=0), expected)
    # Saving what was loaded gives the same, and weights go back into either.
    kdc.save_model(again, tmp_path / "again.kdc")
    assert every_bit(kdc.load_model(tmp_path / "again.kdc")) == every_bit(model)
    other = make()
    other.quantize(mode)
    for variable in other.variables:
        variable.assign(np.zeros(variable.shape, array(variable).dtype))
    kdc.load_weights(other, tmp_path / "m.kdc")
    np.testing.assert_array_equal(other.predict(TOKENS, verbose=0), expected)


def test_the_model_is_left_as_it_was(tmp_path):
    model = attention()
    model.quantize("int8")
    policy = model.get_layer("mha").dtype_policy
    kdc.save_model(model, tmp_path / "m.kdc")
    assert model.get_layer("mha").dtype_policy is policy


@pytest.mark.parametrize("mode", MODES)
def test_a_quantized_keras_file_is_packed(mode, tmp_path):
    model = texts()
    model.quantize(mode)
    model.save(tmp_path / "m.keras")
    kdc.save_model(load_keras_file(tmp_path / "m.keras"), tmp_path / "m.kdc")
    again = kdc.load_model(tmp_path / "m.kdc")
    one, other = every_bit(again), every_bit(model)
    # Keras itself keeps no seeds of recurrent cells.
    assert one.keys() == other.keys()
    assert all(one[name] == other[name] for name in one if "seed" not in name)
    np.testing.assert_array_equal(
        again.predict(TOKENS, verbose=0), model.predict(TOKENS, verbose=0)
    )


def shared_model(**arguments):
    pruned = compiled(kdc.prune_low_magnitude(dense_model((64, 10)), CONSTANT))
    pruned.fit(*regression_data(), verbose=0, callbacks=[kdc.UpdatePruningStep()])
    shared = compiled(kdc.cluster_weights(pruned, 8, **arguments))
    shared.fit(*regression_data(), verbose=0)
    return shared


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_zeros_and_few_values_survive_quantization(mode, tmp_path):
    plain = kdc.strip(shared_model())
    kernels = [array(layer.kernel) for layer in plain.layers]
    if (
        mode == "int4"
    ):  # one scale for each output channel, as in int8; Keras' default has an offset
        config = keras.quantizers.Int4QuantizationConfig(block_size=-1)
        plain.quantize("int4", config=config)
    else:
        plain.quantize(mode)
    kdc.save_model(plain, tmp_path / "m.kdc")
    again = kdc.load_model(tmp_path / "m.kdc")
    assert every_bit(again) == every_bit(plain)
    for before, layer in zip(kernels, again.layers, strict=True):
        after = array(layer.kernel)
        assert (after[before == 0] == 0).all()
        for channel in range(after.shape[1]):  # each channel has a scale of its own
            few = np.unique(before[:, channel])
            assert np.unique(after[:, channel]).size <= few.size


def test_quantized_layers_are_left_alone_with_a_reason():
    model = dense_model((32, 32, 10))
    model.quantize("int8", filters="d0")
    x, y = regression_data()
    before = [bits(array(v)) for v in model.layers[0].variables]
    pruned = compiled(kdc.prune_low_magnitude(model, CONSTANT))
    pruned.fit(x, y, verbose=0, callbacks=[kdc.UpdatePruningStep()])
    shared = compiled(kdc.cluster_weights(pruned, 4))
    shared.fit(x, y, verbose=0)
    assert [w.layer.name for w in find_wrappers(shared)] == ["d1", "d2"]
    plain = kdc.strip(shared)
    kernel, scale = (bits(array(getattr(plain.layers[0], n))) for n in ("kernel", "kernel_scale"))
    assert {kernel, scale} <= set(before)
    np.testing.assert_array_equal(plain.predict(x, verbose=0), shared.predict(x, verbose=0))
    model.quantize("int8", filters="d[12]")
    for convert in (
        lambda: kdc.prune_low_magnitude(model, CONSTANT),
        lambda: kdc.cluster_weights(model, 4),
    ):
        with pytest.raises(
            ValueError, match="d1/kernel: quantized to int8 already: quantize after"
        ):
            convert()


def test_a_float8_layer_beside_a_pruned_one():
    model = dense_model((32, 10))
    model.quantize("float8", filters="d0")
    pruned = kdc.prune_low_magnitude(model, CONSTANT)
    assert [w.layer.name for w in find_wrappers(pruned)] == ["d1"]
    assert every_bit(kdc.strip(pruned)) == every_bit(model)


def test_modes_that_cannot_be_made_anew(tmp_path):
    config = keras.quantizers.GPTQConfig(
        dataset=None, tokenizer=None, weight_bits=4, num_samples=1, sequence_length=8,
        group_size=8,
    )  # fmt: skip
    model = dense_model()
    model.layers[0].quantize("gptq", config=config)
    with pytest.raises(ValueError, match=r"'d0' is quantized by gptq, .* architecture=False"):
        kdc.save_model(model, tmp_path / "m.kdc")
    assert kdc.save_model(model, tmp_path / "m.kdc", architecture=False) > 0


@keras.saving.register_keras_serializable("tests")
class Closed(L.Layer):
    """Makes a layer of its own, and does not tell it of dtypes."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = L.Dense(10)

    def build(self, input_shape):
        self.inner.build(input_shape)

    def call(self, x):
        return self.inner(x)


def test_a_layer_that_does_not_pass_its_dtype_on(tmp_path):
    model = keras.Sequential([keras.Input((20,)), Closed(name="closed")])
    model.quantize("int8")
    with pytest.raises(ValueError, match=r"does not pass its dtype on\. Quantize without"):
        kdc.save_model(model, tmp_path / "m.kdc")


def test_no_regular_expressions_from_a_file():
    from keras_deepcomp.architecture.allow_list import check

    for pattern in ("(a+)+b", "a|b", "(.*/)?(.*/)?a"):
        config = {"class_name": "DTypePolicyMap", "module": "keras.dtype_policies",
                  "config": {"default_policy": None, "policy_map": {pattern: None}}}  # fmt: skip
        with pytest.raises(FormatError, match="for a layer's path"):
            check(config)
    config["config"]["policy_map"] = {r"(.*/)?query\.1": None, "mha/key": None}
    check(config)


def lora_model(alpha=None):
    model = dense_model((32, 16, 10))
    model.layers[1].enable_lora(8, lora_alpha=alpha)
    model.layers[1].lora_kernel_b.assign(np.ones((8, 16), np.float32) / 10)
    return model


def test_layers_with_lora_are_left_in_working_order(tmp_path):
    model = lora_model(alpha=3)
    x, y = regression_data()
    kernel = array(model.layers[1]._kernel)
    pruned = compiled(kdc.prune_low_magnitude(model, CONSTANT))
    pruned.fit(x, y, verbose=0, callbacks=[kdc.UpdatePruningStep()])
    shared = compiled(kdc.cluster_weights(pruned, 4))
    shared.fit(x, y, epochs=2, verbose=0)
    assert [w.layer.name for w in find_wrappers(shared)] == ["d0", "d2"]
    layer = shared.layers[1]
    np.testing.assert_array_equal(array(layer._kernel), kernel)
    for name in ("lora_kernel_a", "lora_kernel_b"):
        assert (array(getattr(layer, name)) != array(getattr(model.layers[1], name))).any()
    plain = kdc.strip(shared)
    kdc.save_model(shared, tmp_path / "m.kdc")
    again = kdc.load_model(tmp_path / "m.kdc")
    assert every_bit(again) == every_bit(plain)
    for other in (plain, again):
        assert other.layers[1].lora_enabled and other.layers[1].lora_alpha == 3
        np.testing.assert_array_equal(other.predict(x, verbose=0), shared.predict(x, verbose=0))
    assert again.layers[1].lora_kernel_a.trainable and not again.layers[1]._kernel.trainable


def test_the_reason_why_lora_is_left_alone():
    reasons = {p.weight: p.reason for p in participation(lora_model().layers[1], "prune")}
    assert set(reasons) == {"kernel", "bias", "lora_kernel_a", "lora_kernel_b"}
    for weight in ("kernel", "lora_kernel_a", "lora_kernel_b"):
        assert reasons[weight] == "LoRA is enabled: prune and share before enable_lora()"


@pytest.mark.parametrize("make", ["embedding", "conv", "einsum"])
def test_lora_of_other_layers_is_saved(make, tmp_path):
    layer, shape = {
        "embedding": (L.Embedding(30, 8), (5,)),
        "conv": (L.Conv2D(8, 3), (5, 5, 4)),
        "einsum": (L.EinsumDense("ab,bc->ac", 8), (20,)),
    }[make]
    model = keras.Sequential([keras.Input(shape), layer, L.Flatten()])
    layer.enable_lora(2, lora_alpha=5)
    for variable in model.trainable_variables:
        variable.assign(np.random.default_rng(0).standard_normal(variable.shape))
    x = np.ones((2, *shape), np.float32)
    kdc.save_model(model, tmp_path / "m.kdc")
    again = kdc.load_model(tmp_path / "m.kdc")
    assert every_bit(again) == every_bit(model)
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
