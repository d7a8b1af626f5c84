"""Text after the preset dictionary: the DEFLATE encoder and the checked decoder."""

import contextlib
import json
import random
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keras_deepcomp.container import FormatError, deflate, deflate_header, lz77, text

LENET = (
    b'[1,["Sequential","lenet_300_100",[["InputLayer","input_layer",[null,784]],["Dense","ip1",300,'
    b'"relu"],["Dense","ip2",100,"relu"],["Dense","ip3",10]]]]'
)
LSTM = (
    b'[1,["Sequential","sequential",[["InputLayer","input_layer",[null,null],{"dtype":"int32"}],'
    b'["Embedding","embedding",5000,64,{"mask_zero":true}],["Bidirectional","bidirectional",["LSTM"'
    b',"forward_lstm",64,{"return_sequences":true,"zero_output_for_mask":true}],{"backward_layer":'
    b'["LSTM","backward_lstm",64,{"go_backwards":true,"return_sequences":true,'
    b'"zero_output_for_mask":true}]}],["LSTM","lstm_1",32],["Dropout","dropout",0.5],'
    b'["Dense","dense",1,"sigmoid"]]]]'
)


def residual_network(blocks):
    """Return an architecture with the repetition of large ones."""
    layers = [["InputLayer", "input_layer", [None, 224, 224, 3]]]
    for block in range(blocks):
        stage = f"conv{2 + block // 3}_block{1 + block % 3}"
        for part, (filters, size) in enumerate([(64, 1), (64, 3), (256, 1)], start=1):
            filters <<= block // 3 % 4
            layers.append(["Conv2D", f"{stage}_{part}_conv", filters, [size, size]])
            normalization = {"axis": [3], "epsilon": 1.001e-05}
            layers.append(["BatchNormalization", f"{stage}_{part}_bn", normalization])
            layers.append(["Activation", f"{stage}_{part}_relu", "relu"])
        layers.append(["Add", f"{stage}_add", {"<": [[len(layers) - 10, len(layers) - 1]]}])
    layers.append(["Dense", "predictions", 1000, "softmax"])
    architecture = [1, ["Functional", "network", layers]]
    return json.dumps(architecture, sort_keys=True, separators=(",", ":")).encode()


NAMES = b"\0".join(
    f"block_{block}/{name}".encode()
    for block in range(20)
    for name in ("conv/kernel", "bn/gamma", "bn/beta", "bn/moving_mean", "bn/moving_variance")
)
ARCHITECTURES = [LENET, LSTM, NAMES, residual_network(1), residual_network(16)]


def inflate(stream, dictionary=text.DICTIONARY):
    """Return what zlib makes of a complete raw stream."""
    decoder = zlib.decompressobj(-15, zdict=dictionary)
    data = decoder.decompress(stream)
    assert decoder.eof
    assert not decoder.unused_data
    return data


def zlib_deflate(data, dictionary=text.DICTIONARY):
    """Return the best that zlib does."""
    encoder = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=dictionary)
    return encoder.compress(data) + encoder.flush()


def stored_size(data):
    return len(data) + 5 * max(-(-len(data) // 65_535), 1)


def check(data):
    stream = text.compress(data)
    assert inflate(stream) == data
    assert text.decompress(stream, len(data), "the text") == data
    assert len(stream) <= stored_size(data) + 2
    return stream


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-300, 3000) | st.sampled_from(["Dense", "relu", "a"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["name", "axis", "x"]), inner),
    max_leaves=60,
)
# Pieces repeated, so that copies of all lengths and distances occur.
repetitive = st.lists(st.tuples(st.binary(max_size=12), st.integers(1, 40)), max_size=12).map(
    lambda pieces: b"".join(piece * count for piece, count in pieces)
)


@given(st.binary(max_size=600))
@example(b"")
@example(bytes(range(256)) * 3)
def test_round_trip_of_bytes(data):
    check(data)


@given(st.text(max_size=400))
def test_round_trip_of_text(value):
    check(value.encode("utf-8", "surrogatepass"))


