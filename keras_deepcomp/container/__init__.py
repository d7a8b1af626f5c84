"""The `.kdc` file format: numpy arrays by name, losslessly and compactly, as Deep Compression does.

It stands on numpy and bitarray alone; `docs/format.md` describes each byte of a file.
"""

from keras_deepcomp.container.disk import inspect_file, load_file, load_file_with_info, save_file
from keras_deepcomp.container.errors import FormatError
from keras_deepcomp.container.info import FileInfo, TensorInfo
from keras_deepcomp.container.reading import DEFAULT_MAX_BYTES, inspect, load, load_with_info
from keras_deepcomp.container.writing import save

__all__ = [
    "DEFAULT_MAX_BYTES",
    "FileInfo",
    "FormatError",
    "TensorInfo",
    "inspect",
    "inspect_file",
    "load",
    "load_file",
    "load_file_with_info",
    "load_with_info",
    "save",
    "save_file",
]
