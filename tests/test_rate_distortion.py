import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_deepcomp.rate_distortion import assign, code_lengths

RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=500)
CODEBOOK = np.array([-1.5, -0.4, 0.0, 0.6, 1.4])


def total(chosen, counts, rate, importance=None):
    weight = np.ones(VALUES.shape) if importance is None else importance
    energy = np.mean(weight * VALUES**2)
    errors = weight * (VALUES - CODEBOOK[chosen]) ** 2 / energy
    return np.mean(errors + rate * code_lengths(counts)[chosen])


def test_without_a_rate_each_value_gets_the_nearest_entry():
    nearest = np.abs(VALUES[:, None] - CODEBOOK).argmin(1)
    np.testing.assert_array_equal(assign(VALUES, CODEBOOK, np.ones(5), 0.0), nearest)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.lists(st.integers(0, 1000), min_size=5, max_size=5), st.booleans())
def test_no_other_choice_costs_less(rate, counts, weighted):
    importance = np.arange(500.0) if weighted else None
    chosen = assign(VALUES, CODEBOOK, counts, rate, importance)
    least = total(chosen, counts, rate, importance)
    for entry in range(5):
        other = chosen.copy()
        other[::7] = entry
        assert total(other, counts, rate, importance) >= least - 1e-12


def test_a_higher_rate_gives_fewer_bits_and_larger_errors():
    counts, entropy, errors = np.array([5, 100, 800, 90, 5]), [], []
    for rate in (0.0, 0.02, 0.1, 100.0):
        chosen = assign(VALUES, CODEBOOK, counts, rate)
        entropy.append(code_lengths(counts)[chosen].sum())
        errors.append(((VALUES - CODEBOOK[chosen]) ** 2).sum())
    assert entropy == sorted(entropy, reverse=True) and errors == sorted(errors)
    assert (chosen == 2).all()


def test_what_matters_stays_where_it_is():
    importance = np.where(np.arange(500) < 50, 1e3, 1e-3)
    chosen = assign(VALUES, CODEBOOK, [1, 1, 1000, 1, 1], 0.05, importance)
    nearest = assign(VALUES, CODEBOOK, np.ones(5), 0.0)
    assert (chosen[:50] == nearest[:50]).sum() >= 45
    assert (chosen[50:] == 2).all()


def test_code_lengths_are_those_of_an_ideal_code():
    np.testing.assert_allclose(code_lengths([4, 2, 1, 1]), [1, 2, 3, 3])
    assert np.isfinite(code_lengths([0, 0])).all()


def test_no_values_and_no_importance():
    assert assign(np.zeros(0), CODEBOOK, np.ones(5), 0.1).size == 0
    np.testing.assert_array_equal(
        assign(VALUES, CODEBOOK, np.ones(5), 0.1, np.zeros(500)),
        assign(VALUES, CODEBOOK, np.ones(5), 0.0),
    )


def test_a_negative_rate_is_refused():
    with pytest.raises(ValueError, match="at least 0"):
        assign(VALUES, CODEBOOK, np.ones(5), -1.0)
