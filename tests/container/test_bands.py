"""The elements of bands as sequences, and back."""

import itertools

import numpy as np
import pytest
from container import reference
from container.models import cases
from container.samples import reader_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from keras_deepcomp.container import FormatError, bands
from keras_deepcomp.container.bits import BitReader, BitWriter
from keras_deepcomp.container.grid import WIDE, Grid
from keras_deepcomp.container.matrix import Elements, Matrix
from keras_deepcomp.container.model import TensorModel
from keras_deepcomp.container.runs import BitSequences, Likelihood
from keras_deepcomp.container.symbols import SymbolCode


def columns_of(data, case):
    start = data.draw(st.integers(0, case.matrix.columns - 1))
    return slice(start, data.draw(st.integers(start + 1, case.matrix.columns)))


@given(cases(), st.data())
@settings(max_examples=150)
def test_sequences_are_those_of_the_page(case, data):
    columns = columns_of(data, case)
    model = case.model
    found = case.split(columns)
    signs = None
    if model.sign_neighbourhood is not None:
        signs = reference.WIDE if model.sign_neighbourhood is WIDE else reference.NEAR
    filled, wrong, indices, low = reference.slow_split(
        case.view[:, columns].tolist(),
        model.row_scores.tolist(),
        model.column_scores[columns].tolist(),
        sparse=model.sparse,
        grid=(model.grid.width, model.grid.depth) if model.grid else None,
        classes=model.classes,
        signs=signs,
        sign_classes=model.sign_classes,
        cuts=model.cuts,
        zero_bits=model.zero_bits,
        low_bits=model.low_bits,
        codebook=model.codebook.tolist(),
        sign_bit=8 * case.element.itemsize - 1 - model.zero_bits - model.low_bits,
    )
    for sequences, expected in ((found.filled, filled), (found.wrong_signs, wrong)):
        assert sequences.lengths.tolist() == list(map(len, expected))
        assert [ones.tolist() for ones in sequences.each()] == [
            np.flatnonzero(bits).tolist() for bits in expected
        ]
    assert [[half.values.tolist() for half in group] for group in found.indices] == indices
    if model.low_bits:
        assert found.low.tolist() == low
    else:
        assert found.low is None


@given(cases(), st.data())
@settings(max_examples=150)
def test_round_trip(case, data):
    columns = columns_of(data, case)
    writer = BitWriter()
    bands.write(case.model, case.split(columns), [writer])
    band = case.view[:, columns]
    reader = reader_of(writer)
    read, cost = case.read(reader, columns)
    np.testing.assert_array_equal(read[:, columns], band)
    assert np.count_nonzero(read) == np.count_nonzero(band)
    assert reader.position == len(writer.bits)
    assert cost.places + cost.signs + cost.indices + cost.low == len(writer.bits)
    assert cost.nonzero == np.count_nonzero(band)
    assert cost.values == (cost.nonzero if case.model.sparse else band.size)


@given(cases(), st.data())
@settings(max_examples=100)
def test_bands_that_are_split_together_give_the_same_bits(case, data):
    assume(not bands.are_separate(case.model))
    ends = data.draw(st.sets(st.integers(1, case.matrix.columns), max_size=3))
    ends = sorted(ends | {case.matrix.columns})
    pieces = [slice(start, end) for start, end in itertools.pairwise([0, *ends])]
    widths = [piece.stop - piece.start for piece in pieces]
    elements = [Elements.of(case.view[:, piece], sparse=True) for piece in pieces]
    together = bands.split(
        case.model,
        Elements.side_by_side(elements, widths),
        case.model.column_scores,
        widths,
    )
    assert together.values == [each.rows.size for each in elements]
    writers = [BitWriter() for _ in pieces]
    bands.write(case.model, together, writers)
    for piece, writer in zip(pieces, writers, strict=True):
        alone = BitWriter()
        bands.write(case.model, case.split(piece), [alone])
        assert writer.bits == alone.bits


@given(cases(), st.integers(0, 2**32))
@settings(max_examples=100)
def test_damage_gives_an_error_or_other_patterns(case, seed):
    writer = BitWriter()
    bands.write(case.model, case.split(), [writer])
    random = np.random.default_rng(seed)
    for _ in range(5):
        data = bytearray(writer.bits.tobytes())
        if not data:
            return
        for place in random.integers(0, len(data), random.integers(1, 4)):
            data[place] ^= 1 << random.integers(0, 8)
        del data[len(data) - random.integers(0, 2) :]
        reader = BitReader(bytes(data), "tensor 'x'")
        try:
            band, _ = case.read(reader, slice(0, case.matrix.columns))
            reader.finish()
        except FormatError as error:
            assert "tensor 'x'" in str(error)
            continue
        # Whatever is accepted has values of the codebook, and none in dead lines.
        assert not band[case.model.row_scores < 0].any()
        assert not band[:, case.model.column_scores < 0].any()
        heads = case.model.heads_of(band[band != 0] if case.model.sparse else band.reshape(-1))
        assert np.isin(heads, case.model.codebook).all()


