import numpy as np
import pytest
from micro_models import Graph, maxima

from keras_deepcomp.tflite.micro import UnsupportedModelError
from keras_deepcomp.tflite.micro.flatbuffer import read, schema
from keras_deepcomp.tflite.micro.interpreter import execute, random_inputs


def test_outputs_arena_and_time():
    values = np.arange(12).astype(np.int8).reshape(1, 12)
    model = maxima([values, values + 100]).to_bytes()
    low, high = np.full((1, 12), -128, np.int8), np.full((1, 12), 50, np.int8)
    first, second = execute([model, model], [[low], [high]])
    assert [[o.tolist() for o in run] for run in first.outputs] == [
        [values.tolist(), (values + 100).tolist()],
        [high.tolist(), (values + 100).tolist()],
    ]
    assert first.arena_bytes == second.arena_bytes > 0 and first.seconds > 0


def test_a_model_that_ends_the_interpreter_ends_its_process_only():
    graph = Graph()
    x = graph.input((1, 4))
    graph.outputs(graph.operator("ADD", [x, x], (1, 4)))
    graph.subgraph.operators[0].inputs = np.array([0, 10**6], np.int32)
    with pytest.raises(UnsupportedModelError, match=r"ended by signal|does not take"):
        execute([graph.to_bytes()], [[np.zeros((1, 4), np.int8)]])


def test_a_custom_operator_is_named():
    graph = Graph()
    x = graph.input((1, 4))
    graph.outputs(graph.operator("ADD", [x, x], (1, 4)))
    (code,) = graph.model.operatorCodes
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = "Sparkle"
    with pytest.raises(UnsupportedModelError, match="no custom operator Sparkle") as error:
        execute([graph.to_bytes()], [[np.zeros((1, 4), np.int8)]])
    assert error.value.operator == "Sparkle"


def test_random_inputs_are_of_the_models_shapes_and_types():
    graph = Graph()
    for dtype in ("int8", "int16", "int32", "bool", "float32"):
        graph.input((3, 500), dtype)
    first, second = random_inputs(read(graph.to_bytes()), 2)
    assert [(a.dtype.name, a.shape) for a in first] == [
        (dtype, (3, 500)) for dtype in ("int8", "int16", "int32", "bool", "float32")
    ]
    assert first[0].min() == -128 and first[0].max() == 127
    # Mostly indices: small ones are safe.
    assert set(np.unique(first[2])) == {0, 1}
    assert not np.array_equal(first[0], second[0])
