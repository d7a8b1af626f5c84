"""From plain data to a model of ours."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np

from keras_deepcomp.migration.state import LayerState, ModelState, Pruned, Shared
from keras_deepcomp.migration.translation import translate
from keras_deepcomp.naming import variable_names
from keras_deepcomp.rebuilding import Wrap, finalize, rebuild
from keras_deepcomp.wrappers.clustering import ClusterWeights
from keras_deepcomp.wrappers.pruning import PruneLowMagnitude
from keras_deepcomp.wrappers.substitution import find_wrappers


def build_model(state: ModelState, custom_objects: dict[str, Any] | None = None) -> keras.Model:
    """Makes the Keras 3 model, with our wrappers where tfmot's were.

    Args:
        state: What `reading.read_model` gave.
        custom_objects: Name -> Keras 3 class or function, for what is not Keras' own.

    Returns:
        A new model, not compiled.

    Raises:
        ValueError: Keras 3 has nothing like it, or a layer's weights have other shapes here.
    """
    model = _plain_model(state.config, custom_objects)
    states: dict[int, LayerState] = {}
    for path, layer_state in state.layers.items():
        layer = model
        for name in path.split("/"):
            layer = layer.get_layer(name)
        _set_values(layer, layer_state.values)
        states[id(layer)] = layer_state
    if not any(each.pruned or each.shared for each in state.layers.values()):
        return model
    _warn_of_differences(state)
    masks: dict[int, tuple[Pruned, dict[int, str]]] = {}

    def wrapping(layer: keras.Layer) -> Wrap | None:
        known = states.get(id(layer))
        if known is None or not (known.pruned or known.shared):
            return None
        pruned, shared = known.pruned, known.shared

        def wrap(inner: keras.Layer) -> PruneLowMagnitude | ClusterWeights:
            names = _names_by_position(inner)
            if shared:
                return _share(inner, shared, names)
            assert pruned is not None
            chosen = [names[position] for position in pruned.masks]
            wrapper = PruneLowMagnitude(inner, pruned.schedule, weight_names=chosen)
            masks[id(wrapper)] = pruned, names
            return wrapper

        return wrap

    converted = rebuild(model, wrapping)
    for wrapper in find_wrappers(converted, PruneLowMagnitude):
        _go_on(wrapper, *masks[id(wrapper)])
    return converted


def _plain_model(config: dict[str, Any], custom_objects: dict[str, Any] | None) -> keras.Model:
    def knows(name: str) -> bool:
        return keras.saving.get_registered_object(name, custom_objects) is not None

    translated = translate(config, knows)
    try:
        return keras.saving.deserialize_keras_object(translated, custom_objects=custom_objects)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Keras 3 cannot make the model '{config['config'].get('name')}' from its "
            f"configuration: {error} Custom layers and functions have to be Keras 3's and go into "
            "custom_objects=."
        ) from error


def _ordered(layer: keras.Layer) -> list[Any]:
    """A layer's weights as Keras 2 orders them."""
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def _names_by_position(layer: keras.Layer) -> dict[int, str]:
    names = variable_names(layer)
    return {position: names[id(variable)] for position, variable in enumerate(_ordered(layer))}


def _set_values(layer: keras.Layer, values: list[np.ndarray]) -> None:
    if isinstance(layer, keras.layers.Normalization):
        values = values[:2]  # Keras 3 does not keep the number of samples
    variables = _ordered(layer)
    here = [tuple(variable.shape) for variable in variables]
    there = [value.shape for value in values]
    if here != there:
        raise ValueError(
            f"The weights of layer '{layer.name}' ({type(layer).__name__}) have the shapes {there} "
            f"in tf-keras and {here} in Keras 3. A custom layer has to make the same weights in "
            "the same order as its Keras 2 class."
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    finalize(layer)


def _share(layer: keras.Layer, shared: Shared, names: dict[int, str]) -> ClusterWeights:
    codebooks = {
        names[position]: (centroids, shared.assignments[position])
        for position, centroids in shared.centroids.items()
    }
    return ClusterWeights.from_codebooks(
        layer,
        codebooks,
        shared.initialization,
        gradient_aggregation="mean" if shared.averaged else "sum",
    )


def _go_on(wrapper: PruneLowMagnitude, pruned: Pruned, names: dict[int, str]) -> None:
    """Gives a pruning wrapper the masks, and the step from which its schedule goes on."""
    for position, mask in pruned.masks.items():
        wrapper.set_mask(names[position], mask, pruned.thresholds[position])
    wrapper.pruning_step.assign(pruned.step)
    if pruned.step > 0 and pruned.schedule.plan(0, None).is_done(pruned.step):
        wrapper.horizon.assign([0, pruned.step])
        wrapper.done = True  # nothing is left that a callback would have to do


def _warn_of_differences(state: ModelState) -> None:
    patterns = {each.pruned.pattern for each in state.layers.values() if each.pruned} - {""}
    if patterns:
        warnings.warn(
            f"This model was pruned by tfmot with {', '.join(sorted(patterns))}. Its masks are "
            "brought over, but a schedule that goes on prunes single weights. Finish the pruning "
            "in tfmot, or train here without UpdatePruningStep, which keeps the masks.",
            UserWarning,
            stacklevel=4,
        )
