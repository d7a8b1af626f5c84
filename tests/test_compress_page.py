"""The code of docs/compress.md runs, from top to bottom."""

import re
from pathlib import Path

import keras

PAGE = (Path(__file__).parents[1] / "docs" / "compress.md").read_text(encoding="utf-8")


def test_the_code_on_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(block, names)
    assert (tmp_path / "search" / "best.kdc").exists()
