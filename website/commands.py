"""The page of the command line: what each command says of itself."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

from keras_deepcomp import cli


def page() -> str:
    """Markdown with the help of every command."""
    os.environ |= {"COLUMNS": "78", "NO_COLOR": "1"}
    parts = [f"# Command line\n\n{cli.__doc__}"]
    for parser in _parsers(cli._parser()):
        parts.append(f"## {parser.prog}\n\n```text\n{parser.format_help().rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in dict.fromkeys(action.choices.values()):
                yield from _parsers(sub)
