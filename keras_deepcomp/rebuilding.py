"""A model made anew with some of its layers wrapped or unwrapped, whatever the model's kind.

Sequential and functional models are cloned along their graph. A subclassed model, whose graph is in
its code, is made from its configuration, and the new layers take the places of its attributes: its
own `call` and `train_step` then use them. A functional model with an `__init__` of its own is both.

Models inside models are entered to any depth, and what is shared in the old model is shared in the
new one.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras.src.models.functional import Functional

from keras_deepcomp.architecture import building
from keras_deepcomp.converted import (
    Origin,
    from_own_config,
    mark_converted,
    not_compiled,
    origin_of,
    own_config,
)
from keras_deepcomp.devices import devices_of, is_laid_out, lay_out_as, to_numpy
from keras_deepcomp.naming import (
    aligned,
    is_graph,
    models_in,
    own_variables,
    sublayers,
    variable_names,
)
from keras_deepcomp.wrappers.substitution import WeightSubstitution, is_wholly_built

Wrap = Callable[[keras.Layer], WeightSubstitution]
"""Puts a wrapper around a plain, built layer."""


def leaves(model: keras.Layer) -> Iterator[keras.Layer]:
    """The layers that are wrapped one by one: all but the models around them, each once."""
    seen: set[int] = set()

    def visit(layer: keras.Layer) -> Iterator[keras.Layer]:
        for inner in sublayers(layer):
            if id(inner) in seen:
                continue
            seen.add(id(inner))
            if isinstance(inner, keras.Model):
                yield from visit(inner)
            else:
                yield inner

    return visit(model)


def plain_layer(layer: keras.Layer) -> keras.Layer:
    """The layer inside a wrapper of ours; any other layer itself."""
    return layer.layer if isinstance(layer, WeightSubstitution) else layer


def _nothing(layer: keras.Layer) -> Wrap | None:
    return None


def _is_plain_graph(model: keras.Model) -> bool:
    """Whether a model is known from its graphs alone: no code of its own makes layers."""
    known = [kind.__init__ for kind in (keras.Model, keras.Sequential, Functional)]
    return all(is_graph(each) and type(each).__init__ in known for each in models_in(model))


def rebuild(
    model: keras.Model, wrapping: Callable[[keras.Layer], Wrap | None] = _nothing
) -> keras.Model:
    """Makes a model anew, and leaves the given one as it is.

    Args:
        model: A built model.
        wrapping: Says for each of `leaves(model)` what to put around its plain copy, or None for
            nothing.

    Returns:
        A model of the same class and names, not compiled, with the values that the old one computes
        with. What is not wrapped has the same variable paths as in a model that never was.

    Raises:
        ValueError: A layer or model cannot be made from its configuration.
    """
    return _Rebuilding(wrapping).run(model)


class _Rebuilding:
    """One run of `rebuild`: what has been made so far, so that what was shared stays shared."""

    def __init__(self, wrapping: Callable[[keras.Layer], Wrap | None]) -> None:
        self.wrapping = wrapping
        self.made: dict[int, Any] = {}
        self.copies: list[tuple[keras.Layer, keras.Layer]] = []

    def run(self, old: keras.Model) -> keras.Model:
        with devices_of(old):
            deferred = self.wrapping is _nothing and _is_plain_graph(old) and not is_laid_out(old)
            if deferred:  # without memory for weights before they have their values
                new = building.build(lambda: self.model(old), sys.maxsize)
            else:
                new = self.model(old)
            # Not before: a Sequential model may be built only when the model around it calls it.
            for source, copy in self.copies:
                copy_values(source, copy)
            if deferred:
                building.initialize_states(new)
        return new

    def new(self, old: Any) -> Any:
        """The new layer or model for an old one in a graph."""
        if id(old) not in self.made:
            if not isinstance(old, keras.Layer):  # an operation of the graph has no state
                self.made[id(old)] = old
            elif isinstance(old, keras.Model):
                self.made[id(old)] = self.model(old)
            else:
                wrap = self.wrapping(old)
                # A plain copy is built by the new model and not here, so that its variables have
                # the same paths as in a model that was never wrapped.
                made = _unbuilt_copy(old) if wrap is None else wrap(_built_copy(old))
                if wrap is None:
                    self.copies.append((old, made))
                self.made[id(old)] = made
        return self.made[id(old)]

    def model(self, old: keras.Model) -> keras.Model:
        new = self.graph_model(old) if is_graph(old) else self.subclassed_model(old)
        # Directly: the setter would pass it on to the layers, each of which has its own.
        new._trainable = old._trainable
        return new

    def graph_model(self, old: keras.Model) -> keras.Model:
        # Keras would give the inputs new names. It finds those of Sequential models out itself.
        named = not isinstance(old, keras.Sequential)
        inputs = keras.tree.map_structure(_fresh_input, old.input) if named else None
        with not_compiled(old):
            new = keras.models.clone_model(
                old, input_tensors=inputs, clone_function=self.new, recursive=False
            )
        if type(new) is type(old):
            return new
        kind = type(old)
        if kind.__init__ in (keras.Model.__init__, keras.Sequential.__init__):
            new.__class__ = kind  # it adds methods, such as a train_step, but no state
            return new
        return self.with_own_init(origin_of(old), new)

    def with_own_init(self, origin: Origin, graph: keras.Model) -> keras.Model:
        """Gives a functional model that makes its graph in its own `__init__` another graph."""
        new = origin.make()
        pairs = zip(_called_layers(new), _called_layers(graph), strict=True)
        counterparts = {id(there): layer for there, layer in pairs}
        # The order of its variables: its own code may have made the layers before it called them.
        ordered = [counterparts.get(id(there), there) for there in sublayers(new)]
        _replace_attributes(new, counterparts, graph)
        modules = {**vars(new).get("_modules", {}), **vars(graph).get("_modules", {})}
        # But not the methods that Keras keeps among them, which are bound to the other model.
        vars(new).update({k: v for k, v in vars(graph).items() if not inspect.isroutine(v)})
        if modules:  # where torch keeps the layers among the attributes
            vars(new)["_modules"] = modules
        vars(new)["_layers"] = ordered
        return mark_converted(new, origin)

    def subclassed_model(self, old: keras.Model) -> keras.Model:
        origin = origin_of(old)
        new = origin.make()
        _match_layers(new, old, origin)
        replacements: dict[int, keras.Layer] = {}
        new._parent_path = old._parent_path  # so that its variables have the same paths
        with new._open_name_scope():
            for there, source in zip(sublayers(new), sublayers(old), strict=True):
                replacements[id(there)] = self.for_attribute(there, source)
        _replace_attributes(new, replacements)
        for source, copy in zip(own_variables(old), own_variables(new), strict=True):
            lay_out_as(copy, source)
            copy.assign(to_numpy(source))
            copy._path = source.path
        new.built = True
        new._build_shapes_dict = old._build_shapes_dict
        return mark_converted(new, origin)

    def for_attribute(self, there: keras.Layer, old: keras.Layer) -> keras.Layer:
        """The new layer for an old one in a subclassed model, which has an unbuilt copy of it."""
        if id(old) not in self.made:
            if isinstance(old, keras.Model):
                self.made[id(old)] = self.model(old)
            else:
                _build_alike(there, plain_layer(old))
                copy_values(old, there)
                wrap = self.wrapping(old)
                self.made[id(old)] = there if wrap is None else wrap(there)
                if wrap is not None:
                    self.made[id(old)].build()
        return self.made[id(old)]


def copy_values(old: keras.Layer, new: keras.Layer) -> None:
    """Gives a plain layer the values that another of its kind, wrapped or not, computes with."""
    effective: dict[int, np.ndarray] = {}
    if isinstance(old, WeightSubstitution):
        values = old.effective_weights()
        effective = {id(v): values[name] for name, v in old.weight_variables.items()}
        old = old.layer
    targets = aligned(new, list(variable_names(old).values()))
    for source, target in zip(old.variables, targets, strict=True):
        lay_out_as(target, source)
        value = effective.get(id(source))
        building.initialize(target, to_numpy(source) if value is None else value)
        # These depend on who built the layer, and on counters.
        target._path, target._name = source.path, source.name
    _name_alike(new, old)  # layers inside have names from counters
    for given, made in zip(old._flatten_layers(), new._flatten_layers(), strict=True):
        if getattr(given, "lora_enabled", False):
            made.lora_alpha = given.lora_alpha  # Keras' own build goes back to the default
    finalize(new)


def finalize(layer: keras.Layer) -> None:
    """Lets layers work out what they derive from their variables, as Normalization does.

    Not Discretization, which derives its bins from samples: its configuration has them.
    """
    for each in layer._flatten_layers():
        if hasattr(each, "finalize_state") and each.built and each.variables:
            each.finalize_state()


def _called_layers(model: keras.Model) -> list[keras.Layer]:
    """The layers in the graph of a Sequential or functional model, in the order of the graph."""
    if isinstance(model, keras.Sequential):
        return sublayers(model)
    return [each for each in model.operations if isinstance(each, keras.Layer)]


def _unbuilt_copy(layer: keras.Layer) -> keras.Layer:
    plain = plain_layer(layer)
    return from_own_config(type(plain), own_config(plain))


def _built_copy(layer: keras.Layer) -> keras.Layer:
    """A plain layer with the same configuration and the values that the old one computes with.

    It is built as the old one was, by a call with the same arguments: layers with several inputs,
    and those that only have sublayers, cannot be built from one shape.
    """
    clone, plain = _unbuilt_copy(layer), plain_layer(layer)

    def make() -> None:
        if plain._inbound_nodes:
            call = plain._inbound_nodes[0].arguments
            args, kwargs = keras.tree.map_structure(_fresh, (call.args, call.kwargs))
            clone(*args, **kwargs)
        else:
            _build_alike(clone, plain)

    if is_laid_out(plain):  # the new variables find their places as they are made
        make()
        copy_values(layer, clone)
        return clone
    # Drawing random numbers for a large layer takes longer, and more memory, than copying it.
    building.build(make, sys.maxsize)
    copy_values(layer, clone)
    building.initialize_states(clone)
    return clone


def _fresh_input(tensor: keras.KerasTensor) -> keras.KerasTensor:
    """The symbolic tensor of a new input layer like the one that a tensor comes from."""
    layer = tensor._keras_history.operation
    return type(layer).from_config(layer.get_config()).output


def _fresh(value: Any) -> Any:
    """A symbolic tensor of the same kind that belongs to no graph; anything else as it is."""
    if isinstance(value, keras.KerasTensor):
        return keras.KerasTensor(value.shape, value.dtype)
    return value


def _build_alike(new: keras.Layer, old: keras.Layer) -> None:
    """Builds a layer with the shapes that another one of its kind was built with."""
    if is_wholly_built(new):
        return
    if getattr(new.build, "_is_default", False) and sublayers(new):
        # Built by calls from its own call, so the shapes are known to the layers inside.
        with new._open_name_scope():
            for inner, source in zip(sublayers(new), sublayers(old), strict=True):
                _build_alike(inner, source)
    else:
        new.build_from_config(old.get_build_config() or {})
    new.built = True


def _match_layers(new: keras.Model, old: keras.Model, origin: Origin) -> None:
    """Sees to it that a new subclassed model has the layers of the old one, by the same names."""

    def differ() -> bool:
        return len(sublayers(new)) != len(sublayers(old)) or len(own_variables(new)) != len(
            own_variables(old)
        )

    if differ():  # some are made in build
        new.build_from_config(origin.build_config or {})
    if differ():
        raise ValueError(
            f"A copy of '{old.name}' ({origin.kind.__name__}) made from its configuration has "
            f"{len(sublayers(new))} layers where the model has {len(sublayers(old))}. Make all "
            "layers in __init__ or build, not in call, and give its get_config() all the arguments "
            "of its __init__."
        )
    _name_alike(new, old)


def _name_alike(new: keras.Layer, old: keras.Layer) -> None:
    new.name = old.name
    for inner, source in zip(sublayers(new), map(plain_layer, sublayers(old)), strict=False):
        _name_alike(inner, source)


def _replace_attributes(
    owner: keras.Model, replacements: dict[int, keras.Layer], graph: keras.Model | None = None
) -> None:
    """Puts other layers in the place of an object's attributes, in lists and dicts too.

    Args:
        owner: A model that is not called from anywhere yet.
        replacements: `id(layer)` -> the layer that takes its place.
        graph: The functional model that will call the layers, if it is not the owner's own code.

    Raises:
        ValueError: The owner's code calls a layer that is in no attribute to replace it in.
    """
    tracker, found = owner._tracker, set()
    locked, tracker.locked = tracker.locked, False
    before = sublayers(owner)
    for layer in before:
        new = replacements.get(id(layer), layer)
        if new is not layer and tracker.is_in_store("layers", layer):
            tracker.replace_tracked_value("layers", layer, new)

    def replaced(value: Any) -> Any:
        if isinstance(value, keras.Layer):
            found.add(id(value))
            return replacements.get(id(value), value)
        if isinstance(value, list):
            for place, each in enumerate(value):
                value[place] = replaced(each)
        elif isinstance(value, dict):
            for key, each in value.items():
                value[key] = replaced(each)
        elif isinstance(value, tuple) and not hasattr(value, "_fields"):  # TensorFlow wraps them
            return tuple(replaced(each) for each in value)
        return value

    # What Keras itself keeps with any model is not among what the model's own code uses.
    bookkeeping = vars(graph or keras.Model()).keys()
    places = {**vars(owner), **vars(owner).get("_modules", {})}
    for name, value in places.items():
        if name not in bookkeeping:
            new = replaced(value)
            if new is not value:
                setattr(owner, name, new)
    tracker.locked = locked
    if graph is None and (hidden := [layer.name for layer in before if id(layer) not in found]):
        raise ValueError(
            f"'{owner.name}' keeps its layers {', '.join(map(repr, hidden))} where they cannot be "
            "replaced. Keep them as attributes of the model, or in lists or dicts that are."
        )
