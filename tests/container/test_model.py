"""What a file says of a tensor before its elements."""

import dataclasses

import numpy as np
import pytest
from container.models import cases, random_code
from container.samples import reader_of
from hypothesis import given, settings

from keras_deepcomp.container import FormatError
from keras_deepcomp.container.bits import BitReader, BitWriter
from keras_deepcomp.container.dtypes import BY_NAME
from keras_deepcomp.container.grid import NEAR, WIDE
from keras_deepcomp.container.matrix import Matrix
from keras_deepcomp.container.model import NEIGHBOURHOODS, TensorModel

UINT8, FLOAT32 = BY_NAME["uint8"], BY_NAME["float32"]


@given(cases())
@settings(max_examples=100)
def test_round_trip(case):
    writer = BitWriter()
    case.model.write(writer, case.element)
    reader = reader_of(writer)
    read = TensorModel.read(reader, case.element, case.shape, 1)
    assert reader.position == len(writer.bits)
    assert 0 < read.codebook_bits < reader.position
    for field in dataclasses.fields(TensorModel):
        if field.name != "codebook_bits":
            expected, found = getattr(case.model, field.name), getattr(read, field.name)
            if isinstance(expected, np.ndarray):
                np.testing.assert_array_equal(found, expected, strict=True)
            else:
                assert found == expected
    again = BitWriter()
    read.write(again, case.element)
    assert again.bits == writer.bits


@given(cases())
@settings(max_examples=30)
def test_cut_off(case):
    writer = BitWriter()
    case.model.write(writer, case.element)
    data = writer.bits.tobytes()
    for length in range(len(data)):
        with pytest.raises(FormatError):
            TensorModel.read(BitReader(data[:length], "it"), case.element, case.shape, 1)


def test_neighbourhoods_in_the_order_of_the_file():
    assert NEIGHBOURHOODS == (NEAR, WIDE)


def test_patterns_are_cut():
    model = TensorModel(
        4, 8, False, False, np.array([1, 5], np.uint16), np.zeros(1, np.int8), np.zeros(1, np.int8)
    )
    patterns = np.array([0x1230, 0x5000], np.uint16)
    assert model.heads_of(patterns).tolist() == [1, 5]
    assert model.largest_patterns().tolist() == [0x1FF0, 0x5FF0]
    assert model.halves() == [2]


@pytest.mark.parametrize(
    ("name", "codebook", "zero_bits", "low_bits", "lower"),
    [
        ("uint8", [1, 127, 128], 0, 0, 2),
        ("float32", [0x3F800000, 0xBF800000], 0, 0, 1),
        ("float32", [0x7F, 0xFF, 0x100, 0x1FF], 20, 3, 2),
        ("uint64", [1, 2**62, 2**63], 0, 0, 2),
        ("uint8", [0, 1], 7, 0, 1),
    ],
)
def test_lower_half(name, codebook, zero_bits, low_bits, lower):
    element = BY_NAME[name]
    book = np.array(codebook, element.pattern)
    none = np.zeros(1, np.int8)
    model = TensorModel(zero_bits, low_bits, True, False, book, none, none, sign_neighbourhood=NEAR)
    model.count_lower_half(element)
    assert model.halves() == [lower, len(codebook) - lower]


