"""Makes tests/golden/v1. It needs a package that writes version 1; see README.md.

Once version 1 is released, this is never run again: what it made is what counts.
"""

import itertools
import random
import shutil
import zlib
from pathlib import Path

import numpy as np
import simple_decoder
from golden import cases, cases_v1
from golden.manifests import described, digest, patterns, write
from simple_decoder import version_1
from simple_encoder import (
    CODES,
    Code,
    File,
    Lines,
    Model,
    Record,
    Scores,
    by_model,
    deflate,
    golomb,
    little_endian,
    pairs,
    raw,
    run_bits,
    sealed,
    varint,
    zero,
)

from keras_deepcomp import container

FOLDER = Path(__file__).parent / "v1"
MADE = "by save"


# Valid files that the writer would not write.


class Valid:
    """Collects files of tensors with known patterns."""

    def __init__(self):
        self.found = {}

    def add(self, name, about, *tensors, metadata=None, **file):
        """Add a file of tensors (name, type, shape, patterns, record or model)."""
        records, expected = [], []
        for own, kind, shape, values, record in tensors:
            shape = (len(values),) if shape is None else shape
            if isinstance(record, Model):
                record = by_model(own, kind, shape, values, record)
            records.append(record)
            expected.append((own, kind, shape, little_endian(kind, values)))
        data = File(records, metadata or {}, **file).bytes()
        self.found[f"hand_{name}"] = (about, data, metadata or {}, expected)

    def one(self, name, about, kind, values, model, shape=None):
        self.add(name, about, ("x", kind, shape, values, model))


def hand_made():
    """Return {name: (about, bytes, metadata, tensors)} with (name, type, shape, bytes)."""
    valid = Valid()
    rng = random.Random(0)
    sparse = [0, 0, 5, 0, 0x85, 0, 0, 7] * 15
    dense = [value or 1 for value in sparse]
    add_patterns(valid, rng, sparse, dense)
    add_lines(valid, rng, sparse, dense)
    add_grids(valid, rng)
    add_codes(valid, rng, sparse, dense)
    add_files(valid, rng, sparse)
    return valid.found


