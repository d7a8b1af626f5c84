import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from micro_models import Graph, dense, maxima

from keras_deepcomp.container import FormatError
from keras_deepcomp.tflite.micro import MicroError
from keras_deepcomp.tflite.micro.constants import find_constants
from keras_deepcomp.tflite.micro.flatbuffer import operator_name, read, schema, write
from keras_deepcomp.tflite.micro.selection import choose


def plain(value):
    """An object of the schema as dictionaries, lists, numbers and bytes."""
    if isinstance(value, np.ndarray):
        return value.dtype.name, value.tolist()
    if isinstance(value, list):
        return [plain(item) for item in value]
    if hasattr(value, "__dict__"):
        return type(value).__name__, {name: plain(item) for name, item in vars(value).items()}
    return value


def model():
    graph = dense(np.random.default_rng(0))
    graph.model.metadata = [schema.MetadataT(name="note", buffer=1)]
    graph.model.signatureDefs = [
        schema.SignatureDefT(
            inputs=[schema.TensorMapT(name="x", tensorIndex=0)],
            outputs=[schema.TensorMapT(name="y", tensorIndex=3)],
            signatureKey="serving_default",
        )
    ]
    return graph.to_bytes()


def test_everything_comes_back():
    data = model()
    again = write(read(data))
    assert plain(read(again)) == plain(read(data))
    assert write(read(again)) == again


def test_buffers_begin_at_multiples_of_16_bytes():
    data = model()
    for buffer in read(data).buffers[1:]:
        assert buffer.data.size and data.index(buffer.data.tobytes()) % 16 == 0


def test_what_occurs_several_times_is_stored_once():
    values = np.random.default_rng(0).integers(-128, 128, (1, 500)).astype(np.int8)
    one, two = (len(maxima([values] * count).to_bytes()) for count in (1, 2))
    assert two - one < 300


def test_names_of_operators():
    parsed = read(model())
    assert operator_name(parsed, parsed.subgraphs[0].operators[0]) == "FULLY_CONNECTED"


@pytest.mark.parametrize("data", [b"", b"TFL3", b"PK\3\4" + bytes(100), bytes(200)])
def test_what_is_not_a_tflite_file(data):
    with pytest.raises(FormatError, match=r"not a \.tflite file"):
        read(data)


WHOLE = model()


@given(
    places=st.lists(st.integers(8, len(WHOLE) - 1), min_size=1, max_size=4),
    value=st.sampled_from([0, 1, 4, 127, 128, 255]),
)
@settings(max_examples=300)
def test_a_damaged_file_is_refused_or_goes_all_the_way(places, value):
    data = bytearray(WHOLE)
    for place in places:
        data[place] = value
    try:
        groups = find_constants(read(bytes(data)))
    except (FormatError, MicroError):
        return
    choose(bytes(data), groups, "auto")


def test_weights_behind_the_flatbuffer():
    graph = Graph()
    graph.model.buffers.append(schema.BufferT(offset=4096, size=16))
    with pytest.raises(MicroError, match="over 2 GiB"):
        read(graph.to_bytes())