def simple(rows, columns, **changes):
    """Return a model: sparse, the values 1 and 2, one class, half of all elements not zero."""
    fields = {
        "zero_bits": 0,
        "low_bits": 0,
        "sparse": True,
        "transposed": False,
        "codebook": np.array([1, 2], np.uint8),
        "row_scores": np.zeros(rows, np.int8),
        "column_scores": np.zeros(columns, np.int8),
        "classes": 1,
        "likelihoods": [Likelihood(0, False)],
        "codes": [[SymbolCode((4, 4), 4, 1)]],
        **changes,
    }
    return TensorModel(**fields)


def read(model, data, shape=(2, 4)):
    flat = np.zeros(shape, np.uint8).reshape(-1)
    reader = BitReader(data, "tensor 'x'")
    bands.read(model, reader, Matrix(*shape, False), slice(0, shape[1]), flat)
    reader.finish()
    return flat.reshape(shape).tolist()


def of_runs(ones, length, likelihood, more=()):
    """Return the bits of a sequence as runs, and some more."""
    writer = BitWriter()
    sequences = BitSequences.of([np.array(ones, np.int64)], [length])
    bands.runs.encode(sequences, [likelihood], [writer])
    writer.append(np.array(more, np.int64))
    return writer.bits.tobytes()


def test_by_hand():
    model = simple(2, 4)
    data = of_runs([1, 6, 7], 8, Likelihood(0, False), [0, 1, 1])
    assert read(model, data) == [[0, 1, 0, 0], [0, 0, 2, 2]]
    # Ones likely: the runs are of ones, between zeros.
    likely = Likelihood(3, True)
    data = of_runs([0, 1, 2, 4, 5, 6, 7], 8, likely, [0, 0, 0, 1, 1, 1, 1])
    assert read(simple(2, 4, likelihoods=[likely]), data) == [[1, 1, 1, 0], [2, 2, 2, 2]]


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("grid", [None, Grid(2, 2, 1)])
def test_an_entry_past_the_end(inverted, grid):
    likelihood = Likelihood(9, inverted)
    model = simple(2, 4, likelihoods=[likelihood], grid=grid)
    rare = [bit for bit in range(9) if inverted != (bit in (1, 8))]
    data = of_runs(rare, 9, likelihood, [0] * 8)
    with pytest.raises(FormatError, match="tensor 'x' has an entry past its last element"):
        read(model, data)


def test_low_bits():
    model = simple(1, 3, low_bits=3, codebook=np.array([0, 1], np.uint8))
    data = of_runs([0, 2], 3, Likelihood(0, False), [0, 1, *(0, 1), *(1, 1), *(0, 0)])
    assert read(model, data, (1, 3)) == [[0b0010, 0, 0b1110]]
    data = of_runs([0, 2], 3, Likelihood(0, False), [0, 1, *(0, 1), *(0, 1), *(0, 0)])
    with pytest.raises(FormatError, match="tensor 'x' has a zero among its other values"):
        read(model, data, (1, 3))
    with pytest.raises(FormatError, match="tensor 'x' ends before its last low bits"):
        read(
            simple(1, 3, low_bits=6, codebook=np.array([1, 2], np.uint8)),
            of_runs([0, 2], 3, Likelihood(0, False), [0, 1, *[1] * 4]),
            (1, 3),
        )


def test_dense():
    model = simple(2, 4, sparse=False, likelihoods=[])
    assert read(model, b"\x2b") == [[1, 1, 2, 1], [2, 1, 2, 2]]


@pytest.mark.parametrize("count", [1, 2, 100])
def test_all_elements_past_the_end(count):
    """Runs without end do not take memory."""
    likelihood = Likelihood(63, False)
    code = bands.runs.run_code(63)
    writer = BitWriter()
    writer.golomb(count + 1, 6)
    symbols = np.array([code.bound] * count + [0])
    writer.bits += bands.runs.huffman.encode(symbols, [symbols.size], [code])[0]
    writer.append(np.zeros(code.low_bits, np.int64))
    for grid in (None, Grid(256, 16, 1)):
        model = simple(256, 4, likelihoods=[likelihood], grid=grid)
        with pytest.raises(FormatError, match="tensor 'x' has an entry past its last element"):
            read(model, writer.bits.tobytes(), (256, 4))
