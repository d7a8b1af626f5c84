"""From a live tf-keras model to plain data.

Neither tf-keras nor tfmot is imported: the model brings its classes with it, and tfmot's wrappers
are known by name and read through their attributes. The model is left as it is.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from keras_deepcomp.migration.graph import rename_layers
from keras_deepcomp.migration.state import LayerState, ModelState, Pruned, Shared
from keras_deepcomp.schedules import as_schedule

_TFMOT = "tensorflow_model_optimization."
_PRUNING = f"{_TFMOT}python.core.sparsity.keras.pruning_wrapper"
_CLUSTERING = f"{_TFMOT}python.core.clustering.keras.cluster_wrapper"
_QUANTIZATION = f"{_TFMOT}python.core.quantization"

_INITIALIZATIONS = {
    "LINEAR": "linear",
    "RANDOM": "random",
    "DENSITY_BASED": "density",
    "KMEANS_PLUS_PLUS": "kmeans++",
}


def is_tf_keras(model: Any) -> bool:
    """Whether this is a model of tf-keras, that is, of Keras 2."""
    return any(
        base.__name__ == "Model" and base.__module__.split(".")[0] == "tf_keras"
        for base in type(model).__mro__
    )


def read_model(model: Any, from_file: bool = False) -> ModelState:
    """Takes a tf-keras model apart.

    Args:
        model: A built Sequential or functional model of tf-keras; its layers may be wrapped by
            tfmot.
        from_file: Whether it comes from a file. tfmot keeps the pattern of zeros of
            `preserve_sparsity` outside of its variables, so that a loaded model has lost it; it is
            then taken from the assignments, which are variables.

    Returns:
        Its state.

    Raises:
        ValueError: It is not built or a subclassed model; it has layers of quantization-aware
            training, layers with a clustering algorithm of their own, or wrappers inside other
            layers.
    """
    if not model.built:
        raise ValueError(
            f"'{model.name}' is not built, so it has no weights yet. Call model.build(input_shape) "
            "or fit it first."
        )
    layers: dict[str, LayerState] = {}
    kind = _class_name(model)
    config = _read_layers(model, _config_of(model), "", layers, from_file)
    return ModelState({"module": "keras", "class_name": kind, "config": config}, layers)


def _class_name(model: Any) -> str:
    is_graph = getattr(model, "_is_graph_network", False)
    names = {base.__name__ for base in type(model).__mro__}
    if "Sequential" not in names and not is_graph:
        raise ValueError(
            f"'{model.name}' is a subclassed model ({type(model).__name__}), which tfmot does not "
            "wrap. Make it anew as a Keras 3 model and pass it its weights: "
            "new.set_weights(old.get_weights())."
        )
    return "Sequential" if "Sequential" in names else "Functional"


def _config_of(model: Any) -> dict[str, Any]:
    try:
        return json.loads(json.dumps(model.get_config()))
    except (NotImplementedError, TypeError) as error:
        raise ValueError(
            f"The configuration of '{model.name}' cannot be written: {error} Give its custom "
            "layers a get_config() of plain data."
        ) from error


def _read_layers(
    model: Any,
    config: dict[str, Any],
    prefix: str,
    layers: dict[str, LayerState],
    from_file: bool,
) -> dict[str, Any]:
    """Reads the layers of a model into `layers`; takes the wrappers out of its configuration."""
    inside = {layer.name: layer for layer in model.layers}
    entries, renamed = [], {}
    for entry in config["layers"]:
        name = entry["config"]["name"]
        if name not in inside:  # a Sequential model does not count its input
            entries.append(entry)
            continue
        layer = inside[name]
        plain = _without_wrapper(entry, layer)
        if plain["config"]["name"] in inside:  # two layers of a model may not share a name
            plain["config"]["name"] = name
        renamed[name] = plain["config"]["name"]
        path = prefix + renamed[name]
        if "layers" in plain["config"]:
            plain["class_name"] = _class_name(layer)
            _read_layers(layer, plain["config"], f"{path}/", layers, from_file)
        else:
            layers[path] = _read_layer(layer, from_file)
        entries.append(plain)
    config["layers"] = entries
    for entry in entries:
        if "inbound_nodes" in entry:
            entry["name"] = entry["config"]["name"]
            entry["inbound_nodes"] = rename_layers(entry["inbound_nodes"], renamed)
    for ends in ("input_layers", "output_layers"):
        if ends in config:
            config[ends] = rename_layers(config[ends], renamed)
    return config


def _wrapper_module(layer: Any) -> str:
    """The module of tfmot that a layer's class comes from; empty if it does not."""
    modules = (base.__module__ for base in type(layer).__mro__)
    return next((module for module in modules if module.startswith(_TFMOT)), "")


