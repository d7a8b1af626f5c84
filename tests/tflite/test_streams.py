import contextlib
import random

import pytest

from keras_deepcomp.container import FormatError
from keras_deepcomp.tflite import streams

TEXTS = {
    "nothing": b"",
    "one": b"a",
    "text": b"hello world, hello " * 20,
    "noise": random.Random(0).randbytes(1000),
    "long": bytes(random.Random(1).choices(b"abcdefgh", k=streams._LONG)),
}


@pytest.mark.parametrize("data", TEXTS.values(), ids=TEXTS)
def test_every_codec_gives_the_bytes_back(data):
    coded = list(streams._candidates(data))
    for stream in coded:
        assert streams.decompress(stream, len(data)) == data
    assert streams.compress(data) == min(coded, key=len)
    assert len(streams.compress(data)) <= len(data) + 1


def test_all_codecs_are_tried():
    codecs = [stream[0] for stream in streams._candidates(TEXTS["text"])]
    assert set(codecs) == {
        streams.STORED, streams.DEFLATE, streams.BZIP2, streams.LZMA, streams.LZMA2,
    }  # fmt: skip


@pytest.mark.parametrize("number", range(8))
def test_streams_that_are_too_short_or_too_long_are_refused(number):
    data = TEXTS["text"]
    stream = list(streams._candidates(data))[number]
    with pytest.raises(FormatError):
        streams.decompress(stream, len(data) + 1)
    with pytest.raises(FormatError):
        streams.decompress(stream[: len(stream) // 2], len(data))
    if stream[0] != streams.LZMA:  # says nothing of its end
        with pytest.raises(FormatError):
            streams.decompress(stream, len(data) - 1)
        with pytest.raises(FormatError):
            streams.decompress(stream + b"x", len(data))


def test_expansion_is_bounded():
    for stream in streams._candidates(bytes(1 << 17)):
        with pytest.raises(FormatError):
            streams.decompress(stream if stream[0] != streams.LZMA else b"\3", 10)


@pytest.mark.parametrize("stream", [b"", b"\5", b"\xff\0", b"\3", b"\3\xff\0\0", b"\3\x28\0\0\0"])
def test_what_is_no_stream_is_refused(stream):
    with pytest.raises(FormatError):
        streams.decompress(stream, 10)


def test_damaged_streams_give_some_bytes_or_an_error():
    rng = random.Random(2)
    for stream in streams._candidates(TEXTS["text"]):
        for _ in range(100):
            changed = bytearray(stream)
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            with contextlib.suppress(FormatError):
                assert len(streams.decompress(bytes(changed), 380)) == 380
