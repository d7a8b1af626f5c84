import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support import run_python

from keras_deepcomp.structures import Blocks, Groups, Structure, structure_of

# Few distinct values, so that ties are common.
KERNELS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=4, max_side=9),
    elements=st.integers(-4, 4).map(lambda x: x / 2),
)
BLOCKS = st.builds(Blocks, st.integers(1, 5), st.integers(1, 5), st.sampled_from(["AVG", "MAX"]))


@st.composite
def patterns(draw):
    size = draw(st.integers(2, 6))
    return Groups(draw(st.integers(1, size - 1)), size)


STRUCTURES = st.one_of(st.just(Structure()), BLOCKS, patterns())


def alive(weights):
    return np.ones(weights.shape, bool)


def tiles(array, height, width):
    """The blocks of one matrix, one by one."""
    for row in range(0, array.shape[0], height):
        for column in range(0, array.shape[1], width):
            yield array[row : row + height, column : column + width]


def matrices(array):
    return array.reshape(-1, *array.shape[-2:])


@given(KERNELS, BLOCKS, st.floats(0, 0.999))
def test_blocks_stay_or_go_as_one_and_the_smallest_go(weights, blocks, sparsity):
    (mask,), threshold = blocks.keep_largest([weights], [alive(weights)], sparsity)
    pool = np.mean if blocks.pooling == "AVG" else np.max
    kept, gone = [], []
    for matrix, m in zip(matrices(weights), matrices(mask), strict=True):
        for values, block in zip(
            tiles(matrix, blocks.height, blocks.width),
            tiles(m, blocks.height, blocks.width),
            strict=True,
        ):
            assert block.all() or not block.any()
            (kept if block.all() else gone).append(pool(np.abs(values), dtype=np.float32)
                if pool is np.mean else pool(np.abs(values)))  # fmt: skip
    count = len(kept) + len(gone)
    assert len(kept) == max(1, round(count * (1 - sparsity)))
    if gone:
        assert max(gone) <= min(kept) + 1e-6
        assert threshold == pytest.approx(max(gone), abs=1e-6)
    assert blocks.present([mask]) == pytest.approx(len(gone) / count)


@given(KERNELS, patterns())
def test_a_complete_pattern_keeps_the_largest_of_each_group(weights, groups):
    (mask,), _ = groups.keep_largest([weights], [alive(weights)], groups.sparsity)
    for matrix, m in zip(matrices(weights), matrices(mask), strict=True):
        for values, kept in zip(
            tiles(matrix, groups.size, 1), tiles(m, groups.size, 1), strict=True
        ):
            values, kept = np.abs(values.ravel()), kept.ravel()
            order = np.argsort(-values, kind="stable")[: groups.size - groups.zeros]
            assert sorted(np.flatnonzero(kept)) == sorted(order)
    assert groups.present([mask]) == pytest.approx(groups.sparsity)


@given(KERNELS, patterns(), st.floats(0, 0.999))
def test_groups_fill_up_as_the_sparsity_rises(weights, groups, sparsity):
    complete = groups.keep_largest([weights], [alive(weights)], groups.sparsity)[0][0]
    (mask,), threshold = groups.keep_largest([weights], [alive(weights)], sparsity)
    candidates = int((~complete).sum())
    if sparsity < groups.sparsity:
        assert not (complete & ~mask).any()
        left = max(1, round(candidates * (1 - sparsity / groups.sparsity)))
        assert (~mask).sum() == max(candidates - left, 0)
    else:
        assert not (mask & ~complete).any()
        left = int(complete.sum()) * (1 - sparsity) / (1 - groups.sparsity)
        assert abs(int(mask.sum()) - max(1, left)) <= 0.5 + 1e-6
        if weights.shape[-2] % groups.size == 0:
            assert abs(int(mask.sum()) - max(1, mask.size * (1 - sparsity))) <= 0.5 + 1e-6
    gone = np.abs(weights)[~mask]
    assert threshold == (gone.max() if gone.size else 0.0)


@given(KERNELS, STRUCTURES, st.floats(0, 0.999), st.floats(0, 0.999))
def test_masks_only_tighten(weights, structure, one, two):
    low, high = sorted([one, two])
    (first,), _ = structure.keep_largest([weights], [alive(weights)], low)
    # Dead weights hold large values here, and must not come back for that.
    shuffled = np.where(first, weights[..., ::-1], 100)
    high = max(high, structure.present([first]))
    (second,), _ = structure.keep_largest([shuffled], [first], high)
    assert not (second & ~first).any()


