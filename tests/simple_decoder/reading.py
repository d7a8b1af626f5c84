"""What the versions share: types, and the reading of bytes, numbers, text and bits."""

# Code: name, item size, largest pattern.
TYPES = {
    0: ("bool", 1, 1),
    1: ("int8", 1, 2**8 - 1),
    2: ("int16", 2, 2**16 - 1),
    3: ("int32", 4, 2**32 - 1),
    4: ("int64", 8, 2**64 - 1),
    5: ("uint8", 1, 2**8 - 1),
    6: ("uint16", 2, 2**16 - 1),
    7: ("uint32", 4, 2**32 - 1),
    8: ("uint64", 8, 2**64 - 1),
    9: ("float16", 2, 2**16 - 1),
    10: ("float32", 4, 2**32 - 1),
    11: ("float64", 8, 2**64 - 1),
    12: ("complex64", 8, 2**64 - 1),
    13: ("complex128", 16, 2**128 - 1),
    14: ("bfloat16", 2, 2**16 - 1),
    15: ("float8_e4m3fn", 1, 2**8 - 1),
    16: ("float8_e5m2", 1, 2**8 - 1),
    17: ("float8_e4m3fnuz", 1, 2**8 - 1),
    18: ("float8_e5m2fnuz", 1, 2**8 - 1),
    19: ("float8_e4m3b11fnuz", 1, 2**8 - 1),
    20: ("float8_e4m3", 1, 2**8 - 1),
    21: ("float8_e3m4", 1, 2**8 - 1),
    22: ("float8_e8m0fnu", 1, 2**8 - 1),
    23: ("int4", 1, 0x0F),
    24: ("uint4", 1, 0x0F),
    25: ("int2", 1, 0x03),
    26: ("uint2", 1, 0x03),
}


def need(condition, message):
    if not condition:
        raise ValueError(message)


class Reader:
    """Bytes read from the front."""

    def __init__(self, data):
        self.data = data
        self.place = 0

    def take(self, count):
        need(count <= len(self.data) - self.place, "cut off")
        self.place += count
        return self.data[self.place - count : self.place]

    def byte(self):
        return self.take(1)[0]

    def varint(self):
        value = 0
        for count in range(9):
            byte = self.byte()
            value |= (byte & 0x7F) << 7 * count
            if byte < 0x80:
                need(count == 0 or byte > 0, "a varint is not in its shortest form")
                return value
        raise ValueError("a varint has more than nine bytes")

    def string(self):
        length = self.varint()
        need(1 <= length <= 65535, "a string is empty or too long")
        return self.take(length).decode("utf-8")  # UnicodeDecodeError is a ValueError.

    def end(self):
        need(self.place == len(self.data), "bytes are left over")


class BitReader:
    """Bits read from the front, the first one in the most significant bit of the first byte."""

    def __init__(self, data):
        self.data = data
        self.place = 0

    def bit(self):
        byte, bit = divmod(self.place, 8)
        need(byte < len(self.data), "a stream is cut off")
        self.place += 1
        return self.data[byte] >> (7 - bit) & 1

    def bits(self, count):
        value = 0
        for _ in range(count):
            value = value << 1 | self.bit()
        return value

    def padding(self):
        """Reads the rest, which has to be fewer than eight bits, all zero."""
        need(8 * len(self.data) - self.place < 8, "bytes are left over after a stream")
        while self.place < 8 * len(self.data):
            need(self.bit() == 0, "padding that is not zero")


def unsigned(data):
    return int.from_bytes(data, "little")


def product(numbers):
    result = 1
    for number in numbers:
        result *= number
    return result
