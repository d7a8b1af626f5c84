"""The hidden units of a model: where each is made, and what reads it.

A unit is a place on the last axis of what a dense layer or convolution puts out: a neuron or a
filter. Where one layer makes units and one other layer reads them, with nothing between that mixes
them, they can be left out or put into another order without anybody noticing: that is a `Link`.
`keras_deepcomp.shrink` leaves units out, and `keras_deepcomp.order_units` orders them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_deepcomp.devices import to_numpy
from keras_deepcomp.naming import is_graph

Values = dict[int, np.ndarray]
"""`id(variable)` -> its value."""

_layers = keras.layers
_MAKERS = (_layers.Dense, _layers.Conv1D, _layers.Conv2D, _layers.Conv3D)
# What treats each unit by itself. Padding is not here: at the edges it adds what no unit says.
_PASSING = (
    _layers.Activation,
    _layers.ReLU,
    _layers.LeakyReLU,
    _layers.ELU,
    _layers.Dropout,
    _layers.SpatialDropout1D,
    _layers.SpatialDropout2D,
    _layers.SpatialDropout3D,
    _layers.MaxPooling1D,
    _layers.MaxPooling2D,
    _layers.MaxPooling3D,
    _layers.AveragePooling1D,
    _layers.AveragePooling2D,
    _layers.AveragePooling3D,
    _layers.GlobalMaxPooling1D,
    _layers.GlobalMaxPooling2D,
    _layers.GlobalMaxPooling3D,
    _layers.GlobalAveragePooling1D,
    _layers.GlobalAveragePooling2D,
    _layers.GlobalAveragePooling3D,
    _layers.Flatten,
    _layers.BatchNormalization,
)
_MIXING_ACTIVATIONS = ("softmax", "log_softmax", "sparsemax", "glu")


@dataclass
class Link:
    """A layer that makes units, the one that reads them, and what lies between.

    Attributes:
        maker: A dense layer or convolution.
        between: Layers that treat each unit by itself, in order.
        reader: A dense layer or convolution.
    """

    maker: keras.Layer
    reader: keras.Layer
    between: list[keras.Layer] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many units there are."""
        return int(self.maker.kernel.shape[-1])

    def read_kernel(self, values: Values) -> np.ndarray:
        """The reader's kernel by unit, shape (places, units, what the reader makes)."""
        kernel = values[id(self.reader.kernel)]
        return kernel.reshape(-1, self.units_in(values), kernel.shape[-1])

    def units_in(self, values: Values) -> int:
        """How many units are left in some values."""
        return int(values[id(self.maker.kernel)].shape[-1])

    def take(self, values: Values, units: np.ndarray) -> None:
        """Leaves in the values the units with these numbers, in their order."""
        read, kernel = self.read_kernel(values), values[id(self.reader.kernel)]
        places = read[:, units].reshape(-1, kernel.shape[-1])
        shape = (*kernel.shape[:-2], -1, kernel.shape[-1])
        values[id(self.reader.kernel)] = places.reshape(shape)
        for variable in self.unit_variables:
            values[id(variable)] = values[id(variable)][..., units]

    @property
    def unit_variables(self) -> list[Any]:
        """The variables whose last axis is the units: of the maker, and of what lies between."""
        vectors = [v for layer in self.between for v in layer.variables if len(v.shape) == 1]
        # Dropout has a seed, a vector that is none of units.
        return [
            *self.maker.weights,
            *(v for v in vectors if keras.backend.is_float_dtype(v.dtype)),
        ]

    def constants(self, values: Values, units: np.ndarray) -> np.ndarray:
        """What units say that have no way in, as the reader sees it.

        Args:
            values: The values, of the shapes that the layers have.
            units: A mask of the units that have no way in; of the others, zeros are returned.

        Returns:
            Shape (places, units); one place unless the reader sees each place by itself.
        """
        bias = values[id(self.maker.bias)] if self.maker.use_bias else np.zeros(self.count)
        # Where a length is not known, any will do that pooling leaves something of.
        shape = [1, *(n or 64 for n in self.maker.output.shape[1:-1]), self.count]
        said = self.maker.activation(keras.ops.broadcast_to(bias.astype("float32"), shape))
        for layer in self.between:
            said = layer(said, training=False) if _knows_training(layer) else layer(said)
        places = keras.ops.convert_to_numpy(said).reshape(-1, self.count)
        return np.where(units, places, np.zeros_like(places))