def test_one_threshold_over_several_tensors():
    small, large = np.full((4, 4), 0.1, np.float32), np.full((4, 8), 5.0, np.float32)
    masks, _ = Blocks(2, 2).keep_largest([small, large], [alive(small), alive(large)], 0.4)
    assert not masks[0].any() and masks[1].sum() == 28
    masks, _ = Groups(2, 4).keep_largest([small, large], [alive(small), alive(large)], 0.2)
    assert masks[0].sum() == 8 and (~masks[1]).sum() == round(24 * 0.4) - 8


def test_blocks_above_a_threshold():
    weights = np.kron([[1.0, 3.0], [0.5, 2.0]], np.ones((2, 2)))
    mask = Blocks(2, 2).keep_above(weights, alive(weights), 1.5)
    np.testing.assert_array_equal(mask, weights > 1.5)


TFMOT = """
    import json, os, sys
    import numpy as np
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow as tf
    from tensorflow_model_optimization.python.core.sparsity.keras import pruning_impl

    weights = dict(np.load(sys.argv[1]))
    masks = {}
    for case in json.load(open(sys.argv[2])):
        impl = pruning_impl.Pruning(
            lambda: 0, [], lambda step: (True, case["sparsity"]), case["block_size"],
            case["pooling"], case["m_by_n"])
        mask = impl._maybe_update_block_mask(tf.constant(weights[case["weights"]]))[1]
        masks[case["name"]] = mask.numpy() > 0
    np.savez(sys.argv[3], **masks)
"""


def test_the_masks_are_those_of_tfmot(tmp_path):
    rng = np.random.default_rng(0)
    weights = {
        "dense": rng.standard_normal((24, 18), np.float32),
        "ragged": rng.standard_normal((22, 7), np.float32),
        "conv": rng.standard_normal((3, 3, 10, 6), np.float32),
    }
    cases = [
        {"weights": "dense", "block_size": [h, w], "pooling": pooling, "sparsity": 0.6,
         "m_by_n": None} for h, w in [(4, 1), (1, 6), (2, 3), (8, 9)] for pooling in ("AVG", "MAX")
    ]  # fmt: skip
    cases += [
        {"weights": kind, "block_size": [1, 1], "pooling": "AVG", "sparsity": m / n,
         "m_by_n": [m, n]} for kind in weights for m, n in [(2, 4), (1, 4), (3, 5)]
    ]  # fmt: skip
    for number, case in enumerate(cases):
        case["name"] = f"case{number}"
    np.savez(tmp_path / "w.npz", **weights)
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    run_python(TFMOT, tmp_path / "w.npz", tmp_path / "cases.json", tmp_path / "masks.npz")
    expected = np.load(tmp_path / "masks.npz")
    for case in cases:
        kernel = weights[case["weights"]]
        structure = structure_of(case["block_size"], case["pooling"], case["m_by_n"])
        (mask,), _ = structure.keep_largest([kernel], [alive(kernel)], case["sparsity"])
        np.testing.assert_array_equal(mask, expected[case["name"]], str(case))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"block_size": (0, 1)}, "at least 1 each way"),
        ({"block_size": 4}, r"block_size must be two integers, such as \(4, 1\); got 4"),
        ({"block_size": (4, 1.5)}, "block_size must be two integers"),
        ({"block_size": "41"}, "block_size must be two integers"),
        ({"block_pooling_type": "MIN"}, r"must be one of \('AVG', 'MAX'\); got 'MIN'"),
        ({"sparsity_m_by_n": (4, 2)}, r"1 <= m < n, such as \(2, 4\); got \(4, 2\)"),
        ({"sparsity_m_by_n": (0, 4)}, "1 <= m < n"),
        ({"sparsity_m_by_n": 2}, r"sparsity_m_by_n must be two integers, such as \(2, 4\)"),
        ({"block_size": (2, 2), "sparsity_m_by_n": (2, 4)}, "two patterns for the same weights"),
    ],
)
def test_patterns_that_make_no_sense(arguments, says):
    with pytest.raises(ValueError, match=says):
        structure_of(**arguments)


def test_equal_patterns_are_equal():
    assert structure_of() == Structure() and structure_of([2, 1]) == Blocks(2, 1)
    assert structure_of(sparsity_m_by_n=[2, 4]) == Groups(2, 4)
    assert len({structure_of([2, 1]), Blocks(2, 1), Structure(), Groups(2, 1)}) == 3
