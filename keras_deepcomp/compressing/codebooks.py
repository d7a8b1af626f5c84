"""How many values weights share: which sizes of codebooks are tried, and what they take."""

from __future__ import annotations

import math

from keras_deepcomp.compressing.goals import Goal
from keras_deepcomp.compressing.result import Point

LADDER = (2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 64, 128, 256)
"""Sizes of codebooks that are tried."""

COARSE = (2, 3, 4, 6, 8, 12, 16, 32, 64, 256)
"""Sizes between which it is worth while to exchange them for density."""


class Codebooks:
    """Chooses the sizes of codebooks that one round tries, one after the other.

    Where a metric holds the budget, smaller ones while they keep it; larger ones if the first does
    not. Where bytes do, larger ones while they fit, smaller ones if the first does not.

    Args:
        goal: The budget.
        first: The size to begin with.
    """

    def __init__(self, goal: Goal, first: int) -> None:
        self._goal = goal
        self._first = LADDER.index(first)

    def next(self, points: list[Point]) -> int | None:
        """The next size, or None if the round is done.

        Args:
            points: What the round has measured so far.
        """
        if not points:
            return LADDER[self._first]
        first, last = points[0], points[-1]
        saves = self._goal.max_bytes is None
        smaller = first.keeps_budget == saves
        if len(points) > 3 or (len(points) > 2 and not first.keeps_budget):
            return None
        if len(points) > 1:
            if last.keeps_budget != first.keeps_budget:
                return None
            ranks = [self._goal.rank(point.bytes, point.metrics) for point in (last, points[-2])]
            if ranks[0] >= ranks[1]:
                return None
        place = LADDER.index(last.clusters) + (-1 if smaller else 1)
        return LADDER[place] if 0 <= place < len(LADDER) else None


def estimated_bytes(weights: int, density: float, clusters: int) -> float:
    """What places and indices of weights take as entropy has it, evenly spread.

    Args:
        weights: How many there are, zeros included.
        density: Share of them that is not zero.
        clusters: Size of the codebook.
    """
    if not 0.0 < density < 1.0:
        return weights * density * math.log2(clusters) / 8.0
    places = -density * math.log2(density) - (1.0 - density) * math.log2(1.0 - density)
    return weights * (places + density * math.log2(clusters)) / 8.0


def density_for(weights: int, size: float, clusters: int) -> float:
    """The density at which weights take so many bytes; the inverse of `estimated_bytes`."""
    low, high = 0.0, clusters / (clusters + 1.0)  # beyond, fewer zeros would take fewer bytes
    for _ in range(40):
        middle = (low + high) / 2.0
        if estimated_bytes(weights, middle, clusters) < size:
            low = middle
        else:
            high = middle
    return high


def beside(clusters: int) -> list[int]:
    """Sizes of codebooks next to one, the smaller first."""
    smaller = [size for size in COARSE if size < clusters][-1:]
    return smaller + [size for size in COARSE if size > clusters][:1]
