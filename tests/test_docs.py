"""The pages say what is so: their code runs, their links lead somewhere, no name is forgotten."""

import json
import re

import keras
import pytest
import tensorflow as tf
from pages import PAGES, ROOT, blocks, run
from support import run_python

MIGRATION = ROOT / "docs" / "migration-from-tfmot.md"

# Pages whose code wants something of its own, and the tests that run it.
RUN_BY = {
    "README.md": "tests/test_install.py",
    "docs/compress.md": "tests/test_compress_page.py",
    "docs/deploying.md": "tests/test_deploying_page.py",
    "docs/distributed.md": "tests/test_distributed.py",
    "docs/format.md": "tests/container/test_format_page.py",
    "docs/micro.md": "tests/tflite/micro/test_page.py",
    "docs/report.md": "tests/reporting/test_report_page.py",
    "docs/training.md": "tests/test_training_page.py",
}
# Pages that train for so long, or convert, that it pays to compile what runs.
COMPILED = ("tutorial.md", "migration-from-tfmot.md")
WITH_CODE = [page for page in PAGES if blocks(page)]
RUN_HERE = [
    page
    for page in WITH_CODE
    if str(page.relative_to(ROOT)) not in RUN_BY and any(not block.reason for block in blocks(page))
]


def name_of(page):
    return str(page.relative_to(ROOT))


@pytest.fixture
def eagerly(page):
    """Without the time that compiling takes, where trainings are of a few batches."""
    tf.config.run_functions_eagerly(page.name not in COMPILED)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly")
@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs were expected")
@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have a `quantize` method")
@pytest.mark.parametrize("page", RUN_HERE, ids=name_of)
def test_the_code_on_a_page_runs(page, tmp_path, monkeypatch, eagerly):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(ROOT / "data")
    keras.utils.set_random_seed(0)
    run(page, {"__name__": "__main__"})
    keras.backend.clear_session()


def test_other_pages_with_code_have_a_test_of_their_own():
    pages = {name_of(page) for page in WITH_CODE}
    assert pages >= RUN_BY.keys()
    for page, test in RUN_BY.items():
        assert page.removeprefix("docs/") in (ROOT / test).read_text(), f"{test} runs no {page}"


def test_code_that_does_not_run_says_why():
    reasons = [block.reason for page in WITH_CODE for block in blocks(page) if block.reason]
    assert all(len(reason) > 10 for reason in reasons)
    # A fence in another spelling would be no block, and run nowhere.
    for page in PAGES:
        fences = re.findall(r"^ *[`~]{3,} *\{?\.?py.*$", page.read_text(), re.MULTILINE)
        assert len(fences) == len(blocks(page)), name_of(page)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    text = re.sub(r"^(```+).*?^\1$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = (page.parent / path).resolve() if path else page
        target = target / "README.md" if target.is_dir() else target
        assert target.is_file() and ROOT in target.parents, link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link


def anchors(page):
    text = re.sub(r"^(```+).*?^\1$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_every_page_is_on_the_site():
    nav = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert len(nav) == len(set(nav))
    pages = {name_of(page) for page in PAGES if page.is_relative_to(ROOT / "docs")}
    assert {f"docs/{page}" for page in nav} >= pages


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
