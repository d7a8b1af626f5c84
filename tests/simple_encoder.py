"""Writes version 1 files by docs/format.md with any choice in them, wise or not, right or wrong.

`coded` writes the blocks of a tensor for a model that the caller gives; the package's own writer
would make other choices. `File` puts a file together. Both let the caller replace parts of what
they write, so that a file breaks a rule while the rest of it is right.
"""

import itertools
import zlib
from dataclasses import dataclass, field, replace

from simple_decoder import version_1
from simple_decoder.reading import TYPES, product

CODES = {name: code for code, (name, _, _) in TYPES.items()}


# A coded tensor.


@dataclass(frozen=True)
class Code:
    """A code for symbols; costs are in units, and None stands for equal ones."""

    unit: int = 0
    together: int = 1
    order: int = 0
    costs: tuple | None = None

    def bits(self, symbols):
        costs = self.costs or (6,) * symbols
        steps = itertools.pairwise(costs)
        return (
            f"{self.unit:02b}{self.together - 1:03b}{self.order:02b}"
            + golomb(costs[0], 3)
            + "".join(signed_golomb(new - old, self.order) for old, new in steps)
        )


@dataclass(frozen=True)
class Scores:
    """The scores of rows or columns, -1 for a dead one; `highest` 0 writes none."""

    highest: int = 0
    scores: tuple = ()
    code: Code = Code()

    def bits(self):
        if self.highest == 0:
            return "0000"
        symbols = [score + 1 for score in self.scores]
        table = self.code.bits(self.highest + 1)
        code = version_1.SymbolCode(bit_reader(table), self.highest + 1, len(symbols))
        return f"{self.highest:04b}" + table + symbol_bits(code, symbols)


@dataclass(frozen=True)
class Lines:
    transposed: bool = False
    grid: tuple | None = None
    rows: Scores = Scores()
    columns: Scores = Scores()


@dataclass(frozen=True)
class Model:
    """A model by the grammar; None has the least that the patterns need."""

    cut: tuple | None = None
    sparse: bool = True
    order: int = 2
    codebook: tuple | None = None
    lines: Lines | None = None
    likelihoods: tuple = (5,)
    wide: bool = True
    signs: tuple | None = None
    cuts: tuple = ()
    code: Code = Code()
    codes: dict = field(default_factory=dict)  # {(group, half): Code}

    def but(self, **changes):
        return replace(self, **changes)


def golomb(value, order):
    bits = f"{value + (1 << order):b}"
    return "0" * (len(bits) - order - 1) + bits


def signed_golomb(value, order):
    return golomb(2 * value if value >= 0 else -2 * value - 1, order)


def packed(bits):
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[place : place + 8], 2) for place in range(0, len(bits), 8))


