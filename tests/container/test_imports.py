"""The container stands on numpy and bitarray alone."""

import ast
import sys
from pathlib import Path

from support import run_python

from keras_deepcomp import container

FOLDER = Path(container.__file__).parent


def test_no_framework_is_imported():
    code = """
    import sys
    import numpy as np
    import keras_deepcomp

    before = set(sys.modules)
    import keras_deepcomp.container as container

    container.load(container.save({"x": np.arange(30, dtype=np.float32) % 3}, {"k": "v"}))
    heavy = {"tensorflow", "keras", "jax", "torch", "ml_dtypes", "scipy", "h5py"}
    print(sorted(heavy & set(sys.modules)))
    others = [name for name in set(sys.modules) - before if name.startswith("keras_deepcomp.")]
    print(sorted(name for name in others if not name.startswith("keras_deepcomp.container")))
    """
    assert run_python(code) == "[]\n[]"


def test_nothing_else_is_named():
    allowed = {"numpy", "bitarray", "keras_deepcomp", "__future__", *sys.stdlib_module_names}
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, path
                names = [node.module]
            else:
                continue
            for name in names:
                assert name.split(".")[0] in allowed, (path, name)
                if name.startswith("keras_deepcomp"):
                    assert name.startswith("keras_deepcomp.container"), (path, name)


def test_each_module_has_its_tests():
    tests = Path(__file__).parent
    # What makes text small is tested where text is.
    elsewhere = {"__init__", "errors", "deflate", "deflate_header", "lz77"}
    for path in FOLDER.rglob("*.py"):
        if path.stem not in elsewhere:
            inside = path.relative_to(FOLDER)
            assert (tests / inside.with_name(f"test_{inside.name}")).exists(), inside


def test_public_names():
    assert len(set(container.__all__)) == len(container.__all__)
    for name in container.__all__:
        assert getattr(container, name) is not None
