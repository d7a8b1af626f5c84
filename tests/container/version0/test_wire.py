"""The constants of version 0."""

import pytest

from keras_deepcomp.container.version0 import wire


@pytest.mark.parametrize(
    ("bits", "size"), [(0, 0), (1, 1), (8, 1), (9, 2), (16, 2), (2**40, 2**37)]
)
def test_bytes_of_bits(bits, size):
    assert wire.bytes_of_bits(bits) == size


def test_constants():
    assert (wire.VERSION, wire.RAW, wire.CODED, wire.MAX_CLUSTERS) == (0, 0, 1, 65_535)
