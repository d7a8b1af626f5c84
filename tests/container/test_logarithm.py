"""Logarithms in whole numbers, and no others."""

import ast
import math
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from keras_deepcomp import container
from keras_deepcomp.container.logarithm import ONE, log2_fixed

numbers = st.one_of(st.integers(1, 2**12), st.integers(1, 2**62 - 1))


@given(st.lists(numbers, min_size=1, max_size=50))
def test_any_number(values):
    # Rounded down; a little more, for the last digits of the float that is compared with.
    errors = log2_fixed(values) - np.array([math.log2(value) * ONE for value in values])
    assert errors.min() > -1.2 and errors.max() < 0.1


def test_small_numbers():
    values = np.arange(1, 200_000)
    result = log2_fixed(values)
    errors = result - np.log2(values) * ONE
    assert errors.min() > -1.125 and errors.max() <= 0
    assert (np.diff(result) >= 0).all()


def test_powers_of_two_are_exact():
    powers = [1 << exponent for exponent in range(62)]
    assert log2_fixed(powers).tolist() == [exponent * ONE for exponent in range(62)]


def test_around_powers_of_two():
    # A float cannot tell these from the power itself.
    for exponent in range(40, 62):
        below, above = log2_fixed([(1 << exponent) - 1, (1 << exponent) + 1]).tolist()
        assert exponent * ONE - 1 <= below <= exponent * ONE <= above <= exponent * ONE + 1


def test_below_one():
    assert log2_fixed([[0, -5], [1, 2]]).tolist() == [[0, 0], [0, ONE]]


def test_known_values():
    # The same on every machine.
    values = [3, 5, 7, 1000, 65_537, 10**9, 10**18]
    assert log2_fixed(values).tolist() == [
        1_661_953,
        2_434_718,
        2_943_724,
        10_449_882,
        16_777_239,
        31_349_646,
        62_699_293,
    ]


def test_no_other_logarithm_decides():
    """What a float logarithm gives can differ between machines, and so could files then."""
    folder = Path(container.__file__).parent
    forbidden = {"log", "log2", "log10", "log1p", "logaddexp", "exp", "exp2", "power", "entropy"}
    found = []
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in forbidden:
                found.append((path.name, node.lineno, node.attr))
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = [alias.name for alias in node.names]
                modules.append(getattr(node, "module", ""))
                if {"cmath", "random"} & set(modules):
                    found.append((path.name, node.lineno, "import"))
    assert found == []
