"""A Keras model, pruned and shared, as a TensorFlow Lite file that stays so."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
import numpy.typing as npt

from keras_deepcomp.container.disk import PathLike, replacing
from keras_deepcomp.conversion import strip
from keras_deepcomp.tflite import choosing, converter, graph
from keras_deepcomp.tflite.errors import ConversionError
from keras_deepcomp.tflite.report import ConversionReport
from keras_deepcomp.tflite.rows import row
from keras_deepcomp.tflite.running import Fidelity, compare, run
from keras_deepcomp.tflite.samples import Samples, as_samples
from keras_deepcomp.tflite.sources import kernels, without_weight
from keras_deepcomp.tflite.tracing import trace

Array = npt.NDArray[Any]

_UNROLLED = (
    "Recurrent layers are unrolled: an operator for each step, with one weight for all of them. "
    "TensorFlow does not calibrate loops."
)
_LOOPS = (
    "The file has loops, which TensorFlow Lite runs on CPUs and TensorFlow Lite Micro does not."
)
_NO_SAMPLES = (
    "Without representative data the outputs were not compared, and scales were chosen by how far "
    "they change the weights."
)


def convert(
    model: keras.Model,
    tflite_path: PathLike,
    quantize: str | None = None,
    representative_data: Any = None,
    batch: int | None = 1,
    verbose: bool = True,
) -> ConversionReport:
    """Converts a Keras model to TensorFlow Lite, and checks what became of zeros and shared values.

    Where a scale per channel would multiply a weight's distinct values, they get one scale that
    fits its codebook, or, where a batch normalization was folded in, scales in proportion to its
    factors: if the outputs stay as good on the representative data.

    Args:
        model: A pruned, shared or plain model, built, on Keras' TensorFlow backend. It is not
            changed.
        tflite_path: Where to write. An older file is replaced at the end, or not at all.
        quantize: None: floats. "dynamic": weights of at least 1,024 elements as int8, activations
            as floats. "int8": all of it, inputs and outputs included.
        representative_data: A few hundred inputs such as the model will see; needed for "int8", and
            what the outputs are compared on. An array; a list or dict of arrays for several
            inputs; a tuple (inputs, labels), which makes accuracy the measure; or the callable
            that TFLiteConverter takes.
        batch: The size of the batch; None for any, which takes a few operators more and no
            recurrent layers in floats.
        verbose: Whether to print the report.

    Returns:
        The report.

    Raises:
        ConversionError: Another backend; a model that TensorFlow's converter does not take.
        ValueError: "int8" without representative data, data that does not fit the model, a mode
            that there is not, or a model that is not built.
        TypeError: Not a Keras model, or no data.
        ImportError: The packages of `keras_deepcomp[tflite]` are missing.
        OSError: The file cannot be written.
    """
    model = _checked(model, quantize, representative_data, batch)
    names = [tensor.name for tensor in getattr(model, "inputs", None) or []]
    samples = None if representative_data is None else as_samples(representative_data, names)
    inputs = converter.inputs_of(model, samples)
    if samples is not None:
        _check_shapes(samples, inputs)
    floats, converted, notes = _converted(model, inputs, quantize, samples, batch)
    measure = None
    if samples is not None:
        reference = converter.outputs_of(model, samples, inputs)
        measure = partial(_fidelity, reference, samples, [each.name for each in inputs])
    elif quantize is not None:
        notes.append(_NO_SAMPLES)
    variables = kernels(model)
    traces = trace(converted, floats, variables)
    fits = {i: each.fit for i, each in enumerate(traces) if each.fit is not None}
    errors = {i: traces[i].error for i in fits}
    data, taken, before = choosing.choose(converted, fits, errors, measure)
    with replacing(tflite_path) as file:
        file.write(data)
    found = {each.source.name for each in traces if each.source is not None}
    report = ConversionReport(
        quantize=quantize,
        batch=batch,
        file_bytes=len(data),
        converter_bytes=len(converted),
        tensors=tuple(
            row(each, stored, i in taken)
            for i, (each, stored) in enumerate(
                zip(traces, graph.weights(graph.read(data)), strict=True)
            )
        ),
        not_found=tuple(without_weight(variables, found)),
        fidelity=None if measure is None else measure(data),
        converter_fidelity=before if quantize else None,
        notes=tuple(notes),
    )
    if verbose:
        report.print()
    return report


def _checked(model: Any, quantize: Any, representative_data: Any, batch: Any) -> keras.Model:
    """The model without wrappers, if it can be converted as asked."""
    if quantize not in converter.MODES:
        raise ValueError(f"quantize is one of {converter.MODES}; got {quantize!r}.")
    if batch is not None and (type(batch) is not int or batch < 1):
        raise ValueError(f"batch is a positive int, or None for any; got {batch!r}.")
    plain = strip(model)
    converter.check_backend()
    if not plain.built:
        raise ValueError(
            f"'{model.name}' is not built, so it has no weights yet. Give it a keras.Input as its "
            "first layer, call model.build(input_shape), or fit it first."
        )
    if quantize == "int8" and representative_data is None:
        raise ValueError(
            "quantize='int8' needs representative_data: a few hundred inputs such as the model "
            "will see, from which the ranges of its activations are taken. quantize='dynamic' "
            "needs none."
        )
    return plain


def _check_shapes(samples: Samples, inputs: list[converter.Input]) -> None:
    if len(samples.inputs) != len(inputs):
        raise ValueError(
            f"The representative data has {len(samples.inputs)} arrays; the model has "
            f"{len(inputs)} inputs: {[each.name for each in inputs]}."
        )
    for array, each in zip(samples.inputs, inputs, strict=True):
        lengths = zip(array.shape[1:], each.shape, strict=False)
        if array.ndim != len(each.shape) + 1 or any(b not in (None, a) for a, b in lengths):
            raise ValueError(
                f"The representative data has shape {array.shape}; '{each.name}' takes "
                f"{('samples', *each.shape)}."
            )


def _converted(
    model: keras.Model,
    inputs: list[converter.Input],
    quantize: str | None,
    samples: Samples | None,
    batch: int | None,
) -> tuple[bytes, bytes, list[str]]:
    """The float file, the file as asked for, and what is to be said of loops."""
    notes = []
    make = partial(converter.convert_with_tensorflow, model, inputs, samples=samples, batch=batch)
    unroll = quantize == "int8" and converter.has_recurrent_layers(model)
    floats = make(quantize=None, unroll=unroll)
    if graph.loops(graph.read(floats)):
        if quantize == "int8":
            # TensorFlow would end the process.
            raise ConversionError(
                f"'{model.name}' has loops or conditions, and TensorFlow cannot calibrate what is "
                "in them. Convert it with quantize='dynamic'."
            )
        notes.append(_LOOPS)
    elif unroll:
        notes.append(_UNROLLED)
    return floats, floats if quantize is None else make(quantize=quantize, unroll=unroll), notes


def _fidelity(
    reference: list[Array], samples: Samples, names: Sequence[str], data: bytes
) -> Fidelity:
    return compare(reference, run(data, samples, names), samples)
