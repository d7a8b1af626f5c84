"""What the commands of the command line have in common."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = "keras-deepcomp"
KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")

Command = Callable[[argparse.Namespace], dict[str, Any]]


def add_command(
    commands: Any, name: str, command: Command, summary: str, example: str, group: str = ""
) -> argparse.ArgumentParser:
    """Add a command, with `--json` and an example in its help.

    Args:
        commands: What `ArgumentParser.add_subparsers` returned.
        name: The word that calls it.
        command: What it does; returns what `--json` prints.
        summary: One line for the help.
        example: The words after the command in the example.
        group: The word before the command where it is one of a group.

    Returns:
        The command's parser, for its arguments.
    """
    words = f"{PROGRAM} {group} {name}" if group else f"{PROGRAM} {name}"
    sub: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=summary, **with_example(f"{words} {example}")
    )
    sub.add_argument("--json", action="store_true", help="print the result as JSON")
    sub.set_defaults(command=command, code_of=lambda result: 0)
    return sub


def with_example(command: str) -> dict[str, Any]:
    """What makes a parser's help end with an example, on a line of its own that can be copied."""
    return {
        "epilog": f"example:\n  {command}",
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }


def add_effort(command: argparse.ArgumentParser) -> None:
    """Add `--effort` to a command that codes; None stands for the default."""
    command.add_argument(
        "--effort",
        type=int,
        choices=range(10),
        metavar="0-9",
        help="how long to search for a smaller file (default: 5)",
    )


@contextmanager
def quietly() -> Iterator[None]:
    """Holds back what a framework's own libraries print while it is imported."""
    sys.stderr.flush()
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def existing(path: str) -> Path:
    """Return the path of a file that must be there.

    Raises:
        FileNotFoundError: It is not.
    """
    found = Path(path)
    if not found.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    return found


def report(options: argparse.Namespace, line: str, result: dict[str, Any]) -> dict[str, Any]:
    """Return a command's result; print it as a line unless JSON is asked for."""
    if not options.json:
        print(line)
    return result
