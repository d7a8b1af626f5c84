"""What of the grammar of docs/format.md a version 1 file uses, so that a test can miss nothing."""

from simple_decoder import version_1
from simple_decoder.reading import TYPES, Reader, product

CODINGS = ("zero", "raw", "coded")


def features(data):
    """Return what a valid file uses, as a set of texts."""
    texts, records, blocks = version_1.parts(data, 1 << 40)
    found = set(frame_features(data, texts, records))
    for name, (coding, kind, shape, _) in records.items():
        size = product(shape)
        found.add(f"type {kind[0]} {CODINGS[coding]}")
        found.add(f"rank {len(shape)}" if len(shape) in (0, 1, 2, 3, 4, 32) else "rank")
        if size == 0:
            found.add("no elements")
        for content in blocks[name]:
            found.add("large block" if len(content) >= 4096 else "small block")
        if coding == 2:
            found.update(model_features(version_1.Coded(kind, shape, blocks[name])))
    return found


def frame_features(data, texts, records):
    length = version_1.unsigned(data[-12:-8])
    reader = Reader(data[-12 - length : -12])
    size = reader.varint()
    yield f"directory size of {reader.place} bytes"
    yield f"directory {deflate_block(reader.take(length - reader.place))}"
    yield f"{'' if records else 'no '}tensors"
    yield f"{'' if texts else 'no '}metadata"
    if size > 4096:
        yield "large directory"
    if len(records) > 127:
        yield "count of two bytes"
    for text in texts.values():
        yield "empty text" if not text else "text of two bytes" if len(text) > 127 else "text"
    for name in records:
        yield "name of two bytes" if len(name.encode()) > 127 else "name"
        if not name.isascii():
            yield "name that is not ASCII"


def deflate_block(stream):
    return ("stored", "fixed", "dynamic")[stream[0] >> 1 & 3]


def model_features(model):
    yield from pattern_features(model)
    if model.lines:
        yield from line_features(model)
    yield "sparse" if model.sparse else "dense"
    yield "lines" if model.lines else "no lines"
    for likelihood in model.likelihoods:
        yield from likelihood_features(likelihood, "")
    for likelihood in model.sign_likelihoods:
        yield from likelihood_features(likelihood, " of signs")
    if model.lines and model.sparse:
        yield f"{model.classes} classes" if model.classes in (1, 2, 16) else "classes"
    yield f"{len(model.cuts)} cuts"
    if model.cuts and model.cuts[-1] >= model.classes - 1:
        yield "group of no class" if model.cuts[-1] >= model.classes else "group of last class"
    for codes in model.codes:
        for half, code in enumerate(codes):
            if code is None:
                yield "one symbol" + (f" in half {half}" if len(codes) > 1 else "")
            else:
                yield from code_features(code, "")
    yield "bands" if len(model.blocks) > 1 else "one band"
    if len(model.blocks) > 2:
        yield "three bands"
    if b"" in model.blocks:
        yield "empty block"


def pattern_features(model):
    width = model.item_bits
    yield f"items of {width} bits" + (" cut" if model.zero_bits or model.low_bits else "")
    yield "zero bits" if model.zero_bits else "no zero bits"
    low = model.low_bits
    yield "low bytes" if low >= 8 else "no low bytes"
    yield "low bits" if low % 8 else "no low bits"
    if model.zero_bits and model.low_bits:
        yield "both cuts"
    if model.head_bits == 1:
        yield "head of one bit"
    if model.head_bits == 64:
        yield "head of 64 bits"
    count = len(model.codebook)
    yield f"codebook of {count}" if count in (1, 2, 4096) else "codebook"
    if count > 256:
        yield "large codebook"
    if 0 in model.codebook:
        yield "0 in a codebook" + (" of sparse low bits" if model.sparse else "")
    yield {0: "codebook order 0", width - 1: "largest codebook order"}.get(
        model.order, "codebook order"
    )


