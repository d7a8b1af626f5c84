"""The peers of `format.py`, in a virtual environment of their own: sizes and times, on request.

`format.py` starts this file with the path of an `.npz` of index arrays, and writes requests, one
JSON object a line; each is answered by one line. All peers code the indices alone, without the
codebook; what each decodes is compared with what went in.

- gzip, xz, zstd and brotli, at their strongest levels, code the bytes of the indices.
- ZipNN codes the same bytes, as a type of their width.
- NNCodec's own entropy coder, DeepCABAC, codes them as integers, losslessly. Of its bit stream only
  the arithmetic-coded payload counts; headers, entry points and tensor shapes are given to it free.
  It gets the smallest result over all scans, all sensible orders of dimensions, and all settings
  that the standard lets an encoder choose. (Dependent quantization is none of them: it represents
  only integers of certain parities.)

The byte coders get C and Fortran order; the smaller result counts.
"""

import gzip
import json
import lzma
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from unittest import mock

import brotli
import numpy as np
import zstandard
from nncodec.extensions import deepCABAC

# ZipNN imports torch and safetensors, but uses them for torch's tensors only, not for bytes.
TORCH = ("torch", "safetensors", "safetensors.torch")
with mock.patch.dict(sys.modules, {name: mock.MagicMock() for name in TORCH}):
    import zipnn

NO_HISTORY = (deepCABAC.HdspMode.AlwaysOff, np.zeros(2, np.int8))
PROFILE = 1  # the standard's second edition: row skipping and bounded codebooks
UNARY_LENGTHS = (1, 2, 3, 4, 6, 8, 11, 16, 32, 64, 128)
LARGE = 1_000_000
SCANS = range(5)  # by row, or in blocks of 8, 16, 32, 64


def zipnn_coder(width):
    dtype = {1: "float8_e4m3fn", 2: "float16"}[width]
    return zipnn.ZipNN(input_format="byte", bytearray_dtype=dtype, threads=1)


# name: (encode, decode), from and to bytes; the width of an index is the second argument.
BYTE_CODERS = {
    "gzip": (lambda raw, _: gzip.compress(raw, 9, mtime=0), lambda data, _: gzip.decompress(data)),
    "xz": (
        lambda raw, _: lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME),
        lambda data, _: lzma.decompress(data),
    ),
    "zstd": (
        lambda raw, _: zstandard.compress(raw, 19),
        lambda data, _: zstandard.decompress(data),
    ),
    "brotli": (
        lambda raw, _: brotli.compress(raw, quality=11, lgwin=24),
        lambda data, _: brotli.decompress(data),
    ),
    "zipnn": (
        lambda raw, width: bytes(zipnn_coder(width).compress(bytearray(raw))),
        lambda data, width: bytes(zipnn_coder(width).decompress(bytearray(data))),
    ),
}


def byte_coder_size(name, array, order):
    encode, decode = BYTE_CODERS[name]
    raw = array.tobytes(order)
    data = encode(raw, array.itemsize)
    if decode(data, array.itemsize) != raw:
        raise AssertionError(f"{name} is not lossless")
    return len(data)


def orders(array):
    """The matrices that NNCodec may get: rows by columns, for each order of the dimensions."""
    matrix = array.reshape(-1, array.shape[-1])
    yield "as it is", matrix
    yield "transposed", np.ascontiguousarray(matrix.T)
    if array.ndim == 4:
        _, _, inputs, outputs = array.shape
        yield "OIHW", np.ascontiguousarray(array.transpose(3, 2, 0, 1).reshape(outputs, -1))
        yield "IOHW", np.ascontiguousarray(array.transpose(2, 3, 0, 1).reshape(inputs, -1))
        yield "IHWO", np.ascontiguousarray(array.transpose(2, 0, 1, 3).reshape(-1, outputs))


def with_zero_at(array, symbol):
    """The array as NNCodec's indices into its codebook, counted from the given symbol."""
    codebook = np.unique(array)
    table = np.arange(len(codebook)) - np.searchsorted(codebook, symbol)
    return table.astype(np.int32)[np.searchsorted(codebook, array)]


def zero_rows(matrix):
    return (~matrix.any(axis=1)).astype(np.int32)


def encode(matrix, skippable, setting):
    encoder = deepCABAC.Encoder()
    encoder.initCtxModels(setting["unary_length"], setting["param_opt"])
    encoder.encodeLayer(
        matrix,
        0,
        setting["scan"],
        PROFILE,
        0,
        setting["row_skip"],
        skippable,
        *NO_HISTORY,
        *setting["codebook"],
    )
    return encoder.finish()


def decoder_of(data, setting):
    decoder = deepCABAC.Decoder()
    decoder.setStream(data)
    decoder.initCtxModels(setting["unary_length"])
    return decoder


