"""Makes tests/golden/v0. It needs a package that writes version 0; see README.md."""

import zlib
from pathlib import Path

import numpy as np
from cases import cases
from manifests import described, digest, patterns, write

from keras_deepcomp import container

FOLDER = Path(__file__).parent / "v0"
BOOL, INT8, UINT8, UINT16, FLOAT32, FLOAT64, COMPLEX64, COMPLEX128, INT4 = (
    *(0, 1, 5, 6, 10, 11, 12, 13, 23),
)
NAMES = {
    **{BOOL: "bool", INT8: "int8", UINT8: "uint8", UINT16: "uint16", FLOAT32: "float32"},
    **{FLOAT64: "float64", COMPLEX64: "complex64", COMPLEX128: "complex128", INT4: "int4"},
}
SIZES = {BOOL: 1, INT8: 1, UINT8: 1, UINT16: 2, FLOAT32: 4, FLOAT64: 8}
SIZES |= {COMPLEX64: 8, COMPLEX128: 16, INT4: 1}


# Bytes by the grammar of docs/format.md, with any choice in it, right or wrong.


def varint(value):
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def string(text):
    encoded = text if isinstance(text, bytes) else text.encode()
    return varint(len(encoded)) + encoded


def packed(bits, fill="0"):
    """Return a string of 0 and 1 as bytes."""
    bits += fill * (-len(bits) % 8)
    return bytes(int(bits[start : start + 8], 2) for start in range(0, len(bits), 8))


def codes(lengths):
    """Return the canonical codes of the symbols as strings."""
    used = sorted((length, symbol) for symbol, length in enumerate(lengths) if length)
    found, code, previous = {}, 0, 0
    for length, symbol in used:
        code <<= length - previous
        found[symbol] = f"{code:0{length}b}"
        code, previous = code + 1, length
    return found


def flat(used):
    """Return complete code lengths, as equal as can be, for the symbols that are to have one."""
    count = sum(used)
    if count == 1:
        return [int(bool(one)) for one in used]
    short = (count - 1).bit_length() - 1
    extra = count - 2**short
    shorter = iter([short] * (2**short - extra))
    return [next(shorter, short + 1) if one else 0 for one in used]


def unary(count):
    """Return the most unequal complete code lengths."""
    return [*range(1, count), count - 1]


def raw(body):
    return b"\0" + string(bytes(body))


def coded(
    patterns,
    item_size,
    b,
    *,
    entries=None,
    codebook=None,
    gap_lengths=None,
    index_lengths=None,
    padding="0",
    more_index_bits=0,
    tail=b"",
):
    """Return the coded payload of a list of patterns; the keywords replace parts of it."""
    if entries is None:
        entries, run = [], 0
        for pattern in patterns[: max(np.flatnonzero(patterns), default=-1) + 1]:
            if pattern:
                entries += [(2**b - 1, 0)] * (run >> b) + [(run & (2**b - 1), pattern)]
            run = 0 if pattern else run + 1
    if codebook is None:
        codebook = sorted({pattern for _, pattern in entries if pattern})
    symbols = [codebook.index(pattern) + 1 if pattern else 0 for _, pattern in entries]
    fillers = symbols.count(0)
    gaps = [gap for gap, _ in entries]
    if gap_lengths is None:
        gap_lengths = flat([gap in gaps for gap in range(max(gaps) + 1)])
    if index_lengths is None:
        index_lengths = flat([fillers > 0] + [True] * len(codebook))
    body = bytes([b]) + varint(len(entries) - fillers) + varint(fillers)
    body += varint(len(codebook))
    body += b"".join(int(pattern).to_bytes(item_size, "little") for pattern in codebook)
    gap_bits = "".join(codes(gap_lengths)[gap] for gap in gaps)
    index_bits = "".join(codes(index_lengths)[symbol] for symbol in symbols)
    if b > 0:
        body += varint(len(gap_lengths)) + packed("".join(f"{n:05b}" for n in gap_lengths))
    body += packed("".join(f"{n:05b}" for n in index_lengths))
    if b > 0:
        body += varint(len(gap_bits))
    body += varint(len(index_bits) + more_index_bits)
    body += packed(gap_bits) if b > 0 else b""
    body += packed(index_bits, padding) + tail
    return b"\1" + string(body)


