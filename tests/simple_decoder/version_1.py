"""Version 1, from docs/format.md."""

import functools
import zlib
from collections import deque
from pathlib import Path

from simple_decoder.reading import TYPES, BitReader, Reader, need, product, unsigned

DICTIONARY = bytes.fromhex(
    (Path(__file__).parents[2] / "docs" / "format-dictionary.txt").read_text(encoding="ascii")
)
RAW_BLOCK = 4 << 20


# The file.


def declared(data):
    """Return {name: (type, shape)} of a file that is right."""
    records = parts(data, 1 << 62)[1]
    return {name: (kind[0], shape) for name, (_, kind, shape, _) in records.items()}


def decode(data, max_bytes):
    texts, records, blocks = parts(data, max_bytes)
    return texts, {
        name: (kind[0], shape, expand(coding, kind, shape, blocks[name]))
        for name, (coding, kind, shape, _) in records.items()
    }


def parts(data, max_bytes):
    """Return metadata, {name: (coding, type, shape, lengths)} and {name: [content of a block]}."""
    need(len(data) >= 5 + 12, "cut off before the trailer")
    need(zlib.crc32(data[:-4]) == unsigned(data[-4:]), "the checksum of the file is wrong")
    directory_length = unsigned(data[-12:-8])
    need(5 + directory_length + 12 <= len(data), "a directory longer than the file")
    directory = data[-12 - directory_length : -12]
    need(zlib.crc32(directory) == unsigned(data[-8:-4]), "the checksum of the directory is wrong")
    texts_size, texts_length, records = listing(directory, len(data))

    need(texts_size <= 16 << 20, "more than 16 MiB of metadata")
    size = texts_size + sum(product(shape) * kind[1] for _, kind, shape, _ in records.values())
    need(size <= max_bytes, "more than max_bytes")

    reader = Reader(data[5 : -12 - directory_length])
    blocks = {
        name: [block(reader, length) for length in lengths]
        for name, (_, _, _, lengths) in records.items()
    }
    texts = {}
    need((texts_size == 0) == (texts_length == 0), "metadata of no bytes")
    if texts_size > 0:
        texts = pairs(text(block(reader, texts_length), texts_size))
    reader.end()
    return texts, records, blocks


def block(reader, length):
    content = reader.take(length)
    width = 4 if length >= 4096 else 2
    need(unsigned(reader.take(width)) == zlib.crc32(content) % 256**width, "a checksum is wrong")
    return content


def text(stream, size):
    inflate = zlib.decompressobj(-zlib.MAX_WBITS, DICTIONARY)
    try:
        found = inflate.decompress(stream, size + 1)
    except zlib.error as error:
        raise ValueError("not a DEFLATE stream") from error
    need(len(found) == size, "a text of another size")
    need(inflate.eof and not inflate.unused_data, "a text ends before or after its stream")
    return found


def pairs(content):
    reader = Reader(content)
    found = {}
    count = reader.varint()
    need(0 < count <= 65_536, "metadata without pairs, or with too many")
    for _ in range(count):
        key = reader.string()
        need(key not in found, "two pairs have the same key")
        found[key] = reader.take(reader.varint()).decode("utf-8")
    reader.end()
    return found


def directory_text(directory):
    reader = Reader(directory)
    size = reader.varint()
    need(size <= 32 * len(directory) + 4096, "a directory that expands too much")
    return text(reader.take(len(directory) - reader.place), size)


