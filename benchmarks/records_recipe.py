"""The recipe of the records, stage by stage; each stage leaves a file from which it can go on.

    dense   a first training, from a teacher's answers
    thin    pruned beyond what is wanted, by worth, with one threshold for all; dead units leave
    prune   the units that are left grow their weights again, and are pruned to what is wanted
    share   few values, for biases too; the weights train on straight through
    finish  values with few digits, the network's own sizes, units in the best order

Nothing here knows what the data is, and nothing reads the test part of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import records_data as data

import keras_deepcomp as kdc
from keras_deepcomp import distillation
from keras_deepcomp.shrinking import widen


@dataclass(frozen=True)
class Recipe:
    """The hyperparameters. Shares are of the network's parameters, biases among them.

    Attributes:
        network: Makes the network.
        backend: The Keras backend that trains it fastest on a processor.
        thin_kept: The share of parameters that are kept to see which units matter; 0 for no such
            stage.
        kept: The share that is kept in the end.
        clusters: The size of the kernels' codebooks.
        bias_clusters: The size of the biases' codebooks.
        digits: Binary digits of a shared value after the first one.
        dense_epochs: Epochs of each stage, and so on.
        dense_rate: The learning rate at the start of each stage, and so on.
        ranking: How weights rank.
        teacher: Whether there is one.
        copies: Whether there are altered copies of the training pictures.
        share_end: The share of that stage's epochs after which weights keep their shared value.
        straight_through: Whether weights change their shared value in training.
        ordered: Whether units are put into the best order.
    """

    network: Callable[[], keras.Model]
    backend: str
    kept: float
    thin_kept: float = 0.0
    clusters: int = 16
    bias_clusters: int = 4
    digits: int = 5
    dense_epochs: int = 10
    thin_epochs: int = 30
    prune_epochs: int = 40
    share_epochs: int = 12
    dense_rate: float = 1e-3
    prune_rate: float = 2e-3
    share_rate: float = 3e-4
    thin_end: float = 0.65
    prune_begin: float = 0.0
    prune_end: float = 0.7
    share_end: float = 0.7
    batch_size: int = 128
    temperature: float = 3.0
    teacher_share: float = 0.9
    originals: float = 0.5
    ranking: str = "worth"
    biases: bool = True
    teacher: bool = True
    copies: bool = True
    straight_through: bool = True
    ordered: bool = True


RECIPES = {
    "lenet-300-100": Recipe(
        kdc.models.lenet_300_100,
        "jax",
        kept=0.016,
        thin_kept=0.011,
        thin_epochs=20,
        prune_epochs=70,
        prune_end=0.8,
        share_epochs=20,
        teacher=False,
    ),
    "lenet-5": Recipe(
        kdc.models.lenet_5,
        "tensorflow",
        kept=0.009,
        thin_kept=0.009,
        dense_epochs=3,
        prune_epochs=35,
        prune_begin=0.1,
        prune_end=0.75,
        share_epochs=15,
    ),
}
# The same with fewer weights, at the error of the smallest published files.
RECIPES["lenet-5-smaller"] = replace(RECIPES["lenet-5"], kept=0.0065)


class Run:
    """One network from one seed.

    Args:
        name: What the files are called.
        recipe: The hyperparameters.
        split: The data.
        seed: For weights and orders.
        folder: Where the stages are kept.
        pool: Copies of the training pictures, and the teacher's answers to them.
    """

    def __init__(
        self,
        name: str,
        recipe: Recipe,
        split: data.Split,
        seed: int,
        folder: Path,
        pool: tuple[np.ndarray, np.ndarray],
    ) -> None:
        self.name, self.recipe, self.split, self.seed = name, recipe, split, seed
        self.folder = folder / f"{name}-{seed}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.network = recipe.network()
        self.flat = len(self.network.input_shape) == 2
        self.copies, logits = pool
        if not recipe.copies:
            self.copies, logits = self.copies[:1], logits[:1]
        labels = np.broadcast_to(split.train.labels, logits.shape[:2])
        share = recipe.teacher_share if recipe.teacher else 0.0
        self.temperature = recipe.temperature if recipe.teacher else 1.0
        self.targets = distillation.soft_targets(logits, labels, self.temperature, share)
        self.targets = self.targets.astype(np.float16)
        self.report = self._read_report()

    def run(self) -> dict[str, Any]:
        """Does what is not done yet; returns the report, with the file's path."""
        recipe, parameters = self.recipe, self.network.count_params()
        model = self._stage("dense", self._dense)
        if recipe.thin_kept:
            model = self._stage(
                "thin",
                lambda: self._pruned(
                    model, recipe.thin_kept * parameters, recipe.thin_epochs, 0.0, recipe.thin_end
                ),
            )
            model = kdc.shrink(model)
        pruned = self._stage(
            "prune",
            lambda: self._pruned(
                model,
                recipe.kept * parameters,
                recipe.prune_epochs,
                recipe.prune_begin,
                recipe.prune_end,
            ),
        )
        shared = self._stage("share", lambda: self._shared(kdc.shrink(pruned)))
        plain = widen(rounded(shared, recipe.digits), self.network)
        if recipe.ordered:
            plain = kdc.order_units(plain)
        path = self.folder / f"{self.name}.kdc"
        size = kdc.save_model(plain, path, effort=9)
        self.report.update(
            network=self.name,
            seed=self.seed,
            path=str(path),
            parameters=parameters,
            bytes=size,
            ratio=round(4 * parameters / size, 1),
            weights_kept=int(sum(np.count_nonzero(np.array(v)) for v in plain.variables)),
            validation_error_percent=self.error(kdc.load_model(path)),
        )
        self._write_report()
        return self.report

    def error(self, model: keras.Model) -> float:
        """Wrong answers to the validation pictures, in percent."""
        return error_percent(model, self.split.validation)

    def _dense(self) -> keras.Model:
        keras.utils.set_random_seed(self.seed)
        model = self.recipe.network()
        self._train(model, self.recipe.dense_epochs, self.recipe.dense_rate)
        return model

    def _pruned(
        self, model: keras.Model, kept: float, epochs: int, begin: float, end: float
    ) -> keras.Model:
        recipe = self.recipe
        sparsity = 1.0 - kept / model.count_params()
        pruned = kdc.prune_low_magnitude(
            model,
            kdc.schedules.Polynomial(sparsity, begin=begin, end=end),
            scope="global",
            ranking=recipe.ranking,
            biases=recipe.biases,
            verbose=False,
        )
        self._train(pruned, epochs, recipe.prune_rate, kdc.UpdatePruningStep())
        return pruned

    def _shared(self, model: keras.Model) -> keras.Model:
        recipe = self.recipe
        shared = kdc.cluster_weights(
            model,
            recipe.clusters,
            bias_clusters=recipe.bias_clusters if recipe.biases else None,
            straight_through=recipe.straight_through,
            verbose=False,
        )
        watch = kdc.UpdateCentroids(
            reassign=recipe.straight_through, frequency=20, end=recipe.share_end
        )
        self._train(shared, recipe.share_epochs, recipe.share_rate, watch)
        return shared

    def _train(
        self, model: keras.Model, epochs: int, rate: float, *callbacks: keras.callbacks.Callback
    ) -> None:
        recipe = self.recipe
        batches = data.Batches(
            self.copies, self.targets, recipe.batch_size, self.seed, recipe.originals, self.flat
        )
        falling = keras.optimizers.schedules.CosineDecay(rate, epochs * len(batches), alpha=0.01)
        model.compile(
            keras.optimizers.Adam(falling),
            distillation.SoftCrossentropy(self.temperature),
            # On a processor XLA makes dense layers faster and convolutions slower.
            jit_compile=self.flat,
        )
        model.fit(batches, epochs=epochs, verbose=0, callbacks=[*callbacks, _Lines(self)])

    def _stage(self, name: str, make: Callable[[], keras.Model]) -> keras.Model:
        """The plain model after a stage, from its file if there is one."""
        path = self.folder / f"{name}.keras"
        if not path.exists():
            start = time.perf_counter()
            print(f"{self.name} seed {self.seed}: {name}", flush=True)
            model = kdc.strip(make())
            model.save(path)
            self.report.setdefault("stages", {})[name] = {
                "validation_error_percent": self.error(model),
                "seconds": round(time.perf_counter() - start),
                "bytes": kdc.save_model(model, self.folder / f"{name}.kdc"),
            }
            self._write_report()
        return keras.models.load_model(path, compile=False)

    def _read_report(self) -> dict[str, Any]:
        path = self.folder / "report.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def _write_report(self) -> None:
        (self.folder / "report.json").write_text(json.dumps(self.report, indent=2) + "\n")


