"""Hidden units that do nothing leave a pruned model, and nothing that it says changes.

Pruning leaves units without any weight in or out. A unit with no way out is not heard; one with no
way in says the same for every input, and that can be added to the biases of the layer that reads it
(Han et al., NeurIPS 2015, section 3.5, has dead neurons go by themselves in training). When a unit
has gone, others may have lost their only way out or in, so this is repeated until no more go.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import keras
import numpy as np

from keras_deepcomp.conversion import strip
from keras_deepcomp.units import Link, Values, links, values_of, with_values


def shrink(model: keras.Model) -> keras.Model:
    """Makes a smaller model of a pruned one, which gives the same answers.

    What is summed is the same but for zeros and constants, so answers differ by float rounding at
    most: about 1e-6 of the largest term in float32, and not at all where no unit had a bias and
    sums are short. In training the two differ where dropout or batch statistics come in.

    Units leave dense layers and convolutions that one other such layer reads, in Sequential and
    functional models, through activations, pooling, flattening, dropout and batch normalization.
    All else, models inside among it, stays as it is. One unit stays in each layer.

    Args:
        model: A built model: plain, pruned or shared. It is not changed.

    Returns:
        A plain model, not compiled, with smaller layers of the same names; `strip(model)` if
        nothing is to be left out.
    """
    plain = strip(model)
    found = links(plain)
    values = values_of(plain)
    left = {id(link): np.ones(link.count, bool) for link in found}
    while any([_silence(link, values, left[id(link)]) for link in found]):
        pass
    if all(kept.all() for kept in left.values()):
        return plain
    for link in found:
        kept = left[id(link)]
        if not kept.any():
            kept[0] = True
        link.take(values, np.flatnonzero(kept))
    return with_values(plain, values, found)


def widen(model: keras.Model, like: keras.Model) -> keras.Model:
    """Makes a model of the sizes of another one, with units that do nothing: `shrink` backwards.

    So a model can be trained with the units that matter, at less cost, and be stored with the sizes
    that it has to have. The units come first, and those that do nothing after them.

    Args:
        model: A model that `shrink` has made, perhaps trained since; plain, pruned or shared. It is
            not changed.
        like: The model that it was made from, or one of its architecture.

    Returns:
        A plain model, not compiled, with the architecture of `like` and the answers of `model`, but
        for float rounding.

    Raises:
        ValueError: The layers are not the same, or one of `like` is smaller.
    """
    small, large = strip(model), strip(like)
    found = list(zip(links(small), links(large), strict=False))
    values, wide = values_of(small), values_of(large)
    for one, other in found:
        _pad(one, other.count, values)
    for source, target in zip_longest(small.variables, large.variables):
        if source is None or target is None or values[id(source)].shape != tuple(target.shape):
            raise ValueError(
                f"'{model.name}' cannot be widened to the sizes of '{like.name}': "
                f"{'nothing' if source is None else source.path} does not fit "
                f"{'nothing' if target is None else target.path}. Pass the model that shrink took."
            )
        wide[id(target)] = values[id(source)]
    return with_values(large, wide, links(large))


def _pad(link: Link, count: int, values: Values) -> None:
    """Gives a link more units, without weights in or out."""
    more = max(count - link.count, 0)
    kernel = values[id(link.reader.kernel)]
    read = np.pad(link.read_kernel(values), ((0, 0), (0, more), (0, 0)))
    shape = (*kernel.shape[:-2], -1, kernel.shape[-1])
    values[id(link.reader.kernel)] = read.reshape(shape)
    for variable in link.unit_variables:
        value = values[id(variable)]
        values[id(variable)] = np.pad(value, [(0, 0)] * (value.ndim - 1) + [(0, more)])


def _silence(link: Link, values: Values, left: np.ndarray) -> bool:
    """Cuts the weights of units that do nothing, and takes them out of those that are left.

    Returns:
        Whether there were any.
    """
    heard = link.read_kernel(values).any(axis=(0, 2))
    kernel = values[id(link.maker.kernel)]
    moved = kernel.reshape(-1, link.count).any(axis=0)
    constant = left & heard & ~moved
    if constant.any():
        constant &= _fold(link, values, constant)
    gone = left & (~heard | constant)
    left &= ~gone
    _cut(link, values, gone)
    return bool(gone.any())


def _cut(link: Link, values: Values, units: np.ndarray) -> None:
    kernel, read = link.maker.kernel, link.reader.kernel
    values[id(kernel)] = np.where(units, 0, values[id(kernel)]).astype(values[id(kernel)].dtype)
    by_unit = np.where(units[:, np.newaxis], 0, link.read_kernel(values))
    values[id(read)] = by_unit.reshape(values[id(read)].shape).astype(values[id(read)].dtype)


def _fold(link: Link, values: Values, units: np.ndarray) -> np.ndarray:
    """Adds what constant units say to the reader's biases.

    Returns:
        Which of the units need not be heard any more: those that say zero, and if it could be
        added, all.
    """
    said = link.constants(values, units)
    silent = units & ~said.any(axis=0)
    if not _takes_constants(link.reader):
        return silent
    read = link.read_kernel(values).astype(np.float64)
    if said.shape[0] != read.shape[0] and (said != said[:1]).any():
        return silent  # another constant at each place, which a bias has no room for
    places = said if said.shape[0] == read.shape[0] else said[:1]
    bias = values[id(link.reader.bias)]
    added = np.einsum("pu,puo->o", np.broadcast_to(places, read.shape[:2]), read)
    values[id(link.reader.bias)] = (bias + added).astype(bias.dtype)
    return units


def _takes_constants(reader: Any) -> bool:
    """Whether a constant input is a constant output: not where padding adds zeros at the edges."""
    return bool(reader.use_bias) and getattr(reader, "padding", "valid") == "valid"
