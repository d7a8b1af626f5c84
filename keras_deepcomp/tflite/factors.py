"""The search for shared values and factors whose products are the values of a kernel's channels.

The channel with most values is the first codebook. Each other one is laid beside it: each of its
largest values over each shared value is a factor that may be the channel's, and the best is that
under which most of its values are shared ones. What stays without a partner joins the codebook.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

NEAR = {"int8": 1.5, "float16": 4.0, "float32": 64.0}
"""How far a value may be from a product to be that one, in units of the type's last place."""

MOST_VALUES = 100
_PASSES = 4
_PIVOTS = 4

_Doubles = npt.NDArray[np.float64]


class Search:
    """Looks for shared values and factors.

    Args:
        channels: The distinct values of each channel that are not zero, ascending.
        near: How far a value may be from a product, in units of the last place.
        dtype: The values' type.
    """

    def __init__(self, channels: list[_Doubles], near: float, dtype: np.dtype[Any]) -> None:
        self._channels = channels
        self._near = near
        self._whole = dtype.kind == "i"
        self._relative = 0.0 if self._whole else float(np.finfo(dtype).eps)
        self._values = max(channels, key=lambda channel: channel.size)

    def run(self) -> tuple[_Doubles, _Doubles, list[npt.NDArray[np.int64]]] | None:
        """Return shared values, ascending, factors, and for each channel which it has."""
        order = sorted(range(len(self._channels)), key=lambda r: -self._channels[r].size)
        for last in [False] * (_PASSES - 1) + [True]:
            factors = np.ones(len(self._channels))
            for row in order:
                if self._channels[row].size:
                    factors[row] = self._best_factor(self._channels[row])
                    if not self._add_missing(self._channels[row], factors[row]):
                        return None
            which = [self._which(c, f) for c, f in zip(self._channels, factors, strict=True)]
            if not last:
                self._average(factors, which)
        if any(np.unique(numbers).size < numbers.size for numbers in which):
            return None
        return self._values, factors, which

    def _best_factor(self, channel: _Doubles) -> float:
        """Return the factor under which most of a channel's values are shared ones, and nearest."""
        # The largest may be one that is not known yet.
        pivots = channel[np.argsort(-np.abs(channel), kind="stable")[:_PIVOTS]]
        candidates = (pivots[:, np.newaxis] / self._values).reshape(-1)
        distances = self._distances(channel, candidates[:, np.newaxis])
        matched = distances <= self._near
        score = np.where(matched, 1 - distances / (8 * self._near), 0).sum(axis=1)
        return float(candidates[np.argmax(score)])

    def _distances(self, channel: _Doubles, factors: Any) -> _Doubles:
        """Return how far values are from the nearest product, in units of their last place."""
        shared = channel / factors
        nearest = self._values[_nearest(self._values, shared)]
        unit = 1.0 if self._whole else np.abs(channel) * self._relative
        return np.abs(nearest * factors - channel) / unit

    def _which(self, channel: _Doubles, factor: float) -> npt.NDArray[np.int64]:
        return _nearest(self._values, channel / factor)

    def _add_missing(self, channel: _Doubles, factor: float) -> bool:
        """Take up the values that are no shared ones yet; say whether there is room for them."""
        missing = self._distances(channel, factor) > self._near
        which = self._which(channel, factor)
        again = np.ones(channel.size, bool)
        again[np.unique(which, return_index=True)[1]] = False
        new = channel[missing | again] / factor
        self._values = np.union1d(self._values, new)
        return self._values.size <= MOST_VALUES

    def _average(self, factors: _Doubles, which: list[npt.NDArray[np.int64]]) -> None:
        """Take for each shared value what its channels say on average; drop those of one alone."""
        numbers = np.concatenate(which)
        own = np.repeat(factors, [channel.size for channel in self._channels])
        shared = np.concatenate(self._channels) / own
        count = self._values.size
        total = np.bincount(numbers, np.abs(own), minlength=count)
        sums = np.bincount(numbers, np.abs(own) * shared, minlength=count)
        common = np.bincount(numbers, minlength=count) > 1
        values = sums[common] / total[common]
        if self._whole:
            # What rounds to all of the whole numbers, if anything does, is right.
            least, most = np.full(count, -np.inf), np.full(count, np.inf)
            np.maximum.at(least, numbers, shared - 0.5 / np.abs(own))
            np.minimum.at(most, numbers, shared + 0.5 / np.abs(own))
            middle = (least[common] + most[common]) / 2
            values = np.where(least[common] <= most[common], middle, values)
        self._values = np.unique(values)


def turned(
    values: _Doubles, factors: _Doubles, which: list[npt.NDArray[np.int64]]
) -> tuple[_Doubles, _Doubles, list[npt.NDArray[np.int64]]]:
    """Return the same products with the other signs on both sides."""
    return -values[::-1], -factors, [values.size - 1 - numbers for numbers in which]


def _nearest(ascending: _Doubles, wanted: Any) -> npt.NDArray[np.int64]:
    middles = (ascending[1:] + ascending[:-1]) / 2
    return np.searchsorted(middles, wanted)