def rounded(model: keras.Model, digits: int) -> keras.Model:
    """A plain model whose values have few binary digits: a codebook then takes half the bytes."""
    plain = kdc.strip(model)
    new = keras.models.clone_model(plain)
    for old, variable in zip(plain.variables, new.variables, strict=True):
        mantissa, exponent = np.frexp(np.array(old, np.float64))
        scale = 2.0 ** (digits + 1)
        variable.assign(np.ldexp(np.rint(mantissa * scale) / scale, exponent).astype(np.float32))
    return new


def error_percent(model: keras.Model, pictures: data.Pictures) -> float:
    """Wrong answers of a network, in percent."""
    x = data.as_floats(pictures.pictures)
    if len(model.input_shape) == 2:
        x = x.reshape(len(x), -1)
    answers = model.predict(x, batch_size=1000, verbose=0).argmax(axis=1)
    return round(100.0 * float(np.mean(answers != pictures.labels)), 2)


class _Lines(keras.callbacks.Callback):
    """A line for every few epochs."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        epochs = self.params["epochs"]
        if epoch % 3 and epoch + 1 < epochs:
            return
        seconds = time.perf_counter() - self.start
        print(
            f"  epoch {epoch + 1}/{epochs}  loss {logs['loss']:.4f}  "
            f"zeros {100 * logs.get('sparsity', 0):.2f} %  "
            f"validation {self.run.error(self.model):.2f} %  {seconds:.0f} s",
            flush=True,
        )
