"""Hidden units in the order in which the file is smallest.

The units of a layer can change places, if the layer that reads them follows: the model says the
same (Hecht-Nielsen 1990), and its file has other bytes. Codes of rows and columns, and of what is
near in a kernel, are shorter where units that are alike stand together.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np

from keras_deepcomp import container
from keras_deepcomp.conversion import strip
from keras_deepcomp.saving import contents_of
from keras_deepcomp.units import Link, Values, links, values_of, with_values


def order_units(model: keras.Model, effort: int = container.DEFAULT_EFFORT) -> keras.Model:
    """Makes a model with its hidden units in the order in which its file is smallest.

    Several orders are tried for each layer, one layer after the other, and coded; what is best is
    kept. Sums are taken in another order, so answers differ by float rounding.

    Args:
        model: A built model: plain, pruned or shared. It is not changed. Units are ordered in
            Sequential and functional models, where one dense layer or convolution alone reads them.
        effort: How long `save_model` is to search for the smallest file.

    Returns:
        A plain model, not compiled, with the same shapes and names; `strip(model)` if no order
        makes its file smaller.
    """
    plain = strip(model)
    found = links(plain)
    names = {id(v): name for name, v in zip(contents_of(plain)[0], plain.variables, strict=True)}

    def size(values: Values, touched: Link) -> int:
        kernels = (touched.maker.kernel, touched.reader.kernel)
        some = [*kernels, *([touched.maker.bias] if touched.maker.use_bias else [])]
        return len(container.save({names[id(v)]: values[id(v)] for v in some}, effort=effort))

    values, moved = values_of(plain), False
    for link in found:
        least = size(values, link)
        for key in _keys(link, values):
            trial = dict(values)
            link.take(trial, np.argsort(key, kind="stable"))
            if (bytes_ := size(trial, link)) < least:
                least, values, moved = bytes_, trial, True
    return with_values(plain, values, found) if moved else plain


def _keys(link: Link, values: Values) -> Iterator[np.ndarray]:
    """What units may be sorted by, shape (units,) each."""
    read = link.read_kernel(values)
    kernel = values[id(link.maker.kernel)].reshape(-1, read.shape[1])
    ways_in, ways_out = np.count_nonzero(kernel, axis=0), np.count_nonzero(read, axis=(0, 2))
    yield ways_in
    yield ways_out
    yield ways_in * ways_out
    yield kernel.sum(axis=0)
    yield read.sum(axis=(0, 2))
    if link.maker.use_bias:
        yield values[id(link.maker.bias)]
    # Where the middle of what a unit reads is, and of where it is read.
    yield _centres((kernel != 0).astype(float))
    yield _centres((read != 0).any(axis=0).T.astype(float))
    yield _alike(np.concatenate([kernel, read.transpose(1, 0, 2).reshape(len(kernel.T), -1).T]))


def _centres(filled: np.ndarray) -> np.ndarray:
    return np.arange(len(filled)) @ filled / np.maximum(filled.sum(axis=0), 1)


def _alike(features: np.ndarray) -> np.ndarray:
    """Places on a walk from unit to the unit that is most like it, shape (units,)."""
    signs = np.sign(features).T
    likeness = signs @ signs.T
    places = np.empty(len(signs))
    here = int(np.abs(signs).sum(axis=1).argmax())
    left = np.ones(len(signs), bool)
    for step in range(len(signs)):
        places[here] = step
        left[here] = False
        if left.any():
            here = int(np.where(left, likeness[here], -np.inf).argmax())
    return places
