"""A weight's row in the report of a conversion."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp.tflite.graph import Weight
from keras_deepcomp.tflite.report import TensorReport
from keras_deepcomp.tflite.sources import channels_first
from keras_deepcomp.tflite.tracing import Trace

Array = npt.NDArray[Any]


def row(trace: Trace, stored: Weight, fitted: bool) -> TensorReport:
    """Counts zeros and distinct values of a weight before and after.

    Args:
        trace: The weight, from its variable to the converter's file.
        stored: The weight in the file that was written.
        fitted: Whether it has scales that fit its codebook.

    Returns:
        The row.
    """
    before = stored.values if trace.source is None else trace.source.values
    return TensorReport(
        name=stored.name if trace.source is None else trace.source.name,
        shape=stored.values.shape,
        dtype=stored.values.dtype.name,
        size=stored.values.size,
        zeros_before=_zeros(before),
        zeros_after=_zeros(stored.values),
        values_before=_distinct(before),
        values_after=_distinct(stored.values),
        values_per_channel=max(map(_distinct, channels_first(stored.values, stored.axis))),
        values_of_converter=_distinct(trace.stored.values),
        scales=0 if stored.scales is None else len(stored.scales),
        folded=trace.source is not None and trace.source.folded,
        choice=_choice(trace, stored, fitted),
    )


def _choice(trace: Trace, stored: Weight, fitted: bool) -> str:
    if stored.scales is None:
        return "float"
    if fitted:
        folded = trace.source is not None and trace.source.folded
        return "in proportion" if folded else "one"
    return "converter's" if trace.fit is None else "converter's, for accuracy"


def _distinct(values: Array) -> int:
    return len(np.unique(values))


def _zeros(values: Array) -> int:
    return values.size - int(np.count_nonzero(values))