class Wrong:
    """The bits of a model of a float32 tensor, field by field, of which tests change some.

    As it is: shape (4, 16), sparse, codebook 3 and 5, all scores 0 but for the last column,
    a grid 2 wide, two classes, signs not apart, no groups.
    """

    def __init__(self, **changes):
        self.fields = {
            "cut": (0, 0),
            "sparse": 1,
            "count": 2,
            "order": 0,
            "steps": [3, 1],
            "lines": 1,
            "transposed": 0,
            "grid": (2, 1),
            "row_scores": [0, 0, 0, 0],
            "column_scores": [0] * 15 + [1],
            "classes": 2,
            "likelihoods": [5, -3],
            "signs": None,
            "cuts": [],
            **changes,
        }

    def bits(self):
        fields = self.fields
        writer = BitWriter()
        zero_bits, low_bits = fields["cut"]
        cut = fields.get("cut_flag", zero_bits + low_bits > 0)
        writer.number(cut, 1)
        if cut:
            writer.number(zero_bits, 5)
            writer.number(low_bits, 5)
        writer.number(fields["sparse"], 1)
        writer.golomb(fields["count"] - 1, 3)
        writer.number(fields["order"], 5)
        for step in fields["steps"]:
            writer.golomb(step, fields["order"])
        writer.number(fields["lines"], 1)
        if fields["lines"]:
            writer.number(fields["transposed"], 1)
            writer.number(fields["grid"] is not None, 1)
            for number in fields["grid"] or ():
                writer.golomb(number - 1, 3)
            for values in (fields["row_scores"], fields["column_scores"]):
                self.write_scores(values, writer)
        if fields["sparse"]:
            if fields["lines"]:
                writer.number(fields["classes"] - 1, 4)
            for difference in fields["likelihoods"]:
                writer.signed_golomb(difference, 2)
        if fields["grid"]:
            writer.number(fields["signs"] is not None, 1)
            if fields["signs"] is not None:
                writer.number(0, 1)
                writer.number(len(fields["signs"]) - 1, 3)
                for difference in fields["signs"]:
                    writer.signed_golomb(difference, 2)
        if fields["lines"]:
            writer.number(len(fields["cuts"]), 2)
            for cut in fields["cuts"]:
                writer.number(cut, 4)
        for _ in range(8):
            # Codes of whole bits, each symbol alone, all costs 1.
            writer.number(0, 7)
            writer.golomb(1, 3)
            writer.append(np.ones(len(fields["steps"]) - 1, np.int64))
        return writer

    @staticmethod
    def write_scores(values, writer):
        if not any(values):
            writer.number(0, 4)
            return
        highest = max(values) + 1
        writer.number(highest, 4)
        # A code in which each symbol costs 4 bits, of those there are up to 16.
        writer.number(0, 7)
        writer.golomb(4, 3)
        for _ in range(highest):
            writer.signed_golomb(0, 0)
        alphabet = highest + 1
        for value in values:
            _write_equal(value + 1, alphabet, writer)

    def read(self, element=FLOAT32, shape=(4, 16)):
        return TensorModel.read(
            reader_of(self.bits()), element, shape, Matrix.of(shape, False).band_count
        )


def _write_equal(symbol, alphabet, writer):
    """Write a symbol in the canonical code of equal weights: the last ones are a bit shorter."""
    longest = (alphabet - 1).bit_length()
    short = 2**longest - alphabet
    # Of equal weights the first are joined first, so the last symbols have the short codes.
    if symbol >= alphabet - short:
        writer.number(symbol - (alphabet - short), longest - 1)
    else:
        writer.number(2 * short + symbol, longest)


