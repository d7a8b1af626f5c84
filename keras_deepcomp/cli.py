"""The command line `keras-deepcomp`.

Errors are one line on standard error. Exit codes: 0 done, 1 it failed (a damaged file, a missing
one), 2 the command line was wrong, 3 `compress` found no file within the budget, 130 interrupted,
as shells have it. Frameworks are imported only by the commands that need one.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras_deepcomp
from keras_deepcomp import completion
from keras_deepcomp.compressing import commands as compressing
from keras_deepcomp.printable import printable
from keras_deepcomp.subcommands import (
    KERAS_SUFFIXES,
    PROGRAM,
    Command,
    add_command,
    add_effort,
    existing,
    quietly,
    report,
    with_example,
)
from keras_deepcomp.tflite import commands as tflite


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: The words after the program's name; None takes them from the process.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(arguments)
    # TensorFlow's own chatter would drown ours.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    command: Command = options.command
    try:
        result = command(options)
    except BrokenPipeError:
        raise  # the reader's own business, see `entry_point`
    except KeyboardInterrupt:
        return _failed("interrupted", 128 + signal.SIGINT)
    except (OSError, ValueError, TypeError, ImportError) as error:
        return _failed(_one_line(error))
    if options.json:
        print(json.dumps(result, indent=2))
    code: int = options.code_of(result)
    return code


def entry_point() -> None:
    """Runs the command line as a process of its own."""
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Deep Compression for Keras 3: prune, share, Huffman-code; the same bits back.",
        **with_example(f"{PROGRAM} inspect model.kdc"),
    )
    parser.add_argument("--version", action="version", version=keras_deepcomp.__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    add = partial(add_command, commands)
    demo = add(
        "demo",
        _demo,
        "compress LeNet-300-100 on MNIST, from training to the decoded file",
        "--data mnist.npz --out demo",
    )
    demo.add_argument(
        "--data", metavar="FILE", help="MNIST as .npz; without it, Keras downloads it"
    )
    demo.add_argument(
        "-o",
        "--out",
        metavar="FOLDER",
        default="demo",
        help="the folder for the results (default: demo)",
    )
    demo.add_argument("--seed", metavar="N", type=int, default=0, help="random seed (default: 0)")

    compressing.add_to(commands)

    pack = add(
        "pack",
        _pack,
        "code a Keras model (.keras or .h5) as a .kdc file, losslessly",
        "model.keras model.kdc",
    )
    pack.add_argument("model", metavar="MODEL", help="a .keras or .h5 file")
    pack.add_argument(
        "kdc", metavar="KDC", nargs="?", help="the .kdc file to write (default: MODEL with .kdc)"
    )
    add_effort(pack)

    unpack = add(
        "unpack", _unpack, "decode a .kdc file into a Keras model", "model.kdc model.keras"
    )
    unpack.add_argument("kdc", metavar="KDC", help="a .kdc file")
    unpack.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        help="the .keras or .h5 file to write (default: KDC with .keras)",
    )

    inspect = add("inspect", _inspect, "show what each tensor takes in a .kdc file", "model.kdc")
    inspect.add_argument("kdc", metavar="KDC", help="a .kdc file")

    page = add(
        "report",
        _report,
        "show in one HTML file what a model has lost, and where the bytes went",
        'model.kdc -o report.html --metric "error, %" 1.36 1.25',
    )
    page.add_argument("kdc", metavar="KDC", help="a .kdc file")
    page.add_argument("other", metavar="KDC", nargs="?", help="a second one, to compare them")
    page.add_argument(
        "-o", "--out", metavar="FILE", help="the .html file to write (default: KDC with .html)"
    )
    page.add_argument("--before", metavar="KDC", help="the model before compression, as .kdc")
    page.add_argument(
        "--metric",
        nargs=3,
        metavar=("NAME", "BEFORE", "AFTER"),
        help="what you measured before and after compression",
    )

    verify = add("verify", _verify, "check a .kdc file and decode all of it", "model.kdc")
    verify.add_argument("kdc", metavar="KDC", help="a .kdc file")
    tflite.add_to(commands)
    completion.add_to(commands, _parser)
    return parser


def _demo(options: argparse.Namespace) -> dict[str, Any]:
    from rich.console import Console

    with quietly():
        from keras_deepcomp import demo

    console = Console(stderr=options.json)

    def write(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    result = demo.run(demo.load_digits(options.data), options.out, options.seed, write=write)
    demo.show(result, options.out, console)
    return result


def _pack(options: argparse.Namespace) -> dict[str, Any]:
    from keras_deepcomp.container import DEFAULT_EFFORT

    source = existing(options.model)
    if source.suffix.lower() not in KERAS_SUFFIXES:
        raise ValueError(f"{source}: expected a .keras or .h5 file, by its name.")
    target = Path(options.kdc or source.with_suffix(".kdc"))
    if target.suffix.lower() in KERAS_SUFFIXES:
        raise ValueError(f"{target}: the name is that of a Keras file; give one that ends in .kdc.")

    with quietly():
        import keras

        from keras_deepcomp.keras_files import load_keras_file
        from keras_deepcomp.saving import save_model

        keras.ops.zeros(1)  # the first tensor makes TensorFlow speak once more

    effort = DEFAULT_EFFORT if options.effort is None else options.effort
    size = save_model(load_keras_file(source), target, effort=effort, verbose=sys.stderr.isatty())
    before = source.stat().st_size
    return report(
        options,
        f"{source} ({before:,} B) -> {target} ({size:,} B, {before / size:.1f}x smaller)",
        {"source": str(source), "source_bytes": before, "file": str(target), "file_bytes": size},
    )


def _unpack(options: argparse.Namespace) -> dict[str, Any]:
    source = existing(options.kdc)
    target = Path(options.model or source.with_suffix(".keras"))
    if target.suffix.lower() not in KERAS_SUFFIXES:
        raise ValueError(f"{target}: Keras writes .keras and .h5 files; give one of these names.")

    with quietly():
        import keras

        from keras_deepcomp.saving import load_model

        keras.ops.zeros(1)

    load_model(source, verbose=sys.stderr.isatty()).save(target)
    size = target.stat().st_size
    return report(
        options,
        f"{source} ({source.stat().st_size:,} B) -> {target} ({size:,} B)",
        {"source": str(source), "file": str(target), "file_bytes": size},
    )


def _inspect(options: argparse.Namespace) -> dict[str, Any]:
    from keras_deepcomp.reporting.summary import summary

    return {"file": options.kdc, **summary(options.kdc, verbose=not options.json).as_dict()}


def _report(options: argparse.Namespace) -> dict[str, Any]:
    from keras_deepcomp.reporting.report import report as write_report

    files = [str(existing(path)) for path in (options.kdc, options.other) if path is not None]
    metric = None
    if options.metric is not None:
        name, before, after = options.metric
        metric = name, float(before), float(after)
    out = write_report(*files, out=options.out, before=options.before, metric=metric)
    size = out.stat().st_size
    return report(
        options,
        f"{' and '.join(files)} -> {out} ({size:,} B)",
        {"files": files, "report": str(out), "report_bytes": size},
    )


def _verify(options: argparse.Namespace) -> dict[str, Any]:
    from keras_deepcomp import container
    from keras_deepcomp.progress import counting_bytes

    source = existing(options.kdc)
    with container.open_file(source) as file:
        file.check_memory()
        with counting_bytes(sys.stderr.isatty(), "Checking") as progress:
            damaged = file.damaged(progress)
        if damaged:
            names = ", ".join(repr(name) for name, _ in damaged)
            raise container.FormatError(
                f"{source}: {len(damaged)} of {len(file)} tensors are damaged: {names}. The others "
                f"can be read with keras_deepcomp.container.load_file(path, names=[...]). "
                f"{damaged[0][1]}"
            )
        file.check()
        elements = sum(math.prod(file.shape(name)) for name in file)
        return report(
            options,
            f"{source}: whole; {len(file)} tensors of {elements:,} elements decode",
            {"file": str(source), "whole": True, "tensors": len(file), "elements": elements},
        )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _failed(why: str, code: int = 1) -> int:
    # An error may quote a file, and a file may hold anything.
    print(f"{PROGRAM}: error: {printable(why, None)}", file=sys.stderr)
    return code
