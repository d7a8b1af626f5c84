"""The way of one model through all the stages, with what must hold after each."""

import re
from pathlib import Path

import keras
import numpy as np
from support import array, bits

import keras_deepcomp as kdc
from keras_deepcomp.naming import variable_names
from keras_deepcomp.rebuilding import leaves, plain_layer
from keras_deepcomp.selection import participation
from keras_deepcomp.wrappers.substitution import find_wrappers

STAGES = ("train", "prune", "share", "resume", "strip", "save", "load")
"""In the order in which they run. "train" is Keras alone, with nothing of ours."""

SPARSITY = 0.5
CLUSTERS = 4


class Journey:
    """Carries a model from stage to stage; each stage raises where it does not hold.

    Args:
        kind: The row of `model_kinds.KINDS`.
        folder: An empty folder for files.
        eager: Whether to run the models step by step, which takes less time than compiling what
            runs for a moment only.
    """

    def __init__(self, kind, folder, eager=False):
        self.kind = kind
        self.folder = Path(folder)
        self.eager = eager

    def run(self, stage):
        """Runs one stage of `STAGES`."""
        getattr(self, stage)()

    def train(self):
        """The plain model predicts and trains: what it cannot do is Keras' own affair."""
        self.model, self.inputs = self.kind.make()
        rng = np.random.default_rng(5)
        self.targets = keras.tree.map_structure(
            lambda output: rng.standard_normal(output.shape, np.float32), self.predict(self.model)
        )
        self.fit(self.model)

    def prune(self):
        """Half of each weight that takes part is zero, and stays so when training goes on."""
        schedule = kdc.schedules.Constant(SPARSITY, begin=0)
        self.pruned = kdc.prune_low_magnitude(self.model, schedule)
        self.fit(self.pruned, callbacks=[kdc.UpdatePruningStep()])
        self.check_weights(self.pruned, "prune", check_sparse)

    def share(self):
        """Few values are left, zeros where pruning left them, and training keeps that."""
        zeros = [weight == 0 for weight in effective(self.pruned)]
        self.shared = kdc.cluster_weights(self.pruned, CLUSTERS)
        self.fit(self.shared)
        self.check_weights(self.shared, "cluster", check_shared)
        for weight, zero in zip(effective(self.shared), zeros, strict=True):
            np.testing.assert_array_equal(weight == 0, zero)

    def resume(self):
        """From a `.keras` file, both wrapped models predict the same and train on."""
        for wrapped, purpose, check, callbacks in (
            (self.pruned, "prune", check_sparse, [kdc.UpdatePruningStep()]),
            (self.shared, "cluster", check_shared, []),
        ):
            path = self.folder / f"{purpose}.keras"
            wrapped.save(path)
            again = keras.saving.load_model(path)
            again.run_eagerly = self.eager
            same_values(wrapped, again)
            self.same_predictions(wrapped, again)
            again.fit(
                self.inputs, self.targets, batch_size=8, epochs=1, verbose=0, callbacks=callbacks
            )
            self.check_weights(again, purpose, check)

    def strip(self):
        """The plain model is of the kind that went in, and computes the same."""
        self.plain = kdc.strip(self.shared)
        assert not find_wrappers(self.plain)
        assert type(self.plain) is type(self.model)
        assert self.plain.name == self.model.name
        assert layer_names(self.plain) == layer_names(self.model)
        for kind in ("variables", "weights", "trainable_variables"):
            ours, theirs = ([v.path for v in getattr(m, kind)] for m in (self.plain, self.model))
            assert ours == theirs, f"{kind}: {ours} != {theirs}"
        ours, theirs = self.plain.get_config(), self.model.get_config()
        assert ours == theirs, f"{ours} != {theirs}"
        self.same_predictions(self.shared, self.plain)
        values = {id(v): array(self.plain.variables[i]) for i, v in enumerate(self.model.variables)}
        for variable in taking_part(self.model, "cluster"):
            check_sparse(values[id(variable)])
            check_shared(values[id(variable)])

    def save(self):
        """The wrapped model is stored; so is the plain one, as the same bytes."""
        path = self.folder / "model.kdc"
        effort = 0 if self.kind.slow else 5
        kdc.save_model(self.shared, path, effort=effort)
        kdc.save_model(self.plain, self.folder / "plain.kdc", effort=effort)
        assert path.read_bytes() == (self.folder / "plain.kdc").read_bytes()
        self.stored = path

    def load(self):
        """The file gives the plain model, to the bit."""
        loaded = kdc.load_model(self.stored)
        assert type(loaded) is type(self.model)
        # Names that a subclass does not give its layers come from Keras' counters.
        assert uncounted(layer_names(loaded)) == uncounted(layer_names(self.model))
        same_values(self.plain, loaded)
        self.same_predictions(self.plain, loaded)

    def fit(self, model, **arguments):
        """Trains for a few steps; the data is random, the loss only has to move."""
        model.compile(keras.optimizers.Adam(1e-3), "mse", run_eagerly=self.eager)
        model.fit(self.inputs, self.targets, batch_size=8, epochs=2, verbose=0, **arguments)

    def predict(self, model):
        """What a model predicts, with stateful layers set back first."""
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.RNN):
                layer.reset_states()
        model.run_eagerly = self.eager
        return model.predict(self.inputs, batch_size=8, verbose=0)

    def same_predictions(self, one, other):
        """Both models predict the same bits."""
        one, other = self.predict(one), self.predict(other)
        keras.tree.assert_same_structure(one, other)
        for a, b in zip(keras.tree.flatten(one), keras.tree.flatten(other), strict=True):
            np.testing.assert_array_equal(a, b)

    def check_weights(self, wrapped, purpose, check):
        """All weights that were to take part do, and each of them passes the check."""
        weights = effective(wrapped)
        assert len(weights) == len(taking_part(self.model, purpose)) > 0
        for weight in weights:
            check(weight)


def taking_part(model, purpose):
    """The variables of a plain model that are to be compressed."""
    found = []
    for leaf in leaves(model):
        names = {name: key for key, name in variable_names(leaf).items()}
        chosen = {names[p.weight] for p in participation(leaf, purpose) if p.takes_part}
        found += [variable for variable in leaf.variables if id(variable) in chosen]
    return found


def effective(wrapped):
    """What the wrapped layers compute with, weight by weight."""
    return [w for each in find_wrappers(wrapped) for w in each.effective_weights().values()]


def check_sparse(weight):
    """Half of it is zero."""
    assert np.count_nonzero(weight) == round(weight.size * (1 - SPARSITY))


def check_shared(weight):
    """It has as many values as were asked for, and zero."""
    assert len(np.unique(weight[weight != 0])) == CLUSTERS


def same_values(one, other):
    """The variables of both models are the same bits, in the same order.

    Where random numbers stand is left out: Keras does not keep that in `.keras` files.
    """
    assert len(one.variables) == len(other.variables)
    for a, b in zip(one.variables, other.variables, strict=True):
        if a.name != "seed_generator_state":
            assert bits(array(a)) == bits(array(b)), f"{a.path} differs"


def layer_names(model):
    """The names of the layers of a model, nested as they are; wrappers left out."""
    return [(layer.name, layer_names(layer)) for layer in map(plain_layer, model._layers)]


def uncounted(names):
    """Nested names without the numbers that Keras makes them unique by."""
    return [(re.sub(r"_\d+$", "", name), uncounted(inner)) for name, inner in names]
