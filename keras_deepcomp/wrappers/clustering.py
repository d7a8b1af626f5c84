"""Stage 2: a layer whose weights share few values (paper section 3)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_deepcomp import centroids as kmeans_1d
from keras_deepcomp import rate_distortion
from keras_deepcomp.devices import empty, to_numpy
from keras_deepcomp.wrappers.channels import output_axes
from keras_deepcomp.wrappers.lookup import look_up
from keras_deepcomp.wrappers.substitution import WeightSubstitution, require_finite

FEWEST_CLUSTERS = 2
MOST_CLUSTERS = 65_535
_AT_ONCE = 1 << 20

Codebooks = dict[str, tuple[np.ndarray, np.ndarray]]
"""A weight's path within its layer -> its centroids and assignments."""


@keras.saving.register_keras_serializable("keras_deepcomp")
class ClusterWeights(WeightSubstitution):
    """Wraps a layer so that it computes with `take([0, *centroids], assignments)`.

    Weights that are zero keep the assignment 0 and stay zero; each other weight is one of the
    centroids, which are what trains. The gradient of a centroid is the sum of the gradients of the
    weights assigned to it (paper section 3.3, equation 3): that is the derivative of `take`.

    State per weight: assignments (unsigned integers, the weight's shape, 0 for zero and i + 1 for
    centroid i) and centroids (the weight's own dtype, ascending when made; one row for each output
    channel if these have codebooks of their own). The inner variable
    keeps the values from before sharing, untrained; `reassign` goes back to them. With
    `straight_through` it goes on training by the gradients that the shared weights get, as if
    sharing were not there (Bengio, Leonard and Courville 2013), so that `reassign` can move a
    weight to a centroid that suits it better.

    Args:
        layer: The layer whose weights are to be shared. A built layer gets its centroids from the
            weights that it has.
        number_of_clusters: Size of the codebook, zero not counted: one int of at least 2, or a
            list with one for each weight that takes part, in their order.
        cluster_centroids_init: "linear" (the paper's best), "density", "compander", "random" or
            "kmeans++", or one of tfmot's `CentroidInitialization`.
        seed: For the random initializations.
        cluster_per_channel: Whether each output channel has a codebook of its own. Then the
            centroids have the shape (channels, size), and where a channel has fewer distinct values
            the last one is repeated.
        gradient_aggregation: "sum" or "mean" of the members' gradients.
        preserve_sparsity: Whether zeros stay zeros. If not, they are clustered like other values,
            and no weight has the assignment 0.
        straight_through: Whether the weights from before sharing go on training.
        **kwargs: For `keras.layers.Layer`.

    Raises:
        ValueError: Fewer than 2 or more than 65,535 clusters, an unknown initialization or
            aggregation, or weights with NaN or infinity.
    """

    purpose = "cluster"

    def __init__(
        self,
        layer: keras.Layer,
        number_of_clusters: int | list[int],
        cluster_centroids_init: Any = "linear",
        seed: int = 0,
        cluster_per_channel: bool = False,
        gradient_aggregation: Any = "sum",
        preserve_sparsity: bool = True,
        straight_through: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("name", f"cluster_{layer.name}")
        super().__init__(layer, **kwargs)
        what = f"number_of_clusters for '{layer.name}'"
        if isinstance(number_of_clusters, list):
            for count in number_of_clusters:  # as they came out, which may be one
                check_number_of_clusters(count, what, fewest=1)
        else:
            check_number_of_clusters(number_of_clusters, what)
        self.number_of_clusters = number_of_clusters
        self.cluster_centroids_init = kmeans_1d.as_initialization(cluster_centroids_init)
        self.seed = seed
        self.cluster_per_channel = bool(cluster_per_channel)
        self.gradient_aggregation = _as_aggregation(gradient_aggregation)
        self.preserve_sparsity = bool(preserve_sparsity)
        self.straight_through = bool(straight_through)
        self._restored = False
        self._given: Codebooks = {}
        self._state: dict[str, dict[str, Any]] = {}

    def add_state(self, name: str, variable: Any) -> None:
        """Finds the centroids of one weight and adds them and the assignments as variables."""
        axes = self._axes(variable)
        if name in self._given:
            codebook, assignments = self._given.pop(name)
        elif self._restored:  # sizes are known, values come with the file
            channels = [math.prod(variable.shape[axis] for axis in axes)] if axes else []
            codebook = np.zeros([*channels, self._next_count()])
            assignments = np.zeros(variable.shape, np.uint8)
        else:
            codebook, assignments = self._share(name, to_numpy(variable, copy=False), axes)
        prefix = name.replace("/", "_")
        variable.trainable = self.straight_through
        self._state[name] = {
            "assignments": self.add_weight(
                name=f"{prefix}_assignments",
                shape=variable.shape,
                dtype=np.dtype(_assignments_type(codebook.shape[-1])).name,
                initializer=_Exactly(assignments),
                trainable=False,
            ),
            "centroids": self.add_weight(
                name=f"{prefix}_centroids",
                shape=codebook.shape,
                dtype=variable.dtype,
                initializer=_Exactly(codebook),
                trainable=True,
                # Under mixed precision the layer casts the shared weights, not we the centroids: a
                # centroid's gradient sums over its members, and in 16 bits that sum stands still
                # or overflows.
                autocast=False,
            ),
            "starts": _starts(variable.shape, axes, codebook.shape[-1] + 1),
        }

    def _axes(self, variable: Any) -> tuple[int, ...]:
        """The axes whose places have a codebook each; a bias has one for all of it."""
        if len(variable.shape) < 2:
            return ()
        return output_axes(self.layer, variable) if self.cluster_per_channel else ()

    @classmethod
    def from_codebooks(
        cls,
        layer: keras.Layer,
        codebooks: Codebooks,
        cluster_centroids_init: str = "linear",
        **kwargs: Any,
    ) -> ClusterWeights:
        """Wraps a layer with codebooks that are known, and looks for none.

        Args:
            layer: The layer whose weights are shared; its values are those from before sharing.
            codebooks: The weight's path within the layer -> its centroids (1-D) and its assignments
                (integers of the weight's shape; 0 for zero, i + 1 for centroid i). These weights
                and no others take part.
            cluster_centroids_init: How the centroids were found.
            **kwargs: For `keras.layers.Layer`.

        Returns:
            The wrapper, to be built.
        """
        known = cls(
            layer,
            [len(centroids) for centroids, _ in codebooks.values()],
            cluster_centroids_init,
            weight_names=list(codebooks),
            **kwargs,
        )
        known._given = dict(codebooks)
        return known

    def _next_count(self) -> int:
        if isinstance(self.number_of_clusters, list):
            return self.number_of_clusters[len(self._state)]
        return self.number_of_clusters

    def _share(
        self, name: str, weights: np.ndarray, axes: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Codebook and assignments; with `axes`, one codebook for each place along them."""
        weight = f"'{name}' of layer '{self.layer.name}'"
        require_finite(
            weights, weight, "Share a model whose training went well, or reload a good checkpoint."
        )
        count = self._next_count()
        rows = _rows(weights, axes)
        shared = [self._share_row(row, count) for row in rows]
        size = max(codebook.size for codebook, _ in shared)
        if size < count and weights.any():
            warnings.warn(
                f"{weight} has {size} distinct values"
                f"{' that are not zero' if self.preserve_sparsity else ''}"
                f"{' in any channel' if axes else ''}, fewer than the {count} clusters asked for: "
                f"it gets {size}, and loses nothing.",
                UserWarning,
                stacklevel=2,
            )
        codebooks = np.stack([np.pad(c, (0, size - c.size), "edge") for c, _ in shared])
        assignments = _from_rows(np.stack([a for _, a in shared]), weights.shape, axes)
        return codebooks if axes else codebooks[0], assignments

    def _share_row(self, weights: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        taken = weights != 0 if self.preserve_sparsity else np.ones(weights.shape, bool)
        values = weights[taken]
        if not values.size:
            return np.zeros(1), np.zeros(weights.shape, np.uint8)
        codebook = kmeans_1d.kmeans(values, count, self.cluster_centroids_init, self.seed)
        kind = _assignments_type(codebook.size)
        assignments = np.zeros(weights.shape, kind)
        assignments[taken] = kmeans_1d.assign(values, codebook, kind) + kind(1)
        return codebook, assignments

    def effective_value(self, name: str) -> Any:
        """The shared value of each weight; +0.0 where it was zero."""
        ops, state = keras.ops, self._state[name]
        codebook = state["centroids"].value
        places = ops.cast(state["assignments"].value, "int32")
        if state["starts"].size > 1:
            places = ops.add(places, ops.convert_to_tensor(state["starts"]))
        if self.gradient_aggregation == "mean":
            codebook = _averaging(codebook, places)
        with_zero = ops.concatenate([ops.zeros_like(codebook[..., :1]), codebook], axis=-1)
        value = look_up(ops.reshape(with_zero, (-1,)), places)
        if self.straight_through:
            original = self._substituted[name].value
            nothing = original - ops.stop_gradient(original)  # zero, but for its gradient
            is_zero = ops.equal(state["assignments"].value, 0)
            value += ops.where(is_zero, ops.zeros_like(nothing), nothing)
        return value

    def effective_weights(self) -> dict[str, np.ndarray]:
        """What the inner layer computes with, by the weight's path within the layer."""
        if self.straight_through or self.gradient_aggregation == "mean":
            return super().effective_weights()  # these add a zero, which makes +0.0 of -0.0
        return {name: self._looked_up(name) for name in self._substituted}

    def _looked_up(self, name: str) -> np.ndarray:
        """As `effective_value`, in numpy, in the memory of its result alone."""
        state, codebook = self._state[name], self.centroids(name)
        assignments = to_numpy(state["assignments"], copy=False)
        with_zero = np.pad(codebook, [(0, 0)] * (codebook.ndim - 1) + [(1, 0)]).reshape(-1)
        value = empty(assignments.shape, codebook.dtype)
        starts = np.broadcast_to(state["starts"], value.shape)
        for some, at, first in zip(*map(_pieces, (value, assignments, starts)), strict=True):
            some[...] = with_zero[at + first]
        return value

    @property
    def trainable(self) -> bool:
        """Whether the centroids and the inner layer's other weights train."""
        return super().trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.layers.Wrapper.trainable.fset(self, value)
        # Thawing a layer thaws all its variables, but a shared weight has no gradient of its own.
        for variable in getattr(self, "_substituted", {}).values():
            variable.trainable = self.straight_through and value

    def centroids(self, name: str) -> np.ndarray:
        """The present centroids of a weight: 1-D, or a row for each output channel."""
        return to_numpy(self._state[name]["centroids"])

    def assignments(self, name: str) -> np.ndarray:
        """The present assignments: 0 for zero, i + 1 for centroid i; the weight's shape."""
        return to_numpy(self._state[name]["assignments"])

    def member_counts(self, name: str) -> np.ndarray:
        """How many weights are zero, then how many each centroid has, row by row."""
        starts, codebook = self._state[name]["starts"], self.centroids(name)
        size = codebook.shape[-1] + 1
        counts = np.bincount((self.assignments(name) + starts).ravel())
        counts = np.pad(counts, (0, codebook.size // (size - 1) * size - counts.size))
        rows = counts.reshape(-1, size)
        return np.concatenate([[rows[:, 0].sum()], rows[:, 1:].ravel()])

    def reassign(self, name: str, rate: float = 0.0, importance: Any = None) -> int:
        """Gives each weight the present centroid that is nearest to its value before sharing.

        Args:
            name: The weight's path within the layer.
            rate: What a bit of the file is worth, see `keras_deepcomp.rate_distortion.assign`.
                Above 0, weights prefer common centroids, and may become zero if zeros are kept.
            importance: How much an error in each weight matters, of its shape; None for all alike.

        Returns:
            How many weights changed their centroid. Zeros stay zeros.
        """
        original = to_numpy(self._substituted[name])
        codebook, old = self.centroids(name), self.assignments(name)
        axes = self._axes(self._substituted[name])
        matters = np.ones(original.shape) if importance is None else np.asarray(importance)
        rows, books = [], codebook.reshape(-1, codebook.shape[-1])
        parts = (_rows(each, axes) for each in (original, old, matters))
        for values, before, weight, row in zip(*parts, books, strict=True):
            alive = before != 0
            after = np.zeros_like(before)
            after[alive] = self._nearest(values[alive], row, before, rate, weight[alive])
            rows.append(after)
        new = _from_rows(np.stack(rows), old.shape, axes)
        self._state[name]["assignments"].assign(new)
        return int(np.count_nonzero(new != old))

    def _nearest(
        self, values: np.ndarray, row: np.ndarray, before: np.ndarray, rate: float, weight: Any
    ) -> np.ndarray:
        if rate == 0.0:
            order = np.argsort(row, kind="stable")
            return order[kmeans_1d.assign(values, row[order])] + 1
        counts = np.bincount(before, minlength=row.size + 1)
        first = 0 if self.preserve_sparsity else 1
        with_zero = np.concatenate([[0.0], row])[first:]
        return rate_distortion.assign(values, with_zero, counts[first:], rate, weight) + first

    def get_config(self) -> dict[str, Any]:
        """The arguments, as plain data; codebook sizes as they came out, once built."""
        sizes = [int(state["centroids"].shape[-1]) for state in self._state.values()]
        return {
            **super().get_config(),
            "number_of_clusters": sizes or self.number_of_clusters,
            "cluster_centroids_init": self.cluster_centroids_init,
            "seed": self.seed,
            "cluster_per_channel": self.cluster_per_channel,
            "gradient_aggregation": self.gradient_aggregation,
            "preserve_sparsity": self.preserve_sparsity,
            "straight_through": self.straight_through,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> ClusterWeights:
        """The wrapper that `get_config` came from; its codebooks come with the weights."""
        wrapper = super().from_config(config, custom_objects)
        wrapper._restored = isinstance(wrapper.number_of_clusters, list)
        return wrapper


def check_number_of_clusters(count: Any, what: str, fewest: int = FEWEST_CLUSTERS) -> int:
    """Gives the number back if it can be a codebook size.

    Raises:
        TypeError: It is not an int.
        ValueError: It is too small or too large.
    """
    if isinstance(count, bool) or not isinstance(count, int | np.integer):
        raise TypeError(f"{what} must be an int, the size of the codebook; got {count!r}.")
    if not fewest <= count <= MOST_CLUSTERS:
        raise ValueError(
            f"{what} is {count}; expected {FEWEST_CLUSTERS} to {MOST_CLUSTERS:,} (the paper uses "
            "32 for dense and 256 for convolutional layers; zeros are kept beside them)."
        )
    return int(count)


def _as_aggregation(aggregation: Any) -> str:
    """Takes "sum" and "mean" in any case, and tfmot's `GradientAggregation` (SUM and AVG)."""
    name = str(getattr(aggregation, "value", aggregation)).lower()
    name = name.removeprefix("gradientaggregation.")
    name = "mean" if name == "avg" else name
    if name not in ("sum", "mean"):
        raise ValueError(
            f'gradient_aggregation is "sum", as in the paper, or "mean"; got {aggregation!r}.'
        )
    return name


def _assignments_type(clusters: int) -> type[np.unsignedinteger[Any]]:
    """The type of assignments, which are 0 for zero and at most the number of clusters."""
    return np.uint8 if clusters < 256 else np.uint16


def _pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    """Views of an array, of moderate size unless its last axis is long."""
    rows = array.reshape(1) if not array.ndim else array
    while rows.ndim > 2 and len(rows) == 1:
        rows = rows[0]
    step = max(1, _AT_ONCE // max(1, math.prod(rows.shape[1:])))
    return (rows[start : start + step] for start in range(0, len(rows), step))


def _starts(shape: tuple[int, ...], axes: tuple[int, ...], size: int) -> np.ndarray:
    """Where each weight's codebook starts in all codebooks one after the other.

    Args:
        shape: The weight's shape.
        axes: The axes whose places have a codebook each.
        size: Values of a codebook, with the zero before it.

    Returns:
        int32, of a shape that broadcasts to `shape`.
    """
    lengths = [shape[axis] for axis in axes]
    starts = np.arange(math.prod(lengths), dtype=np.int32) * size
    return starts.reshape([n if axis in axes else 1 for axis, n in enumerate(shape)])


def _rows(array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """An array as rows, one for each place along some axes, or as one row."""
    moved = np.moveaxis(array, axes, range(len(axes)))
    return moved.reshape(math.prod(moved.shape[: len(axes)]), -1)


def _from_rows(rows: np.ndarray, shape: tuple[int, ...], axes: tuple[int, ...]) -> np.ndarray:
    """The array of a shape that `_rows` came from."""
    first = [shape[axis] for axis in axes]
    others = [n for axis, n in enumerate(shape) if axis not in axes]
    return np.moveaxis(rows.reshape([*first, *others]), range(len(axes)), axes)


def _averaging(codebook: Any, places: Any) -> Any:
    """The codebook itself, whose gradient is divided by the number of each centroid's members.

    The difference is exactly zero and so is what is added, but its derivative is not.
    """
    ops = keras.ops
    padded = (*codebook.shape[:-1], codebook.shape[-1] + 1)
    ones = ops.ones(math.prod(places.shape), dtype="int32")
    members = ops.segment_sum(ones, ops.reshape(places, (-1,)), math.prod(padded))
    members = ops.maximum(ops.reshape(members, padded)[..., 1:], 1)
    fixed = ops.stop_gradient(codebook)
    # In float32 at least, as narrower types cannot count far.
    wide = keras.backend.result_type(codebook.dtype, "float32")
    moving = ops.cast(codebook - fixed, wide) / ops.cast(members, wide)
    return fixed + ops.cast(moving, codebook.dtype)


class _Exactly:
    """An initializer that gives these values.

    An object with a method and not a function: Keras compiles the `__call__` of an initializer
    where a weight is large and lies on several devices of JAX.
    """

    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return keras.ops.convert_to_tensor(self._values, dtype=dtype)
