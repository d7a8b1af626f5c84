"""Models of coded tensors at random, with each choice that the page of version 1 leaves open."""

import itertools

from simple_decoder import version_1
from simple_decoder.reading import TYPES, product
from simple_encoder import CODES, Code, Lines, Model, Scores

KINDS = ("bool", "int8", "uint2", "int4", "uint16", "float16", "float32", "complex64", "uint64")
SIDES = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24)


def draw(rng):
    """Return a type, a shape, patterns and a model that fits them."""
    kind = rng.choice(KINDS)
    _, item_size, largest = TYPES[CODES[kind]]
    shape = tuple(rng.choice(SIDES) for _ in range(rng.choice((0, 1, 2, 2, 2, 2, 3, 4))))
    sparse = rng.random() < 0.75
    cut = draw_cut(rng, 8 * item_size, largest)
    zero_bits, low_bits = cut or (0, 0)
    codebook = draw_codebook(rng, largest >> zero_bits, low_bits, sparse)
    lines, matrix = draw_lines(rng, shape, sparse) if rng.random() < 0.7 else (None, None)
    likelihoods = signs = None
    if sparse:
        likelihoods = draw_likelihoods(rng, rng.randint(1, 16) if lines else 1)
    if lines and lines.grid and rng.random() < 0.6:
        top = 1 << 8 * item_size - zero_bits - low_bits - 1
        if codebook[0] < top <= codebook[-1]:
            signs = draw_likelihoods(rng, rng.randint(1, 8))
    cuts = ()
    if lines:
        cuts = tuple(sorted(rng.sample(range(1, 16), rng.randrange(4))))
    lengths = [len(codebook)]
    if signs:
        lower = sum(head < top for head in codebook)
        lengths = [lower, len(codebook) - lower]
    model = Model(
        cut=cut,
        sparse=sparse,
        order=rng.randrange(8 * item_size),
        codebook=codebook,
        lines=lines,
        likelihoods=likelihoods or (),
        wide=rng.random() < 0.5,
        signs=signs,
        cuts=cuts,
        codes={
            (group, half): draw_code(rng, length, product(shape))
            for group in range(len(cuts) + 1)
            for half, length in enumerate(lengths)
            if length > 1
        },
    )
    return kind, shape, draw_patterns(rng, shape, model, matrix), model


def draw_cut(rng, bits, largest):
    used = largest.bit_length()
    if rng.random() < 0.5:
        return None
    zero_bits = rng.choice((0, rng.randrange(used)))
    low_bits = rng.choice((0, rng.randrange(used - zero_bits + 1)))
    if zero_bits + low_bits in (0, bits):
        return None
    return zero_bits, low_bits


def draw_codebook(rng, largest, low_bits, sparse):
    least = 1 if sparse and low_bits == 0 else 0
    most = largest >> low_bits
    count = min(most - least + 1, rng.choice((1, 2, 2, 3, 4, 6, 10, 40)))
    if most < 1 << 16:
        return tuple(sorted(rng.sample(range(least, most + 1), count)))
    found = {rng.randint(least, most) for _ in range(count)}
    return tuple(sorted(found | {most} if rng.random() < 0.3 else found))


def draw_lines(rng, shape, sparse):
    transposed = rng.random() < 0.4
    rows, columns = product(shape[:-1]), shape[-1] if shape else 1
    if transposed:
        rows, columns = columns, rows
    grid = None
    if sparse and rng.random() < 0.6:
        width = rng.randint(1, rows)
        depth = rng.randint(1, rows // width)
        if 2 * (-(-rows // (width * depth)) - 1) + width <= min(512, rows * columns // 16):
            grid = width, depth
    scores = [draw_scores(rng, count, sparse) for count in (rows, columns)]
    if not transposed and not grid and not any(any(one.scores) for one in scores):
        transposed, rows, columns = True, columns, rows
        scores = [Scores(), Scores()]
    all_scores = [one.scores or (0,) * n for one, n in zip(scores, (rows, columns), strict=True)]
    return Lines(transposed, grid, *scores), all_scores


def draw_scores(rng, count, sparse):
    highest = rng.choice((0, 0, 1, 2, 3, 8, 15))
    if highest == 0:
        return Scores()
    # A symbol 0 is a dead line.
    symbols = range(0 if sparse and rng.random() < 0.6 else 1, highest + 1)
    scores = tuple(rng.choice(symbols) - 1 for _ in range(count))
    return Scores(highest, scores, draw_code(rng, highest + 1, count))


def draw_likelihoods(rng, count):
    return tuple(rng.choice((rng.randint(-6, 12), rng.randint(-64, 63))) for _ in range(count))


def draw_code(rng, symbols, most):
    together = max(
        n for n in range(1, rng.randint(1, 8) + 1) if n == 1 or symbols**n <= min(4096, most)
    )
    while True:
        unit = rng.randrange(3)
        highest = 80 // (4, 2, 1)[unit]
        spread = rng.choice((1, 4, 10, highest))
        first = rng.randint(0, highest - spread)
        costs = tuple(rng.randint(first, first + spread) for _ in range(symbols))
        code = Code(unit, together, rng.randrange(4), costs)
        try:
            version_1.SymbolCode(reader(code.bits(symbols)), symbols, most)
        except ValueError:
            continue  # A code of more than 30 bits.
        return code


def reader(bits):
    bits += "0" * (-len(bits) % 8)
    return version_1.BitReader(int(bits, 2).to_bytes(len(bits) // 8))


def draw_patterns(rng, shape, model, scores):
    """Return patterns of the codebook; zeros come in streaks."""
    zero_bits, low_bits = model.cut or (0, 0)
    density = rng.choice((0, 0.03, 0.2, 0.5, 0.8, 1))
    patterns = []
    for _ in range(product(shape)):
        pattern = rng.choice(model.codebook) << low_bits | rng.getrandbits(low_bits)
        if model.sparse and rng.random() >= density:
            pattern = 0
        patterns.append(pattern << zero_bits)
    if scores:
        rows, columns = scores
        for row, column in itertools.product(range(len(rows)), range(len(columns))):
            if -1 in (rows[row], columns[column]):
                place = row * len(columns) + column
                if model.lines.transposed:
                    place = column * len(rows) + row
                patterns[place] = 0
    return patterns
