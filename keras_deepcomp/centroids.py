"""One-dimensional k-means: the shared values of a layer (paper section 3, numpy only).

In one dimension a cluster is an interval of the sorted values, so the assignment step is a binary
search of the k - 1 boundaries and the update step a difference of prefix sums: one iteration costs
k log n, and no n x k matrix is ever made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

MAX_ITERATIONS = 300


def kmeans(
    values: NDArray[Any], number_of_clusters: int, init: str = "linear", seed: int = 0
) -> Values:
    """Clusters values so that the sum of squared distances to the centroids is (locally) least.

    Args:
        values: Any shape, at least one element, finite.
        number_of_clusters: How many centroids to find, at least 1. If there are fewer distinct
            values, each becomes its own centroid.
        init: Where the centroids start (paper section 3.2): "linear", evenly spaced between the
            least and the largest value, the paper's best because it keeps the few large weights;
            "density", evenly spaced on the cumulative distribution; "random", randomly chosen
            values (Forgy); or "kmeans++" (Arthur and Vassilvitskii 2007).
        seed: For the two random ones.

    Returns:
        The centroids, float64, ascending, at most `number_of_clusters` of them.

    Raises:
        ValueError: An unknown `init`, no values, or values that are not finite.
    """
    init = as_initialization(init)
    ordered = np.sort(np.asarray(values, np.float64), axis=None)
    if not ordered.size:
        raise ValueError("Cannot cluster an empty set of values.")
    if not np.isfinite(ordered[[0, -1]]).all():
        raise ValueError("Cannot cluster values that include NaN or infinity.")
    distinct = ordered[np.concatenate([[True], np.diff(ordered) > 0])]
    if distinct.size <= number_of_clusters:
        return distinct
    start = INITIALIZATIONS[init](ordered, number_of_clusters, np.random.default_rng(seed))
    return _lloyd(ordered, np.sort(start))


def assign(values: NDArray[Any], centroids: NDArray[Any]) -> NDArray[np.intp]:
    """The index of the nearest centroid for each value; halfway, the larger centroid.

    Args:
        values: Any shape.
        centroids: 1-D, ascending.

    Returns:
        Indices, of the shape of `values`.
    """
    wide = np.asarray(centroids, np.float64)
    boundaries = (wide[1:] + wide[:-1]) / 2
    return np.searchsorted(boundaries, np.asarray(values, np.float64), side="right")


def _lloyd(ordered: Values, centroids: Values) -> Values:
    # Prefix sums are taken around the mean: far from zero they would lose the digits that matter.
    center = ordered.mean()
    ordered = ordered - center
    centroids = centroids - center
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    ends = np.empty(0, np.intp)
    for _ in range(MAX_ITERATIONS):
        boundaries = (centroids[1:] + centroids[:-1]) / 2
        cuts = np.searchsorted(ordered, boundaries, side="left")
        if ends.size and np.array_equal(cuts, ends):
            break
        ends = cuts
        edges = np.concatenate([[0], cuts, [ordered.size]])
        counts = np.diff(edges)
        means = np.diff(sums[edges]) / np.maximum(counts, 1)
        empty = np.flatnonzero(counts == 0)
        if empty.size:
            means = _refill(ordered, edges, means, empty)
            ends = np.empty(0, np.intp)
        centroids = means
    return centroids + center


def _refill(
    ordered: Values, edges: NDArray[np.intp], means: Values, empty: NDArray[np.intp]
) -> Values:
    """Moves centroids without members (linear ones in the gap that pruning left, often).

    Each goes to the far end of the cluster with the largest squared error, which so is split.
    """
    squares = np.concatenate([[0.0], np.cumsum(ordered**2)])
    counts = np.diff(edges)
    errors = np.diff(squares[edges]) - counts * means**2
    for target in empty:
        worst = int(np.argmax(errors))
        low, high = ordered[edges[worst]], ordered[edges[worst + 1] - 1]
        means[target] = low if means[worst] - low > high - means[worst] else high
        errors[worst] = -np.inf
    return np.sort(means)


def _linear(ordered: Values, count: int, rng: np.random.Generator) -> Values:
    return np.linspace(ordered[0], ordered[-1], count)


def _density(ordered: Values, count: int, rng: np.random.Generator) -> Values:
    return np.quantile(ordered, (np.arange(count) + 0.5) / count)


def _random(ordered: Values, count: int, rng: np.random.Generator) -> Values:
    return rng.choice(ordered, count, replace=False)


def _kmeans_plus_plus(ordered: Values, count: int, rng: np.random.Generator) -> Values:
    chosen = [rng.choice(ordered)]
    distances = (ordered - chosen[0]) ** 2
    for _ in range(count - 1):
        cumulative = np.cumsum(distances)
        drawn = np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")
        chosen.append(ordered[min(int(drawn), ordered.size - 1)])
        np.minimum(distances, (ordered - chosen[-1]) ** 2, out=distances)
    return np.array(chosen)


Initialization = Callable[[Values, int, np.random.Generator], Any]

INITIALIZATIONS: dict[str, Initialization] = {
    "linear": _linear,
    "density": _density,
    "random": _random,
    "kmeans++": _kmeans_plus_plus,
}

_NAMES_IN_TFMOT = {"density_based": "density", "kmeans_plus_plus": "kmeans++"}


def as_initialization(init: Any) -> str:
    """The name of an initialization, from a name in any case or tfmot's `CentroidInitialization`.

    tfmot's RANDOM draws between the least and the largest value; "random", as in the paper, draws
    from the values.

    Raises:
        ValueError: There is no such initialization.
    """
    name = str(getattr(init, "value", init)).lower().removeprefix("centroidinitialization.")
    name = _NAMES_IN_TFMOT.get(name, name)
    if name not in INITIALIZATIONS:
        raise ValueError(
            f"Unknown cluster_centroids_init {init!r}; expected one of "
            f"{', '.join(map(repr, INITIALIZATIONS))}, or a name of tfmot's."
        )
    return name
