"""`.tflite` files put together by hand, with what converters seldom write."""

import io
import zipfile

import flatbuffers
import ml_dtypes
import numpy as np
from ai_edge_litert import schema_py_generated as schema

TYPE = {
    name.lower(): code for name, code in vars(schema.TensorType).items() if isinstance(code, int)
}


def weights(shape, dtype="int8", seed=0, kept=0.2, values=8):
    """Values as after pruning and sharing: most are zero, the others few."""
    rng = np.random.default_rng(seed)
    codebook = rng.choice(np.arange(1, 120), values, replace=False) * rng.choice([-1, 1], values)
    array = np.where(rng.random(shape) < kept, rng.choice(codebook, shape), 0)
    return array.astype(dtype)


def folded(dtype="float32", shape=(48, 3, 3, 16), seed=0, negative=0.0):
    """A pruned and shared kernel as a converter leaves it: folded, and quantized per channel."""
    rng = np.random.default_rng(seed)
    shared = np.sort(rng.normal(0, 1, 12)).astype(np.float32)
    values = np.where(rng.random(shape) < 0.2, rng.choice(shared, shape), 0).astype(np.float32)
    factors = np.exp(rng.normal(0, 0.3, shape[0])).astype(np.float32)
    factors *= np.where(rng.random(shape[0]) < negative, -1, 1).astype(np.float32)
    per_channel = (-1, *[1] * (len(shape) - 1))
    made = values * factors.reshape(per_channel)
    if dtype == "int8":
        scales = np.abs(made).reshape(shape[0], -1).max(1) / 127
        made = np.rint(made / np.where(scales == 0, 1, scales).reshape(per_channel))
    return made.astype(dtype)


def noise(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8).tobytes()


def nibbles(shape, seed=0):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < 0.3, rng.integers(-8, 8, shape), 0).astype(ml_dtypes.int4)


def packed_nibbles(array):
    flat = array.reshape(-1).view(np.uint8) & 15
    flat = np.append(flat, np.zeros(flat.size % 2, np.uint8))
    return (flat[::2] | flat[1::2] << 4).tobytes()


class Maker:
    """A model that grows buffer by buffer; the first buffer is empty, as converters have it."""

    def __init__(self):
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.buffers = [self._buffer(None)]
        self.model.subgraphs = []
        self.model.operatorCodes = []
        self.subgraph()

    def _buffer(self, data):
        buffer = schema.BufferT()
        buffer.data = None if data is None else np.frombuffer(data, np.uint8)
        return buffer

    def buffer(self, data):
        self.model.buffers.append(self._buffer(data))
        return len(self.model.buffers) - 1

    def subgraph(self):
        self.model.subgraphs.append(schema.SubGraphT())
        self.model.subgraphs[-1].tensors = []
        self.model.subgraphs[-1].operators = []
        return self

    def tensor(self, data, dtype, shape, buffer=None, sparsity=None):
        """Adds a tensor to the last subgraph; with a buffer of its own, or one that is there."""
        tensor = schema.TensorT()
        tensor.name = f"tensor_{len(self.model.buffers)}"
        tensor.type = TYPE[dtype]
        tensor.shape = list(shape)
        tensor.buffer = self.buffer(data) if buffer is None else buffer
        tensor.sparsity = sparsity
        self.model.subgraphs[-1].tensors.append(tensor)
        return self

    def add(self, array, dtype=None):
        return self.tensor(array.tobytes(), dtype or array.dtype.name, array.shape)

    def custom_operator(self, options):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = "Mystery"
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes)
        operator.customOptions = np.frombuffer(options, np.uint8)
        self.model.operatorCodes.append(code)
        self.model.subgraphs[-1].operators.append(operator)
        return self

    def signature(self):
        one = schema.SignatureDefT()
        one.signatureKey, one.subgraphIndex = "serving_default", 0
        self.model.signatureDefs = [one]
        metadata = schema.MetadataT()
        metadata.name, metadata.buffer = "min_runtime_version", self.buffer(b"1.14.0\0")
        self.model.metadata = [metadata]
        return self

    def bytes(self):
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def with_outside_buffers(arrays):
    """A file whose buffers are behind the flatbuffer, as in files of more than 2 GiB."""
    maker = Maker()
    for array in arrays:
        maker.add(array)
    places = [(1 << 20, 1 << 20)] * len(arrays)
    for _ in range(2):  # the numbers are fields of fixed width, so the second time they are right
        for buffer, (offset, size) in zip(maker.model.buffers[1:], places, strict=True):
            buffer.data, buffer.offset, buffer.size = None, offset, size
        data = maker.bytes()
        places = []
        for array in arrays:
            data += bytes(-len(data) % 16)
            places.append((len(data), array.nbytes))
            data += array.tobytes()
    return data


