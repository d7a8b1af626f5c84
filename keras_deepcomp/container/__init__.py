"""The `.kdc` file format: numpy arrays by name, losslessly and compactly, as Deep Compression does.

It stands on numpy and bitarray alone; `docs/format.md` describes each bit of a file.
"""

from keras_deepcomp.container.archive import DEFAULT_MAX_BYTES, Archive
from keras_deepcomp.container.disk import (
    inspect_file,
    load_file,
    load_file_with_info,
    open_file,
    save_file,
)
from keras_deepcomp.container.errors import FormatError
from keras_deepcomp.container.info import FileInfo, TensorInfo
from keras_deepcomp.container.reading import inspect, load, load_with_info
from keras_deepcomp.container.writing import DEFAULT_EFFORT, save

__all__ = [
    "DEFAULT_EFFORT",
    "DEFAULT_MAX_BYTES",
    "Archive",
    "FileInfo",
    "FormatError",
    "TensorInfo",
    "inspect",
    "inspect_file",
    "load",
    "load_file",
    "load_file_with_info",
    "load_with_info",
    "open_file",
    "save",
    "save_file",
]
