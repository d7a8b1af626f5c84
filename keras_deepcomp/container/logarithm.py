"""Logarithms in whole numbers, so that what a writer chooses is the same on every machine."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

FRACTION_BITS = 20
ONE = 1 << FRACTION_BITS
"""What `log2_fixed` gives for 2."""

_TABLE_BITS = 11
_REST_BITS = 30 - _TABLE_BITS

_Ints = npt.NDArray[np.int64]


@functools.cache
def _table() -> _Ints:
    """Return the logarithms of 1 + i / 2048, i from 0 to 2048, in units of 2**-24."""
    mantissas = (np.arange((1 << _TABLE_BITS) + 1, dtype=np.int64) << _REST_BITS) + (1 << 30)
    result = np.zeros_like(mantissas)
    result[-1] = 1
    mantissas[-1] = 1 << 30
    for _ in range(FRACTION_BITS + 4):
        mantissas = mantissas * mantissas >> 30
        high = mantissas >= 1 << 31
        mantissas = np.where(high, mantissas >> 1, mantissas)
        result = result << 1 | high
    return result


def log2_fixed(values: npt.ArrayLike) -> _Ints:
    """Return the base-2 logarithm in units of 2**-20, rounded down, at most two units too low.

    Args:
        values: Integers below 2**62; those below 1 count as 1.

    Returns:
        The logarithms, of the same shape.
    """
    numbers = np.maximum(np.asarray(values, np.int64), 1)
    # frexp is exact but for numbers that a float rounds up to the next power of two.
    exponents = np.frexp(numbers.astype(np.float64))[1].astype(np.int64) - 1
    excess = np.maximum(exponents - 30, 0)
    mantissas = (numbers >> excess) << (30 - (exponents - excess))
    rounded_up = mantissas < 1 << 30
    mantissas = np.where(rounded_up, mantissas << 1, mantissas) - (1 << 30)
    place, rest = mantissas >> _REST_BITS, mantissas & ((1 << _REST_BITS) - 1)
    table = _table()
    below = table[place]
    fraction = below + ((table[place + 1] - below) * rest >> _REST_BITS) >> 4
    return (exponents - rounded_up << FRACTION_BITS) + fraction
