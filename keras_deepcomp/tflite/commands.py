"""The commands `keras-deepcomp tflite …`."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from keras_deepcomp.subcommands import (
    KERAS_SUFFIXES,
    PROGRAM,
    add_command,
    add_effort,
    existing,
    quietly,
    report,
    with_example,
)


def add_to(commands: Any) -> None:
    """Add the group to the program's commands."""
    summary = "pack, convert and shrink TensorFlow Lite files"
    parser = commands.add_parser(
        "tflite",
        help=summary,
        description=summary,
        **with_example(f"{PROGRAM} tflite pack model.tflite model.kdc"),
    )
    group = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add = partial(add_command, group, group="tflite")

    pack = add(
        "pack",
        _pack,
        "code a .tflite file as a .kdc file, from which it comes back byte for byte",
        "model.tflite model.kdc",
    )
    pack.add_argument("tflite", metavar="TFLITE", help="a .tflite file")
    pack.add_argument(
        "kdc", metavar="KDC", nargs="?", help="the .kdc file to write (default: TFLITE with .kdc)"
    )
    add_effort(pack)

    unpack = add(
        "unpack", _unpack, "bring back the .tflite file from a .kdc file", "model.kdc model.tflite"
    )
    unpack.add_argument("kdc", metavar="KDC", help="a .kdc file that `tflite pack` wrote")
    unpack.add_argument(
        "tflite",
        metavar="TFLITE",
        nargs="?",
        help="the .tflite file to write (default: KDC with .tflite)",
    )

    convert = add(
        "convert",
        _convert,
        "convert a Keras model to TensorFlow Lite, and check that zeros and shared values stay",
        "model.kdc model.tflite --quantize int8 --data x.npy",
    )
    convert.add_argument("model", metavar="MODEL", help="a .kdc, .keras or .h5 file")
    convert.add_argument("tflite", metavar="TFLITE", help="the .tflite file to write")
    convert.add_argument(
        "--quantize", choices=["dynamic", "int8"], help="quantize weights, or all of it, to int8"
    )
    convert.add_argument("--data", metavar="FILE", help="representative inputs: a .npy file")
    convert.add_argument(
        "--labels", metavar="FILE", help="their classes, to go by accuracy: a .npy file"
    )
    convert.add_argument(
        "--batch",
        metavar="N",
        type=int,
        default=1,
        help="samples of a batch; 0 for any number (default: 1)",
    )

    micro = add(
        "micro",
        _micro,
        "let TensorFlow Lite Micro decode a model's weights when it needs them",
        "model.tflite small.tflite",
    )
    micro.add_argument("tflite", metavar="TFLITE", help="a .tflite file for TensorFlow Lite Micro")
    micro.add_argument("out", metavar="OUT", help="the .tflite file to write")
    micro.add_argument(
        "--method",
        default="auto",
        choices=("auto", "huffman", "pruning", "lut"),
        help="one kind of coding only (default: the best for each tensor)",
    )
    micro.add_argument(
        "--max-arena", type=int, metavar="BYTES", help="the most arena that the model may take"
    )

    carray = add(
        "carray",
        _carray,
        "write a .tflite file as an array in C, with a header",
        "small.tflite model_data.cc",
    )
    carray.add_argument("tflite", metavar="TFLITE", help="a .tflite file")
    carray.add_argument(
        "source",
        metavar="SOURCE",
        help="the .c, .cc or .cpp file to write; the header lies beside it",
    )
    carray.add_argument(
        "--name", metavar="NAME", help="the array's name (default: that of the source)"
    )


def _pack(options: argparse.Namespace) -> dict[str, Any]:
    from keras_deepcomp.container import DEFAULT_EFFORT
    from keras_deepcomp.tflite import pack

    source = existing(options.tflite)
    target = Path(options.kdc or source.with_suffix(".kdc"))
    effort = DEFAULT_EFFORT if options.effort is None else options.effort
    size = pack(source, target, effort, verbose=sys.stderr.isatty())
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


def _convert(options: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    source = existing(options.model)
    data = None if options.data is None else np.load(existing(options.data), allow_pickle=False)
    if options.labels is not None:
        if data is None:
            raise ValueError("--labels go with --data.")
        data = (data, np.load(existing(options.labels), allow_pickle=False))
    with quietly():
        from keras_deepcomp.keras_files import load_keras_file
        from keras_deepcomp.saving import load_model
        from keras_deepcomp.tflite import convert

        load = load_keras_file if source.suffix.lower() in KERAS_SUFFIXES else load_model
        result = convert(
            load(source),
            options.tflite,
            options.quantize,
            data,
            batch=options.batch or None,
            verbose=False,
        )
    if not options.json:
        result.print()
    return {"source": str(source), "file": options.tflite, **result.as_dict()}


def _micro(options: argparse.Namespace) -> dict[str, Any]:
    from keras_deepcomp.tflite import compress_for_micro

    done = compress_for_micro(
        existing(options.tflite),
        options.out,
        options.method,
        max_arena_bytes=options.max_arena,
        verbose=not options.json,
    )
    return {"source": options.tflite, "file": options.out, **done.as_dict()}


def _carray(options: argparse.Namespace) -> dict[str, Any]:
    from keras_deepcomp.tflite import carray

    source = Path(options.source)
    size = carray(existing(options.tflite), source, options.name)
    header = source.with_suffix(".h")
    return report(
        options,
        f"{options.tflite} ({size:,} B) -> {source}, {header}",
        {"source": options.tflite, "file": str(source), "header": str(header), "bytes": size},
    )
