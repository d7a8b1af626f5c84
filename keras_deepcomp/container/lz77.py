"""The first half of DEFLATE (RFC 1951): a text as literal bytes and copies of earlier bytes.

All earlier occurrences that are worth a copy are found with numpy, by sorting, and then the
cheapest way through them is computed, for given costs of each symbol in bits. All of it is
integer arithmetic, so that the result is the same on every platform.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import add
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

WINDOW = 1 << 15
MIN_MATCH = 3
MAX_MATCH = 258


class Effort(NamedTuple):
    """How hard to look for a good parse.

    Attributes:
        rungs: Pairs (length, step): grams of `length` bytes are told apart by those of
            `length - step` bytes and the `step` bytes after them, which are grams of an earlier
            rung. The nearest occurrence is exact for each length of a rung, and nearly always for
            those in between.
        enough: Where there is a copy of this length, shorter ones are not looked at.
        shorter: How many shorter lengths of the same copy are looked at.
    """

    rungs: Sequence[tuple[int, int]]
    enough: int
    shorter: int


_FINE = (
    *((length, 1) for length in range(2, 9)),
    *((length, 2) for length in range(10, 17, 2)),
    *((length, 4) for length in range(20, 33, 4)),
    *((length, 16) for length in (48, 64)),
    *((length, 32) for length in (96, 128)),
    *((length, 64) for length in (192, 256)),
    (258, 2),
)
_COARSE = (*((1 << power, 1 << (power - 1)) for power in range(1, 9)), (258, 2))

HIGH = Effort(_FINE, MAX_MATCH + 1, MAX_MATCH)
"""Next to all that there is; some ten microseconds for a byte that is copied many times."""
MEDIUM = Effort(_FINE, 48, 8)
"""A few microseconds for a byte, however often it is copied."""
LOW = Effort(_COARSE, MIN_MATCH, 0)
"""Only what a greedy parse needs."""


class Matches(NamedTuple):
    """Copies that are possible at each position, the shortest and nearest first.

    Attributes:
        first: Where the matches of each position begin in the other two, shape (positions + 1,).
        lengths: The longest copy, strictly ascending at each position, shape (matches,).
        distances: How far back it begins, shape (matches,).
    """

    first: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    distances: npt.NDArray[np.int64]


class Costs(NamedTuple):
    """What each choice costs, in any integer unit.

    Attributes:
        literals: Byte -> cost, 256 of them.
        lengths: Length of a copy -> cost, 259 of them; the first three are not used.
        distances: Distance of a copy -> cost, shape (WINDOW + 1,); the first is not used.
    """

    literals: Sequence[int]
    lengths: Sequence[int]
    distances: npt.NDArray[np.int64]


class Parse(NamedTuple):
    """A text as a list of literals and copies.

    Attributes:
        starts: The position of each, shape (tokens,).
        lengths: How many bytes each stands for; a literal has 1, shape (tokens,).
        distances: How far back each copy begins; 0 for literals, shape (tokens,).
    """

    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    distances: npt.NDArray[np.int64]


def find_matches(buffer: npt.NDArray[np.uint8], start: int, effort: Effort) -> Matches:
    """Return for each position the nearest earlier occurrences of what follows it.

    Args:
        buffer: What may be copied from, and then the text, shape (bytes,).
        start: Where the text begins in `buffer`; positions count from here.
        effort: How hard to look.

    Returns:
        The matches, each within the window.
    """
    found: list[tuple[npt.NDArray[np.int64], ...]] = []
    nearest = np.full(buffer.size, -1)
    size = 1
    for longer, earlier in _occurrences(buffer, effort.rungs):
        if size >= MIN_MATCH:
            # The same source with a longer copy makes the shorter one superfluous.
            found.append(_extended(buffer, start, nearest, earlier, (size, longer)))
        nearest, size = earlier, longer
    found.append(_extended(buffer, start, nearest, np.full(buffer.size, -1), (size, size + 1)))
    positions, lengths, distances = map(np.concatenate, zip(*found, strict=True))
    order = np.argsort(positions, kind="stable")
    order = order[_worth_it(positions[order], lengths[order], effort.enough)]
    first = np.searchsorted(positions[order], np.arange(buffer.size - start + 1))
    return Matches(first, lengths[order], distances[order])


def _worth_it(
    positions: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], enough: int
) -> npt.NDArray[np.bool_]:
    """Return which matches are not followed by one at the same position that is long enough."""
    worth = np.ones(positions.size, bool)
    worth[:-1] = (positions[1:] != positions[:-1]) | (lengths[1:] < enough)
    return worth


def _occurrences(
    buffer: npt.NDArray[np.uint8], rungs: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Yield for each rung its length, and where the same bytes stood last.

    Args:
        buffer: The bytes, shape (bytes,).
        rungs: Pairs (length, step), see `Effort`.

    Yields:
        The length, and for each position the last earlier one at which the same `length` bytes
        begin, -1 where there is none, shape (bytes,).
    """
    steps = {step for _, step in rungs}
    # Grams that occur once need no number, only to be unlike all others: they get the numbers
    # from `unlike` on.
    unlike = max(buffer.size, 256)
    grams = {1: buffer.astype(np.int64)}
    positions = np.arange(buffer.size)
    numbers = grams[1]
    for length, step in rungs:
        inside = positions + length <= buffer.size
        positions, numbers = positions[inside], numbers[inside]
        keys = numbers * (2 * unlike) + grams[step][positions + length - step]
        # Stable, and positions of equal numbers are ascending, so those of equal keys are too.
        order = np.argsort(keys, kind="stable")
        positions, keys = positions[order], keys[order]
        repeats = np.zeros(keys.size, bool)
        repeats[1:] = keys[1:] == keys[:-1]
        nearest = np.full(buffer.size, -1)
        again = np.flatnonzero(repeats)
        nearest[positions[again]] = positions[again - 1]
        yield length, nearest
        # What occurs once cannot occur twice when it is longer.
        shared = repeats.copy()
        shared[:-1] |= repeats[1:]
        positions, numbers = positions[shared], np.cumsum(~repeats, dtype=np.int64)[shared] - 1
        if length in steps:
            grams[length] = np.arange(buffer.size) + unlike
            grams[length][positions] = numbers


