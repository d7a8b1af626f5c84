"""Variables by where they stand in a layer or model.

A variable's own path depends on where its layer happened to be built, and on counters that run
through the process. A name from the structure is the same whenever the structure is.
"""

import keras


def sublayers(layer: keras.Layer) -> list[keras.Layer]:
    """The layers directly inside a layer or model."""
    return list(layer._layers)


def models_in(model: keras.Model) -> list[keras.Model]:
    """A model, and the models directly inside it or inside one of these, each once."""
    found = {id(model): model}
    for layer in sublayers(model):
        if isinstance(layer, keras.Model):
            found.update((id(inner), inner) for inner in models_in(layer))
    return list(found.values())


def is_graph(model: keras.Layer) -> bool:
    """Whether a model is Sequential or functional, so that its calls are known from outside."""
    # As keras.models.clone_model sees it: other subclasses of Model have no graph.
    return isinstance(model, keras.Sequential) or (
        isinstance(model, keras.Model) and hasattr(model, "_run_through_graph")
    )


def own_variables(layer: keras.Layer) -> list[keras.Variable]:
    """The variables of a layer or model that belong to none of the layers inside it."""
    inner = {id(variable) for sublayer in sublayers(layer) for variable in sublayer.variables}
    return [variable for variable in layer.variables if id(variable) not in inner]


def variable_names(layer: keras.Layer) -> dict[int, str]:
    """Names all of `layer.variables` by the names of the sublayers around them.

    Args:
        layer: A built layer or model.

    Returns:
        `id(variable)` -> name such as "kernel" or "query/kernel", in the order of
        `layer.variables`, without the name of `layer` itself. Where two would be equal, the later
        one gets a number.
    """
    places: dict[int, str] = {}
    _collect(layer, "", places)
    names: dict[int, str] = {}
    taken: set[str] = set()
    for variable in layer.variables:
        place = places[id(variable)]
        name, number = place, 1
        while name in taken:
            name = f"{place}_{number}"
            number += 1
        taken.add(name)
        names[id(variable)] = name
    return names


def owners(layer: keras.Layer) -> dict[int, keras.Layer]:
    """`id(variable)` -> the innermost layer that has it, for all variables of a layer or model."""
    found = {id(variable): layer for variable in layer.variables}
    for sublayer in sublayers(layer):
        found.update(owners(sublayer))
    return found


def aligned(layer: keras.Layer, names: list[str]) -> list[keras.Variable]:
    """The variables of a layer or model in the order of some names.

    A quantized layer that is made anew may have them in another order than the one in which
    Keras swapped them.

    Args:
        layer: A built layer or model.
        names: Those of a layer made alike, by `variable_names`.

    Returns:
        Its variables; in their own order if the names are others.
    """
    own = variable_names(layer)
    by_name = {own[id(variable)]: variable for variable in layer.variables}
    if by_name.keys() != set(names):
        return list(layer.variables)
    return [by_name[name] for name in names]


def _collect(layer: keras.Layer, prefix: str, places: dict[int, str]) -> None:
    for variable in own_variables(layer):
        places.setdefault(id(variable), prefix + variable.name)
    for sublayer in sublayers(layer):
        _collect(sublayer, f"{prefix}{sublayer.name}/", places)
