"""What the site has from outside docs/: pages, files that pages link to, and where links lead then.

Pages link to files of the repository as viewers of repositories want it, by relative paths. On the
site some of these files are pages, and the others come along: source as a page that shows it, all
else as it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent

PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/records/README.md": "records.md",
    "examples/micro/README.md": "examples/micro.md",
    "tests/golden/README.md": "golden.md",
    "notebooks/*.ipynb": "notebooks/*.md",
}
"""Path in the repository -> address on the site, of pages that are not in docs/."""

_LANGUAGES = {".py": "python", ".c": "c", ".h": "c", ".cc": "cpp", ".cff": "yaml", "": "text"}

_FENCE = re.compile(r"^( *```.*?^ *```$)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")


def pages() -> dict[str, str]:
    """`PAGES` with one entry for each file that is there."""
    found = {}
    for pattern, address in PAGES.items():
        for path in sorted(ROOT.glob(pattern)):
            found[path.relative_to(ROOT).as_posix()] = address.replace("*", path.stem)
    return found


def links(text: str) -> list[str]:
    """The targets of a Markdown text's links and pictures that are relative paths."""
    found = [link for part in _FENCE.split(text)[::2] for link in _LINK.findall(part)]
    return [link for link in found if not re.match(r"#|[a-z]+:", link)]


def replace_links(text: str, change: Callable[[str], str]) -> str:
    """Gives each relative link of a Markdown text, outside of blocks of code, another target."""

    def changed(match: re.Match[str]) -> str:
        return match[0] if re.match(r"#|[a-z]+:", match[0]) else change(match[0])

    parts = _FENCE.split(text)
    parts[::2] = [_LINK.sub(changed, part) for part in parts[::2]]
    return "".join(parts)


def address(target: str) -> str:
    """Where a file of the repository is on the site.

    Args:
        target: Its path from the root of the repository; of a folder, the README in it is meant.

    Raises:
        FileNotFoundError: There is no such file.
    """
    path = ROOT / target
    if path.is_dir():
        return address(f"{target}/README.md")
    if not path.is_file():
        raise FileNotFoundError(f"a link leads to '{target}', which is no file of the repository")
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    shown = f"files/{target}.md" if path.suffix in _LANGUAGES else f"files/{target}"
    return pages().get(target, shown)


def on_site(text: str, source: str, page: str) -> tuple[str, dict[str, str]]:
    """The text of a page with its links as the site has them.

    Args:
        text: Markdown.
        source: The page's path in the repository.
        page: Its address on the site.

    Returns:
        The text, and path -> address of the files beside pages that it links to.
    """
    needed = {}
    folder = PurePosixPath(source).parent

    def change(link: str) -> str:
        path, hash_, anchor = link.partition("#")
        target = os.path.normpath(folder / path)
        there = address(target)
        if there.startswith("files/"):
            needed[target] = there
        return os.path.relpath(there, PurePosixPath(page).parent) + hash_ + anchor

    return replace_links(text, change), needed


def shown(target: str) -> str:
    """A page that shows a source file."""
    path = ROOT / target
    language = _LANGUAGES[path.suffix]
    return f"# {path.name}\n\n`{target}`\n\n````{language}\n{path.read_text()}\n````\n"
