"""The constants of version 0."""

VERSION = 0
# The two codings of a payload.
RAW = 0
CODED = 1
MAX_CLUSTERS = 65_535
MAX_METADATA_BYTES = 64 << 20


def bytes_of_bits(bits: int) -> int:
    """Return how many bytes hold this many bits."""
    return (bits + 7) // 8
