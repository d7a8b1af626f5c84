"""One-dimensional k-means: the shared values of a layer (paper section 3, numpy only).

In one dimension a cluster is an interval of the sorted values, so the assignment step is a binary
search of the k - 1 boundaries and the update step a difference of prefix sums: one iteration costs
k log n, and no n x k matrix is ever made. Beside the values themselves, one sorted copy of them is
all the memory that it takes; only "kmeans++" takes more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_deepcomp.ordered import Ordered

Values = NDArray[np.float64]

MAX_ITERATIONS = 300
_AT_ONCE = 1 << 20
_KNOTS = 16


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
            "density", evenly spaced on the cumulative distribution; "compander", as dense as the
            cube root of the density of the values, which is close to the least error (Panter and
            Dite 1951); "random", randomly chosen values (Forgy); or "kmeans++" (Arthur and
            Vassilvitskii 2007).
        seed: For the two random ones.

    Returns:
        The centroids, float64, ascending, at most `number_of_clusters` of them.

    Raises:
        ValueError: An unknown `init`, no values, or values that are not finite.
    """
    init = as_initialization(init)
    if not np.size(values):
        raise ValueError("Cannot cluster an empty set of values.")
    ordered = Ordered(values)
    if not np.isfinite(ordered.values[[0, -1]]).all():
        raise ValueError("Cannot cluster values that include NaN or infinity.")
    distinct = ordered.distinct(number_of_clusters)
    if distinct is not None:
        return distinct
    start = INITIALIZATIONS[init](ordered, number_of_clusters, np.random.default_rng(seed))
    return _lloyd(ordered, np.sort(start))


def assign(values: NDArray[Any], centroids: NDArray[Any], dtype: Any = np.intp) -> NDArray[Any]:
    """The index of the nearest centroid for each value; halfway, the larger centroid.

    Args:
        values: Any shape.
        centroids: 1-D, ascending.
        dtype: The type of the indices, which has to hold them.

    Returns:
        Indices, of the shape of `values`.
    """
    wide = np.asarray(centroids, np.float64)
    boundaries = (wide[1:] + wide[:-1]) / 2
    values = np.asarray(values)
    flat, indices = values.reshape(-1), np.empty(values.size, dtype)
    for start in range(0, flat.size, _AT_ONCE):
        some = flat[start : start + _AT_ONCE].astype(np.float64)
        indices[start : start + some.size] = np.searchsorted(boundaries, some, side="right")
    return indices.reshape(values.shape)


def _lloyd(ordered: Ordered, centroids: Values) -> Values:
    before = None
    for _ in range(MAX_ITERATIONS):
        cuts = ordered.first_at_least((centroids[1:] + centroids[:-1]) / 2)
        if before is not None and np.array_equal(cuts, before):
            break
        before = cuts
        edges = np.concatenate([[0], cuts, [ordered.size]])
        counts = np.diff(edges)
        means = ordered.sums(edges) / np.maximum(counts, 1)
        empty = np.flatnonzero(counts == 0)
        if empty.size:
            means = _refill(ordered, edges, means, empty)
            before = None
        centroids = means + ordered.center
    return centroids


def _refill(
    ordered: Ordered, edges: NDArray[np.intp], means: Values, empty: NDArray[np.intp]
) -> Values:
    """Moves centroids without members (linear ones in the gap that pruning left, often).

    Each goes to the far end of the cluster with the largest squared error, which so is split.
    Centroids here are less the mean of all values.
    """
    errors = ordered.sums(edges, power=2) - np.diff(edges) * means**2
    for target in empty:
        worst = int(np.argmax(errors))
        ends = ordered.values[[edges[worst], edges[worst + 1] - 1]].astype(np.float64)
        low, high = ends - ordered.center
        means[target] = low if means[worst] - low > high - means[worst] else high
        errors[worst] = -np.inf
    return np.sort(means)


def _linear(ordered: Ordered, count: int, rng: np.random.Generator) -> Values:
    return np.linspace(float(ordered.values[0]), float(ordered.values[-1]), count)


def _density(ordered: Ordered, count: int, rng: np.random.Generator) -> Values:
    return ordered.quantiles((np.arange(count) + 0.5) / count)


def _compander(ordered: Ordered, count: int, rng: np.random.Generator) -> Values:
    knots = ordered.quantiles(np.linspace(0.0, 1.0, min(ordered.size, _KNOTS * count)))
    # Between two knots lies the same share of the values, so their density is 1 / width there.
    placed = np.concatenate([[0.0], np.cumsum(np.diff(knots) ** (2 / 3))])
    return np.interp((np.arange(count) + 0.5) / count * placed[-1], placed, knots)


def _random(ordered: Ordered, count: int, rng: np.random.Generator) -> Values:
    return rng.choice(ordered.values, count, replace=False).astype(np.float64)


def _kmeans_plus_plus(ordered: Ordered, count: int, rng: np.random.Generator) -> Values:
    values = ordered.values.astype(np.float64)
    chosen = [rng.choice(values)]
    distances = (values - chosen[0]) ** 2
    for _ in range(count - 1):
        cumulative = np.cumsum(distances)
        drawn = np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")
        chosen.append(values[min(int(drawn), values.size - 1)])
        np.minimum(distances, (values - chosen[-1]) ** 2, out=distances)
    return np.array(chosen)


Initialization = Callable[[Ordered, int, np.random.Generator], Any]

INITIALIZATIONS: dict[str, Initialization] = {
    "linear": _linear,
    "density": _density,
    "compander": _compander,
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
