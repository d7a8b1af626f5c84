"""Deep Compression of LeNet-300-100 on MNIST, from nothing to a file and back.

The three stages with the paper's first network (section 5.1). Every number in `RECIPE` was chosen
on the last 5,000 training images, which are held out here too; the test images are read once, at
the end, to evaluate the model before compression and the decoded file.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

import keras_deepcomp as kdc
from keras_deepcomp import distillation

VALIDATION_IMAGES = 5_000

PAPER = {
    "baseline_test_error_percent": 1.64,
    "test_error_percent": 1.58,
    "float32_kilobytes": 1070,
    "file_kilobytes": 27,
    "ratio": 40,
}
"""The row "LeNet-300-100" of the paper's table 1."""


@dataclass(frozen=True)
class Stage:
    """One training: the learning rate falls from `rate` along a cosine to 2 % of it."""

    name: str
    epochs: int
    rate: float


@dataclass(frozen=True)
class Recipe:
    """The hyperparameters.

    While it is pruned and shared, the network learns from the baseline's own answers, softened by a
    temperature (Hinton, Vinyals and Dean 2015), and for the rest from the labels: a sparse network
    keeps more of what the dense one knew.
    """

    baseline: Stage = Stage("baseline", 25, 1e-3)
    prune: Stage = Stage("prune", 40, 1e-3)
    share: Stage = Stage("share", 6, 2e-4)
    batch_size: int = 128
    dropout: float = 0.4
    final_sparsity: float = 0.93
    pruning_end: float = 0.6
    clusters: int = 12
    temperature: float = 3.0
    teacher_share: float = 0.9


RECIPE = Recipe()


