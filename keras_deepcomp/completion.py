"""Completion of the command line by shells: the command `keras-deepcomp completion`.

shtab writes a script from the parser. While somebody types, the shell has all it needs in that
script, and starts no Python.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

from keras_deepcomp.subcommands import PROGRAM, add_command, report

SHELLS = ("bash", "zsh", "fish")

PATTERNS = {
    "KDC": ("*.kdc",),
    "MODEL": ("*.keras", "*.h5", "*.hdf5", "*.kdc"),
    "TFLITE": ("*.tflite",),
    "OUT": ("*.tflite",),
}
"""What an argument is called in the help -> the files that it may be; folders are offered too."""

FILES, FOLDERS = ("FILE", "SOURCE"), ("FOLDER",)


def add_to(commands: Any, parser: Callable[[], argparse.ArgumentParser]) -> None:
    """Add the command to the program's.

    Args:
        commands: What `ArgumentParser.add_subparsers` returned.
        parser: Makes the program's whole parser.
    """

    def complete(options: argparse.Namespace) -> dict[str, Any]:
        script = script_for(options.shell, parser())
        return report(options, script, {"shell": options.shell, "script": script})

    completion = add_command(
        commands,
        "completion",
        complete,
        "write a script with which a shell completes these commands",
        f"bash > ~/.local/share/bash-completion/completions/{PROGRAM}",
    )
    completion.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))


def script_for(shell: str, parser: argparse.ArgumentParser) -> str:
    """The script for a shell.

    Raises:
        ImportError: shtab is not installed: `pip install keras_deepcomp[completion]`.
    """
    try:
        import shtab
    except ImportError as error:
        raise ImportError(
            "Completion needs shtab. Install it: pip install keras_deepcomp[completion]"
        ) from error
    for action in actions_of(parser):
        if action.metavar in PATTERNS:
            action.complete = shtab.glob(*PATTERNS[str(action.metavar)])  # type: ignore[attr-defined]
        elif action.metavar in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar in FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    return shtab.complete(parser, shell)


def parsers_of(
    parser: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """A parser and those of all its commands, each with the words that call it."""
    yield words, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, command in action.choices.items():
                yield from parsers_of(command, (*words, word))


def actions_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The options and arguments of all commands."""
    for _, command in parsers_of(parser):
        yield from command._actions
