"""Version 0, from docs/format-v0.md."""

import zlib

from simple_decoder.reading import TYPES, BitReader, Reader, need, product, unsigned

TEXT = TYPES[5]
LONGEST_CODE = 24


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


def declared(data):
    """Return {name: (type, shape)} of a file that is right."""
    records = parts(data, 1 << 62)[1]
    return {name: (kind[0], shape) for name, (kind, shape, _) in records.items()}


def decode(data, max_bytes):
    texts, records = parts(data, max_bytes)
    metadata = {key: expand(TEXT, *text).decode("utf-8") for key, text in texts.items()}
    tensors = {
        name: (kind[0], shape, expand(kind, product(shape), payload))
        for name, (kind, shape, payload) in records.items()
    }
    return metadata, tensors


def parts(data, max_bytes):
    """Return what is to be expanded: {key: (size, payload)} and {name: (type, shape, payload)}."""
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
        texts[key] = (size, read_payload(reader))
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
        records[name] = (TYPES[code], shape, read_payload(reader))
    reader.end()

    text_bytes = sum(size for size, _ in texts.values())
    need(text_bytes <= 64 << 20, "more than 64 MiB of metadata")
    tensor_bytes = sum(product(shape) * kind[1] for kind, shape, _ in records.values())
    need(decoded_bytes == text_bytes + tensor_bytes, "decoded_bytes is wrong")
    need(decoded_bytes <= max_bytes, "more than max_bytes")
    return texts, records


def read_payload(reader):
    coding = reader.byte()
    need(coding in (0, 1), "a coding that is neither raw nor coded")
    return coding, reader.take(reader.varint())


def expand(kind, size, payload):
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
    for gap, pattern in read_entries(reader, item_size, largest):
        place += gap
        need(place < size, "entries go past the last element")
        if pattern is not None:
            start = place * item_size
            result[start : start + item_size] = pattern.to_bytes(item_size, "little")
        place += 1
    reader.end()
    return bytes(result)


def read_entries(reader, item_size, largest):
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
        lengths = read_lengths(reader, n)
        need(lengths[-1] > 0, "the last gap length is 0")
        gap_codes = canonical_codes(lengths, LONGEST_CODE)
    lengths = read_lengths(reader, k + 1)
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


def read_lengths(reader, n):
    bits = BitReader(reader.take((5 * n + 7) // 8))
    lengths = [bits.bits(5) for _ in range(n)]
    bits.padding()
    return lengths
