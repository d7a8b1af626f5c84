"""Makes our layers known to Keras as soon as both are in the process.

Keras finds a custom class in a `.keras` file only if its module has been imported. We import
nothing of a framework until it is needed, so without this a fresh process could not load a pruned
model before it had touched one of our layers by name.
"""

import sys
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_WITH_LAYERS = ("keras_deepcomp.wrappers.pruning", "keras_deepcomp.wrappers.clustering")


def register() -> None:
    """Imports our layers if Keras is there, unless a module of ours is importing it right now."""
    modules = [module for name, module in sys.modules.items() if name.startswith("keras_deepcomp.")]
    if "keras" in sys.modules and not any(_is_loading(module) for module in modules):
        for name in _WITH_LAYERS:
            import_module(name)


def register_when_keras_comes() -> None:
    """Calls `register` now, or right after somebody imports Keras."""
    if "keras" in sys.modules:
        register()
    else:
        sys.meta_path.insert(0, _WhenKerasIsImported())


def _is_loading(module: ModuleType) -> bool:
    return bool(getattr(module.__spec__, "_initializing", False)) and module.__name__ != __name__


class _WhenKerasIsImported(MetaPathFinder):
    def __init__(self) -> None:
        self._searching = False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "keras" or self._searching:
            return None
        self._searching = True
        try:
            spec = find_spec("keras")
        finally:
            self._searching = False
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                register()

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec
