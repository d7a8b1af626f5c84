"""More cases for version 1, after those of cases.py: tensors with the structure of layers.

A case is (about, tensors, metadata, effort). The same holds for them as for those of cases.py.
"""

import ml_dtypes
import numpy as np

EFFORT = 5
CLUSTERS = np.float32([-0.75, -0.5, -0.25, -0.1, 0.1, 0.25, 0.5, 0.75])


def cases():
    """Return all cases by name."""
    found = {}
    found.update(line_cases())
    found.update(grid_cases())
    found.update(pattern_cases())
    found.update(code_cases())
    found.update(band_cases())
    found.update(file_cases())
    found = {name: (*case, EFFORT) for name, case in found.items()}
    found.update(effort_cases())
    return found


def clustered(rng, shape, density, levels=8):
    """Return values of a few clusters, each with a probability that `density` gives."""
    places = np.clip(rng.normal(levels / 2, levels / 5, shape), 0, levels - 1).astype(int)
    values = CLUSTERS[places]
    values[rng.random(shape) >= density] = 0
    return values


def line_cases():
    rng = np.random.default_rng(1100)

    def skewed(count):
        return np.exp2(rng.normal(0, 1.2, count))

    rows = 0.08 * skewed(80)[:, np.newaxis]
    columns = 0.08 * skewed(50)
    dead = clustered(rng, (60, 40), 0.2 * skewed(40))
    dead[rng.choice(60, 20, replace=False)] = 0
    dead_columns = clustered(rng, (60, 40), 0.2)
    dead_columns[:, rng.choice(40, 15, replace=False)] = 0
    few = clustered(rng, (30, 50), 0.3)
    few[:, 7:] = 0
    several = clustered(rng, (70, 50), np.where(np.arange(70) % 2, 0.5, 0.04)[:, np.newaxis])
    # In dense rows the weights are larger as well.
    several *= np.where(np.arange(70) % 2, 1, 0.5).astype(np.float32)[:, np.newaxis]
    return {
        "lines_rows": ("rows of unequal density", {"x": clustered(rng, (80, 50), rows)}, {}),
        "lines_columns": (
            "columns of unequal density",
            {"x": clustered(rng, (80, 50), columns)},
            {},
        ),
        "lines_both": (
            "rows and columns of unequal density",
            {"x": clustered(rng, (80, 50), rows * columns * 12)},
            {},
        ),
        "lines_steep": (
            "rows from empty to full",
            {"x": clustered(rng, (90, 30), np.linspace(0, 1, 90)[:, np.newaxis] ** 3)},
            {},
        ),
        "lines_groups": (
            "weights that are larger where there are more of them",
            {"x": several},
            {},
        ),
        "lines_dead_rows": ("rows without a weight", {"x": dead}, {}),
        "lines_dead_columns": ("columns without a weight", {"x": dead_columns}, {}),
        "lines_few_columns": ("a matrix with most of its columns dead", {"x": few}, {}),
        "lines_transposed": (
            "rows that are worth a score, where columns are many",
            {"x": clustered(rng, (6, 400), np.float64([0.02, 0.5, 0.02, 0.3, 0.02, 0.1])[:, None])},
            {},
        ),
        "lines_rank_3": (
            "three axes",
            {"x": clustered(rng, (4, 20, 30), 0.12 * skewed(30))},
            {},
        ),
    }


def smooth(rng, height, width, depth, count):
    """Return fields that change little between neighbours, shape (height, width, depth, count)."""
    field = rng.standard_normal((height, width, depth, count))
    for axis in (0, 1):
        for _ in range(2):
            field = field + np.roll(field, 1, axis) + np.roll(field, -1, axis)
    return field / field.std()


def pictures(rng, height, width, depth, count, density, levels=6):
    """Return a kernel over places of a picture, pruned to a density, of a few clusters."""
    field = smooth(rng, height, width, depth, count)
    kept = np.abs(field) >= np.quantile(np.abs(field), 1 - density)
    step = 2.5 / levels
    values = (np.round(field / step) * step).astype(np.float32)
    values[~kept] = 0
    return values


