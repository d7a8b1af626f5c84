"""What has to happen when Keras or tfmot is imported into a process that has us.

We import no framework until one is needed, so two things cannot be done at our own import:

- Keras finds a custom class in a `.keras` file only if its module has been imported. Without the
  first hook a fresh process could not load a pruned model before it had touched one of our layers
  by name.
- tfmot asks for Keras 2 by an environment variable, which turns `tf.keras` into Keras 2 for the
  whole process if nothing has touched `tf.keras` before. The second hook touches it, and puts the
  variable back. tfmot itself then takes `tf_keras`, as it does beside Keras 3.
"""

import os
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_WITH_LAYERS = (
    "keras_deepcomp.wrappers.pruning",
    "keras_deepcomp.wrappers.clustering",
    "keras_deepcomp.models",
)
_LEGACY = "TF_USE_LEGACY_KERAS"

Execute = Callable[[ModuleType], None]


def register_layers() -> None:
    """Imports our layers if Keras is there, unless a module of ours is importing it right now."""
    modules = [module for name, module in sys.modules.items() if name.startswith("keras_deepcomp.")]
    if "keras" in sys.modules and not any(_is_loading(module) for module in modules):
        for name in _WITH_LAYERS:
            import_module(name)


def install() -> None:
    """Sets up the hooks, for what has not been imported yet."""
    register_layers()
    sys.meta_path.insert(0, _Hooks())


def _is_loading(module: ModuleType) -> bool:
    return bool(getattr(module.__spec__, "_initializing", False)) and module.__name__ != __name__


def _then_register_layers(execute: Execute, module: ModuleType) -> None:
    execute(module)
    register_layers()


def _keeping_tf_keras(execute: Execute, module: ModuleType) -> None:
    before = os.environ.get(_LEGACY)
    if before is None:
        getattr(import_module("tensorflow").keras, "version", str)()
    try:
        execute(module)
    finally:
        if before is None:
            os.environ.pop(_LEGACY, None)


_AROUND: dict[str, Callable[[Execute, ModuleType], None]] = {
    "keras": _then_register_layers,
    "tensorflow_model_optimization": _keeping_tf_keras,
}


class _Hooks(MetaPathFinder):
    def __init__(self) -> None:
        self._searching = False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in _AROUND or self._searching:
            return None
        self._searching = True
        try:
            spec = find_spec(name)
        finally:
            self._searching = False
        if spec is not None and spec.loader is not None:
            around, execute = _AROUND[name], spec.loader.exec_module
            spec.loader.exec_module = (  # type: ignore[method-assign]
                lambda module: around(execute, module)
            )
        return spec
