"""Model -> wrapped model -> plain model.

A conversion makes a new model of the same kind and leaves the given one as it is: every layer is
made again from its configuration, wrapped or unwrapped on the way, and gets the values of the old
one. The new model is not compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras.src.saving.serialization_lib import SafeModeScope

from keras_deepcomp.naming import sublayers
from keras_deepcomp.schedules import as_schedule
from keras_deepcomp.selection import Filters, layer_filter, matching, participation
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
) -> keras.Model:
    """Makes a model whose layers prune their small weights while it trains (paper section 2).

    Nothing is pruned yet: `compile` the result and `fit` it with
    `callbacks=[keras_deepcomp.UpdatePruningStep()]`.

    Args:
        model: A built Sequential or functional Keras model. It is not changed.
        pruning_schedule: One of `keras_deepcomp.schedules`, a tfmot pruning schedule, or a callable
            from the optimizer step to a sparsity.
        scope: "layer": every weight reaches the sparsity by itself. "global": all of them together,
            by one threshold, so that layers end up as sparse as they can bear.
        filters: Which layers: None (all), a regular expression, a list of layer names or regular
            expressions, or a callable on the layer. What cannot be pruned is left as it is.

    Returns:
        A new model of the same kind, not compiled, with `PruneLowMagnitude` around its layers.

    Raises:
        ValueError: The model is not built, is wrapped already, has NaN or infinite weights, or
            nothing in it can be pruned; a filter matches nothing; a sparsity is out of range.
        TypeError: Not a Keras model of these kinds, or not a schedule.
    """
    schedule = as_schedule(pruning_schedule)
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
    chosen = layer_filter(filters, _compressible(model, "prune"))

    def convert(layer: keras.Layer) -> keras.Layer | None:
        if not _takes_part(layer, "prune") or not chosen(layer):
            return None
        _check_finite(layer)
        return PruneLowMagnitude(built_copy(layer), schedule, scope=scope)

    return _finish(model, rebuild(model, convert), PruneLowMagnitude, "pruned")


def cluster_weights(
    model: keras.Model,
    number_of_clusters: Clusters,
    cluster_centroids_init: str = "linear",
    filters: Filters = None,
    seed: int = 0,
) -> keras.Model:
    """Makes a model whose weights share few values, which go on training (paper section 3).

    The codebooks are found here, by k-means over the weights of each layer that are not zero.
    Zeros, such as those of stage 1, stay zeros and are not counted as a cluster. `compile` and
    `fit` the result to train the centroids.

    Args:
        model: A built Sequential or functional Keras model, pruned or plain. It is not changed.
        number_of_clusters: Size of each codebook, 2 to 65,535: an int for all layers; a dict from
            layer name or regular expression to int, where layers that are not named are left alone;
            or a callable on the layer that gives an int, or None to leave it alone.
        cluster_centroids_init: "linear", "density", "random" or "kmeans++", see
            `keras_deepcomp.centroids.kmeans`.
        filters: Which layers, as in `prune_low_magnitude`.
        seed: For the random initializations.

    Returns:
        A new model of the same kind, not compiled, with `ClusterWeights` around its layers.

    Raises:
        ValueError: A number of clusters out of range; the model is not built, shares its weights
            already, has NaN or infinite weights, or nothing in it can be clustered; a filter or
            name matches nothing.
        TypeError: Not a Keras model of these kinds, or a number of clusters that is not an int.
    """
    _check_convertible(model)
    if find_wrappers(model, ClusterWeights):
        raise ValueError(
            "This model shares its weights already. Go on with fit, or start anew from "
            "keras_deepcomp.strip(model)."
        )
    candidates = _compressible(model, "cluster")
    chosen = layer_filter(filters, candidates)
    count_for = _clusters_per_layer(number_of_clusters, [_plain(c).name for c in candidates])

    def convert(layer: keras.Layer) -> keras.Layer | None:
        plain = _plain(layer)
        if not _takes_part(plain, "cluster") or not chosen(plain):
            return None
        count = count_for(plain)
        if count is None:
            return None
        return ClusterWeights(built_copy(layer), count, cluster_centroids_init, seed)

    return _finish(model, rebuild(model, convert), ClusterWeights, "shared")


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
    return rebuild(model, lambda layer: None)


def _clusters_per_layer(
    number_of_clusters: Clusters, names: list[str]
) -> Callable[[keras.Layer], int | None]:
    if isinstance(number_of_clusters, dict):
        counts: dict[str, int] = {}
        for pattern, count in number_of_clusters.items():
            check_number_of_clusters(count, f"number_of_clusters[{pattern!r}]")
            for name in matching(pattern, names, "number_of_clusters"):
                counts.setdefault(name, count)
        return lambda layer: counts.get(layer.name)
    if callable(number_of_clusters):

        def asked(layer: keras.Layer) -> int | None:
            count = number_of_clusters(layer)
            what = f"number_of_clusters(layer '{layer.name}')"
            return None if count is None else check_number_of_clusters(count, what)

        return asked
    check_number_of_clusters(number_of_clusters, "number_of_clusters")
    return lambda layer: number_of_clusters


def _plain(layer: keras.Layer) -> keras.Layer:
    return layer.layer if isinstance(layer, WeightSubstitution) else layer


def _takes_part(layer: keras.Layer, purpose: Any) -> bool:
    return any(weight.takes_part for weight in participation(_plain(layer), purpose))


def _compressible(model: keras.Model, purpose: Any) -> list[keras.Layer]:
    return [_plain(layer) for layer in _leaves(model) if _takes_part(layer, purpose)]


def _leaves(model: keras.Layer) -> Iterator[keras.Layer]:
    """The layers that a conversion handles one by one: all but the models around them."""
    for layer in sublayers(model):
        if isinstance(layer, keras.Sequential) or _is_functional(layer):
            yield from _leaves(layer)
        else:
            yield layer


def _is_functional(layer: keras.Layer) -> bool:
    # As keras.models.clone_model sees it: other subclasses of Model have no graph.
    return isinstance(layer, keras.Model) and hasattr(layer, "_run_through_graph")


def _check_model(model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected a Keras 3 model; got {model!r}.")


def _check_convertible(model: Any) -> None:
    _check_model(model)
    if not isinstance(model, keras.Sequential) and not _is_functional(model):
        raise TypeError(
            f"'{model.name}' is a subclassed model ({type(model).__name__}), whose layers cannot "
            "be replaced from outside. Expected a Sequential or functional model: build it as "
            "keras.Model(inputs, outputs) from the layers that it calls."
        )
    if not model.built:
        raise ValueError(
            f"'{model.name}' is not built, so it has no weights yet. Give it a keras.Input as its "
            "first layer, call model.build(input_shape), or fit it first."
        )


def _check_finite(layer: keras.Layer) -> None:
    for variable in layer.weights:
        if keras.backend.is_float_dtype(variable.dtype):
            require_finite(
                keras.ops.convert_to_numpy(variable),
                f"'{variable.path}'",
                "Prune a model whose training went well, or reload a good checkpoint.",
            )


def _unbuilt_copy(layer: keras.Layer) -> keras.Layer:
    plain = _plain(layer)
    try:
        # The layer is the user's own and in this process: what is in it runs already.
        with SafeModeScope(False):
            return plain.__class__.from_config(plain.get_config())
    except Exception as error:  # whatever the layer's own code raises
        raise ValueError(
            f"Layer '{plain.name}' ({type(plain).__name__}) cannot be made anew from its "
            f"configuration: {error} Give it a get_config() with all the arguments of its "
            "__init__, and pass **kwargs on to keras.layers.Layer."
        ) from error


def built_copy(layer: keras.Layer) -> keras.Layer:
    """A plain layer with the same configuration and the values that the old one computes with.

    It is built as the old one was, by a call with the same arguments: layers with several inputs,
    and those that only have sublayers, cannot be built from one shape.
    """
    clone, plain = _unbuilt_copy(layer), _plain(layer)
    if plain._inbound_nodes:
        call = plain._inbound_nodes[0].arguments
        args, kwargs = keras.tree.map_structure(_fresh, (call.args, call.kwargs))
        clone(*args, **kwargs)
    else:
        clone.build_from_config(plain.get_build_config() or {})
        clone.built = True
    _copy_values(layer, clone)
    return clone


def _fresh(value: Any) -> Any:
    """A symbolic tensor of the same kind that belongs to no graph; anything else as it is."""
    if isinstance(value, keras.KerasTensor):
        return keras.KerasTensor(value.shape, value.dtype)
    return value


def _copy_values(old: keras.Layer, new: keras.Layer) -> None:
    effective: dict[int, np.ndarray] = {}
    if isinstance(old, WeightSubstitution):
        values = old.effective_weights()
        effective = {id(v): values[name] for name, v in old.weight_variables.items()}
        old = old.layer
    for source, target in zip(old.variables, new.variables, strict=True):
        target.assign(effective.get(id(source), keras.ops.convert_to_numpy(source)))
    finalize(new)


def finalize(layer: keras.Layer) -> None:
    """Lets layers work out what they derive from their variables, as Normalization does."""
    for each in layer._flatten_layers():
        if hasattr(each, "finalize_state") and each.built:
            each.finalize_state()


def rebuild(
    model: keras.Model, convert: Callable[[keras.Layer], keras.Layer | None]
) -> keras.Model:
    """Makes the model anew with `convert(layer)` for each layer, or a plain copy where it is None.

    Plain copies are built by the new model and not before, so that their variables have the same
    paths as in a model that was never wrapped.
    """
    copies: list[tuple[keras.Layer, keras.Layer]] = []

    def clone(layer: keras.Layer) -> keras.Layer:
        if not isinstance(layer, keras.Layer):  # an operation of the graph has no state
            return layer
        converted = convert(layer)
        if converted is None:
            converted = _unbuilt_copy(layer)
            copies.append((layer, converted))
        return converted

    with _not_compiled(model):
        new = keras.models.clone_model(model, clone_function=clone, recursive=True)
    for old, copy in copies:
        _copy_values(old, copy)
    return new


@contextmanager
def _not_compiled(model: keras.Model) -> Iterator[None]:
    # clone_model would compile the clone as well, which fails for losses that are not registered,
    # and keeps an optimizer that is right for one stage in the next.
    models = [m for m in [model, *_inner_models(model)] if m.compiled]
    for each in models:
        each.compiled = False
    try:
        yield
    finally:
        for each in models:
            each.compiled = True


def _inner_models(model: keras.Layer) -> Iterator[keras.Model]:
    for layer in sublayers(model):
        if isinstance(layer, keras.Model):
            yield layer
            yield from _inner_models(layer)


def _finish(
    old: keras.Model, new: keras.Model, kind: type[WeightSubstitution], done: str
) -> keras.Model:
    if not find_wrappers(new, kind):
        weights = [
            f"{p.layer}/{p.weight}: {p.reason or 'filtered out'}"
            for layer in _leaves(old)
            for p in participation(_plain(layer), kind.purpose)
        ]
        raise ValueError(
            f"Nothing in '{old.name}' can be {done}: {'; '.join(weights) or 'it has no weights'}."
        )
    return new