def _without_wrapper(entry: dict[str, Any], layer: Any) -> dict[str, Any]:
    module = _wrapper_module(layer)
    if module.startswith(_QUANTIZATION):
        raise ValueError(
            f"'{layer.name}' ({type(layer).__name__}) is of quantization-aware training, which has "
            "no counterpart here. Bring over the model from before quantize_model or "
            "quantize_annotate_model, train it here, and quantize it when you convert it to "
            "TensorFlow Lite."
        )
    if module not in (_PRUNING, _CLUSTERING):
        _check_inside(layer)
        return entry
    _check_inside(layer.layer)
    plain = dict(entry["config"]["layer"])
    if "inbound_nodes" in entry:
        plain["inbound_nodes"] = entry["inbound_nodes"]
    return plain


def _check_inside(layer: Any) -> None:
    """Refuses wrappers around a layer inside a layer, where tfmot's callback finds none either."""
    if hasattr(layer, "layers"):  # a model: its layers are looked at one by one
        return
    for inner in layer._flatten_layers(include_self=False):
        if _wrapper_module(inner):
            raise ValueError(
                f"'{inner.name}' is a wrapper of tfmot inside the layer '{layer.name}'. Expected "
                "wrappers around whole layers: strip this one with tfmot, and wrap what "
                "from_tfmot returns with keras_deepcomp."
            )


def _read_layer(layer: Any, from_file: bool) -> LayerState:
    module = _wrapper_module(layer)
    if module == _PRUNING:
        return _read_pruned(layer)
    if module == _CLUSTERING:
        return _read_shared(layer, from_file)
    return LayerState([_array(weight) for weight in layer.weights])


def _array(variable: Any) -> np.ndarray:
    return np.asarray(variable.numpy())


def _position(variable: Any, variables: list[Any]) -> int:
    return next(i for i, each in enumerate(variables) if each is variable)


def _read_pruned(wrapper: Any) -> LayerState:
    weights = wrapper.layer.weights
    state = LayerState([_array(weight) for weight in weights])
    if not wrapper.pruning_vars:
        return state
    state.pruned = Pruned(
        as_schedule(wrapper.pruning_schedule), int(wrapper.pruning_step.numpy()), _pattern(wrapper)
    )
    for weight, mask, threshold in wrapper.pruning_vars:
        position = _position(weight, weights)
        state.pruned.masks[position] = _array(mask) != 0
        state.pruned.thresholds[position] = float(threshold.numpy())
    return state


def _pattern(wrapper: Any) -> str:
    if wrapper.sparsity_m_by_n:
        return f"sparsity_m_by_n={tuple(wrapper.sparsity_m_by_n)}"
    if tuple(wrapper.block_size) != (1, 1):
        return f"block_size={tuple(wrapper.block_size)}"
    return ""


def _read_shared(wrapper: Any, from_file: bool) -> LayerState:
    originals = wrapper.original_clusterable_weights
    taken = {id(variable) for variable in originals.values()}
    # The wrapper takes these out of the layer, and remembers where they were.
    weights = [weight for weight in wrapper.layer.weights if id(weight) not in taken]
    for position, name in sorted(wrapper.position_original_weights.items()):
        weights.insert(position, originals[name])
    state = LayerState([_array(weight) for weight in weights])
    if not originals:
        return state
    state.shared = Shared(
        _INITIALIZATIONS[_enum_name(wrapper.cluster_centroids_init)],
        _enum_name(wrapper.cluster_gradient_aggregation) == "AVG",
    )
    for name, original in originals.items():
        position = _position(original, weights)
        centroids, assignments = _codebook(wrapper, name, from_file)
        state.shared.centroids[position] = centroids
        state.shared.assignments[position] = assignments
    return state