@given(json_values)
def test_round_trip_of_json(value):
    check(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


@given(repetitive)
@settings(max_examples=50)
def test_round_trip_of_repetition(data):
    check(data)


@given(st.integers(0, len(text.DICTIONARY)), st.integers(0, 700))
@settings(max_examples=30)
def test_round_trip_of_the_dictionary(start, size):
    part = text.DICTIONARY[start : start + size]
    assert len(check(part)) <= 6 + 4 * len(part) // lz77.MAX_MATCH


@given(repetitive, st.binary(max_size=40))
@settings(max_examples=50)
def test_any_dictionary(data, dictionary):
    assert inflate(deflate.deflate(data, dictionary), dictionary) == data


def test_a_dictionary_longer_than_the_window():
    dictionary = random.Random(0).randbytes(lz77.WINDOW + 500)
    # Its beginning is out of reach, and its end is not.
    for data in (dictionary[:300], dictionary[-300:], dictionary[500:700]):
        stream = deflate.deflate(data, dictionary)
        assert inflate(stream, dictionary[-lz77.WINDOW :]) == data
    assert len(stream) < 20


@pytest.mark.parametrize("size", [1, 257, 258, 259, 260, 516, 517, 100_000])
def test_runs(size):
    assert len(check(b"\xaa" * size)) < 12 + size // 800


@pytest.mark.parametrize("gap", [lz77.WINDOW - 1, lz77.WINDOW, lz77.WINDOW + 1])
def test_the_longest_distance(gap):
    generator = random.Random(gap)
    repeated = generator.randbytes(250)
    data = repeated + generator.randbytes(gap - 250) + repeated
    assert (len(check(data)) < len(data) - 100) == (gap <= lz77.WINDOW)


@pytest.mark.parametrize("size", [65_534, 65_535, 65_536, 131_071])
def test_what_cannot_be_compressed_is_stored(size):
    data = random.Random(size).randbytes(size)
    assert len(check(data)) == stored_size(data)


@pytest.mark.parametrize("limit", ["_SMALL", "_LARGE"])
def test_larger_texts(monkeypatch, limit):
    """With the limits lowered, a short text goes the way of a long one."""
    data = residual_network(6) + random.Random(0).randbytes(3000) + residual_network(7)
    best = len(check(data))
    monkeypatch.setattr(deflate, "_PIECE", 5000)
    monkeypatch.setattr(deflate, "_CHUNK", 100)
    monkeypatch.setattr(deflate, "_CHUNK_LARGE", 100)
    monkeypatch.setattr(deflate, limit, 1)
    assert 0.95 * best < len(check(data)) < 1.15 * best


def test_a_text_of_more_than_a_piece():
    data = residual_network(12) * 75
    assert len(data) > deflate._PIECE
    check(data)


@pytest.mark.parametrize("data", ARCHITECTURES)
def test_smaller_than_zlib(data):
    assert len(check(data)) <= len(zlib_deflate(data))


def test_sizes():
    assert len(check(LENET)) <= 45
    assert len(check(LSTM)) <= 90


def test_different_data_in_blocks_of_their_own():
    generator = random.Random(3)
    letters = "".join(generator.choices("abcdefgh", k=9000)).encode()
    data = letters + generator.randbytes(9000) + letters[::-1]
    stream = check(data)
    assert len(stream) <= len(zlib_deflate(data))
    # With one code for all of them, and with as few bits as there can be.
    assert 2 * 9000 * 3 // 8 + 9000 < len(stream) < 18_000


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 200_000])
def test_stored(size):
    data = bytes(size)
    stream = text.compress(data, level=0)
    assert len(stream) == stored_size(data)
    assert text.decompress(stream, size, "the text") == data


@pytest.mark.parametrize(
    ("data", "stream"),
    [
        (b"", "0300"),
        (b"\xff", "fb0f00"),
        (
            LENET,
            "c3b4310718a425f1c60606f1c0cc40c052ecf19e5900f42fd000a86b50a540c18343ca1824050a2f00",
        ),
        (b"\0" * 1000, "6318f660148c82510000"),
    ],
)
def test_known_streams(data, stream):
    """The same input gives the same bytes for ever."""
    assert text.compress(data).hex() == stream


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (text.DICTIONARY, 0xC5460537),
        (text.compress(residual_network(16)), 0x45034C86),
        (text.compress(NAMES), 0x93A24745),
        (text.compress(residual_network(3) + bytes(range(256)) * 9), 0xD9F29876),
    ],
    ids=["dictionary", "architecture", "names", "mixture"],
)
def test_known_checksums(data, checksum):
    assert zlib.crc32(data) == checksum


def test_dictionary():
    assert len(text.DICTIONARY) <= 5000
    for word in (b'"Conv2D"', b"/kernel", b"/moving_variance", b'"use_bias":false', b'"relu"'):
        assert word in text.DICTIONARY


