"""The command `keras-deepcomp compress`."""

from __future__ import annotations

import argparse
from typing import Any

from keras_deepcomp.subcommands import KERAS_SUFFIXES, add_command, existing, quietly, report

OVER_BUDGET = 3
"""The exit code when a file was written, but none that keeps the budget was found."""


def add_to(commands: Any) -> None:
    """Add the command to the program's."""
    compress = add_command(
        commands,
        "compress",
        _compress,
        "look for the smallest .kdc file of a compiled Keras model within a budget",
        "model.keras --data data.npz --max-metric-drop 0.002 -o model.kdc",
    )
    compress.set_defaults(code_of=lambda result: 0 if result["keeps_budget"] else OVER_BUDGET)
    compress.add_argument(
        "model", metavar="MODEL", help="a .keras or .h5 file, compiled when it was saved"
    )
    compress.add_argument(
        "--data",
        metavar="FILE",
        required=True,
        help="an .npz file with x_train and y_train, and x_val and y_val (else a tenth is split "
        "off)",
    )
    budget = compress.add_mutually_exclusive_group(required=True)
    budget.add_argument(
        "--max-metric-drop",
        metavar="DROP",
        type=float,
        help="by how much the metric may get worse, in its units",
    )
    budget.add_argument("--max-bytes", metavar="BYTES", type=int, help="how large the file may be")
    compress.add_argument(
        "--metric", metavar="NAME", help="the metric (default: the first compiled one)"
    )
    compress.add_argument("--metric-direction", choices=("max", "min"), help="which is better")
    compress.add_argument(
        "--minutes", metavar="N", type=float, help="end the search after so many minutes"
    )
    compress.add_argument(
        "--epochs", metavar="N", type=int, default=20, help="epochs of each round (default: 20)"
    )
    compress.add_argument(
        "--batch-size",
        metavar="N",
        type=int,
        help="samples of a batch (default: 32, or 128 from 10,000 samples)",
    )
    compress.add_argument(
        "--seed", metavar="N", type=int, default=0, help="random seed (default: 0)"
    )
    compress.add_argument(
        "--directory",
        metavar="FOLDER",
        help="where the search is kept, to go on from there (default: the .kdc file with .search)",
    )
    compress.add_argument(
        "-o", "--out", metavar="KDC", help="the .kdc file to write (default: MODEL with .kdc)"
    )


def _compress(options: argparse.Namespace) -> dict[str, Any]:
    source, data = existing(options.model), existing(options.data)
    if source.suffix.lower() not in KERAS_SUFFIXES:
        raise ValueError(f"{source}: expected a .keras or .h5 file, by its name.")
    with quietly():
        import keras

        from keras_deepcomp.compressing.from_files import compress_file

        keras.ops.zeros(1)
    result = compress_file(
        source,
        data,
        options.out or source.with_suffix(".kdc"),
        directory=options.directory,
        max_metric_drop=options.max_metric_drop,
        max_bytes=options.max_bytes,
        metric=options.metric,
        metric_direction=options.metric_direction,
        budget_minutes=options.minutes,
        epochs=options.epochs,
        batch_size=options.batch_size,
        seed=options.seed,
    )
    over = "" if result["keeps_budget"] else f", over the budget: {result['reason']}"
    return report(options, f"{result['file']} ({result['bytes']:,} B{over})", result)