def listing(directory, available):
    reader = Reader(directory_text(directory))
    texts_size = reader.varint()
    texts_length = reader.varint()
    records = {}
    count = reader.varint()
    need(count <= min(65_536, len(directory) // 4 + 1024), "too many tensors")
    for _ in range(count):
        name = reader.string()
        need(name not in records, "two tensors have the same name")
        code = reader.byte()
        need(code in TYPES, "a type that is not in the table")
        coding, rank = divmod(reader.byte(), 64)
        need(coding <= 2, "a coding that is not known")
        need(rank <= 32, "more than 32 dimensions")
        shape = tuple(reader.varint() for _ in range(rank))
        kind = TYPES[code]
        need(kind[1] * product(dim or 1 for dim in shape) < 2**63, "a shape is too large")
        size = kind[1] * product(shape)
        need(size > 0 or coding == 0, "blocks without elements")
        lengths = []
        if coding == 1:
            need(size <= available, "a raw tensor larger than the file")
            lengths = [min(RAW_BLOCK, size - start) for start in range(0, size, RAW_BLOCK)]
        elif coding == 2:
            need(kind[0] != "complex128", "complex128 is coded")
            lengths = [reader.varint() for _ in range(reader.varint())]
        records[name] = (coding, kind, shape, lengths)
    reader.end()
    return texts_size, texts_length, records


def expand(coding, kind, shape, blocks):
    """Return the bytes of a tensor."""
    name, item_size, largest = kind
    if coding == 0:
        return bytes(item_size * product(shape))
    data = b"".join(blocks) if coding == 1 else Coded(kind, shape, blocks).decode()
    if largest < 256**item_size - 1:
        need(all(byte <= largest for byte in data), f"not a pattern of {name}")
    return data


# Numbers in bits.


def golomb(bits, order):
    zeros = 0
    while bits.bit() == 0:
        zeros += 1
        need(zeros <= 63, "a number is too large")
    return (1 << zeros + order | bits.bits(zeros + order)) - (1 << order)


def signed_golomb(bits, order):
    value = golomb(bits, order)
    return -(value + 1) // 2 if value % 2 else value // 2


# Huffman codes.


def huffman_codes(weights):
    """Return {(length, code): symbol} for the weights of two symbols or more."""
    single = deque(sorted((weight, symbol) for symbol, weight in enumerate(weights)))
    joined = deque()
    parents = {}
    node = len(weights)
    while len(single) + len(joined) > 1:
        total = 0
        for _ in range(2):
            first = not joined or (single and single[0][0] <= joined[0][0])
            weight, child = (single if first else joined).popleft()
            parents[child] = node
            total += weight
        joined.append((total, node))
        node += 1
    depths = {node - 1: 0}
    for child in reversed(range(node - 1)):
        depths[child] = depths[parents[child]] + 1
    used = sorted((depths[symbol], symbol) for symbol in range(len(weights)))
    need(used[-1][0] <= 30, "a code is too long")
    codes, code, previous = {}, 0, used[0][0]
    for length, symbol in used:
        code <<= length - previous
        codes[length, code] = symbol
        code += 1
        previous = length
    return codes


def read_symbol(bits, codes):
    length = code = 0
    while (length, code) not in codes:
        code = code << 1 | bits.bit()
        length += 1
    return codes[length, code]


def digits(number, base, count):
    """Return the digits of a number, the highest first."""
    found = []
    for _ in range(count):
        number, digit = divmod(number, base)
        found.append(digit)
    return found[::-1]


class SymbolCode:
    """A code of the model, for an alphabet of two symbols or more."""

    WEIGHTS = (1048576, 881744, 741455, 623487)

    def __init__(self, bits, symbols, most):
        self.symbols = symbols
        self.unit = bits.bits(2)
        need(self.unit <= 2, "a unit that is not known")
        quarters = (4, 2, 1)[self.unit]
        self.together = bits.bits(3) + 1
        need(symbols**self.together <= 4096, "too many Huffman symbols")
        need(self.together == 1 or symbols**self.together <= most, "too many symbols together")
        self.order = bits.bits(2)
        self.costs = [quarters * golomb(bits, 3)]
        for _ in range(symbols - 1):
            self.costs.append(self.costs[-1] + quarters * signed_golomb(bits, self.order))
        need(all(0 <= cost <= 80 for cost in self.costs), "a cost is out of range")
        weights = single = [max(1, self.WEIGHTS[cost % 4] >> cost // 4) for cost in self.costs]
        for _ in range(self.together - 1):
            weights = [weight * other >> 20 for weight in weights for other in single]
        self.codes = huffman_codes([max(1, weight) for weight in weights])

    def read(self, bits, count):
        found = []
        while len(found) < count:
            number = read_symbol(bits, self.codes)
            found += digits(number, self.symbols, self.together)
        need(not any(found[count:]), "the last code is not filled up with symbol 0")
        return found[:count]


def symbols(bits, code, count):
    """Read symbols, which need no code if the alphabet has but one."""
    return code.read(bits, count) if code else [0] * count


class RunCode:
    """The code of runs for a likelihood of 0 or more."""

    WEIGHTS = (1073741824, 902905651, 759250125, 638450708)

    def __init__(self, likelihood):
        self.shift = max(0, (likelihood - 24) // 4)
        rest = likelihood - 4 * self.shift
        if rest <= 1:
            self.bound, self.together = 1, 8
        elif rest <= 5:
            self.bound, self.together = 3, 4
        elif rest <= 14:
            self.bound, self.together = 15, 2
        else:
            self.bound, self.together = 255, 1
        one = self.WEIGHTS[rest % 4] >> rest // 4 + 1
        zero = 2**30 - one
        left = 2**30
        single = []
        for _ in range(self.bound):
            single.append(left * one >> 30)
            left = left * zero >> 30
        single.append(left)
        weights = single
        for _ in range(self.together - 1):
            weights = [weight * other >> 30 for weight in weights for other in single]
        self.codes = huffman_codes([max(1, weight >> 13) for weight in weights])


run_code = functools.cache(RunCode)


class Sequence:
    """A sequence of bits, coded as runs, which is read before its length is known."""

    def __init__(self, bits, likelihood):
        self.exchanged = likelihood < 0
        code = run_code(-1 - likelihood if self.exchanged else likelihood)
        count = golomb(bits, 6)
        zeros = []  # before each one
        units = before = 0
        for _ in range(count):
            before = len(zeros)
            for run in digits(read_symbol(bits, code.codes), code.bound + 1, code.together):
                units += run
                if run < code.bound:
                    zeros.append(units << code.shift)
                    units = 0
        need(count == 0 or len(zeros) > before, "the last runs have no one")
        for plane in reversed(range(code.shift)):
            for number in range(len(zeros)):
                zeros[number] += bits.bit() << plane
        self.ones = set()
        place = -1
        for run in zeros:
            place += run + 1
            self.ones.add(place)
        self.last = place
        self.length = 0

    def next(self):
        one = self.length in self.ones
        self.length += 1
        return one != self.exchanged

    def end(self):
        need(self.last < self.length, "a one past the end of a sequence")


# A coded tensor.

WIDE = {(0, -1): 3, (-1, 0): 2, (-1, 1): 2, (-1, -1): 1, (0, -2): 1, (-2, 0): 1}
NEAR = {(0, -1): 2, (-1, 0): 2, (-1, 1): 1}


class Coded:
    """The model of a coded tensor; `decode` reads its bands."""

    def __init__(self, kind, shape, blocks):
        self.kind, self.shape, self.blocks = kind, shape, blocks
        need(blocks, "a coded tensor without a block")
        self.bits = BitReader(blocks[0])
        self.item_bits = 8 * kind[1]
        self.read_cut()
        self.sparse = self.bits.bit() == 1
        self.read_codebook()
        self.read_lines()
        self.read_likelihoods()
        self.read_signs()
        self.read_groups()
        self.read_codes()

    def read_cut(self):
        self.zero_bits = self.low_bits = 0
        if self.bits.bit():
            self.zero_bits = self.bits.bits(self.width_of_widths())
            self.low_bits = self.bits.bits(self.width_of_widths())
            need(self.zero_bits + self.low_bits > 0, "a cut of no bits")
        self.head_bits = self.item_bits - self.zero_bits - self.low_bits
        need(self.head_bits >= 1, "a head of no bits")

    def width_of_widths(self):
        return {8: 3, 16: 4, 32: 5, 64: 6}[self.item_bits]

    def read_codebook(self):
        count = golomb(self.bits, 3) + 1
        need(count <= 4096, "the codebook is too large")
        self.order = self.bits.bits(self.width_of_widths())
        self.codebook = [golomb(self.bits, self.order)]
        for _ in range(count - 1):
            self.codebook.append(self.codebook[-1] + golomb(self.bits, self.order) + 1)
        need(self.codebook[-1] < 2**self.head_bits, "a head has too many bits")
        largest = ((self.codebook[-1] + 1 << self.low_bits) - 1) << self.zero_bits
        need(largest <= self.kind[2], f"a head of no pattern of {self.kind[0]}")
        if self.sparse and self.low_bits == 0:
            need(self.codebook[0] > 0, "a sparse codebook has 0")

    def read_lines(self):
        self.lines = self.bits.bit() == 1
        self.transposed = self.lines and self.bits.bit() == 1
        columns = self.shape[-1] if self.shape else 1
        rows = product(self.shape[:-1])
        if self.transposed:
            rows, columns = columns, rows
        need(rows <= 2**20, "too many rows")
        most = 2**20 // rows
        need(len(self.blocks) == -(-columns // most), "the wrong number of bands")
        self.rows, self.columns = rows, columns
        self.grid = None
        self.row_scores = [0] * rows
        self.column_scores = [0] * columns
        self.row_code = self.column_code = None
        if self.lines:
            if self.bits.bit():
                width = golomb(self.bits, 3) + 1
                depth = golomb(self.bits, 3) + 1
                need(self.sparse, "a grid without zeros")
                need(rows <= 2**18, "a grid of too many rows")
                need(width * depth <= rows, "a grid is wider than the tensor")
                steps = 2 * (-(-rows // (width * depth)) - 1) + width
                need(steps <= 512 and 16 * steps <= rows * columns, "a grid of too many steps")
                self.grid = width, depth
            self.row_highest, self.row_code, self.row_scores = self.read_scores(rows)
            self.column_highest, self.column_code, self.column_scores = self.read_scores(columns)
            need(
                self.transposed or self.grid or any(self.row_scores) or any(self.column_scores),
                "lines that say nothing",
            )

    def read_scores(self, count):
        """Return the scores of rows or columns, -1 for a dead one."""
        highest = self.bits.bits(4)
        if highest == 0:
            return highest, None, [0] * count
        need(count <= 2**20, "scores of too many lines")
        code = SymbolCode(self.bits, highest + 1, count)
        scores = [symbol - 1 for symbol in code.read(self.bits, count)]
        need(self.sparse or -1 not in scores, "a dead line without zeros")
        return highest, code, scores

    def read_likelihoods(self):
        self.classes = 16
        self.likelihoods = []
        if self.sparse:
            self.classes = self.bits.bits(4) + 1 if self.lines else 1
            self.likelihoods = self.read_differences(self.classes)

    def read_differences(self, count):
        found = []
        for _ in range(count):
            found.append((found[-1] if found else 0) + signed_golomb(self.bits, 2))
            need(-64 <= found[-1] <= 63, "a likelihood is out of range")
        return found

    def read_signs(self):
        self.signs = None
        self.sign_likelihoods = []
        self.halves = [self.codebook]
        if self.grid and self.bits.bit():
            self.signs = WIDE if self.bits.bit() else NEAR
            self.sign_likelihoods = self.read_differences(self.bits.bits(3) + 1)
            top = 2 ** (self.head_bits - 1)
            self.halves = [
                [head for head in self.codebook if head < top],
                [head for head in self.codebook if head >= top],
            ]
            need(all(self.halves), "half a codebook is empty")

    def read_groups(self):
        self.cuts = []
        if self.lines:
            self.cuts = [self.bits.bits(4) for _ in range(self.bits.bits(2))]
            for previous, cut in zip([0, *self.cuts], self.cuts, strict=False):
                need(previous < cut, "the cuts do not ascend")

    def read_codes(self):
        self.codes = [
            [
                SymbolCode(self.bits, len(half), product(self.shape)) if len(half) > 1 else None
                for half in self.halves
            ]
            for _ in range(len(self.cuts) + 1)
        ]

    def decode(self):
        patterns = [0] * product(self.shape)
        for number, content in enumerate(self.blocks):
            start, end = (
                place * self.columns // len(self.blocks) for place in (number, number + 1)
            )
            bits = self.bits if number == 0 else BitReader(content)
            for (row, column), pattern in self.band(bits, range(start, end)):
                if self.transposed:
                    patterns[column * self.rows + row] = pattern
                else:
                    patterns[row * self.columns + column] = pattern
            bits.padding()
        return b"".join(pattern.to_bytes(self.item_bits // 8, "little") for pattern in patterns)

    def rows_in_order(self):
        rows = range(self.rows)
        if self.grid:
            rows = sorted(rows, key=lambda row: (2 * self.place(row)[0] + self.place(row)[1], row))
        return [row for row in rows if self.row_scores[row] >= 0]

    def place(self, row):
        width, depth = self.grid
        return divmod(row // depth, width)

    def neighbours(self, row, weights):
        """Yields (row, weight) for the neighbours that are in the grid."""
        width, depth = self.grid
        y, x = self.place(row)
        for (dy, dx), weight in weights.items():
            if y + dy >= 0 and 0 <= x + dx < width:
                yield ((y + dy) * width + x + dx) * depth + row % depth, weight

    def band(self, bits, columns):
        """Return [((row, column), pattern)] of all values of a band."""
        values, classes, halves = self.places(bits, columns)
        heads = [None] * len(values)
        for group, codes in enumerate(self.codes):
            for half, code in enumerate(codes):
                own = [
                    number
                    for number in range(len(values))
                    if sum(classes[number] >= cut for cut in self.cuts) == group
                    and halves[number] == half
                ]
                for number, symbol in zip(own, symbols(bits, code, len(own)), strict=True):
                    heads[number] = self.halves[half][symbol]
        lows = [0] * len(values)
        for width in [1] * (self.low_bits % 8) + [8] * (self.low_bits // 8):
            lows = [low << width | bits.bits(width) for low in lows]
        patterns = [
            (head << self.low_bits | low) << self.zero_bits
            for head, low in zip(heads, lows, strict=True)
        ]
        need(not self.sparse or all(patterns), "a value that is zero")
        return list(zip(values, patterns, strict=True))

    def places(self, bits, columns):
        """Return place, class and half of each value of a band."""
        sequences = [Sequence(bits, likelihood) for likelihood in self.likelihoods]
        sign_sequences = [Sequence(bits, likelihood) for likelihood in self.sign_likelihoods]
        columns = [column for column in columns if self.column_scores[column] >= 0]
        values, classes, halves = [], [], []
        half_at = {}
        for row in self.rows_in_order():
            wide = list(self.neighbours(row, WIDE)) if self.grid else []
            signs = list(self.neighbours(row, self.signs)) if self.signs else []
            for column in columns:
                score = self.row_scores[row] + self.column_scores[column]
                score += sum(weight for other, weight in wide if (other, column) in half_at)
                kind = min(score, self.classes - 1)
                if self.sparse and not sequences[kind].next():
                    continue
                half = 0
                if self.signs:
                    votes = sum(
                        -weight if half_at[other, column] else weight
                        for other, weight in signs
                        if (other, column) in half_at
                    )
                    sequence = sign_sequences[min(abs(votes), len(sign_sequences) - 1)]
                    half = int((votes < 0) != sequence.next())
                if self.grid:
                    half_at[row, column] = half
                values.append((row, column))
                classes.append(kind)
                halves.append(half)
        for sequence in sequences + sign_sequences:
            sequence.end()
        return values, classes, halves
