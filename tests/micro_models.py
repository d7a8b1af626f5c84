"""Small `.tflite` models, made by hand of the schema's objects, operator by operator."""

import numpy as np

from keras_deepcomp.tflite.micro.flatbuffer import DTYPES, schema, write

TYPES = {np.dtype(dtype).name: code for code, dtype in DTYPES.items()}
OPTIONS = {
    "FULLY_CONNECTED": schema.FullyConnectedOptionsT(),
    "CONV_2D": schema.Conv2DOptionsT(
        strideW=1, strideH=1, dilationWFactor=1, dilationHFactor=1, padding=schema.Padding.VALID
    ),
    "DEPTHWISE_CONV_2D": schema.DepthwiseConv2DOptionsT(
        strideW=1,
        strideH=1,
        dilationWFactor=1,
        dilationHFactor=1,
        depthMultiplier=1,
        padding=schema.Padding.VALID,
    ),
    "TRANSPOSE_CONV": schema.TransposeConvOptionsT(strideW=2, strideH=2),
    "MAXIMUM": schema.MaximumMinimumOptionsT(),
    "ADD": schema.AddOptionsT(),
    "CONV_3D": schema.Conv3DOptionsT(),
}


class Graph:
    """A model with one subgraph."""

    def __init__(self):
        self.model = schema.ModelT(version=3, description="made by hand", operatorCodes=[])
        self.model.buffers = [schema.BufferT()]
        self.subgraph = schema.SubGraphT(tensors=[], operators=[], inputs=[], outputs=[])
        self.model.subgraphs = [self.subgraph]

    def tensor(self, shape, dtype="int8", scales=(0.05,), zero_points=None, axis=0, name="t"):
        """A tensor that is computed."""
        quantization = None
        if dtype != "float32":
            points = np.zeros(len(scales)) if zero_points is None else zero_points
            quantization = schema.QuantizationParametersT(
                scale=np.array(scales, np.float32),
                zeroPoint=np.array(points, np.int64),
                quantizedDimension=axis,
            )
        self.subgraph.tensors.append(
            schema.TensorT(
                shape=np.array(shape, np.int32),
                type=TYPES[dtype],
                name=name,
                quantization=quantization,
                hasRank=True,
            )
        )
        return len(self.subgraph.tensors) - 1

    def constant(self, values, buffer=None, **arguments):
        """A tensor with values, in a buffer of its own or in that of another tensor."""
        tensor = self.tensor(values.shape, values.dtype.name, **arguments)
        if buffer is None:
            data = np.frombuffer(values.tobytes(), np.uint8)
            self.model.buffers.append(schema.BufferT(data=data))
            buffer = len(self.model.buffers) - 1
        self.subgraph.tensors[tensor].buffer = buffer
        return tensor

    def buffer(self, tensor):
        return self.subgraph.tensors[tensor].buffer

    def input(self, shape, dtype="int8", **arguments):
        tensor = self.tensor(shape, dtype, **arguments)
        self.subgraph.inputs.append(tensor)
        return tensor

    def operator(self, name, inputs, shape, dtype="int8", **arguments):
        """An operator with one output; returns the output."""
        code = getattr(schema.BuiltinOperator, name)
        self.model.operatorCodes.append(
            schema.OperatorCodeT(builtinCode=code, deprecatedBuiltinCode=min(code, 127), version=1)
        )
        output = self.tensor(shape, dtype, **arguments)
        options = OPTIONS[name]
        self.subgraph.operators.append(
            schema.OperatorT(
                opcodeIndex=len(self.model.operatorCodes) - 1,
                inputs=np.array(inputs, np.int32),
                outputs=np.array([output], np.int32),
                builtinOptionsType=getattr(
                    schema.BuiltinOptions, type(options).__name__.removesuffix("T")
                ),
                builtinOptions=options,
            )
        )
        return output

    def outputs(self, *tensors):
        self.subgraph.outputs += tensors
        return self

    def to_bytes(self):
        return write(self.model)


def sparse(rng, shape, dtype=np.int8, values=12, kept=0.15):
    """Few values, most of them zero, as pruned and shared weights have."""
    codebook = rng.choice(np.arange(-100, 101), values).astype(dtype)
    return np.where(rng.random(shape) < kept, rng.choice(codebook, shape), 0).astype(dtype)


def scales(rng, channels):
    return rng.uniform(0.001, 0.01, channels)


def dense(rng, kept=0.15, per_channel=True, inputs=96, units=40):
    """A dense layer, int8, with a bias."""
    graph = Graph()
    x = graph.input((1, inputs))
    weight_scales = scales(rng, units) if per_channel else (0.004,)
    weights = graph.constant(sparse(rng, (units, inputs), kept=kept), scales=weight_scales)
    bias = graph.constant(
        rng.integers(-500, 500, units).astype(np.int32), scales=0.05 * np.array(weight_scales)
    )
    return graph.outputs(graph.operator("FULLY_CONNECTED", [x, weights, bias], (1, units)))


def maxima(tensors, dtype="int8"):
    """The maxima of the input and of each of many tensors; the lowest input gives these back."""
    graph = Graph()
    shape = tensors[0].shape
    x = graph.input(shape, dtype)
    return graph.outputs(
        *(graph.operator("MAXIMUM", [x, graph.constant(t)], shape, dtype) for t in tensors)
    )
