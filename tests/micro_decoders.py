"""How TensorFlow Lite Micro decodes, step by step, as its documentation has it."""

import numpy as np


def decode_huffman(encoding, dtype, count):
    header, tables = encoding.ancillary[:16], encoding.ancillary[16:]
    assert list(header[:5]) == [1, 1, 0, 0, 1] and not any(header[6:])
    wide = header[5] & 1
    low, first = (27 if wide else 11), (header[5] >> 4) + 1
    entries = np.frombuffer(tables, "<u4" if wide else "<u2").tolist()
    assert len(encoding.data) % 4 == 0
    bits = "".join(f"{word:032b}" for word in np.frombuffer(encoding.data, ">u4").tolist())
    position, symbols = 0, []
    for _ in range(count):
        width, table = first, 0
        while True:
            at = table + int(bits[position : position + width], 2)
            entry = entries[at]
            number, rest = entry >> low & 15, entry & ((1 << low) - 1)
            if entry >> (low + 4):
                position += number
                symbols.append(rest)
                break
            position += width
            width, table = number + 1, at + rest
    # A spare word is left for the decoder, which reads ahead.
    assert position <= len(bits) - 32
    unsigned = np.array(symbols, f"u{np.dtype(dtype).itemsize}")
    return unsigned.view(dtype)


def decode_pruning(encoding, dtype, zero_points, shape):
    assert list(encoding.ancillary[:16]) == [2, 1, 0, 0, 1] + 11 * [0]
    bitmap = np.unpackbits(np.frombuffer(encoding.data, np.uint8))
    kept = bitmap[: np.prod(shape)].reshape(shape).astype(bool)
    values = np.broadcast_to(zero_points, shape).astype(dtype)
    values[kept] = np.frombuffer(encoding.ancillary[16:], dtype)
    return values


def decode_lut(encoding, dtype, axis, shape):
    header = encoding.ancillary[:16]
    assert list(header[:5]) == [0, 1, 0, 0, 1] and not any(header[7:])
    assert header[5] >> 4 == (15 if axis is None else axis)
    width, stride = header[5] & 7, header[6]
    tables = np.frombuffer(encoding.ancillary[16:], dtype).reshape(-1, stride)
    bits = "".join(f"{byte:08b}" for byte in encoding.data)
    values = np.empty(shape, dtype)
    for place, where in enumerate(np.ndindex(*shape)):
        index = int(bits[place * width : (place + 1) * width], 2)
        values[where] = tables[0 if axis is None else where[axis], index]
    return values