def _extended(
    buffer: npt.NDArray[np.uint8],
    start: int,
    nearest: npt.NDArray[np.int64],
    longer: npt.NDArray[np.int64],
    sizes: tuple[int, int],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the matches of one rung that the next rung does not have.

    Args:
        buffer: The bytes, shape (bytes,).
        start: Where the text begins.
        nearest: The last earlier occurrence at this rung, shape (bytes,).
        longer: The same at the next rung.
        sizes: The lengths of both rungs.

    Returns:
        Positions from `start` on, lengths and distances, each of shape (matches,).
    """
    positions = np.arange(start, buffer.size)
    sources = nearest[start:]
    useful = (sources >= 0) & (positions - sources <= WINDOW) & (sources != longer[start:])
    positions, sources = positions[useful], sources[useful]
    lengths = np.full(positions.size, sizes[0])
    active = np.arange(positions.size)
    # The same source is not found at the next rung, so all copies end before that length.
    for length in range(sizes[0], sizes[1] - 1):
        active = active[positions[active] + length < buffer.size]
        same = buffer[positions[active] + length] == buffer[sources[active] + length]
        active = active[same]
        lengths[active] += 1
    return positions - start, lengths, positions - sources


def cheapest_parse(text: bytes, matches: Matches, costs: Costs, effort: Effort) -> Parse:
    """Return a parse of the least total cost.

    Args:
        text: The text, without what may be copied from before it.
        matches: From `find_matches`.
        costs: What each choice costs.
        effort: How hard to look.

    Returns:
        The parse; a literal or a short copy where there is a choice.
    """
    # Backwards, so that the cost of all that follows a choice is known.
    count = len(text)
    total = [0] * (count + 1)
    lengths, distances = [1] * count, [0] * count
    first = matches.first.tolist()
    match_lengths, match_distances = matches.lengths.tolist(), matches.distances.tolist()
    match_costs = costs.distances[matches.distances].tolist()
    literals, copies = list(costs.literals), list(costs.lengths)
    enough, shorter = effort.enough, effort.shorter
    for position in range(count - 1, -1, -1):
        best = total[position + 1] + literals[text[position]]
        low = MIN_MATCH
        for match in range(first[position], first[position + 1]):
            # A nearer match has the shorter lengths already.
            high = match_lengths[match] + 1
            low = high - 1 if high > enough else max(low, high - 1 - shorter)
            ends = list(map(add, total[position + low : position + high], copies[low:high]))
            cheapest = min(ends)
            if cheapest + match_costs[match] < best:
                best = cheapest + match_costs[match]
                lengths[position] = low + ends.index(cheapest)
                distances[position] = match_distances[match]
            low = high
        total[position] = best
    return _walk(lengths, distances)


def greedy_parse(text: bytes, matches: Matches) -> Parse:
    """Return the parse that takes the longest copy wherever there is one.

    Args:
        text: The text, without what may be copied from before it.
        matches: From `find_matches`.

    Returns:
        The parse.
    """
    last = matches.first[1:] - 1
    has_match = matches.first[:-1] <= last
    lengths, distances = np.ones(len(text), np.int64), np.zeros(len(text), np.int64)
    lengths[has_match] = matches.lengths[last[has_match]]
    distances[has_match] = matches.distances[last[has_match]]
    return _walk(lengths.tolist(), distances.tolist())


def _walk(lengths: list[int], distances: list[int]) -> Parse:
    """Return the choices along the way, of those at all positions."""
    starts = []
    position = 0
    while position < len(lengths):
        starts.append(position)
        position += lengths[position]
    chosen = np.array(starts, np.int64)
    return Parse(chosen, np.array(lengths, np.int64)[chosen], np.array(distances, np.int64)[chosen])
