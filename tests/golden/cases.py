"""The tensors and metadata of the golden files: everything here goes through a writer's `save`.

A case is (about, tensors, metadata). Nothing may be changed once files were made from it; new
cases may be added.
"""

import ml_dtypes
import numpy as np

STANDARD = [
    "bool",
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
]
OTHERS = [
    "bfloat16",
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"),
    *("float8_e4m3b11fnuz", "float8_e4m3", "float8_e3m4", "float8_e8m0fnu"),
    *("int4", "uint4", "int2", "uint2"),
]


def cases():
    """Return all cases by name."""
    found = {}
    for number, name in enumerate(STANDARD + OTHERS):
        found[f"type_{name}"] = type_case(name, np.random.default_rng(number))
    found.update(shape_cases())
    found.update(value_cases())
    found.update(sparse_cases())
    found.update(code_cases())
    found.update(file_cases())
    return found


def type_case(name, rng):
    """One type: patterns of all kinds, a clustered tensor, a sparse one and zeros."""
    dtype = np.dtype(name) if name in STANDARD else np.dtype(getattr(ml_dtypes, name))

    def patterns(count):
        if name == "bool":
            return rng.integers(0, 2, count).astype(bool)
        if name[-1] in "42" and "int" in name and dtype.itemsize == 1:
            bits = int(name[-1])
            low = 0 if name[0] == "u" else -(2 ** (bits - 1))
            return rng.integers(low, low + 2**bits, count).astype(dtype)
        return np.frombuffer(rng.bytes(count * dtype.itemsize), dtype)

    codebook = patterns(4)
    size = 30 if name == "complex128" else 150
    sparse = np.zeros(size, dtype)
    sparse[rng.choice(size, 12, replace=False)] = codebook[rng.integers(0, 4, 12)]
    tensors = {
        "dense": patterns(12).reshape(3, 4),
        "clustered": codebook[rng.integers(0, 4, size // 2)].reshape(3, -1),
        "sparse": sparse.reshape(-1, 10),
        "zeros": np.zeros(20, dtype),
    }
    return f"the type {name}: dense, clustered, sparse and zero", tensors, {}


def shape_cases():
    rng = np.random.default_rng(100)
    small = rng.integers(0, 3, 64).astype(np.float32)
    return {
        "scalars": (
            "rank 0, raw and coded",
            {
                "float": np.float32(1.5),
                "zero": np.float64(0),
                "minus_zero": np.array(-0.0),
                "true": np.array(True),
                "false": np.array(False),
                "large": np.array(2**64 - 1, np.uint64),
                "complex": np.array(1 - 2j),
            },
            {},
        ),
        "empty": (
            "no elements, at several ranks",
            {
                "vector": np.zeros(0, np.float32),
                "matrix": np.zeros((0, 7), np.int8),
                "other": np.zeros((7, 0), bool),
                "cube": np.zeros((3, 0, 5), np.complex128),
                "wide": np.zeros((0, 2**40), np.uint8),
                "bfloat16": np.zeros((0, 0), ml_dtypes.bfloat16),
            },
            {},
        ),
        "ones": (
            "dimensions of 1",
            {
                "one": np.full((1,), 3, np.int16),
                "row": small[:9].reshape(1, 9),
                "column": small[:9].reshape(9, 1),
                "many": small[:12].reshape(1, 3, 1, 1, 4, 1),
            },
            {},
        ),
        "rank_8": ("eight dimensions", {"x": small.reshape(2, 2, 2, 1, 2, 2, 1, 2)}, {}),
        "rank_32": (
            "the most dimensions",
            {"x": small[:4].reshape(*[1] * 31, 4)},
            {},
        ),
        "order": (
            "Fortran order, strides and reversed axes: files hold C order",
            {
                "fortran": np.asfortranarray(np.arange(12, dtype=np.uint16).reshape(3, 4)),
                "strided": np.arange(40, dtype=np.int32)[::3],
                "reversed": small.reshape(8, 8)[::-1, ::-2],
                "broadcast": np.broadcast_to(np.float32(2.5), (5, 6)),
            },
            {},
        ),
        "big_endian": (
            "big-endian input, which is stored as little-endian",
            {
                "u2": np.array([1, 2, 258, 0, 65535], ">u2"),
                "i4": np.array([0, 0, -2, 0] * 10, ">i4"),
                "f4": small.astype(">f4"),
                "f8": np.array([1.5, -0.0, np.inf], ">f8"),
                "c8": np.array([1 + 2j, 0, 3j] * 4, ">c8"),
                "c16": np.array([1 + 2j, -3j], ">c16"),
            },
            {},
        ),
    }


def value_cases():
    f32 = np.array([0x7FC00000, 0x7FC00001, 0xFFC12345, 0x7F800001, 0], np.uint32)
    f64 = np.array([0x7FF8000000000000, 0x7FF0000000000001, 0xFFFFFFFFFFFFFFFF, 0], np.uint64)
    bf16 = np.array([0x7FC0, 0x7F81, 0xFFFF, 0], np.uint16)
    rng = np.random.default_rng(200)
    one = np.zeros((20, 20), np.float32)
    one[13, 7] = 0.25
    last = np.zeros(1000, np.int8)
    last[-1] = -1
    first = np.zeros(1000, np.int64)
    first[0] = 2**40
    tiny = np.array([0, 2**-149, 2**-127, -(2**-149), 2**-126], np.float32)
    minus_zero = np.zeros(64, np.float32)
    minus_zero[[0, 9, 63]] = -0.0
    return {
        "nans": (
            "quiet and signalling NaNs of both signs with payloads",
            {
                "f4": np.tile(f32, 12).view(np.float32),
                "f8": f64[[0, 1, 2, 3, 3, 3, 2, 2, 1] * 8].view(np.float64),
                "c8": f32[[0, 1, 2, 3]].view(np.complex64),
                "bf16": np.tile(bf16, 20).view(ml_dtypes.bfloat16),
                "raw": f32[1:4].view(np.float32),
            },
            {},
        ),
        "infinities": (
            "infinities",
            {
                "f2": np.array([np.inf, 0, -np.inf, 0, 0, 0] * 8, np.float16),
                "f4": np.array([[np.inf, -np.inf]], np.float32),
                "c16": np.array([complex(np.inf, -np.inf), 0]),
            },
            {},
        ),
        "minus_zeros": (
            "-0.0 is a non-zero element",
            {
                "few": minus_zero,
                "all": np.full(50, -0.0),
                "f2": np.array([0.0, -0.0, 0.0], np.float16),
                "c8": np.array([complex(0.0, -0.0), 0] * 9, np.complex64),
            },
            {},
        ),
        "denormals": (
            "denormal numbers",
            {
                "f4": tiny[[0, 1, 0, 0, 2, 3, 4, 0] * 8],
                "f8": np.array([5e-324, 0, 0, 0, 1e-310] * 8),
                "f2": np.array([6e-8, 0], np.float16),
            },
            {},
        ),
        "extremes": (
            "the least and the largest numbers of the integer types",
            {
                name: np.array([np.iinfo(name).min, np.iinfo(name).max] + [0, 1] * 15, name)
                for name in STANDARD[1:9]
            },
            {},
        ),
        "raw_random": (
            "random bits, which no code makes smaller",
            {
                "f4": np.frombuffer(rng.bytes(400), np.float32),
                "u1": rng.integers(0, 256, 300).astype(np.uint8),
                "bool": rng.integers(0, 2, 24).astype(bool),
            },
            {},
        ),
        "all_zeros": (
            "zeros alone, from one to a million",
            {f"z{count}": np.zeros(count, np.float32) for count in (1, 2, 3, 4, 100, 10**6)},
            {},
        ),
        "one_nonzero": (
            "one element that is not zero: in the middle, at the end, at the beginning",
            {"middle": one, "last": last, "first": first},
            {},
        ),
    }


def sparse_cases():
    """Clustered tensors at several densities, and runs that need fillers."""
    found = {}
    rng = np.random.default_rng(300)
    codebook = np.float32([-0.7, -0.2, 0.1, 0.4, 0.9])
    for percent, size in ((100, 900), (50, 900), (20, 1500), (5, 4000), (1, 12000)):
        values = codebook[rng.integers(0, 5, size)]
        values[rng.random(size) >= percent / 100] = 0
        found[f"density_{percent}"] = (
            f"a clustered tensor with about {percent} % of its elements left",
            {"kernel": values.reshape(-1, 20)},
            {},
        )
    runs = {}
    for b in range(1, 16):
        # Mostly runs just within the bound, and a few that need one filler or two.
        lengths = [2**b - 1 - number % 2 for number in range(8)] + [2**b, 2 ** (b + 1) + 1]
        lengths = [lengths[place] for place in rng.permutation(len(lengths))]
        values = np.zeros(sum(lengths) + len(lengths) + 2, np.uint8)
        values[np.cumsum(np.array(lengths) + 1) - 1] = rng.integers(1, 4, len(lengths))
        runs[f"run_{b}"] = values
    found["runs"] = ("runs of zeros around each power of two up to 2 ** 15", runs, {})
    long_run = np.zeros(300_000, np.int16)
    long_run[[5, 299_990]] = [1, 2]
    found["long_run"] = ("a run longer than any gap", {"x": long_run}, {})
    return found


def code_cases():
    fibonacci = [1, 1]
    while len(fibonacci) < 15:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    steep = np.repeat(np.arange(1, 16, dtype=np.float32), fibonacci)
    rng = np.random.default_rng(400)
    gaps = np.repeat(np.arange(len(fibonacci) - 3), fibonacci[: len(fibonacci) - 3])
    positions = np.cumsum(rng.permutation(gaps) + 1) - 1
    sparse = np.zeros(positions[-1] + 1, np.float32)
    sparse[positions] = 0.5
    geometric = rng.geometric(0.3, 900).astype(np.int32)
    three_hundred = np.arange(1, 301, dtype=np.uint16)
    constant = np.full(500, 7, np.float64)
    every_third = np.zeros(300, np.float32)
    every_third[2::3] = 1
    return {
        "fibonacci_indices": ("counts that make the longest codes of indices", {"x": steep}, {}),
        "fibonacci_gaps": ("counts that make long codes of gaps", {"x": sparse}, {}),
        "geometric": ("codes of many lengths", {"x": geometric.reshape(30, 30)}, {}),
        "codebook_300": (
            "300 codebook values",
            {"x": rng.permutation(np.repeat(three_hundred, 3)).astype(np.int32)},
            {},
        ),
        "lone_symbols": (
            "codes with one symbol: of indices, of gaps, of both",
            {
                "constant": constant,
                "every_third": every_third,
                "trues": np.ones((4, 30), bool),
                "gaps": every_third * np.tile(np.float32([1, 1, 1, 2, 2, 2]), 50),
            },
            {},
        ),
        "no_fillers": (
            "a filler symbol with no code, beside one that has one",
            {
                "without": np.tile(np.int8([0, 0, 0, 1, 0, 0, 2]), 20),
                "with": np.tile(np.int8([0, 0, 0, 1, 3, 3, 3, 3, 3, 2]), 20),
            },
            {},
        ),
    }


def file_cases():
    rng = np.random.default_rng(500)
    names = ["a", "ä", "дверь", "鍵", "🔑", "layers/dense 1/kernel:0", "\0", "x" * 200, " ", "A"]
    kernel = rng.choice(np.float32([-0.3, 0.2, 0.6]), (40, 30))
    kernel[rng.random((40, 30)) >= 0.12] = 0
    return {
        "nothing": ("no tensors and no metadata", {}, {}),
        "metadata_only": ("metadata and no tensors", {}, {"key": "value"}),
        "metadata": (
            "metadata: empty, of one byte, unicode, zero bytes, one symbol, longer text",
            {"x": np.arange(3, dtype=np.int8)},
            {
                "empty": "",
                "one": "1",
                "größe": "Gewicht, вес, 重さ, ⚖️",
                "zeros": "\0" * 50,
                "same": "a" * 300,
                "z": "last",
                "json": '{"layers": [{"name": "dense", "units": 300, "bias": true}, ' * 12,
                "A": "keys are in the order in which they were given",
            },
        ),
        "names": (
            "names of tensors",
            {name: np.full(2, number, np.uint8) for number, name in enumerate(names)},
            {},
        ),
        "many_tensors": (
            "130 tensors: a count of two bytes",
            {str(number): np.uint8(number) for number in range(130)},
            {},
        ),
        "network": (
            "a small network",
            {
                "dense/kernel": kernel,
                "dense/bias": rng.standard_normal(30).astype(np.float32),
                "head/kernel": rng.choice(np.float32([-0.1, 0.1, 0.3, 0.5]), (30, 10)),
                "head/bias": np.zeros(10, np.float32),
                "steps": np.int64(12345),
            },
            {"config": '{"name": "net"}', "tool": "golden"},
        ),
    }
