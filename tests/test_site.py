"""The site: what is on it from outside docs/. `make docs` builds it, `make test-pages` opens it."""

import importlib
import json
import re

import pytest
from pages import PAGES, ROOT

import keras_deepcomp as kdc


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)


def website(name):
    return importlib.import_module(f"website.{name}")


def test_every_public_name_is_in_the_reference():
    pages = [path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md")]
    named = re.findall(r"^::: keras_deepcomp\.(\w+)", "\n".join(pages), re.MULTILINE)
    assert set(named) >= set(kdc.__all__)


def test_links_lead_to_where_the_site_has_what_they_mean():
    text = "[a](../README.md#x) [b](../examples/distributed.py) [c](training.md) [d](https://x/y)\n"
    code = "```python\nf[0](../none)\n```\n"
    there, needed = website("outside").on_site(text + code, "docs/format.md", "format.md")
    assert there.startswith(
        "[a](index.md#x) [b](files/examples/distributed.py.md) [c](training.md)"
    )
    assert there.endswith(code)
    assert needed == {"examples/distributed.py": "files/examples/distributed.py.md"}
    back, _ = website("outside").on_site("[a](docs/format.md)", "CHANGELOG.md", "changelog.md")
    assert back == "[a](format.md)"
    with pytest.raises(FileNotFoundError, match="leads to 'nothing'"):
        website("outside").on_site("[a](../nothing)", "docs/format.md", "format.md")


def test_every_page_from_elsewhere_is_on_the_site():
    outside = website("outside")
    text = (ROOT / "mkdocs.yml").read_text()
    for address in outside.pages().values():
        assert f" {address}\n" in text or f" /{address}\n" in text, address


def test_every_link_of_every_page_has_an_address():
    outside = website("outside")
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        name = path.relative_to(ROOT).as_posix()
        outside.on_site(website("notebooks").page(path), name, outside.address(name))
    for page in PAGES:
        path = page.relative_to(ROOT).as_posix()
        outside.on_site(page.read_text(), path, outside.address(path))


def test_all_results_are_on_the_page_of_benchmarks():
    benchmarks = website("benchmarks")
    page = benchmarks.page()
    for path in benchmarks.RESULTS.glob("*.json"):
        assert f"](../benchmarks/results/{path.name})" in page
        claims = json.loads(path.read_text()).get("claims", [])
        if isinstance(claims, list):
            assert all(str(claim["claim"]).replace("|", "\\|") in page for claim in claims)
    targets = (ROOT / "Makefile").read_text()
    for _, target in benchmarks.TITLES.values():
        assert re.search(rf"^{target}:", targets, re.MULTILINE)


def test_a_notebook_is_a_page():
    (path, *_) = sorted((ROOT / "notebooks").glob("*.ipynb"))
    page = website("notebooks").page(path)
    assert page.startswith("# ")
    assert "```python\n" in page and "(data:image/png;base64," in page and "\x1b" not in page


def test_the_readme_has_what_was_measured_beside_peers():
    spec = importlib.util.spec_from_file_location("peers", ROOT / "benchmarks" / "peers_table.py")
    peers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(peers)
    text = peers.PAGE.read_text()
    assert peers.page(text) == text, "make peers-table"
    assert "| **" in text


def test_the_version_is_the_same_everywhere():
    assert f"\nversion: {kdc.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert kdc.__version__ in (ROOT / "CHANGELOG.md").read_text()
