import importlib.util
import json
from pathlib import Path

from model_kinds import KINDS

ROOT = Path(__file__).resolve().parent.parent


def script():
    path = ROOT / "benchmarks" / "compatibility.py"
    spec = importlib.util.spec_from_file_location("compatibility", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_script_makes_of_its_result():
    compatibility = script()
    result = json.loads(compatibility.RESULT.read_text())
    assert compatibility.PAGE.read_text() == compatibility.page(result)


def test_every_kind_has_its_row():
    result = json.loads(script().RESULT.read_text())
    rows = [(row["name"], row["group"]) for row in result["rows"]]
    assert rows == [(kind.name, kind.group) for kind in KINDS.values()]
