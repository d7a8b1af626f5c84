"""Which tensors are encoded, and how: whatever makes the whole file smallest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from keras_deepcomp.tflite.micro import huffman, lut, pruning
from keras_deepcomp.tflite.micro.constants import Constant
from keras_deepcomp.tflite.micro.decode_operators import TensorKey, insert
from keras_deepcomp.tflite.micro.encoding import Encoding, padded
from keras_deepcomp.tflite.micro.flatbuffer import read, write

Group = Sequence[Constant]
Encodings = dict[TensorKey, Encoding]

ENCODERS: dict[str, Callable[[Constant], Encoding | None]] = {
    "huffman": lambda constant: huffman.encode(constant.values),
    "pruning": lambda constant: pruning.encode(constant.values, constant.zero_points),
    "lut": lambda constant: lut.encode(constant.values, constant.axis),
}
METHODS = ("auto", *ENCODERS)
# An operator and its tensors take hundreds of bytes; what saves less than this is tried out.
_DOUBTFUL_BYTES = 1024
# What lies where decides on a few bytes of alignment; encodings this close are tried out too.
_CLOSE_BYTES = 64


def choose(data: bytes, groups: Sequence[Group], method: str) -> Encodings:
    """Choose how each tensor is encoded, and leave out those that the file is no smaller for.

    Args:
        data: The `.tflite` file.
        groups: The tensors that may be encoded, as `find_constants` groups them.
        method: One of `METHODS`.

    Returns:
        The encoded tensors.
    """
    chosen: Encodings = {}
    doubts: list[tuple[int, Encodings, list[Encodings]]] = []
    for group in groups:
        options = [(_size(option), option) for option in _options(group, method)]
        if not options:
            continue
        smallest, best = min(options, key=lambda option: option[0])
        saving = group[0].values.nbytes - smallest
        if saving > 0:
            chosen |= best
            others = [
                option
                for size, option in options
                if option is not best and size <= smallest + _CLOSE_BYTES
            ]
            doubts.append((saving, best, others + ([{}] if saving < _DOUBTFUL_BYTES else [])))
    size = len(build(data, chosen))
    for _, best, others in sorted(doubts, key=lambda doubt: doubt[0]):
        for other in others:
            rest = {key: encoding for key, encoding in chosen.items() if key not in best}
            trial = len(build(data, rest | other))
            if trial < size or (trial == size and not other):
                chosen, size = rest | other, trial
    return chosen if size < len(data) else {}


def _options(group: Group, method: str) -> list[Encodings]:
    """Return the tensors of a group by the method, or by each that takes all of them."""
    encoders = ENCODERS.values() if method == "auto" else [ENCODERS[method]]
    options = []
    for encoder in encoders:
        found = [(constant.key, encoder(constant)) for constant in group]
        encoded = {key: encoding for key, encoding in found if encoding is not None}
        if len(encoded) == len(group):
            options.append(encoded)
    return options


def _size(encodings: Encodings) -> int:
    """Return the bytes of encoded tensors, of which equal ones are stored once."""
    parts = {part for e in encodings.values() for part in (e.data, e.ancillary)}
    return sum(map(padded, parts))


def build(data: bytes, encodings: Mapping[TensorKey, Encoding]) -> bytes:
    """Return the file with these tensors encoded."""
    model = read(data)
    insert(model, encodings)
    return write(model)