@dataclass(frozen=True)
class Digits:
    """MNIST: images as float32 vectors of 784 in 0..1, labels as int32."""

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def load_digits(path: str | os.PathLike[str] | None = None) -> Digits:
    """Loads the full MNIST and splits validation images off its training images.

    Args:
        path: An `.npz` file with x_train, y_train, x_test, y_test; None lets Keras download it.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not MNIST.
    """
    if path is None:
        (x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
    else:
        with np.load(path, allow_pickle=False) as file:
            try:
                x_train, y_train, x_test, y_test = (
                    file[name] for name in ("x_train", "y_train", "x_test", "y_test")
                )
            except KeyError as error:
                raise ValueError(
                    f"{os.fspath(path)} is not the MNIST archive: {error}. Expected the arrays "
                    "x_train, y_train, x_test, y_test."
                ) from None

    def vectors(images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1).astype("float32") / 255.0

    images, labels = vectors(x_train), y_train.astype("int32")
    cut = len(images) - VALIDATION_IMAGES
    return Digits(
        (images[:cut], labels[:cut]),
        (images[cut:], labels[cut:]),
        (vectors(x_test), y_test.astype("int32")),
    )


def error_percent(model: keras.Model, data: tuple[np.ndarray, np.ndarray]) -> float:
    """Share of wrong answers, in percent."""
    images, labels = data
    answers = model.predict(images, batch_size=1000, verbose=0).argmax(axis=1)
    return 100.0 * float(np.mean(answers != labels))


class _RandomShift(keras.layers.Layer):
    """Shifts the images of a batch in training, all alike, by up to a pixel in each direction."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, vectors: Any, training: bool = False) -> Any:
        if not training:
            return vectors
        pictures = keras.ops.reshape(vectors, (-1, 28, 28))
        shifts = keras.random.randint((2,), -1, 2, seed=self.generator)
        # What leaves at one edge comes in at the other; there is next to nothing at the edges.
        for axis in (1, 2):
            pictures = keras.ops.roll(pictures, shifts[axis - 1], axis)
        return keras.ops.reshape(pictures, (-1, 784))


class _Lines(keras.callbacks.Callback):
    """One line per epoch: a progress that reads well on a terminal and in a log."""

    def __init__(self, stage: str, write: Callable[[str], None]) -> None:
        super().__init__()
        self.stage, self.write = stage, write

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = logs or {}
        sparsity = f"  zeros {100 * logs['sparsity']:5.1f} %" if "sparsity" in logs else ""
        self.write(
            f"{self.stage:9} epoch {epoch + 1:2}/{self.params['epochs']}  loss {logs['loss']:.4f}"
            f"  validation error {100 * (1 - logs['val_accuracy']):.2f} %{sparsity}"
            f"  {time.perf_counter() - self.start:.1f} s"
        )


@dataclass(frozen=True)
class _Task:
    """What a stage learns: targets and the loss that fits them."""

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    loss: keras.losses.Loss


def _from_labels(digits: Digits) -> _Task:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return _Task(digits.train, digits.validation, loss)


def _from_teacher(digits: Digits, teacher: keras.Model, recipe: Recipe) -> _Task:
    images, labels = digits.train
    answers = teacher.predict(images, batch_size=1000, verbose=0)
    targets = distillation.soft_targets(answers, labels, recipe.temperature, recipe.teacher_share)
    one_hot = np.eye(targets.shape[1], dtype="float32")
    validation = (digits.validation[0], one_hot[digits.validation[1]])
    loss = distillation.SoftCrossentropy(recipe.temperature)
    return _Task((images, targets), validation, loss)


def _train(
    model: keras.Sequential,
    task: _Task,
    stage: Stage,
    recipe: Recipe,
    seed: int,
    write: Callable[[str], None],
    *callbacks: keras.callbacks.Callback,
    dropout: float = 0.0,
) -> None:
    """Trains the layers of a model in a model around them, which shifts images and drops units."""
    parts = [keras.layers.Input((784,)), _RandomShift(seed), keras.layers.Dropout(dropout / 3)]
    for layer in model.layers:
        parts += [layer, keras.layers.Dropout(dropout)]
    around = keras.Sequential(parts[:-1])
    steps = stage.epochs * -(-len(task.train[0]) // recipe.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(stage.rate, steps, alpha=0.02)
    around.compile(keras.optimizers.Adam(rate), task.loss, metrics=["accuracy"])
    around.fit(
        *task.train,
        batch_size=recipe.batch_size,
        epochs=stage.epochs,
        validation_data=task.validation,
        validation_batch_size=1000,
        verbose=0,
        callbacks=[*callbacks, _Lines(stage.name, write)],
    )


def run(
    digits: Digits,
    out: str | os.PathLike[str],
    seed: int = 0,
    recipe: Recipe = RECIPE,
    write: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Trains, prunes, shares, codes, decodes and evaluates; writes the file and a report.

    Args:
        digits: The data.
        out: Folder for `lenet-300-100.kdc` and `report.json`; made if need be.
        seed: For weights, shuffling and dropout.
        recipe: The hyperparameters.
        write: Gets a line for each epoch.

    Returns:
        The report: errors in percent, bytes, ratio, seconds per stage, seed, versions.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "lenet-300-100.kdc"
    keras.utils.set_random_seed(seed)
    seconds: dict[str, float] = {}
    validation: dict[str, float] = {}
    clock = time.perf_counter()

    def done(stage: str, model: keras.Model) -> None:
        nonlocal clock
        seconds[stage] = round(time.perf_counter() - clock, 1)
        validation[stage] = round(error_percent(model, digits.validation), 2)
        clock = time.perf_counter()

    baseline = kdc.models.lenet_300_100()
    task = _from_labels(digits)
    _train(baseline, task, recipe.baseline, recipe, seed, write, dropout=recipe.dropout)
    done("baseline", baseline)
    task = _from_teacher(digits, baseline, recipe)

    schedule = kdc.schedules.Polynomial(recipe.final_sparsity, end=recipe.pruning_end)
    pruned = kdc.prune_low_magnitude(baseline, schedule, scope="global", verbose=False)
    _train(pruned, task, recipe.prune, recipe, seed, write, kdc.UpdatePruningStep())
    done("prune", pruned)

    shared = kdc.cluster_weights(pruned, recipe.clusters, verbose=False)
    _train(shared, task, recipe.share, recipe, seed, write, kdc.UpdateCentroids())
    done("share", shared)

    kdc.save_model(shared, path)
    decoded = kdc.load_model(path)
    done("code", decoded)

    sizes = kdc.summary(path, verbose=False)
    report = {
        "network": "LeNet-300-100",
        "data": f"MNIST, {len(digits.train[0]):,} training, {len(digits.validation[0]):,} "
        f"validation and {len(digits.test[0]):,} test images",
        "test_error_percent": round(error_percent(decoded, digits.test), 2),
        "baseline_test_error_percent": round(error_percent(baseline, digits.test), 2),
        "validation_error_percent": validation,
        "file_bytes": sizes.file_bytes,
        "float32_bytes": sizes.float32_bytes,
        "ratio": round(sizes.ratio, 2),
        "seed": seed,
        "seconds": {**seconds, "total": round(sum(seconds.values()), 1)},
        "recipe": asdict(recipe),
        "paper": PAPER,
        "versions": _versions(),
    }
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


def _versions() -> dict[str, str]:
    packages = ("keras-deepcomp", "keras", "numpy", "bitarray", keras.backend.backend())
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def show(report: dict[str, Any], out: str | os.PathLike[str], console: Console) -> None:
    """Prints what was reached beside the paper's row, and what each tensor takes."""
    table = Table(box=box.SIMPLE_HEAD, title="LeNet-300-100 on MNIST")
    for heading in ("", "test error before", "after", "size before", "after", "ratio"):
        table.add_column(heading, justify="right" if heading else "left")
    table.add_row(
        "paper (table 1)",
        f"{PAPER['baseline_test_error_percent']:.2f} %",
        f"{PAPER['test_error_percent']:.2f} %",
        f"{PAPER['float32_kilobytes']:,} KB",
        f"{PAPER['file_kilobytes']} KB",
        f"{PAPER['ratio']}x",
    )
    table.add_row(
        "this run",
        f"{report['baseline_test_error_percent']:.2f} %",
        f"{report['test_error_percent']:.2f} %",
        f"{report['float32_bytes']:,} B",
        f"{report['file_bytes']:,} B",
        f"{report['float32_bytes'] / report['file_bytes']:.1f}x",
        style="bold",
    )
    console.print(kdc.summary(Path(out) / "lenet-300-100.kdc", verbose=False).table())
    console.print(table)
    console.print(
        f"The errors are those of the decoded file; its size is all of it. Seed {report['seed']}, "
        f"{report['seconds']['total']:.0f} s. Written to {os.fspath(out)}/: lenet-300-100.kdc, "
        "report.json",
        highlight=False,
        soft_wrap=True,
    )
