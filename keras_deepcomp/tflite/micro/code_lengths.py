"""Huffman codes whose codes are no longer than a limit (Larmore and Hirschberg, 1990)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def limited_code_lengths(counts: npt.NDArray[np.integer], longest: int) -> npt.NDArray[np.uint8]:
    """Return the lengths of the best prefix code with no code longer than a limit: package-merge.

    A code of length l costs its symbol's count at each of the levels 1 to l. At each level, from
    the longest up, the single symbols are merged with the pairs ("packages") of the level below,
    cheapest first. The 2n - 2 cheapest of the first level are taken; how often a symbol is among
    them, packages opened, is the length of its code.

    Args:
        counts: How often each symbol occurs, from 1 up, shape (symbols,), at least two.
        longest: The most bits of a code.

    Returns:
        The length of each symbol's code in bits, shape (symbols,).

    Raises:
        ValueError: There are more symbols than codes of that length.
    """
    symbols = counts.size
    if symbols > 1 << longest:
        raise ValueError(f"{symbols} symbols have no codes of at most {longest} bits each.")
    order = np.argsort(counts, kind="stable")
    singles = counts[order].astype(np.int64)
    # At each level: which items, cheapest first, are single symbols (the others are packages).
    levels: list[npt.NDArray[np.bool_]] = []
    packages = np.empty(0, np.int64)
    for _ in range(longest):
        weights = np.concatenate([singles, packages])
        cheapest = np.argsort(weights, kind="stable")
        levels.append(cheapest < symbols)
        merged = weights[cheapest]
        merged = merged[: merged.size // 2 * 2]
        packages = merged[0::2] + merged[1::2]
    lengths = np.zeros(symbols, np.uint8)
    taken = 2 * symbols - 2
    for is_single in reversed(levels):
        single = int(np.count_nonzero(is_single[:taken]))
        # Single symbols come cheapest first, so those taken are the first ones.
        lengths[order[:single]] += 1
        taken = 2 * (taken - single)
    return lengths
