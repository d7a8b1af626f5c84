"""Which weights go together when they are pruned: singly, in blocks, or so many of each group.

Hardware that leaves out zeros wants them in a pattern. A structure turns a sparsity into masks that
have the pattern, by the rules of `masks`: exact counts, ties to the first, masks only tighten.

The last two axes of every array here are the input and the output channels, as in a dense kernel;
those before, such as the height and width of a convolution, only count (numpy, no framework).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_deepcomp import masks
from keras_deepcomp.masks import Mask
from keras_deepcomp.schedules import Schedule

Weights = Sequence[NDArray[Any]]
POOLING_TYPES = ("AVG", "MAX")


@dataclass(frozen=True)
class Structure:
    """Single weights, which is no structure at all."""

    def present(self, alive: Sequence[Mask]) -> float:
        """The sparsity that masks have, in the terms in which `keep_largest` is asked for it."""
        return 1.0 - sum(int(m.sum()) for m in alive) / sum(m.size for m in alive)

    def keep_largest(
        self, weights: Weights, alive: Sequence[Mask], sparsity: float
    ) -> tuple[list[Mask], float]:
        """Keeps what is largest over one or several tensors.

        Args:
            weights: Float tensors, of two or more dimensions if there is a structure.
            alive: Their present masks, True where a weight is kept.
            sparsity: Share that is to be zero, in [0, 1).

        Returns:
            The new masks, and the threshold, see `masks.keep_largest`.
        """
        return masks.keep_largest(weights, alive, sparsity)

    def keep_above(self, weights: NDArray[Any], alive: Mask, threshold: float) -> Mask:
        """Keeps what is above a threshold, see `masks.keep_above`."""
        return masks.keep_above(weights, alive, threshold)


@dataclass(frozen=True)
class Blocks(Structure):
    """Blocks of neighbouring input and output channels, which stay or go as one.

    A block ranks by the magnitudes in it, and sparsity is the share of blocks. Where the sizes do
    not divide, the blocks at the far edges are smaller, and rank by the weights that they have.

    Attributes:
        height: Input channels of a block.
        width: Output channels of a block.
        pooling: "AVG" ranks by the mean magnitude, "MAX" by the largest.
    """

    height: int
    width: int
    pooling: str = "AVG"

    def present(self, alive: Sequence[Mask]) -> float:
        """The share of blocks that are gone."""
        return super().present([self._any(mask) for mask in alive])

    def keep_largest(
        self, weights: Weights, alive: Sequence[Mask], sparsity: float
    ) -> tuple[list[Mask], float]:
        """Keeps the largest blocks."""
        kept, threshold = masks.keep_largest(
            [self._pooled(tensor) for tensor in weights],
            [self._any(mask) for mask in alive],
            sparsity,
        )
        return [
            self._spread(mask, tensor.shape) for mask, tensor in zip(kept, weights, strict=True)
        ], threshold

    def keep_above(self, weights: NDArray[Any], alive: Mask, threshold: float) -> Mask:
        """Keeps the blocks whose pooled magnitude is above a threshold."""
        kept = masks.keep_above(self._pooled(weights), self._any(alive), threshold)
        return self._spread(kept, weights.shape)

    def _blocks(self, tensor: NDArray[Any]) -> NDArray[Any]:
        """Shape (..., rows of blocks, height, columns of blocks, width); zeros beyond the edges."""
        *before, rows, columns = tensor.shape
        down, across = -(-rows // self.height), -(-columns // self.width)
        padding = [(0, 0)] * len(before)
        padding += [(0, down * self.height - rows), (0, across * self.width - columns)]
        padded = np.pad(tensor, padding)
        return padded.reshape(*before, down, self.height, across, self.width)

    def _pooled(self, tensor: NDArray[Any]) -> NDArray[Any]:
        blocks = self._blocks(np.abs(masks.wide(tensor)))
        if self.pooling == "MAX":
            return blocks.max(axis=(-3, -1))
        sizes = self._blocks(np.ones(tensor.shape[-2:], blocks.dtype)).sum(axis=(-3, -1))
        return blocks.sum(axis=(-3, -1)) / sizes

    def _any(self, mask: Mask) -> Mask:
        return np.asarray(self._blocks(mask).any(axis=(-3, -1)))

    def _spread(self, kept: Mask, shape: tuple[int, ...]) -> Mask:
        full = kept.repeat(self.height, axis=-2).repeat(self.width, axis=-1)
        return full[..., : shape[-2], : shape[-1]]


@dataclass(frozen=True)
class Groups(Structure):
    """At least so many zeros in each group of consecutive input channels, such as 2 in 4.

    The pattern says which weights may go: in each group the smallest. The sparsity says how many of
    these have gone: all, when it reaches the pattern's own. Beyond that, the smallest of the others
    follow, until none would be left at 1. The last group may be smaller, and then it has fewer
    zeros: as many as if it were filled with zeros.

    Attributes:
        zeros: How many of a group are zero at least.
        size: Weights of a group.
    """

    zeros: int
    size: int

    @property
    def sparsity(self) -> float:
        """The share of zeros at which the pattern is complete."""
        return self.zeros / self.size

    def present(self, alive: Sequence[Mask]) -> float:
        """The sparsity to ask for to get as many zeros as there are."""
        total = sum(mask.size for mask in alive)
        candidates = sum(self._number_of_candidates(mask.shape) for mask in alive)
        gone = total - sum(int(mask.sum()) for mask in alive)
        if gone < candidates:
            return self.sparsity * gone / candidates
        beyond = (gone - candidates) / (total - candidates)
        return self.sparsity + (1.0 - self.sparsity) * beyond

    def keep_largest(
        self, weights: Weights, alive: Sequence[Mask], sparsity: float
    ) -> tuple[list[Mask], float]:
        """Keeps the largest of those that may go, or of the others once the pattern is complete."""
        may_go = [self._candidates(w, m) for w, m in zip(weights, alive, strict=True)]
        complete = sparsity >= self.sparsity
        if complete:
            share = (sparsity - self.sparsity) / (1.0 - self.sparsity)
            pool = [~c for c in may_go]
        else:
            share = sparsity / self.sparsity
            pool = may_go
        kept, _ = masks.keep_largest(
            [w[p] for w, p in zip(weights, pool, strict=True)],
            [m[p] for m, p in zip(alive, pool, strict=True)],
            share,
        )
        result, threshold = [np.full(p.shape, not complete) for p in pool], 0.0
        for tensor, before, after, p, k in zip(weights, alive, result, pool, kept, strict=True):
            after[p] = k
            went = np.abs(masks.wide(tensor[before & ~after]))
            threshold = max(threshold, float(went.max(initial=0.0)))
        return result, threshold

    def keep_above(self, weights: NDArray[Any], alive: Mask, threshold: float) -> Mask:
        """Not for groups: a threshold leaves some with too few zeros."""
        raise NotImplementedError

    def _grouped(self, tensor: NDArray[Any], fill: float) -> NDArray[Any]:
        """Shape (..., groups, size): groups run along the input channels, the last axis but one."""
        rows = np.moveaxis(tensor, -2, -1)
        missing = -rows.shape[-1] % self.size
        padding = [(0, 0)] * (rows.ndim - 1) + [(0, missing)]
        padded = np.pad(rows, padding, constant_values=fill)
        return padded.reshape(*rows.shape[:-1], -1, self.size)

    def _candidates(self, tensor: NDArray[Any], alive: Mask) -> Mask:
        magnitudes = np.where(alive, np.abs(masks.wide(tensor)), -1.0)
        # A stable sort leaves equal weights in their order, so that the first are kept. What fills
        # up the last group ranks behind all that is there.
        order = np.argsort(-self._grouped(magnitudes, -2.0), axis=-1, kind="stable")
        candidates = np.ones(order.shape, bool)
        np.put_along_axis(candidates, order[..., : self.size - self.zeros], False, axis=-1)
        flat = candidates.reshape(*order.shape[:-2], -1)[..., : tensor.shape[-2]]
        return np.moveaxis(flat, -1, -2)

    def _number_of_candidates(self, shape: tuple[int, ...]) -> int:
        whole, rest = divmod(shape[-2], self.size)
        each = whole * self.zeros + max(0, rest - (self.size - self.zeros))
        return each * int(np.prod(shape)) // max(shape[-2], 1)


def structure_of(
    block_size: Any = (1, 1), block_pooling_type: str = "AVG", sparsity_m_by_n: Any = None
) -> Structure:
    """The structure that tfmot's three arguments ask for.

    Args:
        block_size: Input and output channels of a block; (1, 1) for none.
        block_pooling_type: "AVG" or "MAX".
        sparsity_m_by_n: (m, n) for m zeros in each n consecutive input channels; None for none.

    Raises:
        ValueError: Sizes that make no sense, an unknown pooling, or blocks and groups together.
    """
    height, width = _two_integers(block_size, "block_size", "(4, 1)")
    if min(height, width) < 1:
        raise ValueError(f"block_size counts channels, at least 1 each way; got {block_size!r}.")
    if block_pooling_type not in POOLING_TYPES:
        raise ValueError(
            f"block_pooling_type must be one of {POOLING_TYPES}; got {block_pooling_type!r}."
        )
    if sparsity_m_by_n is None:
        single = (height, width) == (1, 1)
        return Structure() if single else Blocks(height, width, block_pooling_type)
    if (height, width) != (1, 1):
        raise ValueError(
            f"block_size={block_size!r} and sparsity_m_by_n={sparsity_m_by_n!r} are two patterns "
            "for the same weights. Give one of them."
        )
    zeros, size = _two_integers(sparsity_m_by_n, "sparsity_m_by_n", "(2, 4)")
    if not 1 <= zeros < size:
        raise ValueError(
            f"sparsity_m_by_n=(m, n) asks for m zeros in each n weights, 1 <= m < n, such as "
            f"(2, 4); got {sparsity_m_by_n!r}."
        )
    return Groups(zeros, size)


def check_reaches(schedule: Schedule, structure: Structure) -> None:
    """Refuses a schedule that would leave groups with too few zeros.

    Raises:
        ValueError: It would; says what to give instead.
    """
    if not isinstance(structure, Groups):
        return
    pattern = f"sparsity_m_by_n=({structure.zeros}, {structure.size})"
    if schedule.target == "quality":
        raise ValueError(
            f"{pattern} asks for so many zeros in each group, and Threshold for those under a "
            "threshold, however many. Use a sparsity schedule, such as "
            f"schedules.Polynomial({structure.sparsity:g})."
        )
    final = schedule.final
    if final is not None and final < structure.sparsity:
        raise ValueError(
            f"{pattern} is a sparsity of {structure.sparsity:g}, and the schedule ends at "
            f"{final:g}: groups would have too few zeros. Give the schedule a final sparsity of "
            f"{structure.sparsity:g}, or more to prune further within the pattern."
        )


def _two_integers(value: Any, name: str, example: str) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else ()
    if len(pair) != 2 or not all(isinstance(n, Integral) for n in pair):
        raise ValueError(f"{name} must be two integers, such as {example}; got {value!r}.")
    return int(pair[0]), int(pair[1])