def test_right_as_it_is():
    model = Wrong().read()
    assert model.codebook.tolist() == [3, 5]
    assert (model.grid.width, model.grid.depth) == (2, 1)
    assert model.column_scores.tolist() == [0] * 15 + [1]
    assert [likelihood.place for likelihood in model.likelihoods] == [5, 2]
    assert model.codes[0][0].costs == (4, 4)
    assert Wrong(cut=(3, 26)).read().low_bits == 26


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cut_flag": 1}, "cuts patterns where it does not"),
        ({"cut": (31, 1)}, "has patterns without a head"),
        ({"cut": (31, 31)}, "has patterns without a head"),
        ({"steps": [0, 1]}, "has zero in a codebook of other values"),
        ({"steps": [3, 2**32 - 4]}, "has a codebook value that is too large"),
        ({"cut": (20, 10), "steps": [2, 1]}, "has a codebook value that is too large"),
        ({"count": 5000, "steps": [0] * 5000}, "has a codebook of 5,000 values"),
        ({"count": 2**40, "steps": [0]}, "has a codebook of 1,099,511,627,776 values"),
        ({"sparse": 0, "grid": (2, 1)}, "has a grid where none can be"),
        ({"grid": (5, 1)}, "has a grid where none can be"),
        ({"grid": (2, 3)}, "has a grid where none can be"),
        (
            {"grid": None, "column_scores": [0] * 16},
            "claims several classes and has none",
        ),
        (
            {"sparse": 0, "grid": None, "column_scores": [0, -1] * 7 + [2, 0]},
            "has lines without elements in a dense tensor",
        ),
        ({"likelihoods": [-65, 0]}, "has a likelihood that is out of range"),
        ({"likelihoods": [60, 4]}, "has a likelihood that is out of range"),
        ({"signs": [64]}, "has a likelihood that is out of range"),
        ({"signs": [0]}, "has signs apart, and all signs are the same"),
        ({"steps": [2**31 + 3, 1], "signs": [0]}, "has signs apart, and all signs are the same"),
        ({"cuts": [0]}, "has groups that are not ascending"),
        ({"cuts": [3, 3]}, "has groups that are not ascending"),
        ({"cuts": [3, 5, 4]}, "has groups that are not ascending"),
    ],
)
def test_each_rule_broken_once(changes, message):
    with pytest.raises(FormatError, match=f"Damaged .kdc file: tensor 'x' {message}"):
        Wrong(**changes).read()


@pytest.mark.parametrize(
    ("grid", "rows"),
    [
        ((512, 2), (1 << 18) + 1),
        ((2, 1), 513),
        ((513, 1), 513),
        ((509, 1), 4 * 509),
        # One step more than there are times 16 elements.
        ((3, 1), 4),
    ],
)
def test_no_grid_of_very_many_rows_or_steps(grid, rows):
    with pytest.raises(FormatError, match="has a grid where none can be"):
        Wrong(grid=grid).read(shape=(rows, 16))


@pytest.mark.parametrize(("grid", "rows"), [((512, 1), 512), ((2, 1), 512 - 2), ((1, 9), 9 * 256)])
def test_grids_of_most_steps(grid, rows):
    read = Wrong(grid=grid, row_scores=[0]).read(shape=(rows, 16))
    assert (read.grid.width, read.grid.depth) == grid
    assert read.grid.steps <= 512
    assert read.grid.steps == int(read.grid.step_of_row.max()) + 1


@pytest.mark.parametrize(("rows", "blocks"), [(4, 0), (4, 2), (1 << 20, 2), ((1 << 20) + 1, 3)])
def test_number_of_blocks(rows, blocks):
    needed = 0 if rows > 1 << 20 else 3 if rows == 1 << 20 else 1
    with pytest.raises(
        FormatError, match=f"tensor 'x' has {blocks} blocks, and its shape needs {needed}"
    ):
        TensorModel.read(reader_of(Wrong().bits()), FLOAT32, (rows, 3), blocks)


def test_signs_apart():
    model = Wrong(steps=[3, 2**31], signs=[4, -1]).read()
    assert model.halves() == [1, 1]
    assert model.sign_neighbourhood is NEAR
    assert [likelihood.place for likelihood in model.sign_likelihoods] == [4, 3]
    assert model.codes == [[None, None]]


def test_largest_codebooks():
    model = Wrong(count=4096, steps=[3] + [0] * 4095, lines=0, grid=None, likelihoods=[0])
    assert model.read(shape=(100,)).codebook.tolist() == list(range(3, 4099))


def test_values_of_eight_bytes():
    values = np.array([1, 2**63 - 1, 2**64 - 1], np.uint64)
    none = np.zeros(1, np.int8)
    model = TensorModel(0, 0, False, False, values, none, np.zeros(9, np.int8))
    model.codes = [[random_code(np.random.default_rng(0), 3, 9)]]
    writer = BitWriter()
    model.write(writer, BY_NAME["uint64"])
    read = TensorModel.read(reader_of(writer), BY_NAME["uint64"], (9,), 1)
    assert read.codebook.tolist() == values.tolist()
