"""Training and validation data, in the forms that `fit` takes and can take again."""

from __future__ import annotations

import contextlib
import zlib
from typing import Any

import keras
import numpy as np

SAMPLE_BYTES = 1 << 16
"""How much of each array goes into the fingerprint."""


class Data:
    """One data set that is gone through many times.

    Args:
        source: `(x, y)` or `(x, y, sample_weight)`, each an array or a list or dict of arrays; or a
            `tf.data.Dataset`, a `keras.utils.PyDataset` or a torch `DataLoader`.
        what: What to call it in messages.
        batch_size: For arrays; None takes 32, or 128 from 10,000 samples on.

    Raises:
        TypeError: Something else, a generator among it: it could be gone through only once.
        ValueError: There are no samples in it, or x and y are not of one length.
    """

    def __init__(self, source: Any, what: str, batch_size: int | None = None) -> None:
        self.what = what
        self.arrays: tuple[Any, ...] | None = None
        self._source = source
        if isinstance(source, tuple | list):
            self.arrays = self._checked(source)
            self.samples = len(keras.tree.flatten(self.arrays)[0])
            self.batch_size = batch_size or (128 if self.samples >= 10_000 else 32)
            self.batches = -(-self.samples // self.batch_size)
            return
        if not hasattr(source, "__len__") and (
            not hasattr(source, "__iter__") or iter(source) is source
        ):
            raise TypeError(
                f"{what} is gone through many times; expected (x, y), (x, y, sample_weight), a "
                f"tf.data.Dataset, a PyDataset or a DataLoader; got {type(source).__name__}. Put "
                "what a generator gives into arrays, or make it a keras.utils.PyDataset."
            )
        self.batches = _count(source)
        if not self.batches:
            raise ValueError(f"{what} has no batches.")

    def _checked(self, source: Any) -> tuple[Any, ...]:
        if len(source) not in (2, 3):
            raise TypeError(
                f"{self.what} is (x, y) or (x, y, sample_weight); got {len(source)} parts."
            )
        lengths = {len(array) for array in keras.tree.flatten(tuple(source))}
        if len(lengths) != 1 or not min(lengths):
            raise ValueError(
                f"All arrays of {self.what} need one and the same number of samples, and at least "
                f"one; got {sorted(lengths)}."
            )
        return tuple(source)

    def arguments(self) -> dict[str, Any]:
        """What `fit` and `evaluate` take for it."""
        if self.arrays is None:
            return {"x": self._source}
        names = ("x", "y", "sample_weight")
        return {**dict(zip(names, self.arrays, strict=False)), "batch_size": self.batch_size}

    def head(self, samples: int) -> dict[str, Any]:
        """What `evaluate` takes for its first samples; of a data set, of as many of its batches."""
        if self.arrays is None:
            return {**self.arguments(), "steps": max(1, min(self.batches, samples // 32))}
        arguments = self.arguments()
        return {
            name: value
            if name == "batch_size"
            else keras.tree.map_structure(_first(samples), value)
            for name, value in arguments.items()
        }

    def split(self, share: float, seed: int) -> tuple[Data, Data]:
        """Two parts of arrays, drawn at random: the rest, and a share of the samples.

        Raises:
            TypeError: It is a data set, not arrays.
        """
        if self.arrays is None:
            raise TypeError(f"{self.what} is not arrays, which could be split; give validation=.")
        order = np.random.default_rng(seed).permutation(self.samples)
        cut = self.samples - max(1, round(share * self.samples))

        def part(places: Any) -> Any:
            return keras.tree.map_structure(lambda a: np.asarray(a)[places], self.arrays)

        return Data(part(np.sort(order[:cut])), self.what, self.batch_size), Data(
            part(np.sort(order[cut:])), "validation", self.batch_size
        )

    def fingerprint(self) -> str:
        """Says whether it is the same data as another time, as far as a sample of it tells."""
        if self.arrays is None:
            return f"{type(self._source).__name__} of {self.batches} batches"
        parts = []
        for array in keras.tree.flatten(self.arrays):
            values = np.asarray(array)
            step = max(1, values.nbytes // SAMPLE_BYTES)
            sample = np.ascontiguousarray(values[::step])
            parts.append(
                f"{values.dtype.name}{list(values.shape)}:{zlib.crc32(sample.tobytes()):08x}"
            )
        return " ".join(parts)


def _first(samples: int) -> Any:
    return lambda array: array[:samples]


def _count(source: Any) -> int:
    """Batches of a data set, counted by going through it where it does not say.

    Raises:
        ValueError: It repeats for ever.
    """
    if hasattr(source, "cardinality"):
        count = int(source.cardinality())
        if count == -1:
            raise ValueError(
                "A data set that repeats for ever has no epochs. Leave repeat() out, or end it "
                "with take(batches)."
            )
        if count >= 0:
            return count
    else:
        with contextlib.suppress(TypeError):
            return len(source)
    return sum(1 for _ in source)
