"""The pages of the repository, and the Python code on them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "benchmarks/**/*.md")
    for path in ROOT.glob(pattern)
)

_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>.+?) -->\n)?"
    r"(?P<fence>```+)python(?P<more>[^\n]*)\n(?P<code>.*?)^(?P=fence)$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A block of code on a page.

    Attributes:
        code: Its text.
        reason: Why it is not run, from a comment `<!-- not run: ... -->` on the line before; empty
            if it is to run.
        line: Where its fence is, counted from 1.
    """

    code: str
    reason: str
    line: int


def blocks(page):
    """All Python blocks of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        assert not match["more"], f"{page.name}: a fence says more than its language: {match[0]}"
        line = text.count("\n", 0, match.start("fence")) + 1
        found.append(Block(match["code"], match["reason"] or "", line))
    return found


def run(page, names):
    """Runs the blocks of a page, from top to bottom, in one namespace."""
    for block in blocks(page):
        if not block.reason:
            # Line numbers in a traceback are those of the page.
            code = "\n" * block.line + block.code
            exec(compile(code, str(page), "exec"), names)
