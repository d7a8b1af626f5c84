"""Stage 2: a layer whose weights share few values (paper section 3)."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np

from keras_deepcomp import centroids as kmeans_1d
from keras_deepcomp.wrappers.substitution import WeightSubstitution, require_finite

FEWEST_CLUSTERS = 2
MOST_CLUSTERS = 65_535

Codebooks = dict[str, tuple[np.ndarray, np.ndarray]]
"""A weight's path within its layer -> its centroids and assignments."""


@keras.saving.register_keras_serializable("keras_deepcomp")
class ClusterWeights(WeightSubstitution):
    """Wraps a layer so that it computes with `take([0, *centroids], assignments)`.

    Weights that are zero keep the assignment 0 and stay zero; each other weight is one of the
    centroids, which are what trains. The gradient of a centroid is the sum of the gradients of the
    weights assigned to it (paper section 3.3, equation 3): that is the derivative of `take`.

    State per weight: assignments (unsigned integers, the weight's shape, 0 for zero and i + 1 for
    centroid i) and centroids (the weight's own dtype, ascending when made). The inner variable
    keeps the values from before sharing, untrained; `reassign` goes back to them.

    Args:
        layer: The layer whose weights are to be shared. A built layer gets its centroids from the
            weights that it has.
        number_of_clusters: Size of the codebook, zero not counted: one int of at least 2, or a
            list with one for each weight that takes part, in their order.
        cluster_centroids_init: "linear" (the paper's best), "density", "random" or "kmeans++".
        seed: For the random initializations.
        **kwargs: For `keras.layers.Layer`.

    Raises:
        ValueError: Fewer than 2 or more than 65,535 clusters, an unknown initialization, or weights
            with NaN or infinity.
    """

    purpose = "cluster"

    def __init__(
        self,
        layer: keras.Layer,
        number_of_clusters: int | list[int],
        cluster_centroids_init: str = "linear",
        seed: int = 0,
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
        if cluster_centroids_init not in kmeans_1d.INITIALIZATIONS:
            raise ValueError(
                f"Unknown cluster_centroids_init {cluster_centroids_init!r}; expected one of "
                f"{', '.join(map(repr, kmeans_1d.INITIALIZATIONS))}."
            )
        self.number_of_clusters = number_of_clusters
        self.cluster_centroids_init = cluster_centroids_init
        self.seed = seed
        self._restored = False
        self._given: Codebooks = {}
        self._state: dict[str, dict[str, Any]] = {}

    def add_state(self, name: str, variable: Any) -> None:
        """Finds the centroids of one weight and adds them and the assignments as variables."""
        if name in self._given:
            codebook, assignments = self._given.pop(name)
        elif self._restored:  # sizes are known, values come with the file
            count = self._next_count()
            codebook, assignments = np.zeros(count), np.zeros(variable.shape, np.uint8)
        else:
            codebook, assignments = self._share(name, keras.ops.convert_to_numpy(variable))
        prefix = name.replace("/", "_")
        variable.trainable = False
        self._state[name] = {
            "assignments": self.add_weight(
                name=f"{prefix}_assignments",
                shape=variable.shape,
                dtype="uint8" if codebook.size < 256 else "uint16",
                initializer=_exactly(assignments),
                trainable=False,
            ),
            "centroids": self.add_weight(
                name=f"{prefix}_centroids",
                shape=codebook.shape,
                dtype=variable.dtype,
                initializer=_exactly(codebook),
                trainable=True,
            ),
        }

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

    def _share(self, name: str, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weight = f"'{name}' of layer '{self.layer.name}'"
        require_finite(
            weights, weight, "Share a model whose training went well, or reload a good checkpoint."
        )
        nonzero = weights[weights != 0]
        count = self._next_count()
        if not nonzero.size:
            return np.zeros(1), np.zeros(weights.shape, np.intp)
        codebook = kmeans_1d.kmeans(nonzero, count, self.cluster_centroids_init, self.seed)
        if codebook.size < count:
            warnings.warn(
                f"{weight} has {codebook.size} distinct values that are not zero, fewer than the "
                f"{count} clusters asked for: it gets {codebook.size}, and loses nothing.",
                UserWarning,
                stacklevel=2,
            )
        return codebook, np.where(weights != 0, kmeans_1d.assign(weights, codebook) + 1, 0)

    def effective_value(self, name: str) -> Any:
        """The shared value of each weight; +0.0 where it was zero."""
        ops = keras.ops
        codebook = self._state[name]["centroids"].value
        with_zero = ops.concatenate([ops.zeros_like(codebook[:1]), codebook])
        return ops.take(with_zero, ops.cast(self._state[name]["assignments"].value, "int32"))

    @property
    def trainable(self) -> bool:
        """Whether the centroids and the inner layer's other weights train."""
        return super().trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.layers.Wrapper.trainable.fset(self, value)
        # Thawing a layer thaws all its variables, but a shared weight has no gradient of its own.
        for variable in getattr(self, "_substituted", {}).values():
            variable.trainable = False

    def centroids(self, name: str) -> np.ndarray:
        """The present centroids of a weight, 1-D."""
        return np.array(keras.ops.convert_to_numpy(self._state[name]["centroids"]))

    def assignments(self, name: str) -> np.ndarray:
        """The present assignments: 0 for zero, i + 1 for centroid i; the weight's shape."""
        return np.array(keras.ops.convert_to_numpy(self._state[name]["assignments"]))

    def reassign(self, name: str) -> int:
        """Gives each weight the present centroid that is nearest to its value before sharing.

        Returns:
            How many weights changed their centroid. Zeros stay zeros.
        """
        codebook = self.centroids(name)
        order = np.argsort(codebook, kind="stable")
        original = keras.ops.convert_to_numpy(self._substituted[name])
        old = self.assignments(name)
        nearest = order[kmeans_1d.assign(original, codebook[order])] + 1
        new = np.where(old == 0, 0, nearest).astype(old.dtype)
        self._state[name]["assignments"].assign(new)
        return int(np.count_nonzero(new != old))

    def get_config(self) -> dict[str, Any]:
        """The arguments, as plain data; codebook sizes as they came out, once built."""
        sizes = [int(state["centroids"].shape[0]) for state in self._state.values()]
        return {
            **super().get_config(),
            "number_of_clusters": sizes or self.number_of_clusters,
            "cluster_centroids_init": self.cluster_centroids_init,
            "seed": self.seed,
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


def _exactly(values: np.ndarray) -> Any:
    def initializer(shape: Any, dtype: Any = None) -> Any:
        return keras.ops.convert_to_tensor(values, dtype=dtype)

    return initializer