def coded(kind, shape, patterns, model=Model(), replaced=None):
    """Return the blocks of a tensor of type `kind` (a name) that has these patterns.

    `replaced` maps names of parts to bits, or to functions from the right bits to others.
    """
    kind = TYPES[CODES[kind]]
    parts = list(model_bits(kind, patterns, model))
    reader = version_1.Coded(
        kind, shape, [packed("".join(bits for _, bits in parts))] * bands_of(shape, model)
    )
    count = len(reader.blocks)
    found = []
    for band in range(count):
        start, end = (place * reader.columns // count for place in (band, band + 1))
        parts += band_bits(reader, patterns, range(start, end))
        text = ""
        for name, bits in parts:
            change = (replaced or {}).get(f"{band}: {name}" if band else name, bits)
            text += change if isinstance(change, str) else change(bits)
        found.append(packed(text))
        parts = []
    return found


def bands_of(shape, model):
    columns = shape[-1] if shape else 1
    rows = product(shape[:-1])
    if model.lines and model.lines.transposed:
        rows, columns = columns, rows
    return -(-columns // (2**20 // rows))


def model_bits(kind, patterns, model):
    """Yields the names and the bits of the parts of a model."""
    width = {1: 3, 2: 4, 4: 5, 8: 6}[kind[1]]
    zero_bits, low_bits = model.cut or (0, 0)
    yield "cut", f"1{zero_bits:0{width}b}{low_bits:0{width}b}" if model.cut else "0"
    yield "sparse", f"{model.sparse:b}"
    codebook = model.codebook
    if codebook is None:
        values = (pattern for pattern in patterns if pattern or not model.sparse)
        codebook = sorted({value >> zero_bits + low_bits for value in values})
    yield "codebook size", golomb(len(codebook) - 1, 3)
    yield "codebook order", f"{model.order:0{width}b}"
    steps = [new - old - 1 for old, new in zip([-1, *codebook], codebook, strict=False)]
    yield "codebook steps", "".join(golomb(step, model.order) for step in steps)

    lines = model.lines
    if lines is None:
        yield "lines", "0"
    else:
        yield "lines", "1"
        yield "transposed", f"{lines.transposed:b}"
        if lines.grid is None:
            yield "grid", "0"
        else:
            width, depth = lines.grid
            yield "grid", "1" + golomb(width - 1, 3) + golomb(depth - 1, 3)
        yield "rows", lines.rows.bits()
        yield "columns", lines.columns.bits()
    if model.sparse:
        yield "classes", f"{len(model.likelihoods) - 1:04b}" if lines else ""
        yield "likelihoods", differences(model.likelihoods)
    if lines and lines.grid:
        if model.signs is None:
            yield "signs", "0"
        else:
            yield "signs", f"1{model.wide:b}{len(model.signs) - 1:03b}"
            yield "sign likelihoods", differences(model.signs)
    if lines:
        yield "groups", f"{len(model.cuts):02b}" + "".join(f"{cut:04b}" for cut in model.cuts)
    halves = [len(codebook)]
    if model.signs is not None:
        top = 2 ** (8 * kind[1] - zero_bits - low_bits - 1)
        lower = sum(head < top for head in codebook)
        halves = [lower, len(codebook) - lower]
    for group in range(len(model.cuts) + 1):
        for half, size in enumerate(halves):
            code = model.codes.get((group, half), model.code)
            yield f"code {group} {half}", code.bits(size) if size > 1 else ""


def bit_reader(bits):
    return version_1.BitReader(packed(bits))


def differences(likelihoods):
    steps = zip([0, *likelihoods], likelihoods, strict=False)
    return "".join(signed_golomb(new - old, 2) for old, new in steps)


def symbol_bits(code, symbols):
    if code is None:
        return ""
    return codes_bits(code.codes, symbols, code.symbols, code.together, 0)


def codes_bits(codes, symbols, base, together, fill):
    """Return the Huffman codes of symbols that are taken together, the last ones filled up."""
    codes = {symbol: f"{code:0{length}b}" for (length, code), symbol in codes.items()}
    symbols = list(symbols) + [fill] * (-len(symbols) % together)
    text = ""
    for start in range(0, len(symbols), together):
        number = 0
        for symbol in symbols[start : start + together]:
            number = number * base + symbol
        text += codes[number]
    return text


def run_bits(sequence, likelihood):
    exchanged = likelihood < 0
    code = version_1.run_code(-1 - likelihood if exchanged else likelihood)
    runs, rests, zeros = [], [], 0
    for one in sequence:
        if one == exchanged:
            zeros += 1
            continue
        units, rest = divmod(zeros, 1 << code.shift)
        runs += [code.bound] * (units // code.bound) + [units % code.bound]
        rests.append(rest)
        zeros = 0
    planes = "".join(
        str(rest >> plane & 1) for plane in reversed(range(code.shift)) for rest in rests
    )
    count = -(-len(runs) // code.together)
    text = codes_bits(code.codes, runs, code.bound + 1, code.together, code.bound)
    return golomb(count, 6) + text + planes


def band_bits(model, patterns, columns):
    """Yields the names and the bits of the parts of a band."""
    ones = [[] for _ in model.likelihoods]
    wrong = [[] for _ in model.sign_likelihoods]
    indices = [[[] for _ in model.halves] for _ in model.codes]
    lows = []
    half_at = {}
    for row in model.rows_in_order():
        wide = list(model.neighbours(row, version_1.WIDE)) if model.grid else []
        near = list(model.neighbours(row, model.signs)) if model.signs else []
        for column in columns:
            if model.column_scores[column] < 0:
                continue
            place = row * model.columns + column
            if model.transposed:
                place = column * model.rows + row
            pattern = patterns[place]
            score = model.row_scores[row] + model.column_scores[column]
            score += sum(weight for other, weight in wide if (other, column) in half_at)
            kind = min(score, model.classes - 1)
            if model.sparse:
                ones[kind].append(pattern != 0)
                if pattern == 0:
                    continue
            head = pattern >> model.low_bits + model.zero_bits
            half = 0
            if model.signs:
                half = head >> model.head_bits - 1
                votes = sum(
                    -weight if half_at[other, column] else weight
                    for other, weight in near
                    if (other, column) in half_at
                )
                wrong[min(abs(votes), len(wrong) - 1)].append((votes < 0) != half)
            half_at[row, column] = half
            group = sum(kind >= cut for cut in model.cuts)
            indices[group][half].append(model.halves[half].index(head))
            lows.append(pattern >> model.zero_bits & (1 << model.low_bits) - 1)

    for kind, likelihood in enumerate(model.likelihoods):
        yield f"runs {kind}", run_bits(ones[kind], likelihood)
    for kind, likelihood in enumerate(model.sign_likelihoods):
        yield f"sign runs {kind}", run_bits(wrong[kind], likelihood)
    for group, codes in enumerate(model.codes):
        for half, code in enumerate(codes):
            yield f"symbols {group} {half}", symbol_bits(code, indices[group][half])
    text, left = "", model.low_bits
    while left:
        width = 1 if left % 8 else 8
        left -= width
        text += "".join(f"{low >> left & (1 << width) - 1:0{width}b}" for low in lows)
    yield "low bits", text
    yield "end", ""


# A file.


@dataclass
class Record:
    name: str | bytes
    kind: int
    shape: tuple
    coding: int
    blocks: list
    lengths: list | None = None  # what the directory is to say of the blocks

    def bytes(self):
        head = string(self.name) + bytes([self.kind, self.coding << 6 | len(self.shape)])
        head += b"".join(map(varint, self.shape))
        if self.coding != 2:
            return head
        lengths = [len(block) for block in self.blocks] if self.lengths is None else self.lengths
        return head + varint(len(lengths)) + b"".join(map(varint, lengths))


@dataclass
class File:
    """A file; what is not None replaces what would be right."""

    records: list
    metadata: dict | list = field(default_factory=dict)
    level: int = 9
    metadata_text: bytes | None = None
    metadata_size: int | None = None
    metadata_stream: bytes | None = None
    listing: bytes | None = None
    directory_size: int | None = None
    directory_stream: bytes | None = None
    before_directory: bytes = b""
    checksums: bool = True

    def bytes(self):
        out = b"\x89KDC\x01"
        for record in self.records:
            out += b"".join(block + self.checksum(block) for block in record.blocks)
        text, stream = self.metadata_text, self.metadata_stream
        if text is None:
            text = pairs(self.metadata) if self.metadata else b""
        if stream is None:
            stream = self.deflate(text) if text else b""
        if stream:
            out += stream + self.checksum(stream)
        out += self.before_directory
        size = len(text) if self.metadata_size is None else self.metadata_size
        listing = self.listing
        if listing is None:
            listing = varint(size) + varint(len(stream)) + varint(len(self.records))
            listing += b"".join(record.bytes() for record in self.records)
        size = len(listing) if self.directory_size is None else self.directory_size
        text = self.directory_stream
        directory = varint(size) + (self.deflate(listing) if text is None else text)
        return sealed(out, directory)

    def deflate(self, text):
        return deflate(text, self.level)

    def checksum(self, content):
        correct = zlib.crc32(content) ^ (not self.checksums)
        return correct.to_bytes(4, "little")[: 4 if len(content) >= 4096 else 2]


def deflate(text, level=9, strategy=zlib.Z_DEFAULT_STRATEGY, dictionary=version_1.DICTIONARY):
    stream = zlib.compressobj(level, zlib.DEFLATED, -15, 9, strategy, dictionary)
    return stream.compress(text) + stream.flush()


def sealed(body, directory):
    """Return magic, blocks and metadata with the directory and a trailer that fits them."""
    trailer = len(directory).to_bytes(4, "little") + zlib.crc32(directory).to_bytes(4, "little")
    data = body + directory + trailer
    return data + zlib.crc32(data).to_bytes(4, "little")


def varint(value):
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def string(text):
    encoded = text if isinstance(text, bytes) else text.encode()
    return varint(len(encoded)) + encoded


def pairs(metadata):
    metadata = list(metadata.items() if isinstance(metadata, dict) else metadata)
    found = varint(len(metadata))
    for key, text in metadata:
        text = text if isinstance(text, bytes) else text.encode()
        found += string(key) + varint(len(text)) + text
    return found


def zero(name, kind, shape):
    return Record(name, CODES[kind], tuple(shape), 0, [])


def raw(name, kind, shape, data):
    blocks = [data[place : place + (4 << 20)] for place in range(0, len(data), 4 << 20)]
    return Record(name, CODES[kind], tuple(shape), 1, blocks)


def by_model(name, kind, shape, patterns, model=Model(), replaced=None):
    assert len(patterns) == product(shape)
    blocks = coded(kind, tuple(shape), patterns, model, replaced)
    return Record(name, CODES[kind], tuple(shape), 2, blocks)


def little_endian(kind, patterns):
    size = TYPES[CODES[kind]][1]
    return b"".join(int(pattern).to_bytes(size, "little") for pattern in patterns)
