"""The parameters of models, where what is best is known."""

import numpy as np
import pytest
from container.models import cases
from container.samples import encoded, model_of
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_deepcomp.container import fitting, symbols
from keras_deepcomp.container.bits import BitWriter
from keras_deepcomp.container.matrix import Elements
from keras_deepcomp.container.runs import Likelihood, least_bits


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=50))
def test_entropy(counts):
    values = np.array(counts)
    shares = values[values > 0] / max(values.sum(), 1)
    exact = -values.sum() * float(shares @ np.log2(shares)) if values.any() else 0
    assert fitting.entropy_bits(values) == pytest.approx(exact, abs=2 + 1e-5 * values.sum())


@given(cases())
@settings(max_examples=100)
def test_complete(case):
    """Likelihoods and codes are the best for what the sequences hold."""
    model = case.model
    pieces = [(Elements.of(case.view, model.sparse), model.column_scores)]
    (part,) = fitting.complete(model, pieces, case.patterns.size)
    assert len(model.likelihoods) == (model.classes if model.sparse else 0)
    for sequences, likelihoods in (
        (part.filled, model.likelihoods),
        (part.wrong_signs, model.sign_likelihoods),
    ):
        counts = sequences.counts.tolist(), sequences.lengths.tolist()
        assert likelihoods == [Likelihood.fit(*each) for each in zip(*counts, strict=True)]
    assert len(part.indices) == len(model.codes) == len(model.cuts) + 1
    for indices, codes in zip(part.indices, model.codes, strict=True):
        for half, code, size in zip(indices, codes, model.halves(), strict=True):
            assert (code is None) == (size == 1)
            if code is None:
                continue
            assert code.symbols == size
            writer = BitWriter()
            symbols.encode(half.values, half.counts, code, [writer])
            plain = max(1, (size - 1).bit_length())
            assert code.table_bits() + len(writer.bits) <= 16 + 8 * size + plain * half.values.size


def class_bits(ones, totals):
    return least_bits(ones, totals).sum() / 2**20


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 10**6)), min_size=1, max_size=16),
)
def test_class_count(counts):
    """No other number of classes takes much less, with what each costs itself."""
    ones = np.array([one for one, _ in counts])
    totals = ones + np.array([zero for _, zero in counts])
    count, bits = fitting.class_count(ones, totals)

    def merged(number, values):
        return np.append(values[: number - 1], values[number - 1 :].sum())

    sizes = {
        number: class_bits(merged(number, ones), merged(number, totals))
        for number in range(1, len(counts) + 1)
    }
    assert 1 <= count <= len(counts)
    assert bits >= sizes[count] - 1
    assert all(sizes[count] <= size + 40 * number for number, size in sizes.items())


@pytest.mark.parametrize("density", [0.2, 0.6])
def test_no_more_classes_than_pay(density):
    random = np.random.default_rng(0)
    array = (random.random((200, 50)) < 0.2).astype(np.uint8)
    array[::3] = random.random(array[::3].shape) < density
    model = model_of(encoded(array), "uint8", array.shape)
    assert (model.classes > 1) == (density > 0.2)
