"""A second reader of `.kdc` files, written from the pages docs/format*.md alone, in plain Python.

It is slow, and its order is that of the pages. What it says about a file, the package has to say
as well: `test_simple_decoder.py` compares the two.
"""

from simple_decoder import version_0, version_1
from simple_decoder.reading import need

MAGIC = b"\x89KDC"
VERSIONS = {0: version_0, 1: version_1}


def decode(data, max_bytes=1 << 26):
    """Return metadata {key: text} and tensors {name: (type, shape, little-endian bytes)}.

    Raises ValueError for bytes that break a rule of the page or declare more than `max_bytes`.
    """
    data = bytes(data)
    need(data[:4] == MAGIC, "not a .kdc file")
    need(len(data) > 4, "cut off before the version")
    need(data[4] in VERSIONS, f"format version {data[4]}")
    return VERSIONS[data[4]].decode(data, max_bytes)


def declared(data):
    """Return {name: (type, shape)} as a file says it that `decode` takes; nothing is decoded."""
    return VERSIONS[data[4]].declared(data)