def entry_points(data, shape, setting):
    return decoder_of(data, setting).decodeLayerAndCreateEPs(
        np.zeros(shape, np.int32), 0, setting["scan"], PROFILE, 0, *NO_HISTORY, *setting["codebook"]
    )


def decode(data, shape, setting, points):
    decoder = decoder_of(data, setting)
    if setting["scan"]:
        decoder.setEntryPoints(points)
    matrix = np.zeros(shape, np.int32)
    decoder.decodeLayer(matrix, 0, setting["scan"], PROFILE, 0, *NO_HISTORY, *setting["codebook"])
    return matrix


class Search:
    """The smallest payload over NNCodec's settings.

    All orders and scans are tried with one setting of the rest; from the two best of them (of large
    arrays, the best), one setting after the other is changed till none helps.
    """

    def __init__(self, array):
        self.matrices = dict(orders(with_zero_at(array, self._commonest(array))))
        self.zero_rows = {order: zero_rows(matrix) for order, matrix in self.matrices.items()}
        self.sizes = {}
        matrix = self.matrices["as it is"]
        lowest, highest = int(matrix.min()), int(matrix.max())
        largest = max(-lowest, highest, 2)
        bounds = (highest - lowest + 1, -lowest)
        start = {"unary_length": min(largest, 11), "param_opt": 1, "row_skip": 1}
        self.starts = [
            {"order": order, "scan": scan, "codebook": bounds, **start}
            for order in self.matrices
            for scan in SCANS
        ]
        self.choices = {
            "unary_length": [length for length in UNARY_LENGTHS if length <= largest],
            "param_opt": [0, 1],
            "row_skip": [0, 1],
            "codebook": [(0, 0), bounds],
        }
        best_starts = sorted(self.starts, key=self.size)[: 2 if array.size < LARGE else 1]
        self.best = min(map(self._descend, best_starts), key=self.size)

    @staticmethod
    def _commonest(array):
        """What NNCodec gets as its zero: zero in a sparse array, which is what it is made for."""
        symbols, counts = np.unique(array, return_counts=True)
        return symbols[counts.argmax()]

    def encode(self, setting):
        """The payload."""
        order = setting["order"]
        return encode(self.matrices[order], self.zero_rows[order], setting)

    def size(self, setting):
        """The bytes of the payload."""
        key = tuple(setting[part] for part in sorted(setting))
        if key not in self.sizes:
            self.sizes[key] = len(self.encode(setting))
        return self.sizes[key]

    def by_order(self):
        """The bytes for each order and scan, before the other settings are tuned."""
        return {f"{each['order']}, scan {each['scan']}": self.size(each) for each in self.starts}

    def _descend(self, setting):
        while True:
            before = self.size(setting)
            for name, values in self.choices.items():
                options = [{**setting, name: value} for value in values]
                setting = min([setting, *options], key=self.size)
            if self.size(setting) == before:
                return setting


class Peers:
    """Answers requests about the arrays of one file."""

    def __init__(self, path):
        self.arrays = dict(np.load(path).items())
        self.prepared = {}

    def versions(self):
        """What measures."""
        names = ("nncodec", "brotli", "zstandard", "zipnn", "numpy")
        versions = {name: metadata.version(name) for name in names}
        return {**versions, "python": sys.version.split()[0]}

    def sizes(self, name):
        """The bytes that each peer takes, and NNCodec's best setting."""
        array = self.arrays[name]
        with ThreadPoolExecutor(2) as pool:
            jobs = {
                coder: [pool.submit(byte_coder_size, coder, array, order) for order in "CF"]
                for coder in BYTE_CODERS
            }
            search = Search(array)
            sizes = {coder: min(job.result() for job in both) for coder, both in jobs.items()}
        best = search.best
        matrix = search.matrices[best["order"]]
        data = search.encode(best)
        points = entry_points(data, matrix.shape, best) if best["scan"] else None
        if not np.array_equal(decode(data, matrix.shape, best, points), matrix):
            raise AssertionError("NNCodec is not lossless")
        self.prepared[name] = matrix, search.zero_rows[best["order"]], best, data, points
        return {
            "bytes": {**sizes, "nncodec": len(data)},
            "nncodec_setting": best,
            "nncodec_bytes_by_order": search.by_order(),
        }

    def times(self, name):
        """Seconds of one encoding and one decoding by NNCodec, with the setting found before."""
        matrix, skippable, setting, data, points = self.prepared[name]
        start = time.perf_counter()
        encode(matrix, skippable, setting)
        middle = time.perf_counter()
        decode(data, matrix.shape, setting, points)
        return {"encode": middle - start, "decode": time.perf_counter() - middle}


def main():
    peers = Peers(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(peers, request["do"])(*request["of"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
