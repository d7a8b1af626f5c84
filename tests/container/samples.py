"""Arrays of all kinds, models of all kinds, and files put together by hand."""

import math
import zlib

import numpy as np
from hypothesis import strategies as st

from keras_deepcomp.container import blocks, decoding, directory, dtypes, encoding, frame, text
from keras_deepcomp.container.bits import BitReader, BitWriter
from keras_deepcomp.container.directory import CODED, Record
from keras_deepcomp.container.model import TensorModel
from keras_deepcomp.container.search import Effort
from keras_deepcomp.container.wire import varint

shapes = st.one_of(
    st.sampled_from([(), (0,), (1,), (3, 0, 2), (1,) * 32]),
    st.lists(st.integers(0, 9), min_size=1, max_size=4).map(tuple),
    st.tuples(st.integers(20, 60), st.integers(5, 40)),
    st.tuples(st.integers(100, 2000)),
)


@st.composite
def arrays(draw):
    """Arrays of any bits: all types, shapes, densities, numbers of values, orders and strides."""
    element = draw(st.sampled_from(list(dtypes.BY_CODE.values())))
    shape = draw(shapes)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    density = draw(st.sampled_from([0.0, 0.01, 0.1, 0.5, 0.9, 1.0]))
    clusters = draw(st.sampled_from([1, 2, 16, 300, 10**6]))
    size = math.prod(shape)
    book = random.bytes(min(clusters, size) * element.itemsize)
    values = np.frombuffer(book, f"V{element.itemsize}")
    flat = np.zeros(size, values.dtype)
    nonzero = np.flatnonzero(random.random(size) < density)
    flat[nonzero] = values[random.integers(0, max(values.size, 1), nonzero.size)]
    loose = flat.view(element.numpy_dtype())
    # All bits are allowed in memory; the format keeps one spelling of each bool and int4.
    patterns = dtypes.patterns_of(loose, element)
    array = patterns.view(element.numpy_dtype()).reshape(shape)
    layout = draw(st.sampled_from(["C", "F", "strided", "reversed", "swapped"]))
    if layout == "F":
        return np.asfortranarray(array)
    if layout == "strided" and array.ndim:
        return np.repeat(array, 2, axis=-1)[..., ::2]
    if layout == "reversed" and array.ndim:
        return np.ascontiguousarray(array[::-1])[::-1]
    if layout == "swapped" and element.itemsize > 1 and not element.optional:
        return array.astype(array.dtype.newbyteorder(">"))
    return array


def same(loaded, saved):
    """Checks that a loaded array is what was saved, bit for bit, and the caller's to keep."""
    saved = np.asarray(saved)
    assert loaded.dtype == saved.dtype.newbyteorder("=")
    assert loaded.dtype.isnative
    assert loaded.shape == saved.shape
    assert loaded.flags.writeable and loaded.flags.c_contiguous
    # What it lies in, if it is a part of something, is all memory of its own.
    memory = loaded if loaded.base is None else loaded.base
    assert memory.flags.owndata and memory.nbytes <= loaded.nbytes + 64
    element = dtypes.element_type(saved.dtype)
    assert loaded.tobytes() == dtypes.patterns_of(saved, element).tobytes()


def weights(shape, density, clusters, seed=0):
    """Return clustered float32 weights, of which a share is not zero."""
    random = np.random.default_rng(seed)
    book = random.normal(size=clusters).astype(np.float32)
    array = book[random.integers(0, clusters, shape)]
    array[random.random(shape) >= density] = 0
    return array


def encoded(array, effort=5):
    """Return the blocks that code an array, or None where it stays as it is."""
    element = dtypes.element_type(array.dtype)
    return encoding.encode(
        dtypes.patterns_of(array, element), element, array.shape, Effort.of(effort)
    )


def decoded(contents, name, shape):
    """Return the patterns and the description that blocks of a coded tensor stand for."""
    element = dtypes.BY_NAME[name]
    record = Record("x", element, tuple(shape), CODED, tuple(map(len, contents)))
    patterns = np.zeros(math.prod(shape), element.pattern)
    info = decoding.decode(record, map(memoryview, contents), patterns)
    return patterns, info


def model_of(contents, name, shape):
    """Return the model in the first block of a coded tensor."""
    reader = BitReader(contents[0], "tensor 'x'")
    return TensorModel.read(reader, dtypes.BY_NAME[name], shape, len(contents))


def bits_of(string):
    """Return bytes of bits like "1 0110", filled up with zeros."""
    digits = string.replace(" ", "")
    return bytes(
        int(digits[start : start + 8].ljust(8, "0"), 2) for start in range(0, len(digits), 8)
    )


def written(write):
    """Return the bits that a function writes to its argument as bytes, with zeros at the end."""
    writer = BitWriter()
    write(writer)
    return writer.bits.tobytes()


def reader_of(writer):
    """Return a cursor over what was written."""
    return BitReader(writer.bits.tobytes(), "tensor 'x'")


def sealed(body):
    """Return bytes with the checksum that belongs to them."""
    return bytes(body) + zlib.crc32(bytes(body)).to_bytes(4, "little")


def deflated(data):
    """Return a text without the search for the shortest one, which takes long."""
    encoder = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=text.DICTIONARY)
    return encoder.compress(data) + encoder.flush()


def file_around(listing, contents=b"", *, size=None, compress=deflated):
    """Return a file with this listing and these bytes before it, all checksums right."""
    index = varint(len(listing) if size is None else size) + compress(listing)
    return sealed_file(contents, index)


def sealed_file(contents, index):
    """Return a file with this directory and these bytes before it, all checksums right."""
    body = frame.HEAD + contents + index
    return body + frame.trailer(index, zlib.crc32(body))


def file_of(*tensors, metadata=b"", metadata_size=None):
    """Return a file of (record, blocks) pairs and compressed metadata, all checksums right."""
    contents = b"".join(
        block + blocks.checksum(block) for _, contents in tensors for block in contents
    )
    if metadata:
        contents += metadata + blocks.checksum(metadata)
    records = [record for record, _ in tensors]
    return file_around(directory.encode(metadata_size or 0, len(metadata), records), contents)
