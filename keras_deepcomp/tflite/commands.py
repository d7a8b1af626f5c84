"""The commands `keras-deepcomp tflite …`."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from keras_deepcomp.subcommands import add_command, existing, report


def add_to(commands: Any) -> None:
    """Add the group to the program's commands."""
    summary = "pack, convert and shrink TensorFlow Lite files"
    parser = commands.add_parser("tflite", help=summary, description=summary)
    group = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add = partial(add_command, group, group="tflite")

    pack = add(
        "pack",
        _pack,
        "code a .tflite file as a .kdc file, from which it comes back byte for byte",
        "model.tflite model.kdc",
    )
    pack.add_argument("tflite", help="a .tflite file")
    pack.add_argument("kdc", nargs="?", help="the file to write (default: TFLITE with .kdc)")
    pack.add_argument(
        "--effort",
        type=int,
        choices=range(10),
        metavar="0-9",
        help="how long to search for a smaller file (default: 5)",
    )

    unpack = add(
        "unpack", _unpack, "bring back the .tflite file from a .kdc file", "model.kdc model.tflite"
    )
    unpack.add_argument("kdc", help="a .kdc file that `tflite pack` wrote")
    unpack.add_argument(
        "tflite", nargs="?", help="the .tflite file to write (default: KDC with .tflite)"
    )


def _pack(options: argparse.Namespace) -> dict[str, Any]:
    from keras_deepcomp.container import DEFAULT_EFFORT
    from keras_deepcomp.tflite import pack

    source = existing(options.tflite)
    target = Path(options.kdc or source.with_suffix(".kdc"))
    effort = DEFAULT_EFFORT if options.effort is None else options.effort
    size = pack(source, target, effort)
    before = source.stat().st_size
    return report(
        options,
        f"{source} ({before:,} B) -> {target} ({size:,} B, {before / size:.1f}x smaller)",
        {"source": str(source), "source_bytes": before, "file": str(target), "file_bytes": size},
    )


def _unpack(options: argparse.Namespace) -> dict[str, Any]:
    from keras_deepcomp.tflite import unpack

    source = existing(options.kdc)
    target = Path(options.tflite or source.with_suffix(".tflite"))
    size = unpack(source, target)
    return report(
        options,
        f"{source} ({source.stat().st_size:,} B) -> {target} ({size:,} B)",
        {"source": str(source), "file": str(target), "file_bytes": size},
    )
