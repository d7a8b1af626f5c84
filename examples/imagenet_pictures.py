"""The pictures for `imagenet.py`: read, decoded, moved about, and in batches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

HELD_OUT = 50
MEAN = (123.68, 116.779, 103.939)
RECORD = {
    "image/encoded": tf.io.FixedLenFeature((), tf.string),
    "image/class/label": tf.io.FixedLenFeature((), tf.int64),
}


class Pictures:
    """The pictures of a folder with `train/` and `validation/`.

    Args:
        root: The folder.
        size: Height and width that the network wants.
        batch: Pictures in a batch, of this process.
        processes: How many processes share the training pictures.
        process: Which of them this one is.
    """

    def __init__(self, root: Path, size: int, batch: int, processes: int, process: int) -> None:
        self.root, self.size, self.batch = root, size, batch
        self.processes, self.process = processes, process
        self.classes = sorted(p.name for p in (root / "train").iterdir() if p.is_dir())

    def training(self) -> tf.data.Dataset:
        """Endless shuffled batches, moved about and mirrored, of this process' share."""
        examples = self._examples("train", lambda n: n % HELD_OUT != 0)
        mine = examples.shard(self.processes, self.process)
        # Names take little memory, and pictures from records do not.
        mine = mine.shuffle(100_000 if self.classes else 5_000, seed=0).repeat()
        return self._batches(mine, self._moved_about, drop_remainder=True)

    def held_out(self) -> tf.data.Dataset:
        """What is kept apart of `train/`."""
        return self._batches(self._examples("train", lambda n: n % HELD_OUT == 0), self._middle)

    def test(self) -> tf.data.Dataset:
        """All of `validation/`."""
        return self._batches(self._examples("validation", lambda n: n >= 0), self._middle)

    def steps(self) -> int:
        """Batches of `training()` in an epoch, the same in all processes."""
        count = self._examples("train", lambda n: n % HELD_OUT != 0).reduce(0, lambda n, _: n + 1)
        return max(1, int(count) // self.processes // self.batch)

    def _examples(self, split: str, chosen: Callable[[Any], Any]) -> tf.data.Dataset:
        """The examples whose number is chosen: name and label, or a record."""
        folder = self.root / split
        if self.classes:
            pairs = [
                (str(path), label)
                for label, name in enumerate(self.classes)
                for path in sorted((folder / name).iterdir())
            ]
            # In an order that is always the same, in which the classes are mixed.
            pairs = [pairs[i] for i in np.random.default_rng(0).permutation(len(pairs))]
            names, labels = (list(each) for each in zip(*pairs, strict=True))
            examples = tf.data.Dataset.from_tensor_slices((names, labels))
        else:
            examples = tf.data.TFRecordDataset(sorted(map(str, folder.iterdir())))
        numbered = examples.enumerate().filter(lambda number, example: chosen(number))
        return numbered.map(lambda number, example: example)

    def _batches(
        self, examples: tf.data.Dataset, prepare: Callable[[Any], Any], drop_remainder: bool = False
    ) -> tf.data.Dataset:
        def read(*example: Any) -> tuple[Any, Any]:
            if len(example) == 2:
                encoded, label = tf.io.read_file(example[0]), example[1]
            else:
                record = tf.io.parse_single_example(example[0], RECORD)
                encoded = record["image/encoded"]
                label = tf.cast(record["image/class/label"], tf.int32) - 1
            decoded = tf.io.decode_image(encoded, 3, expand_animations=False)
            picture = prepare(tf.ensure_shape(decoded, (None, None, 3)))
            # As the weights of Keras and Caffe have it: blue first, and the mean taken off.
            return picture[..., ::-1] - tf.constant(MEAN[::-1]), label

        batches = examples.map(read, tf.data.AUTOTUNE).batch(self.batch, drop_remainder)
        return batches.map(self._whole).prefetch(tf.data.AUTOTUNE)

    def _whole(self, pictures: Any, labels: Any) -> tuple[Any, Any, Any]:
        """A last batch filled up with pictures that count nothing: several devices divide it."""
        count = tf.shape(labels)[0]
        missing = self.batch - count
        weights = tf.pad(tf.ones(count), [[0, missing]])
        pictures = tf.pad(pictures, [[0, missing], [0, 0], [0, 0], [0, 0]])
        pictures = tf.ensure_shape(pictures, (self.batch, self.size, self.size, 3))
        return pictures, tf.pad(labels, [[0, missing]]), weights

    def _moved_about(self, picture: Any) -> Any:
        """A part of at least an eighth of the picture, maybe mirrored (Szegedy et al. 2015)."""
        box = tf.zeros((1, 0, 4))
        start, size, _ = tf.image.sample_distorted_bounding_box(
            tf.shape(picture), box, area_range=(0.125, 1.0), aspect_ratio_range=(3 / 4, 4 / 3),
            use_image_if_no_bounding_boxes=True,
        )  # fmt: skip
        part = tf.slice(picture, start, size)
        return tf.image.random_flip_left_right(self._resized(part, (self.size, self.size)))

    def _middle(self, picture: Any) -> Any:
        """The middle of the picture, whose shorter side is 8/7 of what the network wants."""
        sides = tf.cast(tf.shape(picture)[:2], tf.float32)
        scaled = tf.round(sides * (self.size * 8 / 7 / tf.reduce_min(sides)))
        resized = self._resized(picture, tf.cast(scaled, tf.int32))
        return tf.image.resize_with_crop_or_pad(resized, self.size, self.size)

    def _resized(self, picture: Any, sides: Any) -> Any:
        resized = tf.image.resize(picture, sides, "bicubic", antialias=True)
        return tf.clip_by_value(resized, 0.0, 255.0)