def line_features(model):
    yield "transposed" if model.transposed else "not transposed"
    for name, highest, code, scores in (
        ("rows", model.row_highest, model.row_code, model.row_scores),
        ("columns", model.column_highest, model.column_code, model.column_scores),
    ):
        yield f"{name} scored" if highest else f"{name} not scored"
        if highest:
            yield from code_features(code, f" of {name}")
            yield f"{name} dead" if -1 in scores else f"{name} live"
            yield f"{name} highest {highest}" if highest in (1, 8, 15) else f"{name} highest"
            if max(scores) < highest - 1:
                yield f"{name} not up to highest"
            if max(scores) == -1:
                yield f"{name} all dead"
    if model.grid is None:
        yield "no grid"
        return
    width, depth = model.grid
    yield "grid transposed" if model.transposed else "grid not transposed"
    yield "grid width 1" if width == 1 else "grid width"
    yield "grid depth 1" if depth == 1 else "grid depth"
    if width * depth == model.rows:
        yield "grid of one row"
    if model.rows % (width * depth):
        yield "grid cut off within a place" if model.rows % depth else "grid cut off"
    if model.signs is None:
        yield "signs together"
    else:
        yield "signs wide" if model.signs is version_1.WIDE else "signs near"
        yield f"sign classes {len(model.sign_likelihoods)}"


def likelihood_features(likelihood, what):
    step = -1 - likelihood if likelihood < 0 else likelihood
    code = version_1.run_code(step)
    exchanged = ", exchanged" if likelihood < 0 else ""
    yield f"runs up to {code.bound}, shift {code.shift > 0}{what}{exchanged}"
    if not what:
        yield f"likelihood {likelihood}"


def code_features(code, what):
    yield f"unit {code.unit}{what}"
    if what:
        yield f"{'several' if code.together > 1 else 'one'} together{what}"
        return
    yield f"together {code.together}"
    yield f"order {code.order}"
    for cost in {0, 80} & set(code.costs):
        yield f"cost {cost}"
    if max(length for length, _ in code.codes) == 30:
        yield "code of 30 bits"
    if len(code.codes) == 4096:
        yield "4096 Huffman symbols"


RUNS = [(1, False), (3, False), (15, False), (255, False), (255, True)]
ALL = {
    *(f"type {name} {coding}" for name, *_ in TYPES.values() for coding in CODINGS),
    *(f"rank {rank}" for rank in (0, 1, 2, 3, 4, 32)),
    "rank",
    *("no elements", "large block", "small block", "empty block"),
    *("tensors", "no tensors", "metadata", "no metadata", "large directory", "count of two bytes"),
    *("empty text", "text", "text of two bytes"),
    *("name", "name of two bytes", "name that is not ASCII"),
    *("directory size of 1 bytes", "directory size of 2 bytes"),
    *("directory stored", "directory fixed", "directory dynamic"),
    *("sparse", "dense", "lines", "no lines"),
    *(f"items of {bits} bits{cut}" for bits in (8, 16, 32, 64) for cut in ("", " cut")),
    *("zero bits", "no zero bits", "low bits", "no low bits", "low bytes", "no low bytes"),
    *("both cuts", "head of one bit", "head of 64 bits"),
    *("codebook", "large codebook"),
    *(f"codebook of {count}" for count in (1, 2, 4096)),
    *("0 in a codebook", "0 in a codebook of sparse low bits"),
    *("codebook order 0", "codebook order", "largest codebook order"),
    *("transposed", "not transposed", "no grid", "grid transposed", "grid not transposed"),
    *("grid width 1", "grid width", "grid depth 1", "grid depth", "grid of one row"),
    *("grid cut off within a place", "grid cut off"),
    *("signs together", "signs wide", "signs near"),
    *(f"sign classes {count}" for count in range(1, 9)),
    *(f"likelihood {likelihood}" for likelihood in range(-64, 64)),
    *(
        f"runs up to {bound}, shift {shift}{what}{exchanged}"
        for bound, shift in RUNS
        for what in ("", " of signs")
        for exchanged in ("", ", exchanged")
    ),
    *("1 classes", "2 classes", "16 classes", "classes"),
    *(f"{count} cuts" for count in range(4)),
    *("group of no class", "group of last class"),
    *("one symbol", "one symbol in half 0", "one symbol in half 1"),
    *(f"unit {unit}{what}" for unit in range(3) for what in ("", " of rows", " of columns")),
    *(
        f"{count} together of {what}"
        for count in ("one", "several")
        for what in ("rows", "columns")
    ),
    *(f"together {count}" for count in range(1, 9)),
    *(f"order {order}" for order in range(4)),
    *("cost 0", "cost 80", "code of 30 bits", "4096 Huffman symbols"),
    *("bands", "one band", "three bands"),
    *(
        f"{what} {feature}"
        for what in ("rows", "columns")
        for feature in (
            *("scored", "not scored", "dead", "live", "all dead"),
            *("highest 1", "highest", "highest 8", "highest 15", "not up to highest"),
        )
    ),
} - {"type complex128 coded"}
