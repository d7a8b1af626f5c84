"""Pictures of compressed weights, as matplotlib axes.

Each function takes what there is: the path of a `.kdc` file, a Keras model, a result of `compress`,
or arrays. It draws into `ax=` or into axes of its own, and returns them. They need matplotlib:
`pip install keras_deepcomp[plot]`.

Example:
    >>> import keras_deepcomp as kdc
    >>> kdc.plot.sparsity("model.kdc")
    >>> kdc.plot.weights("model.kdc", "dense/kernel").figure.savefig("weights.png")
"""

from keras_deepcomp.plot.bars import sizes
from keras_deepcomp.plot.codes import codebook
from keras_deepcomp.plot.histogram import weights
from keras_deepcomp.plot.masks import mask
from keras_deepcomp.plot.points import tradeoff
from keras_deepcomp.plot.zeros import sparsity

__all__ = ["codebook", "mask", "sizes", "sparsity", "tradeoff", "weights"]
