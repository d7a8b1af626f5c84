"""Fields of bits, most significant first: fixed widths, and exponential Golomb codes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from bitarray import bitarray
from bitarray.util import ba2int, int2ba

from keras_deepcomp.container.errors import damaged

# No field of the format needs more, and a longer run of zeros is damage.
MAX_GOLOMB_ZEROS = 64
# Fields that are joined in pairs first.
_MANY = 1 << 12


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

    def golombs(self, values: npt.NDArray[np.unsignedinteger], order: int) -> None:
        """Append values as `golomb` does, all at once where they are small."""
        if _are_small(values, order):
            shifted = values.astype(np.uint64) + np.uint64(1 << order)
            self.bits += joined(shifted, (2 * _bit_lengths(shifted) - order - 1).astype(np.uint8))
        else:
            for value in values.tolist():
                self.golomb(value, order)

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


def golomb_bits(values: npt.NDArray[np.unsignedinteger], order: int) -> int:
    """Return how many bits `BitWriter.golombs` takes."""
    if _are_small(values, order):
        lengths = int(_bit_lengths(values.astype(np.uint64) + np.uint64(1 << order)).sum())
    else:
        lengths = sum((value + (1 << order)).bit_length() for value in values.tolist())
    return 2 * lengths - (order + 1) * values.size


def _are_small(values: npt.NDArray[np.unsignedinteger], order: int) -> bool:
    """Return whether 64 bits hold the code of each value."""
    return order < 31 and (values.size == 0 or int(values.max()) < 1 << 31)


def _bit_lengths(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.int32]:
    """Return `int.bit_length` of values that a float holds exactly."""
    return np.frexp(values.astype(np.float64))[1]


def zigzag(values: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Return 0, 1, 2, 3, 4, ... for 0, -1, 1, -2, 2, ..., as `BitWriter.signed_golomb` has it."""
    return np.where(values >= 0, 2 * values, -2 * values - 1).astype(np.uint64)


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


def joined(values: npt.NDArray[np.uint64], widths: npt.NDArray[np.uint8]) -> bitarray:
    """Return fields one after the other.

    Args:
        values: The fields, each less than two to the power of its width, shape (n,).
        widths: How many bits each has, at most 64, shape (n,).
    """
    # As long as 64 bits are sure to hold two neighbours, and there are many, these make one field.
    while values.size > _MANY and int(widths.max()) <= 32:
        if values.size % 2:
            values, widths = np.append(values, np.uint64(0)), np.append(widths, np.uint8(0))
        second = widths[1::2]
        values = values[::2] << second | values[1::2]
        widths = widths[::2] + second
    bits = bitarray(endian="big")
    if values.size:
        bits.frombytes(_words(values, widths).astype(">u8").tobytes())
        del bits[int(widths.sum(dtype=np.int64)) :]
    return bits


def _words(values: npt.NDArray[np.uint64], widths: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Return fields of at most 64 bits one after the other, in words of 64 bits and one more."""
    starts = np.cumsum(widths, dtype=np.int64)
    starts -= widths
    # How far a field is from the end of its word; below zero, it goes on in the next one.
    room = 64 - (starts & 63)
    room -= widths
    inside = values << np.maximum(room, 0).view(np.uint64)
    inside >>= np.maximum(-room, 0).view(np.uint64)
    # No field is so long that none starts in the word after it.
    words = starts >> 6
    last = np.append(np.flatnonzero(words[1:] != words[:-1]), words.size - 1)
    first = np.append(0, last[:-1] + 1)
    packed = np.zeros(last.size + 1, np.uint64)
    packed[:-1] = np.bitwise_or.reduceat(inside, first)
    # Only the last field of a word goes on in the next one; a shift by 64 or more leaves nothing.
    packed[1:] |= values[last] << (64 + room[last]).view(np.uint64)
    return packed
