"""The Keras classes that a file may name, and what the arguments are that it does not spell out.

The table, `classes.json`, is frozen: it belongs to the format. A file's meaning comes from it and
not from the defaults of the Keras that reads the file, and a class that a later Keras brings stays
unknown until it is added here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Entry:
    """A class that a file may name.

    Attributes:
        module: Where Keras says that it lives; None for Keras' notation of plain values.
        class_name: Its name there.
        arguments: The configuration keys that may be spelled without their names, in order.
        defaults: Configuration key -> short spelling of what it is when left out.
    """

    module: str | None
    class_name: str
    arguments: tuple[str, ...]
    defaults: Mapping[str, Any]


ACTIVATIONS = frozenset({
    "celu", "elu", "exponential", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu",
    "hard_swish", "hard_tanh", "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu",
    "relu6", "selu", "sigmoid", "silu", "soft_shrink", "softmax", "softplus", "softsign",
    "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus", "swish", "tanh", "tanh_shrink",
    "threshold",
})  # fmt: skip
"""Keras' activation functions by name."""

# Keras has spelled the modules of models in several ways.
_MODEL_MODULES = (
    "keras",
    "keras.models",
    "keras.src.models.functional",
    "keras.src.models.model",
    "keras.src.models.sequential",
)
_MODELS = ("Functional", "Model", "Sequential")


def _read() -> dict[str, Entry]:
    table = json.loads(files(__package__).joinpath("classes.json").read_text("utf-8"))
    entries = {"slice": Entry(None, "__slice__", ("start", "stop", "step"), {})}
    for module, classes in table["classes"].items():
        for short, (arguments, defaults) in classes.items():
            class_name = short.rpartition(".")[2]
            entries[short] = Entry(module, class_name, tuple(arguments), defaults)
    for module, names in table["operations"].items():
        for class_name in names:
            # Layers and operations share names, such as Add.
            short = f"{module.rpartition('.')[2]}.{class_name}"
            entries[short] = Entry(module, class_name, ("name",), {})
    return entries


ENTRIES: dict[str, Entry] = _read()
"""Short name -> class."""

SHORT_NAMES: dict[tuple[str | None, str], str] = {
    (entry.module, entry.class_name): short for short, entry in ENTRIES.items()
}
"""(module, class name) as Keras writes them -> short name."""

ALLOWED: frozenset[tuple[str, str]] = frozenset(
    {(module, name) for module, name in SHORT_NAMES if module is not None}
    | {(module, name) for module in _MODEL_MODULES for name in _MODELS}
)
"""The (module, class name) pairs that a file may name."""

LEGACY_ALLOWED: frozenset[str] = frozenset(
    name for module, name in ALLOWED if not module.startswith("keras.src.ops.")
)
"""The class names that a legacy .h5 file may name, which has no modules."""
