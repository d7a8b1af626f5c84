"""Fields of bits, most significant first: fixed widths, and exponential Golomb codes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from bitarray import bitarray
from bitarray.util import ba2int, int2ba, zeros

from keras_deepcomp.container.errors import damaged

# No field of the format needs more, and a longer run of zeros is damage.
MAX_GOLOMB_ZEROS = 64


class BitWriter:
    """Appends fields to a row of bits.

    Attributes:
        bits: What was written so far.
    """

    def __init__(self) -> None:
        self.bits = bitarray(endian="big")

    def number(self, value: int, width: int) -> None:
        """Append `value` in `width` bits."""
        if width:
            self.bits += int2ba(value, width, endian="big")

    def golomb(self, value: int, order: int) -> None:
        """Append a value from 0 up: few bits for small values.

        The exponential Golomb code of order k of v: with w = v + 2**k in n bits, n - k - 1 zeros
        and then w.
        """
        shifted = value + (1 << order)
        width = shifted.bit_length()
        self.number(shifted, 2 * width - order - 1)

    def append(self, bits: npt.NDArray[np.integer]) -> None:
        """Append an array of zeros and ones."""
        packed = bitarray(endian="big")
        packed.frombytes(np.packbits(bits.astype(np.uint8)).tobytes())
        del packed[bits.size :]
        self.bits += packed

    def append_bytes(self, values: npt.NDArray[np.uint8]) -> None:
        """Append an array of bytes."""
        self.bits.frombytes(values.tobytes())

    def signed_golomb(self, value: int, order: int) -> None:
        """Append a value of either sign: 0, -1, 1, -2, 2, ... become 0, 1, 2, 3, 4, ..."""
        self.golomb(2 * value if value >= 0 else -2 * value - 1, order)


def golomb_bits(value: int, order: int) -> int:
    """Return how many bits `BitWriter.golomb` takes."""
    return 2 * (value + (1 << order)).bit_length() - order - 1


class BitReader:
    """A cursor over bits that checks every length before it is used.

    Args:
        data: The bytes.
        what: What they are, for error messages.

    Attributes:
        position: How many bits are behind the cursor.
    """

    def __init__(self, data: memoryview | bytes, what: str) -> None:
        self._bits = bitarray(endian="big", buffer=data)
        self.what = what
        self.position = 0

    @property
    def remaining(self) -> int:
        """How many bits are ahead of the cursor."""
        return len(self._bits) - self.position

    def take(self, count: int) -> bitarray:
        """Return the next `count` bits, and step over them."""
        if count > self.remaining:
            raise damaged(f"{self.what} ends early")
        start = self.position
        self.position += count
        return self._bits[start : self.position]

    def ahead(self, count: int) -> bitarray:
        """Return the next `count` bits, or as many as there are, without stepping over them."""
        return self._bits[self.position : self.position + count]

    def number(self, width: int) -> int:
        """Return the next `width` bits as an integer."""
        return ba2int(self.take(width)) if width else 0

    def flag(self) -> bool:
        """Return the next bit."""
        return bool(self.number(1))

    def golomb(self, order: int) -> int:
        """Return what `BitWriter.golomb` wrote with this order."""
        one = self._bits.find(1, self.position, self.position + MAX_GOLOMB_ZEROS)
        if one < 0:
            raise damaged(f"{self.what} has a number that is too large or cut off")
        leading = one - self.position
        self.position = one
        return self.number(leading + order + 1) - (1 << order)

    def array(self, count: int) -> npt.NDArray[np.uint8]:
        """Return the next `count` bits as an array of zeros and ones."""
        packed = np.frombuffer(self.take(count).tobytes(), np.uint8)
        return np.unpackbits(packed, count=count)

    def byte_array(self, count: int) -> npt.NDArray[np.uint8]:
        """Return the next `count` bytes as an array."""
        return np.frombuffer(self.take(8 * count).tobytes(), np.uint8)

    def signed_golomb(self, order: int) -> int:
        """Return what `BitWriter.signed_golomb` wrote with this order."""
        value = self.golomb(order)
        return -((value + 1) // 2) if value % 2 else value // 2

    def finish(self) -> None:
        """Check that nothing is left but less than a byte of zeros."""
        if self.remaining >= 8 or self._bits[self.position :].any():
            raise damaged(f"{self.what} has bits left over")


def empty_bits() -> bitarray:
    """Return no bits, in the order that the format uses."""
    return zeros(0, endian="big")
