import keras
import numpy as np
import pytest
from support import dense_model, run_python

import keras_deepcomp as kdc
from keras_deepcomp.policies import PruneForLatencyOnXNNPack
from keras_deepcomp.wrappers.substitution import find_wrappers

L = keras.layers
CONSTANT = kdc.schedules.Constant(0.5)


def block(x, name, strides=1, **arguments):
    x = L.Conv2D(16, 1, use_bias=False, name=f"{name}_expand", **arguments)(x)
    x = L.BatchNormalization(name=f"{name}_norm")(x)
    x = L.ReLU(6.0, name=f"{name}_relu")(x)
    if strides == 2:
        x = L.ZeroPadding2D(1, name=f"{name}_pad")(x)
    padding = "valid" if strides == 2 else "same"
    x = L.DepthwiseConv2D(3, strides=strides, padding=padding, name=f"{name}_depthwise")(x)
    return L.Conv2D(8, 1, name=f"{name}_project")(x)


def body(middle=lambda x: x):
    """The part of a MobileNet that makes features."""
    inputs = keras.Input((32, 32, 3))
    x = L.Rescaling(1 / 255, name="scale")(inputs)
    x = L.ZeroPadding2D(1, name="pad")(x)
    x = L.Conv2D(8, 3, strides=2, padding="valid", name="stem")(x)
    x = keras.ops.relu6(x)
    x = x + block(x, "b0")
    x = middle(block(x, "b1", strides=2))
    return keras.Model(inputs, x, name="body")


def network(middle=lambda x: x):
    return keras.Sequential(
        [keras.Input((32, 32, 3)), body(middle), L.GlobalAveragePooling2D(keepdims=True),
         L.Flatten(), L.Dense(10, name="head")], name="net"
    )  # fmt: skip


@pytest.mark.parametrize("nested", [False, True])
def test_xnnpack_prunes_the_1x1_convolutions_only(nested):
    model = network()
    if not nested:
        features = model.layers[0]
        model = keras.Model(
            features.inputs, L.GlobalAveragePooling2D()(features.outputs[0]), name="flat"
        )
    pruned = kdc.prune_low_magnitude(model, CONSTANT, pruning_policy=PruneForLatencyOnXNNPack())
    names = sorted(w.layer.name for w in find_wrappers(pruned))
    assert names == ["b0_expand", "b0_project", "b1_expand", "b1_project"]


MIDDLES = {
    "conv": (lambda x: L.Conv2D(8, 3, name="big")(x), r"'big' \(Conv2D\): .* only 1x1 ones"),
    "strides": (lambda x: L.Conv2D(8, 1, strides=2, name="c")(x), "without strides, dilation"),
    "activation": (lambda x: L.Activation("gelu", name="a")(x), "not the activation 'gelu'"),
    "fused": (lambda x: L.Conv2D(8, 1, activation="tanh", name="c")(x), "activation 'tanh'"),
    "pooling": (lambda x: L.MaxPooling2D(name="m")(x), r"'m' \(MaxPooling2D\): there is no sparse"),
    "depthwise": (lambda x: L.DepthwiseConv2D(3, name="d")(x), "after ZeroPadding2D of half"),
    "norm": (lambda x: L.BatchNormalization(axis=1, name="n")(x), "only over the last axis"),
    "upsampling": (lambda x: L.UpSampling2D(name="u")(x), 'only interpolation="bilinear"'),
    "operation": (lambda x: keras.ops.exp(x), r"\(Exp\): there is no sparse kernel"),
}


@pytest.mark.parametrize("kind", MIDDLES)
def test_xnnpack_says_what_is_in_the_way(kind):
    middle, says = MIDDLES[kind]
    with pytest.raises(ValueError, match=f"cannot run these layers of 'net': .*{says}"):
        PruneForLatencyOnXNNPack().ensure_model_supports_pruning(network(middle))


def test_xnnpack_needs_the_right_begin_and_end():
    policy = PruneForLatencyOnXNNPack()
    with pytest.raises(ValueError, match=r"'net' to begin, .* leave pruning_policy= out"):
        policy.ensure_model_supports_pruning(dense_model())
    features = body()
    open_ended = keras.Model(features.inputs, L.Flatten()(features.outputs[0]), name="open")
    with pytest.raises(ValueError, match=r"'open' to have a GlobalAveragePooling2D on the way"):
        policy.ensure_model_supports_pruning(open_ended)
    features.get_layer("pad").padding = ((0, 1), (0, 1))
    with pytest.raises(ValueError, match=r"after ZeroPadding2D\(1\)"):
        policy.ensure_model_supports_pruning(features)


def test_policies_of_ones_own():
    class Wide:
        def allow_pruning(self, layer):
            return layer.units > 20

    class Never(Wide):
        def ensure_model_supports_pruning(self, model):
            raise ValueError(f"not {model.name}")

    for policy in (Wide(), lambda layer: layer.units > 20):
        pruned = kdc.prune_low_magnitude(dense_model(), CONSTANT, pruning_policy=policy)
        assert [w.layer.name for w in find_wrappers(pruned)] == ["d0"]
    with pytest.raises(ValueError, match="not net"):
        kdc.prune_low_magnitude(dense_model(), CONSTANT, pruning_policy=Never())
    for policy in (3, Wide):
        with pytest.raises(TypeError, match=r"pruning_policy is one of keras_deepcomp\.policies"):
            kdc.prune_low_magnitude(dense_model(), CONSTANT, pruning_policy=policy)


def test_that_of_tfmot_becomes_ours():
    code = """
        import tensorflow as tf
        tf.keras.version()
        import tensorflow_model_optimization as tfmot
        from keras_deepcomp import policies
        ours = policies.as_policy(tfmot.sparsity.keras.PruneForLatencyOnXNNPack())
        print(type(ours) is policies.PruneForLatencyOnXNNPack)
    """
    assert run_python(code).splitlines()[-1] == "True"


def test_a_deep_network_is_gone_through_once():
    x = inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(4, 3, strides=2, name="stem")(L.ZeroPadding2D(1)(x))
    for _ in range(60):  # 2 to the power of 60 ways
        x = L.Add()([x, x])
    model = keras.Model(inputs, L.GlobalAveragePooling2D()(x))
    PruneForLatencyOnXNNPack().ensure_model_supports_pruning(model)
    assert np.prod(model.output_shape[1:]) == 4