def grid_cases():
    rng = np.random.default_rng(1200)
    grid_28 = pictures(rng, 28, 28, 1, 8, 0.1)
    grid_14 = pictures(rng, 14, 14, 1, 12, 0.3, 4)
    deep = pictures(rng, 4, 4, 12, 20, 0.15)
    dead = pictures(rng, 20, 20, 1, 10, 0.12)
    dead[[0, 1, 18, 19]] = 0
    dead[:, [0, 19]] = 0
    conv_3 = pictures(rng, 3, 3, 16, 24, 0.2)
    conv_5 = pictures(rng, 5, 5, 6, 16, 0.3)
    random = clustered(rng, (7, 7, 3, 20), 0.15)
    unlike = pictures(rng, 16, 16, 1, 10, 0.4, 4)
    unlike *= rng.choice(np.float32([-1, 1]), unlike.shape)
    full = pictures(rng, 12, 12, 1, 10, 0.85, 4)
    return {
        "grid_28": ("a dense kernel over 28 x 28 pixels", {"x": grid_28.reshape(784, 8)}, {}),
        "grid_14": ("a dense kernel over 14 x 14 pixels", {"x": grid_14.reshape(196, 12)}, {}),
        "grid_depth": ("a dense kernel over 4 x 4 places of 12", {"x": deep.reshape(192, 20)}, {}),
        "grid_dead": (
            "a dense kernel whose pixels at the border are dead",
            {"x": dead.reshape(400, 10)},
            {},
        ),
        "grid_conv_3": ("a convolution of 3 x 3", {"x": conv_3}, {}),
        "grid_conv_5": ("a convolution of 5 x 5", {"x": conv_5}, {}),
        "grid_conv_random": ("a convolution without structure", {"x": random}, {}),
        "grid_no_signs": (
            "places that are alike, and signs that are not",
            {"x": unlike.reshape(256, 10)},
            {},
        ),
        "grid_full": ("a grid with most of its places filled", {"x": full.reshape(144, 10)}, {}),
        "grid_transposed": (
            "a kernel whose last axis is the pixels",
            {"x": np.ascontiguousarray(pictures(rng, 14, 14, 1, 10, 0.2).reshape(196, 10).T)},
            {},
        ),
        "grid_half": (
            "a kernel over pixels in half precision",
            {"x": pictures(rng, 10, 10, 2, 8, 0.3).reshape(200, 8).astype(np.float16)},
            {},
        ),
    }


def pattern_cases():
    rng = np.random.default_rng(1300)
    half = rng.standard_normal((30, 10)).astype(np.float16).astype(np.float32)
    brain = rng.standard_normal((30, 10)).astype(ml_dtypes.bfloat16).astype(np.float32)
    scaled = (rng.uniform(1, 2, 300)).astype(np.float32)
    normal = (0.05 * rng.standard_normal((25, 20))).astype(np.float32)
    sparse = normal.copy()
    sparse[rng.random(sparse.shape) < 0.8] = 0
    counts = rng.integers(0, 200, 120).astype(np.int64)
    return {
        "cut_half": ("float32 that is float16 exactly", {"x": half}, {}),
        "cut_bfloat16": ("float32 that is bfloat16 exactly", {"x": brain}, {}),
        "cut_common_exponent": ("floats with one exponent", {"x": scaled}, {}),
        "cut_normal": ("normal floats", {"x": normal}, {}),
        "cut_double": (
            "float64 that is float32 exactly, and one that is not",
            {"f4": normal[:5].astype(np.float64), "f8": rng.uniform(4, 8, 60)},
            {},
        ),
        "cut_sparse": ("normal floats, most of them pruned", {"x": sparse}, {}),
        "cut_half_type": ("float16 of one exponent", {"x": (scaled * 8).astype(np.float16)}, {}),
        "cut_integers": (
            "integers of few bits in many, with and without factors of two",
            {"small": counts, "even": counts * 256, "unsigned": counts.astype(np.uint32) << 12},
            {},
        ),
        "cut_complex": (
            "complex numbers with few mantissa bits",
            {"x": (rng.integers(-8, 8, 60) + 1j * rng.integers(-8, 8, 60)).astype(np.complex64)},
            {},
        ),
        "random_walk": (
            "bytes that repeat seldom",
            {"x": np.cumsum(rng.integers(-2, 3, 400)).astype(np.uint8)},
            {},
        ),
    }


