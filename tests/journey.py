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


class KerasFails(Exception):
    """What a stage needs of Keras, it does not do, with nothing of ours."""


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
            again = self.reloaded(wrapped, f"{purpose}.keras")
            again.run_eagerly = self.eager
            same_values(wrapped, again)
            self.same_predictions(wrapped, again)
            again.fit(
                self.inputs, self.targets, batch_size=8, epochs=1, verbose=0, callbacks=callbacks
            )
            self.check_weights(again, purpose, check)

    def reloaded(self, wrapped, name):
        """A wrapped model from a `.keras` file; says so if Keras fails on the plain one as well."""
        try:
            wrapped.save(self.folder / name)
            return keras.saving.load_model(self.folder / name)
        except Exception as error:
            try:
                self.model.save(self.folder / "plain.keras")
                keras.saving.load_model(self.folder / "plain.keras")
            except Exception as alone:
                raise KerasFails(f"without wrappers as well: {alone}") from error
            raise

    def strip(self):
        """The plain model is of the kind that went in, and computes the same."""
        self.plain = kdc.strip(self.shared)
        assert not find_wrappers(self.plain)
        same("kind", type(self.plain), type(self.model))
        same("name", self.plain.name, self.model.name)
        same("names of layers", layer_names(self.plain), layer_names(self.model))
        for kind in ("variables", "weights", "trainable_variables"):
            ours, theirs = ([v.path for v in getattr(m, kind)] for m in (self.plain, self.model))
            same(kind, ours, theirs)
        ours, theirs = (without_shapes(m.get_config()) for m in (self.plain, self.model))
        same("configuration", ours, theirs)
        self.same_predictions(self.shared, self.plain)
        values = {id(v): array(self.plain.variables[i]) for i, v in enumerate(self.model.variables)}
        for variable in taking_part(self.model, "cluster"):
            check_sparse(values[id(variable)])
            check_shared(values[id(variable)])

    def save(self):
        """The wrapped model is stored; so is the plain one, as the same bytes."""
        path = self.folder / "model.kdc"
        effort = 0 if self.kind.slow else 5
        try:
            kdc.save_model(self.shared, path, effort=effort)
        except ValueError as error:
            if "architecture=False" in str(error):
                self.save_weights(error)
            raise
        kdc.save_model(self.plain, self.folder / "plain.kdc", effort=effort)
        stored, plain = path.read_bytes(), (self.folder / "plain.kdc").read_bytes()
        assert stored == plain, f"{len(stored)} bytes wrapped, {len(plain)} plain, not the same"
        self.stored = path

    def save_weights(self, error):
        """What an error says to do instead: weights alone, loaded into a model made by code."""
        kdc.save_model(self.shared, self.folder / "weights.kdc", architecture=False)
        made, _ = self.kind.make()
        kdc.load_weights(made, self.folder / "weights.kdc")
        same_values(self.plain, made)
        self.same_predictions(self.plain, made)
        raise KerasFails(f"only weights can be saved: {error}") from error

    def load(self):
        """The file gives the plain model, to the bit."""
        loaded = kdc.load_model(self.stored)
        same("kind", type(loaded), type(self.model))
        same("names of layers", kept_names(loaded), kept_names(self.model))
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
        same("number of weights", len(weights), len(taking_part(self.model, purpose)))
        assert weights, "no weight takes part"
        for weight in weights:
            check(weight)


def same(what, ours, expected):
    """Says what differs first, since these checks become cells of a table as well."""
    if isinstance(ours, dict) and isinstance(expected, dict) and ours.keys() == expected.keys():
        for key in ours:
            same(f"{what}, {key}", ours[key], expected[key])
    elif isinstance(ours, list) and isinstance(expected, list) and len(ours) == len(expected):
        for place, (one, other) in enumerate(zip(ours, expected, strict=True)):
            same(f"{what}, {place}", one, other)
    else:
        assert ours == expected, f"{what}: {ours} instead of {expected}"


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
    same("values other than zero", np.count_nonzero(weight), round(weight.size * (1 - SPARSITY)))


def check_shared(weight):
    """It has as many values as were asked for, and zero."""
    same("distinct values beside zero", len(np.unique(weight[weight != 0])), CLUSTERS)


def same_values(one, other):
    """The variables of both models are the same bits, in the same order.

    Where random numbers stand is left out: Keras does not keep that in `.keras` files.
    """
    same("number of variables", len(one.variables), len(other.variables))
    for a, b in zip(one.variables, other.variables, strict=True):
        if a.name != "seed_generator_state":
            assert bits(array(a)) == bits(array(b)), f"{a.path} differs"


def layer_names(model):
    """The names of the layers of a model, nested as they are; wrappers left out."""
    return [(layer.name, layer_names(layer)) for layer in map(plain_layer, model._layers)]


def without_shapes(config):
    """A configuration without the shapes that layers were built with.

    A layer that was adapted to data before was built with as many samples.
    """
    if isinstance(config, dict):
        return {k: without_shapes(v) for k, v in config.items() if k != "build_config"}
    return [without_shapes(each) for each in config] if isinstance(config, list) else config


def kept_names(model):
    """As `layer_names`, but only those that a configuration keeps.

    Keras makes names unique by numbers from counters, and keeps no names of models whose class has
    no `get_config`.
    """

    def name(layer):
        lost = isinstance(layer, keras.Model) and getattr(layer.get_config, "_is_default", False)
        return None if lost else re.sub(r"_\d+$", "", layer.name)

    return [(name(layer), kept_names(layer)) for layer in map(plain_layer, model._layers)]