@given(st.lists(st.integers(0, 400), min_size=1, max_size=288).filter(any), st.integers(9, 15))
def test_bounded_lengths(counts, longest):
    lengths = deflate_header.bounded_lengths(np.array(counts), longest)
    assert ((lengths > 0) == (np.array(counts) > 0)).all()
    assert lengths.max() <= longest
    if np.count_nonzero(lengths) > 1:
        assert sum(2.0 ** -int(length) for length in lengths if length) == 1


def test_bounded_lengths_of_extreme_counts():
    counts = [1, 1]
    while len(counts) < 40:
        counts.append(counts[-1] + counts[-2])
    assert deflate_header.bounded_lengths(np.array(counts)).max() == deflate_header.MAX_CODE


def test_headers_are_read_by_zlib():
    """Code lengths with runs of all kinds, in a block that ends at once."""
    generator = np.random.default_rng(0)
    for _ in range(100):
        counts = generator.integers(0, 50, 286) * (generator.random(286) < generator.random())
        counts[256] = 1
        counts[generator.integers(0, 200) :][: generator.integers(0, 200)] = 0
        counts[[256, generator.integers(0, 256)]] = 3
        literals = deflate_header.bounded_lengths(counts)
        distances = deflate_header.bounded_lengths(counts[:30])
        fields = [(0b101, 3), *deflate_header.header(literals, distances)]
        fields.append((int(deflate_header.reversed_codes(literals)[256]), int(literals[256])))
        bits = "".join(f"{value:0{width}b}"[::-1] for value, width in fields if width)
        stream = int(bits[::-1], 2).to_bytes(-(-len(bits) // 8), "little")
        assert inflate(stream) == b""


def test_decompress_takes_any_view():
    stream = text.compress(LENET)
    assert text.decompress(memoryview(stream), len(LENET), "it") == LENET


@given(repetitive)
def test_decompress_takes_the_streams_of_zlib(data):
    assert text.decompress(zlib_deflate(data), len(data), "it") == data


@pytest.mark.parametrize("data", [*ARCHITECTURES, b"", bytes(3000), random.Random(0).randbytes(99)])
def test_decompress_refuses_other_sizes_and_lengths(data):
    stream = text.compress(data)
    for size in (0, 1, len(data) - 1, len(data) + 1, 2 * len(data) + 100):
        if size != len(data) and size >= 0:
            with pytest.raises(FormatError, match=r"the text has .* should have"):
                text.decompress(stream, size, "the text")
    for cut in {0, 1, len(stream) // 2, len(stream) - 1} - {len(stream)}:
        with pytest.raises(FormatError, match="the text ends early"):
            text.decompress(stream[:cut], len(data), "the text")
    for more in (b"\0", b"\x03\x00", stream):
        with pytest.raises(FormatError, match="left over after the text"):
            text.decompress(stream + more, len(data), "the text")


@pytest.mark.parametrize("stream", ["07", "00000000ff", "05ffffff", "ffffffffffffff"])
def test_decompress_refuses_what_is_no_stream(stream):
    with pytest.raises(FormatError, match=r"the text is not a DEFLATE stream"):
        text.decompress(bytes.fromhex(stream), 10, "the text")


@given(st.binary(max_size=100), st.integers(0, 50))
def test_decompress_gives_the_right_size_or_an_error(data, size):
    with contextlib.suppress(FormatError):
        assert len(text.decompress(data, size, "the text")) == size


def test_copies_from_before_the_dictionary_are_refused():
    far = random.Random(0).randbytes(lz77.WINDOW - len(text.DICTIONARY)) + text.DICTIONARY
    stream = deflate.deflate(far[:300], far)
    with pytest.raises(FormatError, match="not a DEFLATE stream"):
        text.decompress(stream, 300, "the text")


def test_a_bomb_takes_no_memory():
    # After a full flush, what follows stands for itself, so the same mebibyte can come again.
    encoder = zlib.compressobj(9, zlib.DEFLATED, -15)
    mebibyte = encoder.compress(bytes(1 << 20)) + encoder.flush(zlib.Z_FULL_FLUSH)
    bomb = mebibyte * 1024 + b"\x03\x00"
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="more than the 100 bytes"):
            text.decompress(bomb, 100, "the text")
        with pytest.raises(FormatError, match="more than the 10,000 bytes"):
            text.decompress(bomb, 10_000, "the text")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000
