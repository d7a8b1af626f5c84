"""The data of the record recipe: a split, altered copies, and a teacher's answers to them.

Nothing here knows what the pictures show. Any archive with `x_train`, `y_train`, `x_test` and
`y_test`, pictures of one channel of bytes and labels from 0, will do.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

VALIDATION_SHARE = 6
"""The last sixth of the training pictures chooses hyperparameters and seeds."""

COPIES = 10
TEACHER_EPOCHS = 16


@dataclass(frozen=True)
class Pictures:
    """Pictures as bytes of shape (n, height, width), and labels as int32 of shape (n,)."""

    pictures: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Split:
    """Training, validation and test pictures; the test ones are read once, at the end."""

    train: Pictures
    validation: Pictures
    test: Pictures


def load(path: str | os.PathLike[str]) -> Split:
    """Loads an archive and holds the last sixth of its training pictures out."""
    with np.load(path, allow_pickle=False) as file:
        x, y = file["x_train"], file["y_train"].astype("int32")
        x_test, y_test = file["x_test"], file["y_test"].astype("int32")
    cut = len(x) - len(x) // VALIDATION_SHARE
    return Split(Pictures(x[:cut], y[:cut]), Pictures(x[cut:], y[cut:]), Pictures(x_test, y_test))


def altered(pictures: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Copies of pictures, each turned, stretched and shifted a little, at random.

    Args:
        pictures: Bytes, shape (n, height, width).
        rng: Where the numbers come from.
        strength: 1 turns by 8 degrees, stretches by 8 % and shifts by a pixel (standard
            deviations, cut at two of them).

    Returns:
        Bytes of the same shape. Beyond the edges is zero.
    """
    n, height, width = pictures.shape
    padded = np.pad(pictures, ((0, 0), (1, 1), (1, 1)))

    def draw(deviation: float) -> np.ndarray:
        return np.clip(rng.normal(size=(n, 1, 1)), -2, 2).astype("float32") * deviation * strength

    angle, shear = draw(np.deg2rad(8.0)), draw(0.08)
    stretch_y, stretch_x = 1 + draw(0.08), 1 + draw(0.08)
    shift_y, shift_x = draw(1.0), draw(1.0)
    y, x = np.meshgrid(
        np.arange(height, dtype="float32") - (height - 1) / 2,
        np.arange(width, dtype="float32") - (width - 1) / 2,
        indexing="ij",
    )
    result = np.empty_like(pictures)
    for start in range(0, n, 2000):
        part = slice(start, start + 2000)
        cosine, sine = np.cos(angle[part]), np.sin(angle[part])
        from_y = (cosine * y - sine * x) * stretch_y[part] + shift_y[part] + (height - 1) / 2
        from_x = (sine * y + (cosine + shear[part]) * x) * stretch_x[part] + shift_x[part]
        from_x = from_x + (width - 1) / 2
        # In the padded picture, whose border is zero, as is all beyond.
        from_y = np.clip(from_y + 1, 0, height + 0.999)
        from_x = np.clip(from_x + 1, 0, width + 0.999)
        top, left = from_y.astype(np.int32), from_x.astype(np.int32)
        down, right = from_y - top, from_x - left
        rows = np.arange(len(top))[:, None, None]
        upper = (
            padded[part][rows, top, left] * (1 - right) + padded[part][rows, top, left + 1] * right
        )
        lower = (
            padded[part][rows, top + 1, left] * (1 - right)
            + padded[part][rows, top + 1, left + 1] * right
        )
        result[part] = np.rint(upper * (1 - down) + lower * down).astype(np.uint8)
    return result


def pool(train: Pictures, copies: int = COPIES, seed: int = 0) -> np.ndarray:
    """The pictures themselves and altered copies of them, shape (copies + 1, n, height, width)."""
    rng = np.random.default_rng(seed)
    return np.stack([train.pictures, *(altered(train.pictures, rng) for _ in range(copies))])