def zipped(data):
    """A file with labels in a zip behind it, as TFLite metadata has them."""
    out = io.BytesIO(data)
    out.seek(0, io.SEEK_END)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("labels.txt", "cat\ndog\n" * 30)
    return out.getvalue()


def sparsity():
    made = schema.SparsityParametersT()
    made.traversalOrder = [0, 1]
    made.dimMetadata = []
    for kind in (schema.DimensionType.DENSE, schema.DimensionType.SPARSE_CSR):
        dimension = schema.DimensionMetadataT()
        dimension.format, dimension.denseSize = kind, 40
        made.dimMetadata.append(dimension)
    return made


def kinds():
    """Name -> the bytes of a `.tflite` file."""
    kernel, other = weights((32, 3, 3, 16)), weights((64, 128), seed=1)
    shared = Maker().add(kernel)
    shared.tensor(None, "int8", kernel.shape, buffer=1).subgraph()
    shared.tensor(None, "uint8", (kernel.size,), buffer=1)
    same = Maker().add(other).add(kernel).add(other).add(other)
    floats = np.random.default_rng(0).standard_normal((40, 50))
    odd = nibbles((33, 65))
    loose = bytearray(packed_nibbles(odd))
    loose[-1] |= 0xA0  # the half of a byte that belongs to no element
    sparse = Maker().tensor(weights(700).tobytes(), "int8", (40, 40), sparsity=sparsity())
    return {
        "one": Maker().add(kernel).bytes(),
        "nothing": Maker().bytes(),
        "two subgraphs": Maker().add(kernel).subgraph().add(other).bytes(),
        "shared buffer": shared.bytes(),
        "same bytes": same.bytes(),
        "empty buffers": Maker().tensor(b"", "int8", (0,)).tensor(None, "int8", (3,)).bytes(),
        "all zeros": Maker().add(np.zeros((50, 60), np.float32)).bytes(),
        "int4": Maker().tensor(packed_nibbles(odd), "int4", odd.shape).bytes(),
        "int4 with a loose end": Maker().tensor(bytes(loose), "int4", odd.shape).bytes(),
        "uint4": Maker().tensor(packed_nibbles(odd), "uint4", odd.shape).bytes(),
        "int2": Maker().tensor(packed_nibbles(odd), "int2", (66, 65)).bytes(),
        "float32": Maker().add(floats.astype(np.float32)).bytes(),
        "folded": Maker().add(folded()).bytes(),
        "folded int8": Maker().add(folded("int8", (128, 3, 3, 8))).bytes(),
        "float16": Maker().add(floats.astype(np.float16)).bytes(),
        "bfloat16": Maker().add(floats.astype(ml_dtypes.bfloat16)).bytes(),
        "int16": Maker().add(weights((64, 64), np.int16)).bytes(),
        "int64": Maker().add(np.arange(500)).bytes(),
        "bool": Maker().add(weights((64, 64)) != 0).bytes(),
        "bool of other bytes": Maker().tensor(noise(600), "bool", (600,)).bytes(),
        "string": Maker().tensor(noise(600), "string", (3,)).bytes(),
        "complex128": Maker().tensor(noise(1600), "complex128", (100,)).bytes(),
        "sparse": sparse.bytes(),
        "shape that does not fit": Maker().tensor(noise(999), "float32", (40, 40)).bytes(),
        "shape with -1": Maker().tensor(kernel.tobytes(), "int8", (-1, 16)).bytes(),
        "outside": with_outside_buffers([kernel, other]),
        "zip behind": zipped(Maker().add(kernel).add(other).bytes()),
        "noise behind": Maker().add(kernel).bytes() + noise(5001),
        "custom operator": Maker().add(kernel).custom_operator(noise(200)).bytes(),
        "signature": Maker().add(kernel).add(other).signature().bytes(),
    }
