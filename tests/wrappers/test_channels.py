import keras
import pytest

from keras_deepcomp.naming import variable_names
from keras_deepcomp.wrappers.channels import input_axis, last_two, output_axes

L = keras.layers
CASES = [
    (lambda: L.Dense(5), (4,), "kernel", 0, (1,), (0, 1)),
    (lambda: L.Conv1D(5, 3), (8, 4), "kernel", 1, (2,), (1, 2)),
    (lambda: L.Conv2D(6, 3, groups=2), (8, 8, 4), "kernel", 2, (3,), (2, 3)),
    (lambda: L.Conv2DTranspose(5, 3), (8, 8, 4), "kernel", 3, (2,), (3, 2)),
    (lambda: L.DepthwiseConv2D(3), (8, 8, 4), "kernel", None, (2, 3), (2, 3)),
    (lambda: L.SeparableConv2D(5, 3), (8, 8, 4), "depthwise_kernel", None, (2, 3), (2, 3)),
    (lambda: L.SeparableConv2D(5, 3), (8, 8, 4), "pointwise_kernel", 2, (3,), (2, 3)),
    (lambda: L.LSTM(5), (8, 4), "lstm_cell/recurrent_kernel", 0, (1,), (0, 1)),
    (lambda: L.EinsumDense("abc,dc->abd", (None, 5)), (8, 4), "kernel", 1, (0,), (1, 0)),
    (lambda: L.MultiHeadAttention(2, 5), (8, 4), "query/kernel", 0, (1, 2), (0, 2)),
    (lambda: L.MultiHeadAttention(2, 5), (8, 4), "attention_output/kernel", 1, (2,), (1, 2)),
]


@pytest.mark.parametrize(("make", "shape", "name", "summed", "kept", "two"), CASES)
def test_the_channels_of_a_kernel(make, shape, name, summed, kept, two):
    layer, x = make(), keras.Input(shape)
    layer(x, x) if isinstance(layer, L.MultiHeadAttention) else layer(x)
    names = variable_names(layer)
    (variable,) = [v for v in layer.variables if names[id(v)] == name]
    assert input_axis(layer, variable) == summed
    assert output_axes(layer, variable) == kept
    assert last_two(layer, variable) == two
