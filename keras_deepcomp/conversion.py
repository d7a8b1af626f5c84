"""Model -> wrapped model -> plain model.

A conversion makes a new model of the same kind and leaves the given one as it is: every layer is
made again from its configuration, wrapped or unwrapped on the way, and gets the values of the old
one. The new model is not compiled.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras

from keras_deepcomp import participation as participations
from keras_deepcomp.devices import NO_SHARING, check_strategy, guard_fit, to_numpy
from keras_deepcomp.naming import variable_names
from keras_deepcomp.policies import as_policy
from keras_deepcomp.rebuilding import Wrap, leaves, plain_layer, rebuild
from keras_deepcomp.schedules import Schedule, as_schedule
from keras_deepcomp.selection import (
    Filters,
    layer_filter,
    participation,
    per_layer,
    with_biases,
)
from keras_deepcomp.structures import Structure, structure_of
from keras_deepcomp.wrappers.clustering import ClusterWeights, check_number_of_clusters
from keras_deepcomp.wrappers.pruning import PruneLowMagnitude
from keras_deepcomp.wrappers.substitution import (
    WeightSubstitution,
    find_wrappers,
    require_finite,
)

Clusters = int | dict[str, int] | Callable[[Any], int | None]


def prune_low_magnitude(
    model: keras.Model,
    pruning_schedule: Any,
    scope: str = "layer",
    filters: Filters = None,
    block_size: tuple[int, int] = (1, 1),
    block_pooling_type: str = "AVG",
    sparsity_m_by_n: tuple[int, int] | None = None,
    pruning_policy: Any = None,
    verbose: bool = True,
    ranking: str = "magnitude",
    biases: bool = False,
) -> keras.Model:
    """Makes a model whose layers prune their small weights while it trains (paper section 2).

    Nothing is pruned yet: `compile` the result and `fit` it with
    `callbacks=[keras_deepcomp.UpdatePruningStep()]`.

    Args:
        model: A built Keras model of any kind. It is not changed.
        pruning_schedule: One of `keras_deepcomp.schedules`, a tfmot pruning schedule, or a callable
            from the optimizer step to a sparsity; or a dict from layer name or regular expression
            to one of these, where layers that are not named are left alone.
        scope: "layer": every weight reaches the sparsity by itself. "global": all of them together,
            by one threshold, so that layers end up as sparse as they can bear.
        filters: Which layers: None (all), a regular expression, a list of layer names or regular
            expressions, or a callable on the layer. What cannot be pruned is left as it is.
        block_size: (height, width): prunes blocks of so many input by so many output channels as
            one, in a convolution at each place of its window.
        block_pooling_type: "AVG" ranks blocks by the mean magnitude in them, "MAX" by the largest.
        sparsity_m_by_n: (m, n): at least m zeros in each n consecutive input channels, such as
            (2, 4). The pattern fills up while the schedule rises, and is complete when the
            sparsity reaches m / n, which it has to; beyond that, what is smallest of the rest goes.
        pruning_policy: Which layers are worth it, and whether the model is as a whole: one of
            `keras_deepcomp.policies`, an object with tfmot's `allow_pruning(layer)` and, if it
            has, `ensure_model_supports_pruning(model)`, or a callable from layer to bool.
        verbose: Whether to print which weights take part, and why the others do not.
            `keras_deepcomp.summary` of the result has it too.
        ranking: "magnitude", or "worth": by how much the loss is estimated to need a weight, from
            the second moments that Adam and its kin keep. Only for sparsity schedules.
        biases: Whether the biases of these layers are pruned too.

    Returns:
        A new model of the same kind, not compiled, with `PruneLowMagnitude` around its layers.

    Raises:
        ValueError: The model is not built, is wrapped already, has NaN or infinite weights, or
            nothing in it can be pruned; a filter matches nothing; a sparsity is out of range; a
            pattern makes no sense, or the schedule does not reach it; the policy has no use for
            the model.
        TypeError: Not a Keras model, not a schedule, or not a policy.
    """
    if not isinstance(pruning_schedule, dict):
        pruning_schedule = as_schedule(pruning_schedule)
    policy = as_policy(pruning_policy)
    _check_convertible(model)
    if find_wrappers(model, ClusterWeights):
        raise ValueError(
            "This model shares its weights already (ClusterWeights), and pruning them now would "
            "undo that. Prune first, then share: call prune_low_magnitude on "
            "keras_deepcomp.strip(model), fit, then cluster_weights."
        )
    if find_wrappers(model, PruneLowMagnitude):
        raise ValueError(
            "This model is wrapped for pruning already. Go on with fit, or start anew from "
            "keras_deepcomp.strip(model)."
        )
    if biases and structure_of(block_size, block_pooling_type, sparsity_m_by_n) != Structure():
        raise ValueError(
            "biases=True: a vector has no blocks or groups of channels. Prune with a pattern and "
            "leave the biases as they are, or leave the pattern out."
        )
    policy.ensure_model_supports_pruning(model)
    candidates = _compressible(model, "prune")
    chosen = layer_filter(filters, candidates)
    schedule_for = _schedules(pruning_schedule, candidates)

    def wrapping(layer: keras.Layer) -> Wrap | None:
        schedule = schedule_for(layer)
        if not _takes_part(layer, "prune") or not chosen(layer) or schedule is None:
            return None
        if not policy.allow_pruning(layer):
            return None
        _check_finite(layer)

        def wrap(inner: keras.Layer) -> PruneLowMagnitude:
            return PruneLowMagnitude(
                inner,
                schedule,
                scope,
                block_size,
                block_pooling_type,
                sparsity_m_by_n,
                ranking,
                weight_names=with_biases(inner, "prune") if biases else None,
            )

        return wrap if wrap(layer).taking_part() else None

    return _finish(model, rebuild(model, wrapping), PruneLowMagnitude, "pruned", verbose)


def cluster_weights(
    model: keras.Model,
    number_of_clusters: Clusters,
    cluster_centroids_init: Any = "linear",
    filters: Filters = None,
    seed: int = 0,
    cluster_per_channel: bool = False,
    gradient_aggregation: Any = "sum",
    preserve_sparsity: bool = True,
    verbose: bool = True,
    bias_clusters: int | None = None,
    straight_through: bool = False,
) -> keras.Model:
    """Makes a model whose weights share few values, which go on training (paper section 3).

    The codebooks are found here, by k-means over the weights of each layer that are not zero.
    Zeros, such as those of stage 1, stay zeros and are not counted as a cluster, unless
    `preserve_sparsity` is False. A pruned layer that shares no weights keeps its mask, and its
    schedule is over. `compile` and `fit` the result to train the centroids.

    Args:
        model: A built Keras model of any kind, pruned or plain. It is not changed.
        number_of_clusters: Size of each codebook, 2 to 65,535: an int for all layers; a dict from
            layer name or regular expression to int, where layers that are not named are left alone;
            or a callable on the layer that gives an int, or None to leave it alone.
        cluster_centroids_init: "linear", "density", "compander", "random" or "kmeans++", see
            `keras_deepcomp.centroids.kmeans`; or one of tfmot's `CentroidInitialization`.
        filters: Which layers, as in `prune_low_magnitude`.
        seed: For the random initializations.
        cluster_per_channel: Whether each output channel gets a codebook of its own. The error is
            smaller, and the file larger.
        gradient_aggregation: "sum": a centroid moves by the sum of its members' gradients, as in
            the paper. "mean": by their mean. tfmot's `GradientAggregation` will do too.
        preserve_sparsity: Whether zeros stay zeros beside the codebook. If not, they are values
            like others: what was pruned may become a centroid that is not zero.
        verbose: Whether to print which weights take part, and why the others do not.
        bias_clusters: Size of the codebooks of the biases, of the layers that share their weights;
            None leaves biases as they are. A bias has one codebook, also with
            `cluster_per_channel`.
        straight_through: Whether the weights from before sharing go on training beside the
            centroids, so that `UpdateCentroids(reassign=True)` finds better ones for them.

    Returns:
        A new model of the same kind, not compiled, with `ClusterWeights` around its layers.

    Raises:
        ValueError: A number of clusters out of range; the model is not built, shares its weights
            already, has NaN or infinite weights, or nothing in it can be clustered; a filter or
            name matches nothing.
        TypeError: Not a Keras model, or a number of clusters that is not an int.
    """
    _check_convertible(model)
    if find_wrappers(model, ClusterWeights):
        raise ValueError(
            "This model shares its weights already. Go on with fit, or start anew from "
            "keras_deepcomp.strip(model)."
        )
    if bias_clusters is not None:
        check_number_of_clusters(bias_clusters, "bias_clusters")
    check_strategy(model, NO_SHARING)
    candidates = _compressible(model, "cluster")
    chosen = layer_filter(filters, candidates)
    count_for = per_layer(
        number_of_clusters, candidates, "number_of_clusters", check_number_of_clusters
    )

    def wrapping(layer: keras.Layer) -> Wrap | None:
        plain = plain_layer(layer)
        shared = _takes_part(plain, "cluster") and chosen(plain)
        count = count_for(plain) if shared else None
        if count is None:
            return layer.around if isinstance(layer, PruneLowMagnitude) else None
        _warn_of_lost_zeros(layer, bias_clusters is not None)

        def wrap(inner: keras.Layer) -> ClusterWeights:
            names = None if bias_clusters is None else with_biases(inner, "cluster")
            return ClusterWeights(
                inner,
                count if names is None else _counts(inner, names, count, bias_clusters),
                cluster_centroids_init,
                seed,
                cluster_per_channel=cluster_per_channel,
                gradient_aggregation=gradient_aggregation,
                preserve_sparsity=preserve_sparsity,
                straight_through=straight_through,
                weight_names=names,
            )

        return wrap

    return _finish(model, rebuild(model, wrapping), ClusterWeights, "shared", verbose)


def strip(model: keras.Model) -> keras.Model:
    """Makes an ordinary Keras model of a wrapped one, with the values that it computes with.

    Args:
        model: A pruned, shared or plain model.

    Returns:
        A new, uncompiled model of the kind and with the names that went in; `model` itself if
        nothing in it is wrapped.
    """
    _check_model(model)
    if not find_wrappers(model):
        return model
    return rebuild(model)


def _takes_part(layer: keras.Layer, purpose: Any) -> bool:
    return any(weight.takes_part for weight in participation(plain_layer(layer), purpose))


def _compressible(model: keras.Model, purpose: Any) -> list[keras.Layer]:
    return [plain_layer(layer) for layer in leaves(model) if _takes_part(layer, purpose)]


def _check_model(model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected a Keras 3 model; got {model!r}.")


def _check_convertible(model: Any) -> None:
    _check_model(model)
    if not model.built:
        raise ValueError(
            f"'{model.name}' is not built, so it has no weights yet. Give it a keras.Input as its "
            "first layer, call model.build(input_shape), or fit it first."
        )


def _check_finite(layer: keras.Layer) -> None:
    for variable in layer.weights:
        if keras.backend.is_float_dtype(variable.dtype):
            require_finite(
                to_numpy(variable, copy=False),
                f"'{variable.path}'",
                "Prune a model whose training went well, or reload a good checkpoint.",
            )


def _counts(layer: keras.Layer, names: list[str], count: int, for_biases: Any) -> list[int]:
    """The size of the codebook of each weight by name, where biases have their own."""
    paths = variable_names(layer)
    ranks = {paths[id(variable)]: len(variable.shape) for variable in layer.weights}
    return [for_biases if ranks[name] == 1 else count for name in names]


def _warn_of_lost_zeros(layer: keras.Layer, with_its_biases: bool) -> None:
    if not isinstance(layer, PruneLowMagnitude):
        return
    shared = {row.weight for row in participation(layer.layer, "cluster") if row.takes_part}
    if with_its_biases:
        shared |= set(with_biases(layer.layer, "cluster"))
    if lost := sorted(layer.weight_variables.keys() - shared):
        warnings.warn(
            f"{', '.join(lost)} of '{layer.layer.name}' is pruned, but cannot share its weights: "
            "its zeros will not last when training goes on. Name it in the layer's "
            "get_clusterable_weights(), or leave the layer out by filters=, which keeps its mask.",
            UserWarning,
            stacklevel=4,
        )


def _finish(
    old: keras.Model, new: keras.Model, kind: type[WeightSubstitution], done: str, verbose: bool
) -> keras.Model:
    if not find_wrappers(new, kind):
        weights = [
            f"{p.layer}/{p.weight}: {p.reason or 'filtered out'}"
            for layer in leaves(old)
            for p in participation(plain_layer(layer), kind.purpose)
        ]
        raise ValueError(
            f"Nothing in '{old.name}' can be {done}: {'; '.join(weights) or 'it has no weights'}."
        )
    guard_fit(new)
    if verbose:
        rows = participations.of_model(new, kind.purpose)
        print(participations.in_words(rows, f"'{new.name}', to be {done}"))
    return new


def _schedules(
    given: Schedule | dict[str, Any], candidates: list[keras.Layer]
) -> Callable[[keras.Layer], Schedule | None]:
    if not isinstance(given, dict):
        return lambda layer: given
    return per_layer(given, candidates, "pruning_schedule", lambda each, what: as_schedule(each))