def record(name, dtype, shape, payload):
    return string(name) + bytes([dtype, len(shape)]) + b"".join(map(varint, shape)) + payload


def entry(key, size, payload):
    return string(key) + varint(size) + payload


def sealed(body):
    return body + zlib.crc32(body).to_bytes(4, "little")


def file_of(decoded, *records, metadata=()):
    body = b"\x89KDC\0" + varint(decoded)
    body += varint(len(metadata)) + b"".join(metadata)
    return sealed(body + varint(len(records)) + b"".join(records))


# Valid files that the writer would not write.


def element_bytes(patterns, item_size):
    return b"".join(int(pattern).to_bytes(item_size, "little") for pattern in patterns)


def hand_made():
    """Return {name: (about, bytes, metadata, tensors)} with (name, type, shape, bytes)."""
    found = {}

    def add(name, about, dtype, patterns, payload, shape=None):
        shape = (len(patterns),) if shape is None else shape
        data = element_bytes(patterns, SIZES[dtype])
        whole = file_of(len(data), record("x", dtype, shape, payload))
        found[f"hand_{name}"] = (about, whole, {}, [("x", NAMES[dtype], shape, data)])

    sparse = [0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 5, 0, 0, 5, 5, 5, 0, 0, 0]
    sparse = sparse[:-3] + [0] * 90 + sparse
    for b in (0, 1, 2, 8, 13, 14, 15):
        add(f"b_{b}", f"b = {b}, which is not the best", UINT16, sparse, coded(sparse, 2, b))
    for b in (10, 11, 12):
        runs = [*[0] * (2**b + 5), 1, 0, 2, *[0] * (2**b - 1), 2, *[0] * 9]
        add(f"fillers_{b}", f"b = {b} and a filler", UINT8, runs, coded(runs, 1, b))
    values = [1, 2, 3, 4, 5, 6, 7, 8] * 6
    add(
        *("unary", "index codes far from optimal", UINT8, values),
        coded(values, 1, 0, index_lengths=[0, *unary(8)]),
    )
    many = [*range(1, 26)] * 2
    add(
        *("longest_codes", "codes of 24 bits, the most", UINT8, many),
        coded(many, 1, 0, index_lengths=[0, *unary(25)]),
    )
    steps = [int(number in {25 * n + n * (n - 1) // 2 for n in range(25)}) for number in range(940)]
    add(
        *("longest_gap_codes", "codes of gaps of 24 bits, shortest for the largest gaps"),
        *(UINT8, steps),
        coded(steps, 1, 6, gap_lengths=gap_code(steps, 6)),
    )
    add(
        *("unused_gaps", "all 2 ** b gaps have codes, and most of them never occur"),
        *(FLOAT32, sparse),
        coded(sparse, 4, 4, gap_lengths=[4] * 16),
    )
    add(
        *("unused_values", "a codebook with values that never occur", UINT8, sparse),
        coded(sparse, 1, 3, codebook=[2, 3, 5, 200]),
    )
    add(
        *("two_lone_symbols", "a lone gap and a lone index", FLOAT64, [0, 0, 7, 0, 0, 7, 0]),
        coded([0, 0, 7, 0, 0, 7, 0], 8, 2),
    )
    add(
        *("coded_though_larger", "coded where raw is smaller", COMPLEX64, [2**63 + 1, 0, 77, 4]),
        coded([2**63 + 1, 0, 77, 4], 8, 1),
        (2, 2),
    )
    add(
        *("raw_though_larger", "raw where coded is smaller", UINT16, [0] * 200 + [3]),
        raw(element_bytes([0] * 200 + [3], 2)),
        (3, 67),
    )
    add("coded_empty", "a coded tensor with no elements", INT8, [], b"\1\3\0\0\0", (4, 0))
    add("coded_scalar", "a coded scalar that is not zero", BOOL, [1], coded([1], 1, 0), ())
    add("coded_zero", "a coded zero, larger than raw", INT4, [0], b"\1\3\0\0\0", (1,))
    add("coded_int4", "the largest pattern of int4", INT4, [15, 0, 8], coded([15, 0, 8], 1, 1))
    text = "größe"
    metadata = {"text": text, "zeros": "\0" * 9, "none": "", "coded": "", "raw": "a" * 60}
    records = [
        entry("text", len(text.encode()), coded(list(text.encode()), 1, 0)),
        entry("zeros", 9, b"\1\3\0\0\0"),
        entry("none", 0, raw(b"")),
        entry("coded", 0, b"\1\3\0\0\0"),
        entry("raw", 60, raw(b"a" * 60)),
    ]
    found["hand_metadata"] = (
        "metadata coded and raw against the writer's choice",
        file_of(sum(len(text.encode()) for text in metadata.values()), metadata=records),
        metadata,
        [],
    )
    return found


def gap_code(patterns, b):
    """Return code lengths up to 24 for the gaps of a tensor, which have to be 25 kinds."""
    positions = np.flatnonzero(patterns)
    gaps = sorted({int(gap) for gap in np.diff(positions, prepend=-1) - 1})
    assert len(gaps) == 25 and gaps[-1] < 2**b
    lengths = dict(zip(gaps, reversed(unary(25)), strict=True))
    return [lengths.get(gap, 0) for gap in range(gaps[-1] + 1)]


# Files that break one rule.


def broken():
    """Return {name: (rule, bytes)}."""
    found = {}

    def add(name, rule, *records, decoded, metadata=()):
        found[name] = (rule, file_of(decoded, *records, metadata=metadata))

    def one(name, rule, payload, size=24, dtype=UINT8, shape=None):
        shape = (size,) if shape is None else shape
        add(name, rule, record("x", dtype, shape, payload), decoded=size * SIZES[dtype])

    good = [0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 5, 0, 0, 5, 5, 5, 0, 0, 0]
    whole = file_of(24, record("x", UINT8, (24,), coded(good, 1, 3)))
    found["checksum"] = (
        "crc32 is that of the bytes before it",
        whole[:-1] + bytes([whole[-1] ^ 1]),
    )
    found["long_varint"] = (
        "a varint has its shortest form",
        sealed(b"\x89KDC\0\x80\0" + b"\0\0"),
    )
    found["left_over"] = (
        "nothing is left over before the checksum",
        sealed(whole[:-4] + b"\0"),
    )
    add(
        *("decoded_bytes", "decoded_bytes is the sum of all sizes"),
        record("x", UINT8, (24,), coded(good, 1, 3)),
        decoded=25,
    )
    same = record("x", UINT8, (1,), raw(b"\7"))
    add("same_names", "no two tensors have the same name", same, same, decoded=2)
    text = entry("k", 1, raw(b"v"))
    add("same_keys", "no two metadata values have the same key", decoded=2, metadata=[text, text])
    add(
        *("name_utf8", "a string is valid UTF-8"),
        record(b"\xed\xa0\x80", UINT8, (1,), raw(b"\7")),
        decoded=1,
    )
    add(
        *("text_utf8", "a metadata value is UTF-8 text"),
        metadata=[entry("k", 1, raw(b"\xff"))],
        decoded=1,
    )
    add("empty_name", "a string has at least one byte", record("", 5, (1,), raw(b"\7")), decoded=1)
    add("type", "the type is in the table", record("x", 27, (1,), raw(b"\7")), decoded=1)
    one("rank", "rank is at most 32", raw(b"\7"), 1, shape=(1,) * 33)
    add(
        *("large_shape", "the product of the dimensions, 0 taken as 1, is below 2 ** 63"),
        record("x", UINT8, (0, 2**31, 2**32), raw(b"")),
        decoded=0,
    )
    one("coding", "the coding is 0 or 1", b"\2" + string(b"\7"), 1)
    one("raw_length", "a raw body holds all elements and no more", raw(b"\7\7"), 1)
    one("bool_pattern", "a bool is 00 or 01", raw(b"\1\2"), 2, BOOL)
    one("int4_pattern", "an int4 is at most 0F", coded([0, 31], 1, 1), 2, INT4)
    one("complex128", "complex128 is always raw", b"\1\3\0\0\0", 3, COMPLEX128)
    one("b", "b is at most 15", coded([0, 0, 4], 1, 16), 3)
    one("zero_with_b", "b is 0 if nonzero is 0", b"\1\3\1\0\0", 3)
    one("codebook_order", "the codebook is ascending", coded(good, 1, 3, codebook=[5, 3]))
    one(
        *("codebook_zero", "the codebook has no 0"),
        coded(good, 1, 3, codebook=[0, 3, 5]),
    )
    one(
        *("codebook_size", "the codebook has at most `nonzero` patterns"),
        coded([0, 0, 4], 1, 2, codebook=[4, 5]),
        3,
    )
    one(
        *("short_filler", "a filler comes after exactly 2 ** b - 1 zeros"),
        coded(None, 1, 3, entries=[(3, 5), (6, 0), (3, 3), (0, 5), (2, 5), (0, 5), (0, 5)]),
    )
    one(
        "last_filler", "the last entry is not a filler", coded(None, 1, 3, entries=[(3, 5), (7, 0)])
    )
    one("past_the_end", "entries do not go past the last element", coded(good, 1, 3), 20)
    one(
        *("incomplete_code", "the lengths fill the code space"),
        coded(good, 1, 3, index_lengths=[2, 2, 2]),
    )
    one(
        *("crowded_code", "the lengths do not more than fill the code space"),
        coded(good[3:], 1, 3, gap_lengths=[1, 0, 2, 2, 0, 0, 0, 2]),
        21,
    )
    one(
        *("lone_symbol", "the length of a lone symbol is 1"),
        coded([0, 9, 9], 1, 0, codebook=[9], index_lengths=[0, 2], entries=[(0, 9)] * 2),
        3,
    )
    one(
        *("long_code", "a length is at most 24"),
        coded([*range(1, 27)], 1, 0, index_lengths=[0, *unary(26)]),
        26,
    )
    one(
        *("last_gap_length", "the last length of gaps is not 0"),
        coded([0, 4, 4], 1, 2, gap_lengths=[1, 1, 0]),
        3,
    )
    one(
        *("needless_filler", "the filler has a code only if there are fillers"),
        coded([4, 5, 5], 1, 0, index_lengths=[1, 2, 2]),
        3,
    )
    one("padding", "streams are zero padded", coded(good, 1, 3, padding="1"))
    one(
        "index_bits", "index_bits is the length of the stream", coded(good, 1, 3, more_index_bits=1)
    )
    one("body_left_over", "nothing is left over after a body", coded(good, 1, 3, tail=b"\0"))
    return found


# The folder.


def main():
    files, invalid = [], []
    (FOLDER / "invalid").mkdir(parents=True, exist_ok=True)

    def add(name, about, data, metadata, tensors, made):
        (FOLDER / f"{name}.kdc").write_bytes(data)
        loaded, info = container.load_with_info(data)
        canonical = container.save(loaded, info.metadata) == data
        assert canonical is (made == "by save"), name
        files.append(
            {
                "file": f"{name}.kdc",
                "about": about,
                "made": made,
                "canonical": canonical,
                "sha256": digest(data),
                "metadata": metadata,
                "tensors": [described(*tensor) for tensor in tensors],
            }
        )

    for name, (about, tensors, metadata) in cases().items():
        data = container.save(tensors, metadata)
        assert data[4] == 0, "this package writes another version"
        arrays = {key: np.asarray(value) for key, value in tensors.items()}
        tensors = [(key, x.dtype.name, x.shape, patterns(x)) for key, x in arrays.items()]
        add(name, about, data, metadata, tensors, "by save")
    for name, (about, data, metadata, tensors) in hand_made().items():
        add(name, about, data, metadata, tensors, "by hand")
    for name, (rule, data) in broken().items():
        (FOLDER / "invalid" / f"{name}.kdc").write_bytes(data)
        invalid.append({"file": f"invalid/{name}.kdc", "rule": rule, "sha256": digest(data)})
    write("v0", {"version": 0, "current": False, "files": files, "invalid": invalid})
    for kind in (files, invalid):
        sizes = [(FOLDER / entry["file"]).stat().st_size for entry in kind]
        print(len(kind), "files of", sum(sizes), "bytes, at most", max(sizes))


if __name__ == "__main__":
    main()
