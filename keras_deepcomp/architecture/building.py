"""Building a model without memory for its weights.

Keras makes room for a layer's weights, and draws random numbers to fill them, as soon as it knows
their shapes. What a file says of its shapes is only known to be true when each weight has been
compared with the tensor that belongs to it. So a model from a file is built with its variables
deferred: they have a shape and a type, and no value until `initialize` gives them the one from the
file.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.backend.common.variables import Variable

from keras_deepcomp.container import FormatError
from keras_deepcomp.devices import as_tensor, give

# What Keras calls the list of the variables that the end of a StatelessScope initializes.
_UNINITIALIZED = "uninitialized_variables"

# Small things may be more than the file's tensors account for.
FREE_ELEMENTS = 1 << 22

_LOCK = threading.RLock()


def build(make: Callable[[], Any], max_elements: int) -> Any:
    """Calls `make`, which builds a model, with all variables deferred.

    Args:
        make: Builds the model.
        max_elements: How many elements the model's variables may have together. A few million
            more are allowed for, but nothing that takes memory in proportion.

    Returns:
        What `make` returns. Its variables have no values yet: see `initialize`.

    Raises:
        FormatError: The model has more elements, and whatever `make` raises.
    """
    before = global_state.get_global_attribute(_UNINITIALIZED)
    global_state.set_global_attribute(_UNINITIALIZED, [])
    try:
        with _deferring(_Budget(max_elements)), keras.StatelessScope(initialize_variables=False):
            return make()
    finally:
        global_state.set_global_attribute(_UNINITIALIZED, before)


def initialize(variable: keras.Variable, value: np.ndarray | None = None) -> None:
    """Gives a deferred variable its first value, without a copy where the backend can take it over.

    Args:
        variable: A variable of a model from `build`. One that has a value gets another.
        value: The value, of the variable's shape and type; the caller gives the array away. None
            takes the variable's own initializer.
    """
    if variable._value is not None:
        if value is not None:
            give(variable, value)
        return
    if value is not None:
        tensor = as_tensor(value)
        variable._initializer = lambda shape, dtype: tensor
    variable._deferred_initialize()


def initialize_states(model: keras.Model) -> None:
    """Gives the states of stateful RNNs their first values: Keras has them in no `variables`."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.RNN) and layer.states is not None:
            for state in keras.tree.flatten(layer.states):
                initialize(state)


class _Budget:
    """Counts the elements of what a model makes while it is built."""

    def __init__(self, max_elements: int) -> None:
        self.max_elements = max_elements
        self.left = max_elements + FREE_ELEMENTS
        self.thread = threading.get_ident()

    def spend(self, shape: Any) -> None:
        if threading.get_ident() != self.thread:
            return
        self.left -= math.prod(int(n) for n in shape if n is not None)
        if self.left < 0:
            raise FormatError(
                f"The architecture has more weights than the {self.max_elements:,} that the file "
                "declares or max_bytes allows."
            )


@contextlib.contextmanager
def _deferring(budget: _Budget) -> Iterator[None]:
    """Mends the three places where Keras would take memory though variables are deferred.

    And the two where it would forget `lora_alpha`.
    """
    init = Variable.__init__
    create_states = keras.layers.RNN._create_state_variables
    build_normalization = keras.layers.Normalization.build

    def init_deferred(
        self: Any, initializer: Any, shape: Any = None, dtype: Any = None, *args: Any, **kwargs: Any
    ) -> None:
        # Keras cannot defer a variable that is made from an array.
        if threading.get_ident() == budget.thread and not isinstance(initializer, str | Callable):
            value = keras.ops.convert_to_tensor(initializer, dtype=dtype)
            shape, dtype = value.shape, keras.backend.standardize_dtype(dtype or value.dtype)
            initializer = _constant(value)
        if shape is not None:
            budget.spend(shape)
        init(self, initializer, shape, dtype, *args, **kwargs)

    def create_states_within_budget(self: Any, batch_size: int) -> Any:
        # A stateful RNN makes its first states before their variables.
        states = keras.src.backend.compute_output_spec(
            lambda: self.get_initial_state(batch_size=batch_size)
        )
        for state in keras.tree.flatten(states):
            budget.spend(state.shape)
        return create_states(self, batch_size)

    def build_normalization_within_budget(self: Any, input_shape: Any) -> None:
        # A constant mean becomes as large as the input.
        axes = [self.axis] if isinstance(self.axis, int) else self.axis or ()
        budget.spend([input_shape[axis] for axis in axes if -len(input_shape) <= axis])
        build_normalization(self, input_shape)

    def keeping_alpha(enable_lora: Callable[..., None]) -> Callable[..., None]:
        # The layer has it from its configuration, and its build does not pass it on.
        def enable(self: Any, rank: int, lora_alpha: Any = None, **kwargs: Any) -> None:
            enable_lora(self, rank, lora_alpha or self.lora_alpha, **kwargs)

        return enable

    with (
        _LOCK,
        patch.object(Variable, "__init__", init_deferred),
        patch.object(keras.layers.RNN, "_create_state_variables", create_states_within_budget),
        patch.object(keras.layers.Normalization, "build", build_normalization_within_budget),
        patch.object(
            keras.layers.Dense, "enable_lora", keeping_alpha(keras.layers.Dense.enable_lora)
        ),
        patch.object(
            keras.layers.Embedding, "enable_lora", keeping_alpha(keras.layers.Embedding.enable_lora)
        ),
    ):
        yield


def _constant(value: Any) -> Callable[..., Any]:
    return lambda shape, dtype=None: keras.ops.cast(value, dtype)
