"""A second reader of `.kdc` files, written from docs/format.md alone and with nothing but Python.

It is slow, and its order is that of the page. What it says about a file, the package has to say
as well: `test_simple_decoder.py` compares the two.
"""

import zlib

MAGIC = b"\x89KDC"


def decode(data, max_bytes=1 << 26):
    """Return metadata {key: text} and tensors {name: (type, shape, little-endian bytes)}.

    Raises ValueError for bytes that break a rule of the page or declare more than `max_bytes`.
    """
    data = bytes(data)
    need(data[:4] == MAGIC, "not a .kdc file")
    need(len(data) > 4, "cut off before the version")
    need(data[4] in VERSIONS, f"format version {data[4]}")
    return VERSIONS[data[4]](data, max_bytes)


def need(condition, message):
    if not condition:
        raise ValueError(message)


# What versions share: the reading of bytes, of numbers, of text and of bits.


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


def canonical_codes(lengths, longest):
    """Return {(length, code): symbol} for the code lengths of symbols 0, 1, 2, ..."""
    used = sorted((length, symbol) for symbol, length in enumerate(lengths) if length > 0)
    need(used, "a code without symbols")
    need(used[-1][0] <= longest, "a code is too long")
    if len(used) == 1:
        need(used[0][0] == 1, "the length of a lone symbol is not 1")
    else:
        space = sum(2 ** (longest - length) for length, _ in used)
        need(space == 2**longest, "code lengths do not fill the code space")
    codes = {}
    code = 0
    previous = used[0][0]
    for length, symbol in used:
        code <<= length - previous
        codes[length, code] = symbol
        code += 1
        previous = length
    return codes


def read_symbol(bits, codes, longest):
    code = 0
    for length in range(1, longest + 1):
        code = code << 1 | bits.bit()
        if (length, code) in codes:
            return codes[length, code]
    raise ValueError("a code that belongs to no symbol")


def unsigned(data):
    return int.from_bytes(data, "little")


# Version 0.

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
TEXT = TYPES[5]
LONGEST_CODE = 24


def decode_version_0(data, max_bytes):
    need(len(data) >= 9, "cut off before the checksum")
    need(zlib.crc32(data[:-4]) == unsigned(data[-4:]), "the checksum is wrong")
    reader = Reader(data[5:-4])
    decoded_bytes = reader.varint()

    # All records are read before any is expanded: the sizes are known and checked first.
    texts = {}
    for _ in range(reader.varint()):
        key = reader.string()
        need(key not in texts, "two metadata values have the same key")
        size = reader.varint()
        texts[key] = (size, payload_0(reader))
    records = {}
    for _ in range(reader.varint()):
        name = reader.string()
        need(name not in records, "two tensors have the same name")
        code = reader.byte()
        need(code in TYPES, "a type that is not in the table")
        rank = reader.byte()
        need(rank <= 32, "more than 32 dimensions")
        shape = tuple(reader.varint() for _ in range(rank))
        need(product(dim or 1 for dim in shape) * TYPES[code][1] < 2**63, "a shape is too large")
        records[name] = (TYPES[code], shape, payload_0(reader))
    reader.end()

    text_bytes = sum(size for size, _ in texts.values())
    need(text_bytes <= 64 << 20, "more than 64 MiB of metadata")
    tensor_bytes = sum(product(shape) * kind[1] for kind, shape, _ in records.values())
    need(decoded_bytes == text_bytes + tensor_bytes, "decoded_bytes is wrong")
    need(decoded_bytes <= max_bytes, "more than max_bytes")

    metadata = {key: expand_0(TEXT, *text).decode("utf-8") for key, text in texts.items()}
    tensors = {
        name: (kind[0], shape, expand_0(kind, product(shape), payload))
        for name, (kind, shape, payload) in records.items()
    }
    return metadata, tensors


def product(numbers):
    result = 1
    for number in numbers:
        result *= number
    return result


def payload_0(reader):
    coding = reader.byte()
    need(coding in (0, 1), "a coding that is neither raw nor coded")
    return coding, reader.take(reader.varint())


def expand_0(kind, size, payload):
    """Return the bytes of a tensor with `size` elements."""
    name, item_size, largest = kind
    coding, body = payload
    if coding == 0:
        need(len(body) == size * item_size, "a raw body has the wrong length")
        for start in range(0, len(body), item_size):
            pattern = unsigned(body[start : start + item_size])
            need(pattern <= largest, f"not a pattern of {name}")
        return body
    need(name != "complex128", "complex128 is coded")
    result = bytearray(size * item_size)
    reader = Reader(body)
    place = 0
    for gap, pattern in entries_0(reader, item_size, largest):
        place += gap
        need(place < size, "entries go past the last element")
        if pattern is not None:
            start = place * item_size
            result[start : start + item_size] = pattern.to_bytes(item_size, "little")
        place += 1
    reader.end()
    return bytes(result)


def entries_0(reader, item_size, largest):
    """Yields (gap, pattern), where the pattern of a filler is None."""
    b = reader.byte()
    nonzero = reader.varint()
    fillers = reader.varint()
    need(b <= 15, "b is above 15")
    if nonzero == 0:
        need(b == 0 and fillers == 0, "b or fillers without a non-zero element")
        return

    k = reader.varint()
    need(1 <= k <= min(65535, nonzero), "the codebook has the wrong size")
    codebook = [unsigned(reader.take(item_size)) for _ in range(k)]
    for previous, pattern in zip([0, *codebook], codebook, strict=False):
        need(previous < pattern, "the codebook is not strictly ascending, or has 0")
    need(codebook[-1] <= largest, "the codebook has a pattern that the type does not have")

    gap_codes = None
    if b > 0:
        n = reader.varint()
        need(1 <= n <= 2**b, "the wrong number of gap lengths")
        lengths = lengths_0(reader, n)
        need(lengths[-1] > 0, "the last gap length is 0")
        gap_codes = canonical_codes(lengths, LONGEST_CODE)
    lengths = lengths_0(reader, k + 1)
    need(0 not in lengths[1:], "a codebook value has no code")
    need((lengths[0] > 0) == (fillers > 0), "the filler has a code without need, or has none")
    index_codes = canonical_codes(lengths, LONGEST_CODE)

    gap_length = reader.varint() if b > 0 else 0
    index_length = reader.varint()
    gap_bits = BitReader(reader.take((gap_length + 7) // 8))
    index_bits = BitReader(reader.take((index_length + 7) // 8))
    fillers_left = fillers
    symbol = None
    for _ in range(nonzero + fillers):
        gap = read_symbol(gap_bits, gap_codes, LONGEST_CODE) if b > 0 else 0
        symbol = read_symbol(index_bits, index_codes, LONGEST_CODE)
        if symbol == 0:
            need(gap == 2**b - 1, "a filler after a gap that is not the largest")
            fillers_left -= 1
        yield gap, codebook[symbol - 1] if symbol > 0 else None
    need(symbol != 0, "the last entry is a filler")
    need(fillers_left == 0, "the number of fillers is wrong")
    need(gap_bits.place == gap_length, "gap_bits is wrong")
    need(index_bits.place == index_length, "index_bits is wrong")
    gap_bits.padding()
    index_bits.padding()


def lengths_0(reader, n):
    bits = BitReader(reader.take((5 * n + 7) // 8))
    lengths = [bits.bits(5) for _ in range(n)]
    bits.padding()
    return lengths


VERSIONS = {0: decode_version_0}