def as_floats(pictures: np.ndarray) -> np.ndarray:
    """float32 in 0..1, shape (n, height, width, 1)."""
    return pictures[..., np.newaxis].astype("float32") / 255.0


class Batches(keras.utils.PyDataset):
    """Each epoch one copy of every picture, in another order, with the targets that belong to it.

    Args:
        copies: Bytes, shape (copies, n, height, width).
        targets: float, shape (copies, n, classes).
        batch_size: Pictures of a batch; what is left over waits for another epoch.
        seed: For the orders and the choice of the copies.
        originals: The share of pictures that are taken unaltered (from copy 0).
        flat: Whether pictures are vectors.
    """

    def __init__(
        self,
        copies: np.ndarray,
        targets: np.ndarray,
        batch_size: int,
        seed: int,
        originals: float = 0.5,
        flat: bool = False,
    ) -> None:
        super().__init__()
        self.copies, self.targets, self.batch_size = copies, targets, batch_size
        self.originals, self.flat = originals, flat
        self.rng = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return self.copies.shape[1] // self.batch_size

    def __getitem__(self, batch: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self.order[batch * self.batch_size : (batch + 1) * self.batch_size]
        which = self.which[chosen]
        pictures = as_floats(self.copies[which, chosen])
        if self.flat:
            pictures = pictures.reshape(len(pictures), -1)
        return pictures, self.targets[which, chosen].astype("float32")

    def on_epoch_end(self) -> None:
        """Draws another order, and other copies."""
        count, n = self.copies.shape[:2]
        self.order = self.rng.permutation(n)
        altered_ones = self.rng.integers(1, count, n) if count > 1 else np.zeros(n, int)
        self.which = np.where(self.rng.random(n) < self.originals, 0, altered_ones)


def teacher(shape: tuple[int, int], classes: int) -> keras.Model:
    """A convolutional network, larger than those of the paper in what it computes."""
    layers = keras.layers
    parts: list[keras.Layer] = [layers.Input((*shape, 1))]
    for filters in (32, 64, 128):
        parts += [
            layers.Conv2D(filters, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.Activation("relu"),
        ]
        if filters < 128:
            parts.append(layers.MaxPooling2D())
    parts += [
        layers.Flatten(),
        layers.Dropout(0.4),
        layers.Dense(256, activation="relu"),
        layers.Dropout(0.4),
        layers.Dense(classes),
    ]
    return keras.Sequential(parts)


def answers(
    split: Split, copies: np.ndarray, folder: Path, seed: int = 0, epochs: int = TEACHER_EPOCHS
) -> np.ndarray:
    """A trained teacher's logits for all copies, float16, shape (copies, n, classes).

    They are kept in a folder, with the teacher, for whoever asks again.
    """
    path = folder / f"teacher-{seed}.npz"
    if path.exists():
        with np.load(path) as file:
            return file["logits"]
    keras.utils.set_random_seed(seed)
    classes = int(split.train.labels.max()) + 1
    model = teacher(copies.shape[2:], classes)
    one_hot = np.eye(classes, dtype="float32")[split.train.labels]
    targets = np.broadcast_to(one_hot, (len(copies), *one_hot.shape))
    batches = Batches(copies, targets, 128, seed, originals=0.2)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, epochs * len(batches), alpha=0.01)
    model.compile(
        keras.optimizers.Adam(rate),
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.05),
        metrics=["accuracy"],
        jit_compile=False,
    )
    held_out = as_floats(split.validation.pictures)
    labels = np.eye(classes, dtype="float32")[split.validation.labels]
    model.fit(
        batches,
        epochs=epochs,
        validation_data=(held_out, labels),
        validation_batch_size=1000,
        verbose=2,
    )
    logits = np.stack(
        [model.predict(as_floats(copy), batch_size=1000, verbose=0) for copy in copies]
    ).astype(np.float16)
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / f"teacher-{seed}.keras")
    np.savez(path, logits=logits)
    return logits
