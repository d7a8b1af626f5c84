"""The paper's networks against the published tables, and AlexNet's normalization."""

import keras
import numpy as np
import pytest
from support import run_python

import keras_deepcomp as kdc
from keras_deepcomp.architecture.building import build

# Kernel and output of each layer with weights: Krizhevsky et al. 2012, section 3.5 and figure 2,
# in the layer names of Caffe's model zoo.
ALEXNET = {
    "conv1": ((11, 11, 3, 96), (55, 55, 96)),
    "conv2": ((5, 5, 48, 256), (27, 27, 256)),
    "conv3": ((3, 3, 256, 384), (13, 13, 384)),
    "conv4": ((3, 3, 192, 384), (13, 13, 384)),
    "conv5": ((3, 3, 192, 256), (13, 13, 256)),
    "fc6": ((9216, 4096), (4096,)),
    "fc7": ((4096, 4096), (4096,)),
    "fc8": ((4096, 1000), (1000,)),
}
# Simonyan and Zisserman 2015, table 1, column D.
VGG_16 = {
    "block1_conv1": ((3, 3, 3, 64), (224, 224, 64)),
    "block1_conv2": ((3, 3, 64, 64), (224, 224, 64)),
    "block2_conv1": ((3, 3, 64, 128), (112, 112, 128)),
    "block2_conv2": ((3, 3, 128, 128), (112, 112, 128)),
    "block3_conv1": ((3, 3, 128, 256), (56, 56, 256)),
    "block3_conv2": ((3, 3, 256, 256), (56, 56, 256)),
    "block3_conv3": ((3, 3, 256, 256), (56, 56, 256)),
    "block4_conv1": ((3, 3, 256, 512), (28, 28, 512)),
    "block4_conv2": ((3, 3, 512, 512), (28, 28, 512)),
    "block4_conv3": ((3, 3, 512, 512), (28, 28, 512)),
    "block5_conv1": ((3, 3, 512, 512), (14, 14, 512)),
    "block5_conv2": ((3, 3, 512, 512), (14, 14, 512)),
    "block5_conv3": ((3, 3, 512, 512), (14, 14, 512)),
    "fc1": ((25088, 4096), (4096,)),
    "fc2": ((4096, 4096), (4096,)),
    "predictions": ((4096, 1000), (1000,)),
}
NETWORKS = {
    "alexnet": (kdc.models.alexnet, ALEXNET, 60_965_224),
    "vgg16": (lambda: keras.applications.VGG16(weights=None), VGG_16, 138_357_544),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_layers_are_the_published_ones(name):
    make, published, parameters = NETWORKS[name]
    model = build(make, parameters)  # without memory for the weights
    assert model.count_params() == parameters
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    assert list(layers) == list(published)
    for layer, (kernel, output) in zip(layers.values(), published.values(), strict=True):
        assert (tuple(layer.kernel.shape), layer.output.shape[1:]) == (kernel, output)
        assert layer.count_params() == np.prod(kernel) + kernel[-1]


@pytest.mark.parametrize(("make", "parameters"), [("lenet_300_100", 266_610), ("lenet_5", 431_080)])
def test_parameters_of_the_small_ones(make, parameters):
    assert getattr(kdc.models, make)().count_params() == parameters


@pytest.mark.parametrize("name", NETWORKS)
def test_the_report_knows_the_papers_row(name):
    from keras_deepcomp.reporting import paper

    class Row:
        def __init__(self, shape):
            self.shape = shape

    row = paper.row_of([Row(kernel) for kernel, _ in NETWORKS[name][1].values()])
    assert row is not None and row.network == {"alexnet": "AlexNet", "vgg16": "VGG-16"}[name]


def normalized(x, size, alpha, beta):
    """Krizhevsky et al. 2012, section 3.3, by the letter; Caffe divides alpha by the size."""
    out = np.empty_like(x)
    for channel in range(x.shape[-1]):
        near = x[..., max(0, channel - size // 2) : channel + size // 2 + 1]
        out[..., channel] = x[..., channel] / (1 + alpha / size * (near**2).sum(-1)) ** beta
    return out


def test_local_response_normalization():
    x = np.random.default_rng(0).normal(scale=9, size=(2, 3, 4, 7)).astype("float32")
    for arguments in ({}, {"size": 3, "alpha": 0.5, "beta": 0.5}):
        layer = kdc.models.LocalResponseNormalization(**arguments)
        expected = normalized(x, **{"size": 5, "alpha": 1e-4, "beta": 0.75, **arguments})
        got = keras.ops.convert_to_numpy(layer(x))
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    with pytest.raises(ValueError, match="odd number"):
        kdc.models.LocalResponseNormalization(4)


def test_a_fresh_process_loads_a_model_with_it(tmp_path):
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((5, 5, 4)),
            layers.Conv2D(6, 3, groups=2),
            kdc.models.LocalResponseNormalization(3, beta=0.5),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    kdc.save_model(model, tmp_path / "model.kdc")
    printed = run_python(
        """
        import sys
        import keras_deepcomp as kdc
        print(kdc.load_model(sys.argv[1]).layers[1].get_config())
        """,
        tmp_path / "model.kdc",
    )
    assert "'size': 3" in printed and "'beta': 0.5" in printed
