"""A `.tflite` file as an array in C, for devices that have no files."""

from __future__ import annotations

import os
import re
from pathlib import Path

from keras_deepcomp.container import FormatError
from keras_deepcomp.container.disk import replacing
from keras_deepcomp.tflite.buffers import IDENTIFIER

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_SOURCES = (".c", ".cc", ".cpp")
_BYTES_PER_LINE = 12

_HEADER = """\
#ifndef {guard}
#define {guard}

#include <stddef.h>

#ifdef __cplusplus
extern "C" {{
#endif

/* {file}: {size} bytes. */
extern const unsigned char {name}[];
extern const size_t {name}_len;

#ifdef __cplusplus
}}
#endif

#endif
"""

_SOURCE = """\
#include "{header}"

#include <stdalign.h>

/* Constant, so that it stays in flash. Interpreters read it in place and want it aligned. */
alignas(16) const unsigned char {name}[{size}] = {{
{lines}
}};
const size_t {name}_len = {size};
"""


def carray(
    tflite_path: str | os.PathLike[str],
    out_path: str | os.PathLike[str],
    name: str | None = None,
) -> int:
    """Writes a `.tflite` file as an array: a source for C11 or C++11, and a header beside it.

    The array is constant and begins at a multiple of 16 bytes; `NAME_len` is its length in bytes.

    Args:
        tflite_path: The model.
        out_path: The source to write, which ends in `.c`, `.cc` or `.cpp`. The header is named like
            it and ends in `.h`.
        name: The array's name; None makes one of the source's name.

    Returns:
        The array's length in bytes.

    Raises:
        FormatError: It is not a `.tflite` file.
        ValueError: The name is none that C takes, or the source is not named as one.
        OSError: A file cannot be read or written.
    """
    model, source = Path(tflite_path), Path(out_path)
    if source.suffix not in _SOURCES:
        raise ValueError(f"{source}: a source in C or C++ ends in one of {', '.join(_SOURCES)}.")
    if name is None:
        name = re.sub(r"\W", "_", source.stem, flags=re.ASCII).lstrip("_0123456789") or "model"
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is no name for an array: letters, digits and _, a letter first."
        )
    data = model.read_bytes()
    if data[4:8] != IDENTIFIER:
        raise FormatError(f"{model}: not a .tflite file.")
    header = source.with_suffix(".h")
    guard = re.sub(r"\W", "_", f"{name}_h", flags=re.ASCII).upper()
    # A file's name in a comment must not end it.
    shown = re.sub(r"[^\w.-]", "_", model.name)
    values = {"name": name, "size": len(data), "header": header.name, "guard": guard, "file": shown}
    with replacing(header) as file:
        file.write(_HEADER.format(**values).encode())
    with replacing(source) as file:
        file.write(_SOURCE.format(**values, lines=_lines(data)).encode())
    return len(data)


def _lines(data: bytes) -> str:
    rows = (data[i : i + _BYTES_PER_LINE] for i in range(0, len(data), _BYTES_PER_LINE))
    return "\n".join("  " + " ".join(f"0x{byte:02x}," for byte in row) for row in rows)
