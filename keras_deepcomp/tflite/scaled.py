"""Shared values under a factor for each output channel, as converters leave them.

A kernel with shared values w_k has few distinct ones. A converter folds batch normalization into
it, or gives each output channel a scale of its own: channel r then has the values
q(w_k f_r), q being rounding to the type, and the kernel has up to (values x channels) distinct
ones. Here the w_k and f_r are found again, so that the codebook is small once more. Where a product
is not quite what the converter came to, a small correction is kept; nothing is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp.container.dtypes import BY_CODE, BY_NAME
from keras_deepcomp.container.errors import damaged
from keras_deepcomp.container.wire import Reader, varint
from keras_deepcomp.tflite.factors import MOST_VALUES, NEAR, Search, turned

_LARGEST = 127
_FEWEST_CHANNELS = 4

_Array = npt.NDArray[Any]
_Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scaled:
    """A kernel as indices into shared values, and what makes its own values of them.

    Attributes:
        indices: int8, of the kernel's shape, output channels first: 0 for zero, n for the n-th
            shared value above zero, -n for the n-th below.
        side: All else, as bytes.
    """

    indices: npt.NDArray[np.int8]
    side: bytes


def factor(array: _Array) -> Scaled | None:
    """Return a kernel as shared values under factors, or None where it is nothing like that.

    Args:
        array: The kernel, output channels first, of a type that numpy has.
    """
    name = array.dtype.name
    if name not in NEAR or array.ndim < 2 or array.shape[0] < _FEWEST_CHANNELS:
        return None
    if not np.isfinite(array).all() or not array.any():
        return None
    channels = [_distinct(channel) for channel in array.reshape(array.shape[0], -1)]
    most = max(channel.size for channel in channels)
    # Sharing makes fewer values than elements; and one codebook for all may be there already.
    distinct = sum(channel.size for channel in channels)
    if most > MOST_VALUES or distinct > 0.9 * np.count_nonzero(array):
        return None
    if np.unique(np.concatenate(channels)).size < 1.5 * most:
        return None
    found = Search(channels, NEAR[name], array.dtype).run()
    if found is None:
        return None
    # Which way the signs are shows in zeros alone: below zero, a factor makes -0.0 of them.
    for way in (found, turned(*found)):
        scaled = _describe(array, channels, *way)
        if scaled and restore(scaled.indices, scaled.side).tobytes() == array.tobytes():
            return scaled
    return None


def restore(indices: npt.NDArray[np.int8], side: bytes) -> _Array:
    """Return the kernel.

    Args:
        indices: As in `Scaled`.
        side: As in `Scaled`.

    Raises:
        FormatError: The two do not fit together.
    """
    reader = Reader(memoryview(side))
    dtype = np.dtype(type_of(side))
    reader.byte("its type")
    below, above = reader.varint("values below zero"), reader.varint("values above zero")
    flat = indices.reshape(indices.shape[0], -1).astype(np.int64)
    if flat.size and not -below <= flat.min() <= flat.max() <= above:
        raise damaged("an index has no shared value")
    used = _used(flat, below, above)
    channel, number = np.nonzero(used)
    values_type, factors_type = _side_types(dtype)
    count = (below + above) * values_type.itemsize
    values = np.frombuffer(reader.take(count, "shared values"), values_type)
    count = indices.shape[0] * factors_type.itemsize
    factors = np.frombuffer(reader.take(count, "factors"), factors_type)
    corrections = np.frombuffer(reader.take(channel.size, "corrections"), np.int8)
    reader.end("the corrections")
    table = np.zeros((used.shape[0], below + 1 + above), dtype)
    if dtype.kind == "f":
        with np.errstate(all="ignore"):
            table[:, below] = 0.0 * factors  # -0.0 where the factor is below zero
    products = _products(values, factors, channel, number - (number > below), dtype)
    patterns = products.view(_signed(dtype)) + corrections.astype(_signed(dtype))
    table[channel, number] = patterns.view(dtype)
    kernel: _Array = np.take_along_axis(table, flat + below, axis=1)
    return kernel.reshape(indices.shape)


def type_of(side: bytes) -> str:
    """Return the name of the kernel's type, with which its side begins.

    Raises:
        FormatError: There is no such type.
    """
    element = BY_CODE.get(side[0]) if side else None
    if element is None or element.name not in NEAR:
        raise damaged("shared values under factors are of a type that they never have")
    return element.name


def _distinct(channel: _Array) -> _Doubles:
    return np.unique(channel[channel != 0]).astype(np.float64)


def _used(flat: npt.NDArray[np.int64], below: int, above: int) -> npt.NDArray[np.bool_]:
    """Return which shared values each channel has, shape (channels, below + 1 + above)."""
    used = np.zeros((flat.shape[0], below + 1 + above), bool)
    used[np.arange(flat.shape[0])[:, np.newaxis], flat + below] = True
    used[:, below] = False
    return used


def _side_types(dtype: np.dtype[Any]) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """Return the types in which shared values and factors are kept.

    Of the factors of whole numbers the sign is enough: the largest number is always the same.
    """
    return (
        (np.dtype("<f4"), np.dtype("i1"))
        if dtype.kind == "i"
        else (np.dtype("<f8"), np.dtype("<f4"))
    )


def _products(
    values: _Array,
    factors: _Array,
    channel: npt.NDArray[np.intp],
    number: npt.NDArray[np.intp],
    dtype: np.dtype[Any],
) -> _Array:
    """Return the values of channels.

    Args:
        values: The shared values, of their type in the side.
        factors: The channels' factors, of their type in the side.
        channel: The channel of each value that is wanted, shape (n,).
        number: The number of its shared value, shape (n,).
        dtype: The type of what is wanted.
    """
    shared, own = values[number].astype(np.float64), factors[channel].astype(np.float64)
    with np.errstate(all="ignore"):
        if dtype.kind != "i":
            return (shared * own).astype(dtype)
        largest = np.zeros(factors.size)
        np.maximum.at(largest, channel, np.abs(shared))
        products = np.rint(_LARGEST * own * shared / largest[channel])
        # Whatever a damaged file has, the result is the same on each machine.
        return np.clip(np.nan_to_num(products), -_LARGEST, _LARGEST).astype(dtype)


def _signed(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(f"i{dtype.itemsize}")


def _describe(
    array: _Array,
    channels: list[_Doubles],
    values: _Doubles,
    factors: _Doubles,
    which: list[npt.NDArray[np.int64]],
) -> Scaled | None:
    """Return a kernel in terms of what was found, unless a correction is too large."""
    dtype = array.dtype
    below, above = int(np.sum(values < 0)), int(np.sum(values > 0))
    if below > 127 or above > 127 or below + above < values.size:
        return None
    values_type, factors_type = _side_types(dtype)
    kept = values.astype(values_type)
    short = (np.sign(factors) if dtype.kind == "i" else factors).astype(factors_type)
    rows = np.repeat(np.arange(len(channels)), [numbers.size for numbers in which])
    numbers = np.concatenate(which)
    exact = np.concatenate(channels).astype(dtype).view(_signed(dtype)).astype(np.int64)
    products = _products(kept, short, rows, numbers, dtype).view(_signed(dtype))
    corrections = exact - products.astype(np.int64)
    if np.abs(corrections).max() > 127:
        return None
    own = np.where(numbers < below, numbers - below, numbers - below + 1)
    indices = np.zeros((len(channels), array[0].size), np.int8)
    ends = np.cumsum([numbers.size for numbers in which])[:-1]
    for row, (channel, index) in enumerate(zip(channels, np.split(own, ends), strict=True)):
        if channel.size:
            order = np.searchsorted(channel, array[row].reshape(-1).astype(np.float64))
            taken = index[np.minimum(order, channel.size - 1)]
            indices[row] = np.where(array[row].reshape(-1) != 0, taken, 0)
    # As they are read: by channel, and by shared value in each.
    ordered = corrections[np.lexsort((numbers, rows))].astype(np.int8)
    side = bytes([BY_NAME[dtype.name].code]) + varint(below) + varint(above)
    side += kept.tobytes() + short.tobytes() + ordered.tobytes()
    return Scaled(indices.reshape(array.shape), side)