def links(model: keras.Model) -> list[Link]:
    """All links of a Sequential or functional model, from the input on.

    Models and layers of other kinds inside are left alone, and so are units that have several
    readers, or that the model puts out.
    """
    if not is_graph(model):
        return []
    graph = getattr(model, "_functional", None) or model
    nodes = [node for depth in sorted(graph._nodes_by_depth, reverse=True)
             for node in graph._nodes_by_depth[depth]]  # fmt: skip
    readers: dict[int, list[keras.Layer]] = {}
    times: dict[int, int] = {}
    for node in nodes:
        times[id(node.operation)] = times.get(id(node.operation), 0) + 1
        for tensor in node.arguments.keras_tensors:
            readers.setdefault(id(tensor._keras_history.operation), []).append(node.operation)
    put_out = {id(t._keras_history.operation) for t in keras.tree.flatten(graph.outputs)}

    def only_reader(layer: Any) -> Any:
        mine = readers.get(id(layer), [])
        alone = len(mine) == 1 and id(layer) not in put_out and times[id(mine[0])] == 1
        return mine[0] if alone else None

    found = []
    for maker in dict.fromkeys(node.operation for node in nodes):
        if not _makes_units(maker) or times[id(maker)] > 1:
            continue
        between, reader = [], only_reader(maker)
        while reader is not None and _passes(reader):
            between.append(reader)
            reader = only_reader(reader)
        if reader is not None and _makes_units(reader, reads=True):
            found.append(Link(maker, reader, between))
    return found


def values_of(model: keras.Model) -> Values:
    """The values of all variables of a model."""
    return {id(variable): to_numpy(variable) for variable in model.variables}


def with_values(model: keras.Model, values: Values, found: Sequence[Link]) -> keras.Model:
    """A new model with other numbers of units, as the values have them.

    Args:
        model: A Sequential or functional model; it stays as it is.
        values: What the variables of the new one are to be, by those of the old one.
        found: The model's links.
    """
    units = {id(link.maker): link.units_in(values) for link in found}

    def clone(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        if id(layer) in units:
            config["units" if isinstance(layer, _layers.Dense) else "filters"] = units[id(layer)]
        return type(layer).from_config(config)

    new = keras.models.clone_model(model, clone_function=clone)
    for old, variable in zip(model.variables, new.variables, strict=True):
        variable.assign(values[id(old)])
    return new


def _makes_units(layer: Any, reads: bool = False) -> bool:
    if type(layer) not in _MAKERS or not layer.built or getattr(layer, "lora_enabled", False):
        return False
    if layer.quantization_mode is not None if hasattr(layer, "quantization_mode") else False:
        return False
    if not isinstance(layer, _layers.Dense) and (
        layer.groups != 1 or layer.data_format != "channels_last"
    ):
        return False
    return reads or getattr(layer.activation, "__name__", "") not in _MIXING_ACTIVATIONS


def _passes(layer: Any) -> bool:
    if not isinstance(layer, _PASSING):
        return False
    if isinstance(layer, _layers.Activation):
        return getattr(layer.activation, "__name__", "") not in _MIXING_ACTIVATIONS
    if isinstance(layer, _layers.BatchNormalization):
        return layer.axis in (-1, len(layer.input.shape) - 1)
    return getattr(layer, "data_format", "channels_last") == "channels_last"


def _knows_training(layer: keras.Layer) -> bool:
    return bool(layer._call_has_training_arg)
