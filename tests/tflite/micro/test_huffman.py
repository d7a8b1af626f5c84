import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from micro_decoders import decode_huffman

from keras_deepcomp.tflite.micro import huffman
from keras_deepcomp.tflite.micro.decoding_tables import DecodingTables

DTYPES = st.sampled_from(["int8", "int16"])
FEW = st.lists(st.integers(-128, 127), min_size=1, max_size=6)


def round_trips(values):
    encoding = huffman.encode(values)
    decoded = decode_huffman(encoding, values.dtype, values.size)
    return np.array_equal(decoded, values.ravel())


@given(values=DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, st.integers(1, 300))))
def test_any_values(values):
    assert round_trips(values)


@given(codebook=FEW, dtype=DTYPES, seed=st.integers(0, 9), size=st.integers(1, 400))
def test_few_values_most_of_them_the_same(codebook, dtype, seed, size):
    rng = np.random.default_rng(seed)
    places = rng.geometric(0.7, (2, size)).clip(max=len(codebook)) - 1
    assert round_trips(np.array(codebook, dtype)[places])


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_codes_that_double_in_rarity_reach_the_longest_tables(dtype):
    # The counts 1, 1, 2, 4, ... make each code one bit longer than the one before.
    values = np.repeat(np.arange(17), [1, *(2 ** np.arange(16))]).astype(dtype)
    assert round_trips(np.random.default_rng(0).permutation(values))


def test_all_values_of_int8_equally_often():
    values = np.arange(-128, 128).astype(np.int8)
    encoding = huffman.encode(values)
    assert round_trips(values)
    # One table, as each code has 8 bits.
    assert len(encoding.ancillary) == 16 + 2 * 256 and encoding.ancillary[5] >> 4 == 7


def test_thousands_of_values_of_int16():
    rng = np.random.default_rng(0)
    assert round_trips(np.round(rng.normal(0, 300, 20_000)).astype(np.int16))


def test_types_and_alphabets_that_the_decoder_does_not_take():
    assert huffman.encode(np.zeros(5, np.int32)) is None
    assert huffman.encode(np.arange(-5000, 5000).astype(np.int16)) is None


def test_one_value_takes_a_bit_each():
    encoding = huffman.encode(np.full(640, 7, np.int8))
    assert len(encoding.data) == 640 // 8 + 4 and len(encoding.ancillary) == 16 + 4


def test_tables_take_the_fewest_entries():
    # By hand: 0, 10, 110 and 111. One table has 8 entries; two of width 1 and 2 have 6.
    assert DecodingTables(np.array([1, 2, 3, 3], np.uint8)).size == 6
    # Four codes of two bits: one table of four entries.
    assert DecodingTables(np.array([2, 2, 2, 2], np.uint8)).size == 4
    deep = DecodingTables(np.array([*range(1, 20), 19], np.uint8))
    assert deep.size == 2 * 19


def test_shorter_codes_are_taken_where_their_tables_are_smaller():
    # Huffman's code needs long codes for the rare values; their tables cost more than it gains.
    rng = np.random.default_rng(0)
    values = np.where(rng.random(3000) < 0.9, 0, rng.integers(-128, 128, 3000)).astype(np.int8)
    encoding = huffman.encode(values)
    symbols, counts = np.unique(values, return_counts=True)
    lengths = huffman.limited_code_lengths(counts, 24)
    unlimited = -(-int(lengths.astype(int) @ counts) // 8) + 2 * DecodingTables(lengths).size
    assert symbols.size > 150
    assert len(encoding.data) + len(encoding.ancillary) - 16 - 8 < unlimited
    assert round_trips(values)
