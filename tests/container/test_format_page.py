"""What docs/format.md says is what the code does."""

import re
from pathlib import Path

import numpy as np
import pytest
from container import reference
from container.samples import bits_of

from keras_deepcomp import container
from keras_deepcomp.container import (
    blocks,
    frame,
    grid,
    huffman,
    matrix,
    model,
    runs,
    scores,
    text,
    wire,
)
from keras_deepcomp.container.archive import MemorySource
from keras_deepcomp.container.dtypes import BY_CODE
from keras_deepcomp.container.symbols import MAX_TOGETHER, SymbolCode

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "format.md").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())


def example():
    """Return the code, the file's bytes and the block's bits."""
    code, dump, bits = re.findall(
        r"```(?:python)?\n(.*?)```", PAGE[PAGE.index("## Example") :], re.DOTALL
    )
    data = bytes.fromhex("".join(line.split("  ")[0] for line in dump.splitlines()))
    digits = "".join(line.split("  ")[0] for line in bits.splitlines())
    return code, data, digits


def test_worked_example():
    code, data, _ = example()
    scope = {}
    exec(code, scope)
    assert scope["data"] == data
    loaded = container.load(data)
    np.testing.assert_array_equal(loaded["w"], scope["w"], strict=True)
    said = re.search(r"The file has (\d+) bytes instead of (\d+)", PAGE)
    assert list(map(int, said.groups())) == [len(data), scope["w"].nbytes]


def test_bits_of_the_worked_example():
    _, data, digits = example()
    source = MemorySource(data)
    (block,) = frame.read(source).read_blocks(source, 0)
    assert len(digits.replace(" ", "")) == 8 * len(block)
    assert bits_of(digits) == bytes(block)


def test_table_of_types():
    table = PAGE[PAGE.index("## Types") : PAGE.index("Types 14 to 26")]
    rows = dict(re.findall(r"\| (\d+) \| (\w+) ", table))
    assert {int(code): name for code, name in rows.items()} == {
        code: element.name for code, element in BY_CODE.items()
    }
    optional = [code for code, element in BY_CODE.items() if element.optional]
    assert optional == list(range(14, 27))


def test_dictionary():
    path = DOCS / "format-dictionary.txt"
    if not path.exists():
        pytest.skip("the dictionary is not beside the page yet")
    assert bytes.fromhex(path.read_text(encoding="ascii")) == text.DICTIONARY


@pytest.mark.parametrize(
    ("words", "value", "expected"),
    [
        ("in blocks of 4 MiB and a shorter last one", blocks.RAW_BYTES, 4 << 20),
        ("if the content is shorter than 4,096 bytes", blocks.checksum_bytes(4095), 2),
        ("all four bytes, or the lower two", blocks.checksum_bytes(4096), 4),
        ("It has at most 2^20 rows", matrix.MAX_BAND, 1 << 20),
        ("Only sparse tensors of at most 2^18 rows", grid.MAX_ROWS, 1 << 18),
        ("is at most 512 and at most rows * columns / 16", grid.MAX_STEPS, 512),
        ("is at most 512 and at most rows * columns / 16", grid.ELEMENTS_PER_STEP, 16),
        ("1 to 4,096 ascending values", huffman.MAX_SYMBOLS, 4096),
        ("There are at most 4,096 Huffman symbols", huffman.MAX_SYMBOLS, 4096),
        ("No length is above 30", huffman.MAX_LENGTH, 30),
        ("has a score from 0 to 14", scores.MAX_SCORE, 14),
        ("else 15. The elements", scores.CLASSES, 16),
        ("from -64 to 63", runs.STEPS, 64),
        ("runs := count(g6)", runs.COUNT_ORDER, 6),
        ("`together` (1 to 8) symbols", MAX_TOGETHER, 8),
        ("classes - 1(3)", model.SIGN_CLASSES, 8),
        ("groups := count(2)", model.MAX_GROUPS, 4),
        ("**rank** is at most 32", wire.MAX_RANK, 32),
        ("1 to 65,535 bytes of UTF-8", wire.MAX_STRING_BYTES, 65_535),
        ("below 2^63, in its shortest form", wire.VARINT_LIMIT, 1 << 63),
        ("at most 16 MiB", wire.MAX_METADATA_BYTES, 16 << 20),
        ("(4 GiB unless told otherwise)", container.DEFAULT_MAX_BYTES, 4 << 30),
        ("magic := 89 4B 44 43", wire.MAGIC, bytes.fromhex("89 4B 44 43")),
        ("version := 01", wire.VERSION, 1),
    ],
)
def test_constants(words, value, expected):
    assert words in WORDS
    assert value == expected


def test_weights_of_symbols():
    quarters = numbers(r"W\[c % 4\] >> \(c // 4\)\), W = ([\d, ]+)\.")
    for cost in range(81):
        weight = max(1, quarters[cost % 4] >> cost // 4)
        code = SymbolCode((0, cost, cost), 1, 1)
        expected = reference.slow_lengths([quarters[0], weight, weight])
        assert code.lengths.tolist() == expected
    assert quarters == [round(2 ** (20 - quarter / 4)) for quarter in range(4)]


def test_weights_of_runs():
    quarters = numbers(r"Q = (\d+, \d+, \d+, \d+);")
    assert quarters == [round(2 ** (30 - quarter / 4)) for quarter in range(4)]


def numbers(pattern):
    """Return the numbers of a list on the page."""
    return [int(number) for number in re.search(pattern, WORDS).group(1).split(",")]


def table(start):
    """Return the cells of the two or more rows of the table whose first cell begins like this."""
    lines = PAGE[PAGE.index(f"| {start}") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_bounds_of_runs():
    steps, _, values = table("q' |")
    said = re.search(r"s = max\(0, floor\(\(q - (\d+)\) / 4\)\)", WORDS).group(1)
    for step in range(runs.STEPS):
        low_bits = max(0, (step - int(said)) // 4)
        rest = step - 4 * low_bits
        for names, value in zip(steps[1:], values[1:], strict=True):
            first, last = (int(number) for number in re.findall(r"\d+", names))
            if first <= rest <= last:
                bound, together = map(int, value.split(","))
        code = runs.run_code(step)
        assert (code.low_bits, code.bound, code.together) == (low_bits, bound, together)


def test_weights_of_neighbours():
    places, _, wide, near = table("(dy, dx) |")
    for row, expected in ((wide, grid.WIDE), (near, grid.NEAR)):
        found = tuple(
            (*(int(number) for number in re.findall(r"-?\d", place)), int(weight))
            for place, weight in zip(places[1:], row[1:], strict=True)
            if weight
        )
        assert found == expected
