"""What is worth trying next, from where the bytes went."""

from __future__ import annotations

from keras_deepcomp.printable import printable
from keras_deepcomp.reporting.summary import Row, Summary, shares

MUCH = 0.1
"""The part of a file from which on it is worth a word."""

MANY_VALUES = 16
_DENSE_PERCENT = 50.0
_MOST = 4


def advice(found: Summary) -> list[str]:
    """Says what could make a file smaller, the largest gain first.

    Args:
        found: The file.

    Returns:
        At most four sentences; none if nothing stands out.
    """
    size = found.file_bytes
    gains: list[tuple[int, str]] = []
    kernels = [row for row in found.rows if len(row.shape) > 1]
    for what, some, stage in (
        ("pruned", [row for row in kernels if row.kept_percent > _DENSE_PERCENT],
         "prune_low_magnitude"),
        ("shared", [row for row in kernels if not shares(row)], "cluster_weights"),
    ):  # fmt: skip
        cost = sum(row.bytes for row in some)
        if cost > MUCH * size:
            largest = max(some, key=lambda row: row.bytes)
            gains.append((cost, (
                f"{_percent(cost, size)} of the file are kernels that are hardly {what}, "
                f"{printable(largest.name)} the largest of them. kdc.{stage} is for these."
            )))  # fmt: skip
    many = [row for row in kernels if shares(row) and row.clusters > MANY_VALUES]
    cost = sum(row.value_bytes for row in many)
    if cost > MUCH * size:
        gains.append((cost, (
            f"{_percent(cost, size)} of the file say which of more than {MANY_VALUES} values a "
            "weight has. Fewer clusters shorten these codes."
        )))  # fmt: skip
    plain = sum(row.bytes for row in found.rows if len(row.shape) <= 1 and not shares(row))
    if plain > MUCH * size:
        gains.append((plain, (
            f"{_percent(plain, size)} of the file are vectors, such as biases, that share no "
            "values. Those that fit float16 or bfloat16 exactly take half of it."
        )))  # fmt: skip
    if found.metadata_bytes > MUCH * size:
        gains.append((found.metadata_bytes, (
            f"{_percent(found.metadata_bytes, size)} of the file are the architecture. "
            "save_model(..., architecture=False) leaves it out, and load_weights reads the rest."
        )))  # fmt: skip
    gains.sort(key=lambda gain: -gain[0])
    return [sentence for _, sentence in gains[:_MOST]]


def why_left_alone(row: Row) -> str:
    """What can be seen in a file of a tensor that shares no values; empty for one that does."""
    if row.bytes == 0 or shares(row):
        return ""
    kind = {0: "a single number", 1: "a vector"}.get(len(row.shape), "a kernel")
    if row.clusters:
        return f"{kind}, coded without shared values"
    return f"{kind}, stored as it is: no code was shorter"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %"