def _enum_name(value: Any) -> str:
    return str(getattr(value, "value", value)).rpartition(".")[2]


def _codebook(wrapper: Any, name: str, from_file: bool) -> tuple[np.ndarray, np.ndarray]:
    """The codebook of a weight and its assignments, as tfmot's next call would have them.

    tfmot gives each weight its nearest centroid anew in each call, so that what its variables hold
    is that of the last call. Codebooks of single channels become one after the other in one.
    """
    algorithm = type(wrapper.clustering_algorithms[name]).__name__
    per_channel = algorithm == "ClusteringAlgorithmPerChannel"
    if not per_channel and algorithm != "ClusteringAlgorithm":
        raise ValueError(
            f"'{wrapper.layer.name}' clusters '{name}' with an algorithm of its own ({algorithm}), "
            "which has no counterpart here. Bring over the model that strip_clustering returns, "
            "and call keras_deepcomp.cluster_weights on it."
        )
    weights = _array(wrapper.original_clusterable_weights[name])
    books = _array(wrapper.cluster_centroids[name])
    axis = 1 if wrapper.data_format == "channels_first" else -1
    if not per_channel:  # one channel
        weights, books = weights[..., None], books[None]
        axis = -1
    weights = np.moveaxis(weights, axis, 0)
    stays_zero = np.zeros(books.shape, bool)
    if wrapper.preserve_sparsity:
        kept, stays_zero = _preserved_zeros(wrapper, name, books, axis, per_channel, from_file)
        weights, books = weights * kept, np.where(stays_zero, 0, books).astype(books.dtype)
    nearest = np.stack(
        [_nearest(channel, book) for channel, book in zip(weights, books, strict=True)]
    )
    offsets = books.shape[1] * np.arange(len(books))
    nearest += offsets.reshape(-1, *[1] * (nearest.ndim - 1))
    numbers = np.where(stays_zero.ravel(), 0, np.cumsum(~stays_zero.ravel()))
    assignments = np.moveaxis(numbers[nearest], 0, axis)
    if not per_channel:
        assignments = assignments[..., 0]
    codebook = books[~stays_zero]
    if not codebook.size:  # every weight is zero
        codebook = np.zeros(1, books.dtype)
    return codebook, assignments.astype(np.uint16 if codebook.size < 65_536 else np.uint32)


def _preserved_zeros(
    wrapper: Any, name: str, books: np.ndarray, axis: int, per_channel: bool, from_file: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Which weights are not held at zero, channels first, and which centroids are the zero."""
    if from_file:
        zero = np.abs(books).argmin(axis=1)
    else:
        zero = np.reshape(_array(wrapper.zero_idx[name]), -1)
    # tfmot sets to zero whatever equals the zero centroid.
    stays_zero = books == books[np.arange(len(books)), zero][:, None]
    if from_file:
        indices = _array(wrapper.pulling_indices[name])
        indices = np.moveaxis(indices if per_channel else indices[..., None], axis, 0)
        kept = indices != zero.reshape(-1, *[1] * (indices.ndim - 1))
    else:
        mask = _array(wrapper.sparsity_masks[name])
        kept = np.moveaxis(mask if per_channel else mask[..., None], axis, 0) != 0
    return kept.astype(books.dtype), stays_zero


def _nearest(weights: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """The number of the nearest centroid, the first where two are as near, in the weights' type."""
    nearest = np.zeros(weights.shape, np.int64)
    distance = np.abs(weights - centroids[0])
    for number, centroid in enumerate(centroids[1:], start=1):
        other = np.abs(weights - centroid)
        closer = other < distance
        nearest[closer] = number
        distance = np.where(closer, other, distance)
    return nearest
