import re
from types import SimpleNamespace

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from support import dense_model, run_python

import keras_deepcomp as kdc
from keras_deepcomp import container
from keras_deepcomp.plot.codes import code_of
from keras_deepcomp.plot.masks import mask_of
from keras_deepcomp.plot.numbers import numbers
from keras_deepcomp.plot.points import frontier
from keras_deepcomp.plot.style import short_bytes


@pytest.fixture
def ax():
    return Figure().add_subplot()


def shared_array(seed=0, shape=(40, 30)):
    rng = np.random.default_rng(seed)
    values = rng.choice([-0.5, -0.25, 0.25, 0.5], shape, p=[0.5, 0.25, 0.125, 0.125])
    return (values * (rng.random(shape) < 0.2)).astype(np.float32)


def texts_of(ax):
    legend = ax.get_legend()
    every = [ax.title, ax._left_title, *ax.texts, *(legend.get_texts() if legend else [])]
    return " | ".join(text.get_text() for text in every)


@pytest.fixture
def kdc_file(tmp_path):
    container.save_file({"small": np.ones(3), "d/kernel": shared_array()}, tmp_path / "m.kdc")
    return tmp_path / "m.kdc"


def test_they_make_axes_of_their_own_and_return_those_they_are_given(kdc_file, ax):
    assert kdc.plot.weights(kdc_file, ax=ax) is ax
    own = kdc.plot.mask(kdc_file)
    assert own.figure is not ax.figure
    pyplot.close(own.figure)


def test_weights_have_a_stem_for_each_shared_value(kdc_file, ax):
    kdc.plot.weights(kdc_file, "d/kernel", ax=ax)
    array = shared_array()
    values, counts = np.unique(array[array != 0], return_counts=True)
    dots = sorted((line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines
                  if line.get_marker() == "o")  # fmt: skip
    assert dots == list(zip(values, counts, strict=True))
    zeros = 100 * np.mean(array == 0)
    assert f"d/kernel: {zeros:.1f} % zeros left out" in texts_of(ax)


def test_weights_with_those_before_have_both_on_a_logarithmic_axis(ax):
    before = np.random.default_rng(0).normal(size=(40, 30))
    kdc.plot.weights({"w": shared_array()}, "w", before={"w": before}, ax=ax)
    assert ax.get_yscale() == "log"
    assert {"before", "after"} <= set(re.split(r" \| ", texts_of(ax)))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 3)),
        np.zeros((0, 4)),
        np.float32(2.0),
        np.array([np.nan, np.inf, 1e300, -1e-40]),
        np.array([1 + 2j, 0]),
        np.array([True, False]),
        np.arange(20_000),
    ],
)
def test_weights_of_any_kind(array, ax):
    kdc.plot.weights(array, ax=ax)
    kdc.plot.mask(array, ax=Figure().add_subplot())
    ax.figure.canvas.draw()


def test_counting_leaves_nothing_out():
    array = np.array([0, -0.0, 1, 1, 2, np.nan, np.inf, 1e300])
    found = numbers(array)
    assert (found.total, found.zeros, found.others, found.kept) == (8, 2, 3, 3)
    assert found.values.tolist() == [1, 2] and found.counts.tolist() == [2, 1]
    assert found.heights.sum() == 3
    assert numbers(np.arange(1, 5000)).values is None


def test_the_code_is_huffmans():
    code = code_of(numbers(np.repeat([0.0, 1.0, 2.0, 3.0], [50, 4, 2, 2])))
    assert code.lengths.tolist() == [1, 2, 2]
    assert code.mean == 1.5 == code.entropy


def test_codebook_shows_a_dot_for_each_value(kdc_file, ax):
    kdc.plot.codebook(kdc_file, "d/kernel", ax=ax)
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert len(dots) == 4
    with pytest.raises(ValueError, match="has no codebook to draw"):
        kdc.plot.codebook(np.random.default_rng(0).random(100))


