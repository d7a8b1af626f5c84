"""The report: one HTML file that shows what a model has lost, and where the bytes went."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import keras_deepcomp
from keras_deepcomp import container
from keras_deepcomp.container.disk import replacing
from keras_deepcomp.reporting import contents, paper
from keras_deepcomp.reporting.advice import advice
from keras_deepcomp.reporting.comparing import compare
from keras_deepcomp.reporting.layers import layers
from keras_deepcomp.reporting.page import render
from keras_deepcomp.reporting.subjects import Subject, given_model_of, opened

MOST_BYTES = 500_000
_ROOM_FOR_PICTURES = 320_000


def report(
    result_or_path: Any,
    other: Any = None,
    *,
    out: str | os.PathLike[str] | None = None,
    before: str | os.PathLike[str] | None = None,
    metric: tuple[str, float, float] | None = None,
) -> Path:
    """Writes a report on a file, or on two of them side by side, as one HTML file.

    It needs nothing from the network, runs no script, and is smaller than 500 KB. Each number in it
    is one of `keras_deepcomp.summary`.

    Args:
        result_or_path: A result of `compress`, the path of a `.kdc` file, or a Keras model, which
            is coded for this.
        other: A second one to compare with the first.
        out: The file to write; None takes the `.kdc` file's path with the suffix `.html`, or
            `report.html` for a model.
        before: A `.kdc` file of the model before compression, for the histograms. For a result it
            is found beside the best file.
        metric: Name, value before, and value after, as measured by you. A result has its own.

    Returns:
        Where it was written.

    Raises:
        FormatError: A file is damaged.
        ImportError: matplotlib or jinja2 is not installed: `pip install keras_deepcomp[plot]`.
        OSError: A file cannot be read or written.
        TypeError: It is neither a path, a result nor a model.

    Example:
        >>> keras_deepcomp.report("model.kdc", metric=("error, %", 1.36, 1.25))
        PosixPath('model.html')
    """
    with contextlib.ExitStack() as stack:
        subject = stack.enter_context(opened(result_or_path))
        if out is None:
            out = subject.path.with_suffix(".html") if subject.path else "report.html"
        if other is None:
            page = _page(subject, before, metric)
        else:
            page = _comparison(subject, stack.enter_context(opened(other)))
    with replacing(out) as file:
        file.write(page)
    return Path(out)


def _page(
    subject: Subject,
    before: str | os.PathLike[str] | None,
    metric: tuple[str, float, float] | None,
) -> bytes:
    found = subject.summary
    content: dict[str, Any] = {
        **_common(subject),
        "metric": contents.metric_of(subject, metric),
        "paper": paper.row_of(found.rows),
        "whole": contents.whole_of(found),
        "sizes": contents.sizes_figure(found, f"Bytes of each tensor of {subject.name}", 2),
        "table": contents.table_of(found),
        "tradeoff": contents.tradeoff_of(subject),
        "advice": advice(found),
        "left_alone": contents.left_alone_of(subject),
        "kind": subject.kind,
    }
    earlier = before or given_model_of(subject)
    with contextlib.ExitStack() as stack:
        tensors = None if earlier is None else stack.enter_context(container.open_file(earlier))
        drawn = layers(subject, tensors, _ROOM_FOR_PICTURES)
    return _fitting(content, drawn, "report.html")


def _comparison(one: Subject, other: Subject) -> bytes:
    content: dict[str, Any] = {
        **_common(one),
        "other": other.name,
        "other_summary": other.summary,
        "comparison": compare(one.summary, other.summary),
        "figures": [
            (subject.name, contents.sizes_figure(subject.summary, f"Bytes of {subject.name}", n))
            for n, subject in enumerate((one, other), 2)
        ],
    }
    return _fitting(content, [], "comparison.html")


def _common(subject: Subject) -> dict[str, Any]:
    return {
        "name": subject.name,
        "summary": subject.summary,
        "program_version": keras_deepcomp.__version__,
    }


def _fitting(content: dict[str, Any], drawn: list[Any], template: str) -> bytes:
    """Renders the page with as many layers as fit; without them it is far below the limit."""
    while True:
        page = render(template, {**content, "layers": drawn}).encode()
        if len(page) < MOST_BYTES or not drawn:
            return page
        drawn = sorted(drawn, key=lambda layer: -layer.row.bytes)[:-1]
        drawn.sort(key=lambda layer: layer.number)