def code_cases():
    rng = np.random.default_rng(1400)

    def drawn(weights, count):
        weights = np.float64(weights)
        return rng.choice(len(weights), count, p=weights / weights.sum())

    return {
        "code_skewed_2": (
            "two values, one far more frequent: many symbols together",
            {"x": np.int8([3, 5])[drawn([19, 1], 2000)]},
            {},
        ),
        "code_skewed_3": (
            "three values in unequal shares",
            {"x": np.float32([1, 2, 3])[drawn([30, 5, 1], 1500)]},
            {},
        ),
        "code_fair_3": (
            "three values in equal shares",
            {"x": np.float32([1, 2, 3])[drawn([1, 1, 1], 1500)]},
            {},
        ),
        "code_fair_5": ("five values", {"x": np.uint8([1, 2, 4, 8, 16])[drawn([1] * 5, 800)]}, {}),
        "code_200": (
            "200 values in unequal shares",
            {"x": drawn(1 / np.arange(1, 201), 1500).astype(np.int16) * 3},
            {},
        ),
        "code_codebook_apart": (
            "codebook values with one far from the others",
            {"x": np.uint64([0, 1, 2, 3, 2**64 - 1])[drawn([1, 4, 4, 4, 4], 300)]},
            {},
        ),
        "code_mostly_ones": (
            "few zeros, and one value beside them",
            {"x": (drawn([1, 40], 1500)).astype(np.float32)},
            {},
        ),
        "code_rare": (
            "seven elements of a hundred thousand",
            {"x": np.bincount(rng.choice(10**5, 7), minlength=10**5).astype(np.int8)},
            {},
        ),
    }


def band_cases():
    rng = np.random.default_rng(1500)
    wide = np.zeros(2**20 + 3, np.int8)
    wide[rng.choice(wide.size, 12)] = 1
    tall = np.zeros((2**19 + 5, 4), np.uint8)
    tall[5, :] = 9
    return {
        "bands_vector": ("a vector of more than 2 ** 20 elements", {"x": wide}, {}),
        "bands_constant": (
            "more than 2 ** 20 equal elements",
            {"x": np.full(2**20 + 1, 2.5, np.float16)},
            {},
        ),
        "bands_tall": ("a matrix of more rows than columns and two bands", {"x": tall}, {}),
    }


def file_cases():
    rng = np.random.default_rng(1600)
    config = (
        '{"module": "keras", "class_name": "Sequential", "config": {"name": "sequential", '
        '"layers": [{"class_name": "Dense", "config": {"name": "dense", "units": 300, '
        '"activation": "relu", "use_bias": true}}]}}'
    )
    model = {}
    for number, (inputs, outputs) in enumerate([(60, 30), (30, 20), (20, 10)]):
        model[f"layers/dense_{number}/vars/0"] = clustered(rng, (inputs, outputs), 0.15)
        model[f"layers/dense_{number}/vars/1"] = np.zeros(outputs, np.float32)
    return {
        "file_model": ("a model with its configuration", model, {"config": config}),
        "file_many_names": (
            "a hundred tensors with names as Keras gives them",
            {
                f"block_{number // 10}/conv2d_{number}/kernel": np.full(2, number, np.int16)
                for number in range(100)
            },
            {},
        ),
        "file_large_block": (
            "blocks of 4,096 bytes and more, which have four bytes of checksum",
            {
                "raw": rng.integers(0, 2**32, 1024, np.uint32),
                "less": rng.integers(0, 256, 4095).astype(np.uint8),
            },
            {},
        ),
        "file_random_metadata": (
            "metadata that cannot be made smaller",
            {},
            {"key": "".join(map(chr, rng.integers(33, 0x250, 400)))},
        ),
        "file_long_names": (
            "names of 127, 128 and 300 bytes",
            {"n" * 127: np.int8(1), "m" * 128: np.int8(2), "ü" * 150: np.int8(3)},
            {},
        ),
    }


def effort_cases():
    rng = np.random.default_rng(1700)
    tensors = {
        "pictures": pictures(rng, 10, 10, 1, 8, 0.25).reshape(100, 8),
        "lines": clustered(rng, (30, 20), np.linspace(0.02, 0.6, 20)),
        "half": rng.standard_normal(60).astype(np.float16).astype(np.float32),
        "few": np.int8([1, 2])[rng.integers(0, 2, 50)],
        "zeros": np.zeros(10, np.float32),
    }
    metadata = {"note": "the same note, again and again the same note"}
    return {
        f"effort_{effort}": (f"a small network with effort {effort}", tensors, metadata, effort)
        for effort in range(10)
    }
