"""Chooses between the converter's scales and those that fit the codebooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from keras_deepcomp.tflite import fitting, graph
from keras_deepcomp.tflite.fitting import Fit
from keras_deepcomp.tflite.running import Fidelity

# Two roundings of equal quality differ by as much, in the outputs, from one set of samples to
# another.
_SLACK = 1.05
# As far as the outputs may move where all of them stay on the same side.
_SLACK_IN_AGREEMENT = 1.25
# Of the outputs' spread: what no decision hangs on.
_NEGLIGIBLE = 0.005


def as_good(one: Fidelity, converters: Fidelity) -> bool:
    """Whether outputs are as good as those with the converter's scales.

    With labels, they are if as many samples are right. Without, if the error is no larger; or if as
    many samples have their largest output where the Keras model has it, and the error is at most
    25 % larger, or under 0.5 % of the outputs' spread. Where outputs have one value only, so that
    none is the largest, the error may be 5 % larger.
    """
    if one.accuracy is not None and converters.accuracy is not None:
        return one.accuracy >= converters.accuracy
    if one.agreement is None or converters.agreement is None:
        return one.error <= max(_SLACK * converters.error, _NEGLIGIBLE)
    if one.agreement < converters.agreement:
        return one.error <= converters.error
    return one.error <= max(_SLACK_IN_AGREEMENT * converters.error, _NEGLIGIBLE)


def rewritten(data: bytes, fits: Mapping[int, Fit]) -> bytes:
    """Puts fits into a quantized file.

    Args:
        data: The bytes of the file.
        fits: By the position of the weight among `graph.weights`.

    Returns:
        The bytes of the new file; the same if there are no fits.
    """
    if not fits:
        return data
    model = graph.read(data)
    weights = graph.weights(model)
    for position, fitted in fits.items():
        fitting.apply(model, weights[position], fitted)
    graph.drop_unused(model)
    return graph.write(model)


def largest_good(count: int, good: Callable[[int], bool]) -> int:
    """Finds how many of an ordered list can be taken, by bisection.

    Args:
        count: The length of the list.
        good: Whether that many are good enough; none is.

    Returns:
        `count` if that is good; otherwise the most that bisection finds.
    """
    if good(count):
        return count
    low, high = 0, count
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if good(middle) else (low, middle)
    return low


def choose(
    data: bytes,
    fits: Mapping[int, Fit],
    converters_errors: Mapping[int, float],
    measure: Callable[[bytes], Fidelity] | None,
) -> tuple[bytes, set[int], Fidelity | None]:
    """Takes as many fits as the outputs bear.

    Args:
        data: The quantized file as the converter made it.
        fits: By the position of the weight.
        converters_errors: The rounding error of the same weights with the converter's scales.
        measure: How near a file's outputs are to the float model's. Without it, there are no
            samples, and a fit is taken if its rounding error is as small.

    Returns:
        The new file, the positions of the fits that were taken, and the fidelity of the
        converter's file (None without `measure`).
    """
    order = sorted(fits, key=lambda i: fits[i].error - converters_errors[i])
    if measure is None:
        taken = {i for i in order if fits[i].error <= _SLACK * converters_errors[i]}
        return rewritten(data, {i: fits[i] for i in taken}), taken, None
    converters = measure(data)

    def first(count: int) -> bytes:
        return rewritten(data, {i: fits[i] for i in order[:count]})

    count = largest_good(len(order), lambda n: n == 0 or as_good(measure(first(n)), converters))
    return first(count), set(order[:count]), converters
