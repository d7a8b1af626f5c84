"""The worked example of docs/format.md is what the code writes."""

import re
from pathlib import Path

import numpy as np

from keras_deepcomp import container
from keras_deepcomp.container.dtypes import BY_CODE

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")


def test_worked_example():
    example = PAGE[PAGE.index("## Example") :]
    code, dump = re.findall(r"```(?:python)?\n(.*?)```", example, re.DOTALL)
    scope = {}
    exec(code, scope)
    hexadecimal = "".join(line.split("  ")[0] for line in dump.splitlines())
    assert scope["data"] == bytes.fromhex(hexadecimal)
    loaded = container.load(bytes.fromhex(hexadecimal))
    np.testing.assert_array_equal(loaded["w"], scope["w"].reshape(8, 11))


def test_table_of_types():
    table = PAGE[PAGE.index("## Types") : PAGE.index("Types 14 to 26")]
    rows = dict(re.findall(r"\| (\d+) \| (\w+) ", table))
    assert {int(code): name for code, name in rows.items()} == {
        code: element.name for code, element in BY_CODE.items()
    }
    optional = [code for code, element in BY_CODE.items() if element.optional]
    assert optional == list(range(14, 27))
