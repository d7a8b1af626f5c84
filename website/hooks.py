"""What MkDocs calls while it builds the site; mkdocs.yml names this file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from website import benchmarks, notebooks, outside  # noqa: E402

_SOURCES: dict[str, str] = {}
"""Address on the site -> path in the repository, of pages."""


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Adds the pages that are not in docs/, and the files that pages link to."""

    def add(address: str, **content: Any) -> None:
        files.append(File.generated(config, address, **content))

    _SOURCES.update({file.src_uri: f"docs/{file.src_uri}" for file in files.documentation_pages()})
    texts = {file.src_uri: file.content_string for file in files.documentation_pages()}
    for path, address in outside.pages().items():
        read = notebooks.page if path.endswith(".ipynb") else Path.read_text
        texts[address], _SOURCES[address] = read(ROOT / path), path
        add(address, content=texts[address])
    texts["benchmarks.md"], _SOURCES["benchmarks.md"] = benchmarks.page(), "docs/benchmarks.md"
    add("benchmarks.md", content=texts["benchmarks.md"])
    needed: dict[str, str] = {}
    for address, text in texts.items():
        needed |= outside.on_site(text, _SOURCES[address], address)[1]
    for path, address in needed.items():
        if address.endswith(".md"):
            add(address, content=outside.shown(path))
        else:
            add(address, abs_src_path=str(ROOT / path))
    add("assets/iframe-worker.js", abs_src_path=str(ROOT / "website" / "iframe-worker.js"))
    add("assets/site.css", abs_src_path=str(ROOT / "website" / "site.css"))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lets links lead to where the site has what they mean."""
    address = page.file.src_uri
    if address in ("index.md", "benchmarks.md"):  # alone under their tab: room for what is wide
        page.meta["hide"] = ["navigation"]
    if address not in _SOURCES:
        return markdown
    return outside.on_site(markdown, _SOURCES[address], address)[0]
