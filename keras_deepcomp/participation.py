"""Which weights of a converted model take part, which do not, and why not, in words."""

from __future__ import annotations

import math
from collections.abc import Iterable

import keras

from keras_deepcomp.naming import models_in, own_variables, variable_names
from keras_deepcomp.rebuilding import leaves, plain_layer
from keras_deepcomp.selection import Participation, Purpose, participation
from keras_deepcomp.wrappers.substitution import WeightSubstitution, find_wrappers

NOT_CHOSEN = "not chosen (by filters, settings per layer, or a policy)"
STILL_PRUNED = "not chosen, and still pruned"
IN_NO_LAYER = "the model's own, in no layer"
NAMES_SHOWN = 6


def of_model(model: keras.Model, purpose: Purpose) -> tuple[Participation, ...]:
    """What became of each weight of a model that was converted for a purpose.

    Args:
        model: A model with wrappers for the purpose inside.
        purpose: "prune" or "cluster".

    Returns:
        One for each of its weights, in the order of the layers.
    """
    rows: list[Participation] = []
    for leaf in leaves(model):
        substituted: set[str] = set()
        if isinstance(leaf, WeightSubstitution):
            substituted = set(leaf.weight_variables)
        here = isinstance(leaf, WeightSubstitution) and leaf.purpose == purpose
        for row in participation(plain_layer(leaf), purpose):
            takes_part = here and row.weight in substituted
            if takes_part:
                reason = ""
            elif row.weight in substituted:
                reason = STILL_PRUNED
            else:
                reason = row.reason or NOT_CHOSEN
            rows.append(Participation(row.layer, row.weight, row.shape, takes_part, reason))
    for inner in models_in(model):
        names = variable_names(inner)
        rows += [
            Participation(inner.name, names[id(v)], tuple(v.shape), False, IN_NO_LAYER)
            for v in own_variables(inner)
        ]
    return tuple(rows)


def in_words(rows: Iterable[Participation], title: str) -> str:
    """A few lines that say which weights take part, and why the others are left alone.

    Args:
        rows: As from `of_model`.
        title: What the lines are about.
    """
    rows = list(rows)
    taking = [row for row in rows if row.takes_part]
    elements = [sum(math.prod(row.shape) for row in some) for some in (taking, rows)]
    lines = [
        f"{title}: {len(taking)} of {len(rows)} weights take part, with {elements[0]:,} of "
        f"{elements[1]:,} elements: {_names(taking)}"
    ]
    reasons: dict[str, list[Participation]] = {}
    for row in rows:
        if not row.takes_part:
            reasons.setdefault(row.reason, []).append(row)
    lines += [f"  left alone, {reason}: {_names(left)}" for reason, left in reasons.items()]
    return "\n".join(lines)


def converted_for(model: keras.Model) -> Purpose | None:
    """The last stage that a model was converted for; None if it was for none.

    A shared model may have layers that are pruned only.
    """
    purposes = {wrapper.purpose for wrapper in find_wrappers(model)}
    return "cluster" if "cluster" in purposes else next(iter(purposes), None)


def _names(rows: list[Participation]) -> str:
    names = [f"{row.layer}/{row.weight}" for row in rows]
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