@pytest.mark.parametrize("pixels", [1, 7, 30, 100])
def test_a_mask_counts_every_weight_once(pixels):
    array = shared_array(shape=(5, 20, 33))
    found = mask_of(array, pixels)
    assert (found.rows, found.columns) == (100, 33)
    assert found.kept.shape == (min(100, pixels), min(33, pixels))
    down, across = (np.diff(np.arange(n + 1) * length // n)
                    for n, length in zip(found.kept.shape, (100, 33), strict=True))  # fmt: skip
    total = (found.kept * np.outer(down, across)).sum()
    assert round(total) == np.count_nonzero(array)
    assert found.block == down.max() * across.max()


def test_a_mask_lies_with_its_longer_side_across_and_says_what_a_pixel_is(ax):
    kdc.plot.mask(shared_array(shape=(500, 20)), pixels=100, ax=ax)
    assert ax.get_xlabel() == "other axes (500)\neach pixel is the mean of up to 5 weights"
    assert ax.images[0].get_array().shape == (20, 100)


def test_sparsity_of_a_model_and_of_its_file_is_the_same(tmp_path):
    model = dense_model((64, 10))
    kdc.save_model(model, tmp_path / "m.kdc")
    bars = []
    for source in (model, tmp_path / "m.kdc", kdc.summary(model, verbose=False)):
        ax = kdc.plot.sparsity(source, ax=Figure().add_subplot())
        bars.append([patch.get_width() for patch in ax.patches])
    assert bars[0] == bars[1] == bars[2] and len(bars[0]) == 2


def test_sizes_add_up_to_the_file(kdc_file, ax):
    kdc.plot.sizes(kdc_file, ax=ax)
    assert sum(patch.get_width() for patch in ax.patches) == kdc_file.stat().st_size


def test_tradeoff_of_pairs_and_of_a_result(ax):
    pairs = [(300, 0.9), (100, 0.8), (200, 0.7), (4000, 0.95)]
    assert frontier(pairs, "max") == [(100, 0.8), (300, 0.9), (4000, 0.95)]
    assert frontier(pairs, "min") == [(100, 0.8), (200, 0.7)]
    kdc.plot.tradeoff(pairs, ax=ax)
    assert ax.get_xscale() == "log"
    result = SimpleNamespace(
        metric="acc", metric_direction="max", metrics_before={"acc": 0.97}, chosen="b",
        points=[SimpleNamespace(bytes=size, metrics={"acc": value}, file=file)
                for (size, value), file in zip(pairs, "abcd", strict=True)],
    )  # fmt: skip
    ax = kdc.plot.tradeoff(result, ax=Figure().add_subplot())
    assert ax.get_ylabel() == "acc" and "before compression" in texts_of(ax)
    chosen = [line for line in ax.lines if line.get_marker() == "D"]
    assert [line.get_xdata()[0] for line in chosen] == [100]
    with pytest.raises(ValueError, match="no point"):
        kdc.plot.tradeoff([])
    with pytest.raises(ValueError, match='"max" or "min"'):
        kdc.plot.tradeoff(pairs, metric_direction="up")


def test_names_that_matplotlib_would_take_for_formulas(ax):
    name = r"$\frac{a}$ \x1b"
    kdc.plot.weights({name: shared_array()}, ax=ax)
    bars = kdc.plot.sparsity(_summary({name: shared_array()}), ax=Figure().add_subplot())
    bars.figure.canvas.draw()
    ax.figure.canvas.draw()
    assert name in texts_of(ax)


def _summary(tensors):
    from keras_deepcomp.reporting.summary import from_info

    return from_info(container.inspect(container.save(tensors)))


def test_what_cannot_be_drawn_is_named(kdc_file):
    with pytest.raises(KeyError, match="Did you mean one of 'd/kernel'"):
        kdc.plot.weights(kdc_file, "d/kernels")
    with pytest.raises(KeyError, match="no tensors"):
        kdc.plot.weights({})
    with pytest.raises(TypeError, match="got object"):
        kdc.plot.weights(object())
    with pytest.raises(ValueError, match="two or more dimensions"):
        kdc.plot.sparsity(_summary({"b": np.ones(3)}))


def test_bytes_in_few_characters():
    assert [short_bytes(n) for n in (0, 999, 18_776, 1_234_000, 5e9)] == [
        "0 B", "999 B", "18.8 KB", "1.23 MB", "5 GB"]  # fmt: skip


def test_without_matplotlib_the_error_says_what_to_install():
    code = """
        import sys
        sys.modules["matplotlib"] = None
        import keras_deepcomp as kdc
        try:
            kdc.plot.mask([[1.0]])
        except ImportError as error:
            print(error)
    """
    assert "pip install keras_deepcomp[plot]" in run_python(code)
