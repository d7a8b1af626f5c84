"""The code on docs/report.md runs, and its pictures are there."""

import re
from pathlib import Path

import matplotlib
from matplotlib import pyplot

PAGE = Path(__file__).parents[2] / "docs" / "report.md"


def test_the_code_on_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    names = {}
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    pyplot.close("all")
    made = {path.name for path in tmp_path.iterdir()}
    assert {"model.html", "two.html", "plots.png"} <= made


def test_its_pictures_are_there_and_small():
    pictures = re.findall(r"!\[.+?\]\((.+?)\)", PAGE.read_text())
    assert len(pictures) == 3
    assert sum((PAGE.parent / picture).stat().st_size for picture in pictures) < 400_000
