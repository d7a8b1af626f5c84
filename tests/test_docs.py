"""The pages in docs/ say what is so: their code runs, and no name is forgotten."""

import json
import re
from pathlib import Path

import pytest
from support import run_python

DOCS = Path(__file__).parent.parent / "docs"
MIGRATION = DOCS / "migration-from-tfmot.md"


def code_blocks(page):
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", [MIGRATION], ids=lambda page: page.name)
def test_the_code_on_a_page_runs(page):
    blocks = code_blocks(page)
    assert len(blocks) > 10
    run_python(
        """
        import sys
        names = {"__name__": "__main__"}
        for number, block in enumerate(__import__("json").loads(sys.argv[1])):
            exec(compile(block, f"<block {number}>:{block}", "exec"), names)
        """,
        json.dumps(blocks),
    )


def test_every_name_of_tfmot_is_on_the_migration_page():
    printed = run_python(
        """
        import json
        import keras_deepcomp
        import tensorflow_model_optimization as tfmot
        for module in (tfmot.sparsity.keras, tfmot.clustering.keras):
            print(json.dumps([name for name in dir(module) if not name.startswith("_")]))
        """
    )
    rows = re.findall(r"^\| `(\w+)` \|", MIGRATION.read_text(), re.MULTILINE)
    there = [name for line in printed.splitlines()[-2:] for name in json.loads(line)]
    assert sorted(rows) == sorted(set(there) - {"clusterable_layer"})
