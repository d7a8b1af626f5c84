"""Positions of non-zero elements as bounded gaps with filler zeros (section 2 of the paper).

A gap is the number of zeros before an entry. With a bound of b bits a gap is at most 2**b - 1;
a longer run of zeros is broken up by fillers, which are entries that hold a zero themselves and
come after exactly 2**b - 1 zeros. So one filler covers 2**b zeros, and a run of g zeros takes
g >> b fillers and leaves a gap of g & (2**b - 1). With b = 0 every zero is a filler.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MAX_GAP_BITS = 15
FILLER = 0


def positions_of(gaps: npt.NDArray[np.integer], previous: int) -> npt.NDArray[np.int64]:
    """Return the places of entries from their gaps.

    Args:
        gaps: The gaps, shape (entries,).
        previous: The place of the entry before the first, -1 at the start of a tensor.

    Returns:
        The places, shape (entries,), ascending.
    """
    return np.cumsum(gaps.astype(np.int64) + 1) + previous