def add_patterns(valid, rng, sparse, dense):
    for name, about, kind, cut in (
        ("cut_zero_bits", "patterns with zero bits alone", "uint16", (5, 0)),
        ("cut_low_1", "one low bit", "uint16", (0, 1)),
        ("cut_low_7", "seven low bits", "uint16", (0, 7)),
        ("cut_low_8", "a byte of low bits", "uint16", (0, 8)),
        ("cut_low_13", "a byte and five low bits", "uint16", (0, 13)),
        ("cut_both", "zero bits and low bits", "uint32", (7, 19)),
        ("cut_least_head", "a head of one bit", "uint64", (14, 49)),
    ):
        bits = {"uint16": 16, "uint32": 32, "uint64": 64}[kind]
        heads = [rng.getrandbits(min(bits - sum(cut), 4)) for _ in range(60)]
        values = [((head << cut[1]) + rng.getrandbits(cut[1])) << cut[0] for head in heads]
        valid.add(
            *(name, f"{about}, dense and sparse"),
            ("dense", kind, None, values, Model(cut=cut, sparse=False)),
            ("sparse", kind, None, [v * (v > max(values) // 2) for v in values], Model(cut=cut)),
        )
    unused = (1, 2, 5, 7, 0x80, 0x85, 255)
    valid.one(
        "unused_values", "codebook values that never occur", "uint8", sparse, Model(codebook=unused)
    )
    valid.one(
        *("codebook_of_zero", "a dense codebook with nothing but 0", "uint16", [0] * 9),
        Model(sparse=False),
    )
    for order in (0, 7):
        valid.one(
            *(f"codebook_order_{order}", f"a codebook of order {order}", "uint8", sparse),
            Model(order=order),
        )
    top = 2**64 - 1
    valid.add(
        *("codebook_limits", "the largest steps of a codebook, at several orders"),
        *(
            (f"order_{order}", "complex64", None, [0, top, 0, 1, 2**63], Model(order=order))
            for order in (63, 1)
        ),
        ("dense", "uint64", None, [0, top - 1, 5], Model(sparse=False, order=0)),
    )
    many = [rng.randrange(4096) for _ in range(40)]
    valid.one(
        *("codebook_4096", "the largest codebook", "uint16", many),
        Model(sparse=False, order=0, codebook=tuple(range(4096)), code=Code(costs=(12,) * 4096)),
    )
    valid.add(
        *("narrow_types", "low bits and zero bits in types of few bits"),
        ("bool", "bool", None, [1, 0, 0, 1, 1], Model(sparse=False, cut=(0, 1))),
        ("int4", "int4", None, [15, 0, 12, 3, 8], Model(sparse=False, cut=(0, 2))),
        ("uint2", "uint2", None, [2, 0, 2, 2], Model(cut=(1, 0))),
    )


def add_lines(valid, rng, sparse, dense):
    valid.add(
        *("transposed", "transposed matrices, vectors and scalars"),
        ("sparse", "uint8", (12, 10), sparse, Model(lines=Lines(True))),
        ("dense", "uint8", (3, 4, 10), dense, Model(sparse=False, lines=Lines(True))),
        ("scalar", "uint8", (), [7], Model(lines=Lines(True))),
        (
            *("vector", "uint8", None, sparse),
            Model(
                lines=Lines(True, rows=Scores(2, tuple(n % 2 for n in range(120)))),
                likelihoods=(6, 2),
            ),
        ),
    )
    scores = tuple(rng.randrange(-1, 8) for _ in range(40))
    other = tuple(rng.randrange(-1, 2) for _ in range(9))
    values = [
        rng.choice([3, 4, 200]) if -1 not in (row, column) and rng.random() < row / 9 else 0
        for row, column in itertools.product(scores, other)
    ]
    lines = Lines(rows=Scores(8, scores, Code(2, 1, 3)), columns=Scores(2, other, Code(1, 2, 1)))
    likelihoods = (20, 14, 11, 8, 6, 4, 2, 0, -3)
    base = Model(lines=lines, likelihoods=likelihoods)
    valid.one("scores", "scores from dead to 7", "uint8", values, base, (40, 9))
    valid.one(
        *("scores_groups", "scores and four groups of classes", "uint8", values),
        base.but(cuts=(2, 5, 7), codes={(1, 0): Code(2, 2, 0), (2, 0): Code(1, 3, 1, (1, 2, 9))}),
        (40, 9),
    )
    valid.one(
        *("groups_empty", "cuts above all classes", "uint8", values),
        base.but(cuts=(1, 14, 15)),
        (40, 9),
    )
    valid.one(
        *("classes_16", "16 classes, most of which have no element", "uint8", values),
        base.but(likelihoods=(*likelihoods, 1, 2, 3, -4, 5, -6, 63)),
        (40, 9),
    )
    valid.one(
        *("classes_1", "scores, and one class that is the last for all", "uint8", values),
        base.but(likelihoods=(7,)),
        (40, 9),
    )
    valid.one(
        *("scores_highest_15", "an alphabet of scores that do not occur", "uint8", values),
        base.but(lines=Lines(rows=Scores(15, scores))),
        (40, 9),
    )
    steep = tuple(number % 16 - 1 for number in range(40))
    valid.one(
        *("scores_14", "scores from dead to 14", "uint8"),
        [200 if score > column > 0 else 0 for score in steep for column in range(9)],
        base.but(codebook=(200,), lines=Lines(rows=Scores(15, steep))),
        (40, 9),
    )
    turned = [values[row * 9 + column] for column in range(9) for row in range(40)]
    for highest in (8, 15):
        lines = Lines(rows=Scores(2, other), columns=Scores(highest, scores))
        valid.one(
            *(f"scores_columns_{highest}", "scores of columns from dead to 7", "uint8", turned),
            base.but(lines=lines),
            (9, 40),
        )
    valid.one(
        *("scores_all_dead", "nothing but dead rows", "uint8", [0] * 20),
        base.but(codebook=(9,), lines=Lines(rows=Scores(1, (-1,) * 4))),
        (4, 5),
    )
    valid.one(
        *("scores_all_dead_columns", "nothing but dead columns", "uint8", [0] * 20),
        base.but(codebook=(9,), lines=Lines(columns=Scores(3, (-1,) * 5))),
        (4, 5),
    )
    valid.one(
        *("scores_needless", "scores that are all 0, beside a transposition", "uint8", sparse),
        Model(lines=Lines(True, rows=Scores(1, (0,) * 10), columns=Scores(4, (0,) * 12))),
        (12, 10),
    )
    kept = tuple(score if score >= 0 else 0 for score in scores)
    valid.one(
        *("scores_dense", "scores and groups of a dense tensor", "uint8", [v or 1 for v in values]),
        Model(sparse=False, lines=Lines(rows=Scores(8, kept)), cuts=(3, 15)),
        (40, 9),
    )


def field(rng, rows, columns, density):
    """Return sparse uint8 patterns of both signs, rows after rows."""
    values, signs = [], [rng.randrange(2) for _ in range(columns)]
    for _ in range(rows):
        for column in range(columns):
            signs[column] ^= rng.random() < 0.2
            kept = rng.random() < density
            values.append(kept * (rng.choice([3, 4, 9]) + 128 * signs[column]))
    return values


def add_grids(valid, rng):
    wide_likelihoods = (9, 7, 5, 4, 3, 2, 1, 0, -1, -2)
    for name, about, shape, grid in (
        ("grid_width_1", "a grid one place wide, with as many steps as can be", (8, 30), (1, 1)),
        ("grid_one_row", "a grid one place high, with as many steps as can be", (12, 16), (12, 1)),
        ("grid_depth_4", "places of four rows", (48, 4), (3, 4)),
        ("grid_ragged", "a grid whose last row is cut off within a place", (50, 4), (4, 3)),
        ("grid_ragged_place", "a grid whose last row is cut off between places", (45, 4), (4, 5)),
        ("grid_square", "a square grid", (64, 6), (8, 1)),
    ):
        values = field(rng, *shape, 0.4)
        model = Model(lines=Lines(grid=grid), likelihoods=wide_likelihoods)
        valid.add(
            *(name, f"{about}: without signs, wide and near"),
            ("without", "uint8", shape, values, model),
            ("wide", "uint8", shape, values, model.but(signs=(1, 2, 3, 4, 5, 6, 7, 8))),
            ("near", "uint8", shape, values, model.but(wide=False, signs=(-1, 0, 4))),
            *(
                (
                    *(f"votes_{count}", "uint8", shape, values),
                    model.but(signs=tuple(range(-4 * count, 0, 4))),
                )
                for count in (4, 5, 6, 7)
            ),
        )
    values = field(rng, 60, 8, 0.35)
    scores = tuple(rng.randrange(-1, 3) for _ in range(60))
    columns = tuple(rng.randrange(-1, 2) for _ in range(8))
    left = [
        value * (-1 not in (row, column))
        for (row, column), value in zip(itertools.product(scores, columns), values, strict=True)
    ]
    lines = Lines(False, (6, 2), Scores(3, scores), Scores(2, columns))
    model = Model(lines=lines, likelihoods=(8, 6, 4, 2), signs=(0, 1), cuts=(2,))
    valid.one(
        *("grid_everything", "a grid with scores, dead lines, signs and groups", "uint8", left),
        model.but(codes={(0, 1): Code(2, 3, 2), (1, 0): Code(1, 2, 0, (0, 3, 5))}),
        (60, 8),
    )
    valid.one(
        *("grid_transposed", "a transposed grid", "uint8"),
        [values[row * 8 + column] for column in range(8) for row in range(60)],
        Model(lines=Lines(True, (6, 2)), likelihoods=(8, 6, 4, 2), signs=(0,)),
        (8, 60),
    )
    steps = [0] * 2**13
    steps[5] = steps[-9] = 2
    valid.one(
        *("grid_steps", "a grid of 512 steps, the most", "uint8", steps),
        Model(lines=Lines(grid=(2, 1)), likelihoods=(32, 8)),
        (512, 16),
    )
    valid.one(
        *("grid_one_place", "a grid of one place", "uint8", [130, 3] * 8),
        Model(lines=Lines(grid=(1, 1)), likelihoods=(3,), signs=(1,)),
    )
    valid.one(
        *("grid_cut", "signs of heads of five bits", "uint16"),
        [value << 8 | rng.getrandbits(8) if value else 0 for value in values],
        Model(
            cut=(0, 11),
            lines=Lines(grid=(10, 1)),
            likelihoods=(8, 6, 4, 2),
            signs=(0,) * 8,
            order=0,
            codebook=(0, 1, 2, 16, 17, 18),
        ),
        (60, 8),
    )
    rare = [0] * 2000
    for place in (3, 4, 700, 1999):
        rare[place] = rng.choice([1, 255])
    valid.one(
        *("grid_rare", "a grid with runs in units, also of signs", "uint8", rare),
        Model(lines=Lines(grid=(20, 1)), likelihoods=(45, -40, 63), signs=(50, -64)),
        (400, 5),
    )


def add_codes(valid, rng, sparse, dense):
    tensors = []
    for likelihood in range(-64, 64):
        step = -1 - likelihood if likelihood < 0 else likelihood
        size = min(600, int(30 * 2 ** ((step + 4) / 4)))
        ones = [rng.random() < 2 ** (-(step + 4) / 4) for _ in range(size)]
        ones[-1] = True
        values = [int(one != (likelihood < 0)) * 7 for one in ones]
        model = Model(codebook=(7,), likelihoods=(likelihood,))
        tensors.append((f"l{likelihood}", "uint8", None, values, model))
    valid.add("likelihoods", "sequences under each likelihood", *tensors)
    ones = [0] * 3000
    for place in (0, 255, 256, 512, 1300, 2999):
        ones[place] = 1
    valid.add(
        *("runs", "runs at the bounds of their codes, also far from likely"),
        *(
            (
                f"l{q}",
                "uint8",
                None,
                ones if q >= 0 else [1 - one for one in ones],
                Model(likelihoods=(q,), codebook=(1,)),
            )
            for q in (0, 1, 2, 5, 6, 14, 15, 31, 32, 35, 36, 63, -1, -2, -7, -15, -16, -33, -64)
        ),
        ("none", "uint8", None, [0] * 50, Model(codebook=(3,), likelihoods=(0,))),
        ("all", "uint8", None, [3] * 50, Model(codebook=(3,), likelihoods=(-1,))),
        ("all_by_ones", "uint8", None, [3] * 50, Model(codebook=(3,), likelihoods=(33,))),
    )
    two = [rng.choice([1, 1, 1, 2]) for _ in range(300)]
    valid.add(
        *("together", "one symbol to eight symbols together"),
        *(
            (
                f"t{n}",
                "uint8",
                None,
                two[: 300 - n % 3],
                Model(sparse=False, code=Code(2, n, 0, (2, 8))),
            )
            for n in range(1, 9)
        ),
    )
    five = [rng.choice([1, 2, 3, 4, 5]) for _ in range(700)]
    valid.add(
        *("together_limits", "as many Huffman symbols as elements, and 4,096"),
        ("elements", "uint8", None, five[:625], Model(sparse=False, code=Code(1, 4, 3))),
        (
            *("most", "uint8", None, [rng.randrange(16) for _ in range(4096)]),
            Model(sparse=False, code=Code(2, 3, 0, (0, 80, *[40] * 14))),
        ),
    )
    for unit, quarters in enumerate((4, 2, 1)):
        most = 80 // quarters
        valid.add(
            *(f"unit_{unit}", f"costs from 0 to 80 quarters in units of {quarters}"),
            (
                "up",
                "uint8",
                None,
                five[:90],
                Model(sparse=False, code=Code(unit, 1, 3, (0, 1, 2, most - 1, most))),
            ),
            (
                "down",
                "uint8",
                None,
                five[:90],
                Model(sparse=False, code=Code(unit, 1, 2, (most, most // 2, 3, 0, 0))),
            ),
            (
                "zero",
                "uint8",
                None,
                five[:90],
                Model(sparse=False, code=Code(unit, 1, 0, (0,) * 5)),
            ),
        )
    # Weights near the Fibonacci numbers make long codes.
    costs = longest_costs(30)
    values = [rng.randrange(len(costs)) for _ in range(60)] + list(range(len(costs)))
    valid.one(
        *("longest_codes", "codes of 30 bits, the longest", "uint16", values),
        Model(sparse=False, order=0, codebook=tuple(range(len(costs))), code=Code(2, 1, 1, costs)),
    )
    add_bands(valid, rng)


def add_bands(valid, rng):
    """Tensors of more than 2 ** 20 elements, most of them in dead lines."""
    rows, columns = 64, 2**14 + 100
    live = sorted(rng.sample(range(columns), 40))
    grid = field(rng, rows, 40, 0.3)
    values = [0] * (rows * columns)
    for row in range(rows):
        for place, column in enumerate(live):
            values[column * rows + row] = grid[row * 40 + place]
    dead = tuple(rng.randrange(2) if column in live else -1 for column in range(columns))
    lines = Lines(True, (8, 1), columns=Scores(2, dead, Code(2, 6, 3, (0, 80, 80))))
    valid.one(
        *("bands_grid", "two bands of a transposed grid with dead columns", "uint8", values),
        Model(lines=lines, likelihoods=(8, 6, 4, 2), signs=(0, 2), cuts=(2,)),
        (columns, rows),
    )
    rows = 2**19 + 1
    live = sorted(rng.sample(range(rows), 30))
    values = [0] * (2 * rows)
    for row in live:
        values[2 * row : 2 * row + 2] = rng.choice([1, 9]), rng.choice([1, 9, 0])
    dead = tuple(0 if row in live else -1 for row in range(rows))
    lines = Lines(rows=Scores(1, dead, Code(2, 8, 3, (0, 72))))
    valid.one(
        *("bands_tall", "bands of one column, and almost all rows dead", "uint8", values),
        Model(lines=lines, likelihoods=(-3,), cut=(0, 1)),
        (rows, 2),
    )


def longest_costs(longest):
    """Return costs in quarters whose code has codes of `longest` bits."""
    # Weights like the Fibonacci numbers, as far as they go, and many of the largest after them.
    costs, total = [80, 80], 2
    weights = version_1.SymbolCode.WEIGHTS

    def weight(cost):
        return max(1, weights[cost % 4] >> cost // 4)

    while len(costs) <= longest:
        fitting = [cost for cost in range(81) if weight(cost) >= total - weight(costs[-1])]
        cost = fitting[-1] if fitting else 0
        costs.append(cost)
        total += weight(cost)
        if cost == 0:
            break
    while depth(costs, weight) < longest:
        costs.append(0)
    return tuple(costs)


def depth(costs, weight):
    try:
        codes = version_1.huffman_codes([weight(cost) for cost in costs])
    except ValueError:
        return 99
    return max(length for length, _ in codes)


def add_files(valid, rng, sparse):
    record = ("x", "uint8", None, sparse, Model())
    text = {"key": "a text, and the same text, and the same text again"}
    valid.add("stored", "texts in stored DEFLATE blocks", record, metadata=text, level=0)
    for name, about, make in (
        ("fixed", "DEFLATE blocks with fixed codes", lambda t: deflate(t, 9, zlib.Z_FIXED)),
        ("huffman_only", "DEFLATE without copies", lambda t: deflate(t, 9, zlib.Z_HUFFMAN_ONLY)),
        ("pieces", "many DEFLATE blocks, some of them empty", in_pieces),
        (
            "no_dictionary",
            "DEFLATE that does not use the dictionary",
            lambda t: deflate(t, dictionary=b""),
        ),
    ):
        right = File([by_model("x", "uint8", (120,), sparse)], text)
        content = pairs(text)
        stream = make(content)
        listing = listing_of(right, len(content), len(stream))
        valid.add(
            *(f"deflate_{name}", about, record),
            metadata=text,
            metadata_stream=stream,
            directory_stream=make(listing),
            listing=listing,
        )
    ends = deflate(pairs(text), 9, zlib.Z_FIXED)
    valid.add(
        *("deflate_last_bits", "ones after the end of a DEFLATE stream in its last byte"),
        record,
        metadata=text,
        metadata_stream=with_last_bits(ends),
    )
    valid.add(
        *("raw_though_larger", "raw where all is zero, or coded is smaller"),
        ("zeros", "float32", (3, 4), [0] * 12, raw("zeros", "float32", (3, 4), bytes(48))),
        ("same", "uint16", (50,), [3] * 50, raw("same", "uint16", (50,), b"\3\0" * 50)),
    )
    valid.add(
        *("raw_narrow", "raw elements of two bits"),
        ("int2", "int2", (5,), [0, 1, 2, 3, 3], raw("int2", "int2", (5,), b"\0\1\2\3\3")),
        ("uint2", "uint2", (2,), [3, 1], raw("uint2", "uint2", (2,), b"\3\1")),
    )
    valid.add(
        *("coded_though_larger", "coded where raw is smaller, and where all is zero"),
        ("zeros", "float32", (3, 4), [0] * 12, Model(codebook=(99,))),
        ("few", "complex64", (2,), [2**63 + 1, 77], Model(sparse=False, order=60)),
        ("scalar", "bool", (), [1], Model(sparse=False)),
        ("zero", "int8", (), [0], Model(sparse=False)),
    )
    large = [rng.randrange(256) for _ in range(5000)]
    valid.one(
        *("large_block", "a coded block of more than 4,096 bytes", "uint8", large),
        Model(sparse=False, cut=(0, 7)),
    )
    valid.add(
        *("metadata", "texts and keys of many lengths"),
        metadata={"a": "", "b" * 127: "x" * 127, "c" * 128: "y" * 128, "\0": "größe"},
    )
    valid.add(
        *("many", "128 tensors without elements, with names of 40 bytes"),
        *(
            (f"{n:040}", "float64", (n % 2, 0), [], zero(f"{n:040}", "float64", (n % 2, 0)))
            for n in range(128)
        ),
    )


def in_pieces(text):
    stream = zlib.compressobj(
        9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, version_1.DICTIONARY
    )
    found = b""
    for place, flush in enumerate((zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_PARTIAL_FLUSH)):
        found += stream.compress(text[place * 9 : place * 9 + 9]) + stream.flush(flush)
    return found + stream.compress(text[27:]) + stream.flush()


def with_last_bits(stream):
    """Return a stream with the last bit of its last byte set, which does not belong to it."""
    changed = stream[:-1] + bytes([stream[-1] | 0x80])
    inflate = zlib.decompressobj(-15, version_1.DICTIONARY)
    assert changed != stream and inflate.decompress(changed)
    assert inflate.eof and not inflate.unused_data
    return changed


def listing_of(file, size, length, count=None):
    """Return the directory's text."""
    listing = varint(size) + varint(length)
    listing += varint(len(file.records) if count is None else count)
    return listing + b"".join(record.bytes() for record in file.records)


# Files that break one rule.


class Broken:
    def __init__(self):
        self.found = {}

    def add(self, name, rule, *records, **file):
        file = File(list(records), **file)
        self.bytes(name, rule, file.bytes())

    def bytes(self, name, rule, data):
        assert name not in self.found
        self.found[name] = (rule, data)

    def coded(self, name, rule, kind, shape, values, model, **replaced):
        """Add a file of one tensor that is right but for what is replaced."""
        replaced = {key.replace("_", " "): change for key, change in replaced.items()}
        self.add(name, rule, by_model("x", kind, shape, values, model, replaced))

    def written(self, name, rule, kind, shape, blocks):
        self.add(name, rule, Record("x", CODES[kind], shape, 2, blocks))


def broken():
    """Return {name: (rule, bytes)}."""
    bad = Broken()
    break_files(bad)
    break_directories(bad)
    break_models(bad)
    break_bands(bad)
    return bad.found


SPARSE = [0, 0, 5, 0, 0x85, 0, 0, 7] * 15
DENSE = [value or 1 for value in SPARSE]


def good(**changes):
    return File([by_model("x", "uint8", (12, 10), SPARSE)], {"k": "v"}, **changes)


def flipped(data, place):
    """Return a file with a bit changed and the checksum over the whole file mended."""
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed[:-4]) + zlib.crc32(changed[:-4]).to_bytes(4, "little")


def break_files(bad):
    data = good().bytes()
    bad.bytes("checksum", "the checksum of the file is right", data[:-1] + bytes([data[-1] ^ 1]))
    bad.bytes("checksum_directory", "the checksum of the directory is right", flipped(data, -5))
    block = len(good().records[0].blocks[0])
    bad.bytes("checksum_block", "the checksum of a block is right", flipped(data, 5 + block))
    large = File([raw("x", "uint8", (4096,), bytes(range(256)) * 16)]).bytes()
    bad.bytes(
        *("checksum_large_block", "all four bytes of the checksum of a large block are right"),
        flipped(large, 5 + 4096 + 3),
    )
    stream = deflate(pairs({"k": "v"}))
    bad.bytes(
        *("checksum_metadata", "the checksum of the metadata is right"),
        flipped(data, 5 + block + 2 + len(stream)),
    )
    bad.bytes("short", "there is a trailer", data[:16])
    end = len(data) - 12
    trailer = (end - 5 + 1).to_bytes(4, "little") + data[-8:-4]
    longer = data[:end] + trailer
    bad.bytes(
        *("directory_length", "the directory is within the file"),
        longer + zlib.crc32(longer).to_bytes(4, "little"),
    )
    bad.add("hole", "the parts fill the file", *good().records, before_directory=b"\0")
    record = good().records[0]
    record.lengths = [len(record.blocks[0]) + 1000]
    bad.add("block_length", "blocks are within the file", record)

    text = pairs({"k": "v"})
    bad.add(
        "metadata_size",
        "the metadata has the size that the directory says",
        metadata={"k": "v"},
        metadata_size=4,
    )
    bad.add(
        "metadata_size_larger",
        "the metadata has all of the size that the directory says",
        metadata={"k": "v"},
        metadata_size=6,
    )
    bad.add("metadata_none", "metadata has a pair", metadata_text=b"\0")
    bad.add(
        "metadata_left_over", "nothing is left over after the last pair", metadata_text=text + b"\0"
    )
    bad.add("metadata_cut_off", "all pairs are there", metadata_text=b"\2" + text[1:])
    bad.add(
        "metadata_same_keys", "no two pairs have the same key", metadata=[("k", "v"), ("k", "w")]
    )
    bad.add("metadata_utf8", "a text is UTF-8", metadata=[("k", b"\xff")])
    bad.add("metadata_key_utf8", "a key is UTF-8", metadata=[(b"\xc0\x80", "v")])
    bad.add("metadata_empty_key", "a key has at least one byte", metadata=[("", "v")])
    bad.add(
        "metadata_after_end",
        "the stream ends with the metadata",
        metadata={"k": "v"},
        metadata_stream=stream + b"\0",
    )
    bad.add(
        "metadata_deflate",
        "metadata is a DEFLATE stream",
        metadata={"k": "v"},
        metadata_stream=b"\7" + stream[1:],
    )
    bad.add(
        "metadata_stream_cut_off",
        "a DEFLATE stream has its last block",
        metadata={"k": "v"},
        metadata_stream=unfinished(text),
    )
    far = far_copy(text)
    bad.add(
        "metadata_distance",
        "DEFLATE copies begin within the dictionary",
        metadata={"k": "v"},
        metadata_stream=far,
    )
    bad.add(
        "metadata_without_size",
        "metadata of no size has no length",
        listing=listing_of(File([]), 0, len(stream)),
        metadata={"k": "v"},
    )


def unfinished(text):
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    return stream.compress(text) + stream.flush(zlib.Z_SYNC_FLUSH)


def far_copy(text):
    """Return a stream that copies its text from before the preset dictionary."""
    own = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_FIXED, text + bytes(30000))
    return own.compress(text) + own.flush()


def break_directories(bad):
    file = good()
    stream = deflate(pairs({"k": "v"}))
    listing = listing_of(file, 5, len(stream))
    size = len(listing)
    bad.bytes(
        "directory_size",
        "the directory has the size that it says",
        good(directory_size=size - 1).bytes(),
    )
    bad.bytes(
        "directory_size_larger",
        "the directory has all of its size",
        good(directory_size=size + 1).bytes(),
    )
    bad.bytes(
        "directory_after_end",
        "the stream ends with the directory",
        good(directory_stream=deflate(listing) + b"\0").bytes(),
    )
    bad.bytes(
        "directory_cut_off",
        "the directory's stream has its last block",
        good(directory_stream=unfinished(listing)).bytes(),
    )
    bad.bytes("directory_empty", "there is a directory", sealed(b"\x89KDC\1", b""))
    bad.bytes(
        "left_over",
        "nothing is left over after the last tensor",
        good(listing=listing + b"\0").bytes(),
    )
    bad.bytes(
        "count", "all tensors are there", good(listing=listing_of(file, 5, len(stream), 2)).bytes()
    )
    bad.bytes(
        "long_varint",
        "a varint has its shortest form",
        good(listing=b"\x85\0" + listing[1:]).bytes(),
    )
    bad.bytes(
        "long_varint_size",
        "a size has its shortest form",
        sealed(b"\x89KDC\1", b"\x83\0" + deflate(b"\0\0\0")),
    )
    bad.add("huge_varint", "a varint is below 2 ** 63", listing=b"\0\0" + b"\xff" * 9 + b"\1")
    names = [zero(f"{n:0100}", "bool", (0,)) for n in range(400)]
    expanding = File(names).bytes()
    length = int.from_bytes(expanding[-12:-8], "little")
    assert len(listing_of(File(names), 0, 0)) > 32 * length + 4096
    bad.bytes(
        "expansion", "a directory is at most 32 times as large as in the file, and 4,096", expanding
    )

    same = zero("x", "uint8", (1,))
    bad.add("same_names", "no two tensors have the same name", same, same)
    bad.add("name_utf8", "a name is UTF-8", zero(b"\xed\xa0\x80", "uint8", (1,)))
    bad.add("empty_name", "a name has at least one byte", zero("", "uint8", (1,)))
    bad.add("type", "the type is in the table", Record("x", 27, (1,), 0, []))
    bad.add("coding", "the coding is 0, 1 or 2", Record("x", 5, (1,), 3, []))
    bad.add("rank", "rank is at most 32", zero("x", "uint8", (1,) * 33))
    bad.add(
        "large_shape",
        "all dimensions, 0 taken as 1, make less than 2 ** 63",
        zero("x", "uint8", (0, 2**31, 2**32)),
    )
    bad.add(
        "large_items",
        "the item size counts as a dimension",
        zero("x", "float64", (0, 2**30, 2**30)),
    )
    bad.add("raw_empty", "a tensor without elements has coding 0", raw("x", "uint8", (0, 4), b""))
    bad.written(
        "coded_empty",
        "a tensor without elements has no model",
        "uint8",
        (0, 4),
        [good().records[0].blocks[0]],
    )
    bad.written("no_block", "a coded tensor has a block", "uint8", (12, 10), [])
    complex128 = by_model("x", "complex64", (2,), [3, 4], Model(sparse=False)).blocks
    bad.written("complex128", "complex128 is never coded", "complex128", (2,), complex128)
    bad.add("bool_pattern", "a bool is 00 or 01", raw("x", "bool", (2,), b"\1\2"))
    bad.add("int4_pattern", "an int4 is at most 0F", raw("x", "int4", (2,), b"\x0f\x10"))
    bad.add("uint2_pattern", "a uint2 is at most 03", raw("x", "uint2", (2,), b"\4\0"))


def break_models(bad):
    plain = ("uint8", (12, 10), SPARSE, Model())
    bad.coded("cut_nothing", "a cut has bits", *plain, cut="1000000")
    whole = Model(sparse=False, cut=(1, 6), codebook=(0, 1))
    bad.coded("no_head", "the head has at least one bit", "uint8", (1,), [2], whole, cut="1001111")
    bad.add("codebook_size", "a codebook has at most 4,096 values", large_codebook())
    bad.coded(
        "codebook_value",
        "a codebook value fits the head's bits",
        *plain,
        codebook_steps=golomb(5, 2) + golomb(1, 2) + golomb(256 - 8, 2),
    )
    bad.coded(
        *("codebook_zero", "a sparse codebook has no 0"),
        *plain,
        codebook_steps=golomb(0, 2) + golomb(6, 2) + golomb(0x85 - 8, 2),
    )
    bad.coded(
        *("codebook_type", "a codebook value is a pattern of the type", "int4", (6,)),
        *([0, 15, 0, 3, 15, 0], Model()),
        codebook_steps=golomb(3, 2) + golomb(12, 2),
    )
    low = Model(sparse=False, cut=(0, 1))
    bad.coded(
        *("low_bits_type", "so it is if the low bits are all ones", "uint2", (6,)),
        *([0, 1, 0, 1, 0, 0], low),
        cut="1000011",
        low_bits="000000" + "010010" + "010100",
    )
    scored = Lines(rows=Scores(2, (0, 1) * 6))
    lines = Model(lines=scored, likelihoods=(5, 3))
    shape = ("uint8", (12, 10))
    bad.coded(
        "lines_nothing",
        "lines say something",
        *shape,
        SPARSE,
        Model(lines=Lines(True)),
        transposed="0",
    )
    bad.coded(
        "dead_dense",
        "only sparse tensors have dead lines",
        *shape,
        DENSE,
        Model(sparse=False, lines=scored),
        rows=scores_with(12, 2, [0, 1, 2] * 4),
    )
    grid = Model(lines=Lines(grid=(3, 2)), likelihoods=(5, 3), signs=(1, 2))
    bad.coded(
        "grid_dense",
        "only sparse tensors have a grid",
        *shape,
        DENSE,
        Model(sparse=False, lines=Lines(True)),
        grid="1" + golomb(4, 3) + golomb(1, 3),
        groups="0" + "00",
    )
    bad.coded(
        "grid_width",
        "a row of the grid is within the matrix",
        *shape,
        SPARSE,
        grid,
        grid="1" + golomb(6, 3) + golomb(1, 3),
    )
    bad.add("grid_rows", "a grid has at most 2 ** 18 rows", tall(2**18 + 1, 3, (256, 4)))
    bad.add("grid_steps", "a grid has at most 512 steps", tall(514, 40, (1, 1)))
    bad.add("grid_elements", "a grid has 16 elements for each step", tall(100, 31, (1, 1)))
    bad.add("rows", "a matrix has at most 2 ** 20 rows", tall(2**20 + 1, 1))
    bad.coded(
        "likelihood_high",
        "a likelihood is at most 63",
        *shape,
        SPARSE,
        Model(likelihoods=(63,)),
        likelihoods="0" * 6 + f"{132:08b}",
    )
    bad.coded(
        "likelihood_low",
        "a likelihood is at least -64",
        *shape,
        SPARSE,
        Model(likelihoods=(-64,)),
        likelihoods="0" * 5 + f"{4 + 129:08b}",
    )
    bad.coded(
        "sign_likelihood",
        "so is one of signs",
        *shape,
        SPARSE,
        grid,
        sign_likelihoods=signed(1) + signed(63),
    )
    bad.coded(
        "half",
        "both halves of the codebook have values",
        *shape,
        [v & 127 for v in SPARSE],
        Model(lines=Lines(grid=(3, 2)), likelihoods=(5, 3)),
        signs="11000" + signed(1),
        end=lambda bits: "1000000",
    )
    cut = lines.but(cuts=(1, 2), likelihoods=(5, 3, 2))
    bad.coded("cuts_equal", "cuts ascend", *shape, SPARSE, cut, groups="10" + "0001" * 2)
    bad.coded(
        "cuts_zero", "cuts begin from 1 up", *shape, SPARSE, cut, groups="10" + "0000" + "0001"
    )
    three = ("uint8", (12, 10), SPARSE, Model(code=Code(0, 1, 1, (2, 2, 2))))
    first = "00" + "000" + "01"
    bad.coded(
        "unit",
        "the unit is 0, 1 or 2",
        *three,
        code_0_0="11" + "000" + "01" + golomb(2, 3) + signed(0, 1) * 2,
    )
    bad.coded(
        "cost_negative",
        "a cost is at least 0",
        *three,
        code_0_0=first + golomb(2, 3) + signed(-3, 1) + signed(3, 1),
    )
    bad.coded(
        "cost_high",
        "a cost is at most 80 quarters of a bit",
        *three,
        code_0_0=first + golomb(21, 3) + signed(-19, 1) + signed(0, 1),
    )
    bad.coded(
        "together",
        "no more Huffman symbols than elements",
        "uint8",
        (9,),
        [1, 2] * 4 + [1],
        Model(sparse=False, code=Code(2, 3, 0, (4, 4))),
        code_0_0=Code(2, 4, 0, (4, 4)).bits(2),
    )
    bad.coded(
        "together_4096",
        "at most 4,096 Huffman symbols",
        "uint8",
        (5000,),
        ([1] * 17 + [2, 3, 4, 5]) * 238 + [1, 1],
        Model(sparse=False, code=Code(2, 5)),
        code_0_0=Code(2, 6).bits(5),
    )
    bad.coded(
        "together_scores",
        "no more Huffman symbols than lines",
        *shape,
        SPARSE,
        Model(lines=Lines(rows=Scores(2, (0, 1) * 6, Code(2, 2))), likelihoods=(5, 3)),
        rows=lambda bits: bits[:4] + Code(2, 3).bits(3) + bits[4 + len(Code(2, 2).bits(3)) :],
    )
    costs = longest_costs(31)
    bad.add("long_code", "no code is longer than 30 bits", by_costs(costs))
    bad.coded(
        "golomb",
        "a Golomb code has at most 63 zeros",
        "uint64",
        (2,),
        [2**64 - 2, 0],
        Model(order=0),
        codebook_steps="0" * 64 + f"{2**64 - 1:b}" + "0",
    )
    constant = by_model("x", "uint8", (12, 10), [8] * 120, Model(sparse=False)).blocks
    bad.written(
        *("bands_more", "there are no more bands than needed", "uint8", (12, 10), [*constant, b""])
    )
    bad.written(
        *("bands_fewer", "a band has at most 2 ** 20 elements", "uint8", (2**20 + 1,), constant)
    )
    large = [*constant, b"", b""]
    bad.written("bands_third", "so it is with two", "uint8", (2**20 + 1,), large)


def signed(value, order=2):
    return golomb(2 * value if value >= 0 else -2 * value - 1, order)


def scores_with(count, highest, symbols):
    """Return the bits of scores that `Scores` would not take."""
    return Scores(highest, tuple(symbol - 1 for symbol in symbols)).bits()


def large_codebook():
    model = Model(sparse=False, order=0, codebook=tuple(range(4096)), code=Code(costs=(12,) * 4096))
    size = golomb(4096, 3)
    record = by_model(
        "x",
        "uint16",
        (9,),
        list(range(9)),
        model,
        {
            "codebook size": size,
            "codebook steps": lambda bits: bits + golomb(0, 0),
            "code 0 0": Code(costs=(12,) * 4097).bits(4097),
            "symbols 0 0": "0" * 12 * 9,
        },
    )
    return record


def tall(rows, columns, grid=None):
    """Return a tensor of zeros with too many rows, or too many for its grid."""
    model = Model(codebook=(1,), lines=grid and Lines(grid=(3, 1)), likelihoods=(40,))
    bits = "1" + "".join(golomb(side - 1, 3) for side in grid) if grid else ""
    small = by_model("x", "uint8", (9, 16), [0] * 144, model, {"grid": bits})
    return Record("x", CODES["uint8"], (rows, columns), 2, small.blocks)


def by_costs(costs):
    count = len(costs)
    model = Model(
        sparse=False, order=0, codebook=tuple(range(count)), code=Code(2, 1, 1, (8,) * count)
    )
    code = Code(2, 1, 1, costs).bits(count)
    return by_model("x", "uint16", (1,), [0], model, {"code 0 0": code, "symbols 0 0": "0" * 32})


def break_bands(bad):
    ones = [0, 0, 1, 0, 0, 0, 0, 1, 0, 0]
    model = Model(codebook=(1,), likelihoods=(3,))
    right = run_bits(ones, 3)
    plain = ("uint8", (10,), ones, model)
    longer = run_bits([*ones, 0, 1], 3)
    bad.coded("run_past_end", "no one is past the end of its sequence", *plain, runs_0=longer)
    code = version_1.run_code(3)
    ((length, filling),) = (key for key, symbol in code.codes.items() if symbol == 255)
    bad.coded(
        "runs_after_last",
        "the last Huffman symbol of runs holds a one",
        *plain,
        runs_0=golomb(2, 6) + right[len(golomb(1, 6)) :] + f"{filling:0{length}b}",
    )
    assert right.startswith(golomb(1, 6))
    bad.coded(
        "runs_cut_off",
        "all codes of runs are there",
        *plain,
        runs_0=golomb(200, 6) + right[len(golomb(1, 6)) :],
    )
    bad.coded(
        "runs_huge", "all codes of runs are there, however many", *plain, runs_0=golomb(2**60, 6)
    )
    rare = [0] * 300 + [1] + [0] * 99
    bad.coded(
        "remainders",
        "remainders are there",
        "uint8",
        (400,),
        rare,
        Model(codebook=(1,), likelihoods=(60,)),
        runs_0=lambda bits: bits[:-8],
    )
    bad.coded(
        "past_end_by_remainder",
        "a remainder does not lead past the end",
        "uint8",
        (400,),
        rare,
        Model(codebook=(1,), likelihoods=(60,)),
        runs_0=lambda bits: bits[:-8] + "1" * 8,
    )
    bad.coded("padding", "a block ends in zero bits", *plain, end=lambda bits: "1")
    bad.coded(
        "block_left_over", "nothing is left over in a block", *plain, end=lambda bits: "0" * 8
    )
    dense = ("uint8", (120,), DENSE, Model(sparse=False))
    bad.coded(
        "symbols_cut_off", "all symbols are there", *dense, symbols_0_0=lambda bits: bits[:-8]
    )
    pairs_ = Model(sparse=False, code=Code(2, 2, 0, (4, 4)))
    ends = ("uint8", (9,), [1, 2] * 4 + [1], pairs_)
    bad.coded(
        "fill",
        "the last code is filled up with symbol 0",
        *ends,
        symbols_0_0=lambda bits: bits[:-2] + "01",
    )
    bad.coded(
        "low_bits_cut_off",
        "all low bits are there",
        "uint16",
        (9,),
        list(range(9)),
        Model(sparse=False, cut=(0, 12)),
        low_bits=lambda bits: bits[:-8],
    )
    bad.coded(
        "value_zero",
        "no value of a sparse tensor is zero",
        "uint8",
        (10,),
        [v * 3 for v in ones],
        Model(cut=(0, 4)),
        low_bits="0" * 8,
    )
    grid = Model(lines=Lines(grid=(3, 2)), likelihoods=(5, 3), signs=(1,))
    values = ("uint8", (12, 10), SPARSE, grid)
    bad.coded(
        "sign_past_end",
        "no wrong sign is past the last value",
        *values,
        sign_runs_0=lambda bits: run_bits([0] * 45 + [1], 1),
    )
    bad.coded(
        "grid_past_end",
        "no one is past the end of a class of a grid",
        *values,
        runs_1=run_bits([0] * 119 + [1], 3),
    )
    many = [0] * 2**20 + [1]
    two = ("uint8", (len(many),), many, Model(codebook=(1,), likelihoods=(63,)))
    past = run_bits([0] * 2**19 + [0, 1], 63)
    bad.coded("second_band", "each band is right", *two, **{"1:_runs_0": past})
    bad.coded("band_left_over", "nothing is left over in a band", *two, **{"1:_end": "0" * 8})


# The folder.


def main():
    files, invalid = [], []
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "invalid").mkdir(parents=True)

    def add(name, about, data, metadata, tensors, made, effort):
        (FOLDER / f"{name}.kdc").write_bytes(data)
        loaded, info = container.load_with_info(data)
        canonical = container.save(loaded, info.metadata, effort=effort) == data
        assert canonical or made != MADE, name
        expected = {key: (kind, shape, content) for key, kind, shape, content in tensors}
        assert simple_decoder.decode(data) == (metadata, expected), name
        files.append(
            {
                "file": f"{name}.kdc",
                "about": about,
                "made": made,
                "effort": effort,
                "canonical": canonical,
                "sha256": digest(data),
                "metadata": metadata,
                "tensors": [described(*tensor) for tensor in tensors],
            }
        )

    saved = {name: (*case, cases_v1.EFFORT) for name, case in cases.cases().items()}
    saved |= cases_v1.cases()
    for name, (about, tensors, metadata, effort) in saved.items():
        data = container.save(tensors, metadata, effort=effort)
        assert data[4] == 1, "this package writes another version"
        arrays = {key: np.asarray(value) for key, value in tensors.items()}
        tensors = [(key, x.dtype.name, x.shape, patterns(x)) for key, x in arrays.items()]
        add(name, about, data, metadata, tensors, MADE, effort)
    for name, (about, data, metadata, tensors) in hand_made().items():
        add(name, about, data, metadata, tensors, "by hand", cases_v1.EFFORT)
    for name, (rule, data) in broken().items():
        refused(name, data)
        (FOLDER / "invalid" / f"{name}.kdc").write_bytes(data)
        invalid.append({"file": f"invalid/{name}.kdc", "rule": rule, "sha256": digest(data)})
    write("v1", {"version": 1, "current": True, "files": files, "invalid": invalid})
    for kind in (files, invalid):
        sizes = [(FOLDER / entry["file"]).stat().st_size for entry in kind]
        print(len(kind), "files of", sum(sizes), "bytes, at most", max(sizes))


def refused(name, data):
    """Check that both readers refuse a file, and print what they say."""
    said = []
    for read, error in (
        (simple_decoder.decode, ValueError),
        (container.load, container.FormatError),
    ):
        try:
            read(data)
        except error as found:
            said.append(str(found).removeprefix("Damaged .kdc file: ").split(". Fetch")[0])
        else:
            raise AssertionError(f"{name} was not refused")
    print(f"{name}: {' | '.join(said)}")


if __name__ == "__main__":
    main()
