"""Which buffers of a `.tflite` file are coded as tensors; the rest stays one stream of bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_deepcomp.container.wire import varint
from keras_deepcomp.container.writing import CodedTensor, Progress, code
from keras_deepcomp.tflite import arrays, scaled, streams
from keras_deepcomp.tflite.buffers import BufferRange

LAST_AXIS_FIRST, SCALED, REPEATED = 1, 2, 4
"""How a segment's bytes come from a tensor: with its last axis first, as kernels of convolutions
lie in `.tflite` files; as shared values under factors; both of these, or neither. `REPEATED` + n:
those of segment n again."""

# What a tensor takes in the directory, and a segment's numbers.
_ENTRY_BYTES = 10
# From which number of bytes on buffers are coded as tensors.
_LEAST = (0, 1 << 10, 1 << 12)


@dataclass(frozen=True)
class Segment:
    """Bytes of a file that are coded as a tensor.

    Attributes:
        source: The buffer.
        layout: What `LAST_AXIS_FIRST` and `SCALED` add up to, or `REPEATED` and the number of
            another segment.
        tensor: The tensor, as coded; None if repeated.
        side: What makes values of shared values, if `SCALED`.
    """

    source: BufferRange
    layout: int
    tensor: CodedTensor | None
    side: bytes = b""

    @property
    def cost(self) -> int:
        """About how many bytes the segment takes in a `.kdc` file, but for the side."""
        return _ENTRY_BYTES + self.tensor.stored_bytes if self.tensor else 2


def choose(
    data: bytes, ranges: Iterable[BufferRange], effort: int, progress: Progress | None = None
) -> list[Segment]:
    """Return the segments with which a file gets smallest, in its order; perhaps none.

    Args:
        data: The bytes of the `.tflite` file.
        ranges: Its buffers, in order; they do not overlap.
        effort: How long to search for a smaller form of each.
        progress: Called with the bytes of the buffers done so far, and of all of them.
    """
    # Both sides spend their time in C.
    with ThreadPoolExecutor(1) as pool:
        whole = pool.submit(streams.compress_as_xz, data)
        groups = _groups(data, ranges, effort, progress)
        ways: list[list[list[Segment]]] = []
        for least in _LEAST:
            way = [group for group in groups if group[0].source.size >= least]
            if way and way not in ways:
                ways.append(way)
        best: list[Segment] = []
        cost = len(whole.result())
    for way in ways:
        chosen = _in_order(way)
        size = len(streams.compress_as_xz(remainder(data, chosen)))
        size += sum(segment.cost for segment in chosen)
        if size < cost:
            best, cost = chosen, size
    return best


def _groups(
    data: bytes, ranges: Iterable[BufferRange], effort: int, progress: Progress | None
) -> list[list[Segment]]:
    """Return the buffers that are smaller as tensors, those with the same bytes together."""
    by_content: dict[bytes, list[BufferRange]] = {}
    for one in ranges:
        key = hashlib.sha256(memoryview(data)[one.start : one.stop]).digest()
        by_content.setdefault(key, []).append(one)
    groups: list[list[Segment]] = []
    done, total = 0, sum(one.size for same in by_content.values() for one in same)
    for same in by_content.values():
        first = _coded(data, same[0], effort)
        if first is not None:
            groups.append([first, *(Segment(one, REPEATED, None) for one in same[1:])])
        done += sum(one.size for one in same)
        if progress is not None:
            progress(done, total)
    return groups


def _coded(data: bytes, source: BufferRange, effort: int) -> Segment | None:
    """Return a buffer as a tensor, unless it is smaller, or safer, as plain bytes."""
    bits = arrays.bits_of(source.dtype)
    own = memoryview(data)[source.start : source.stop]
    array = None
    if bits is not None and own.nbytes * 8 % bits == 0:
        array = arrays.from_bytes(own, source.dtype, source.elements(bits))
    if array is None:
        array = np.frombuffer(own, np.uint8)
    segments = [_smallest(source, array, 0, b"", effort)]
    kernel = scaled.factor(array)
    if kernel is not None:
        segments.append(_smallest(source, kernel.indices, SCALED, kernel.side, effort))
    costs = [one.cost + len(streams.compress_as_xz(one.side)) for one in segments]
    cost = min(costs)
    best = segments[costs.index(cost)]
    return best if cost < len(streams.compress_as_xz(own.tobytes())) else None


def _smallest(
    source: BufferRange, array: npt.NDArray[Any], layout: int, side: bytes, effort: int
) -> Segment:
    """Return an array as a tensor, in whichever order of its axes is smaller."""
    plain = Segment(source, layout, code(array, effort), side)
    if array.ndim <= 2 or array.shape[0] == 1:
        return plain
    # The kernel as Keras has it: places and inputs before outputs.
    moved = np.ascontiguousarray(np.moveaxis(array, 0, -1))
    other = Segment(source, layout | LAST_AXIS_FIRST, code(moved, effort), side)
    return min(plain, other, key=lambda segment: segment.cost)


def _in_order(groups: list[list[Segment]]) -> list[Segment]:
    """Return all segments in the order of the file, with the numbers of what is repeated."""
    chosen = sorted(
        ((segment, number) for number, group in enumerate(groups) for segment in group),
        key=lambda pair: pair[0].source.start,
    )
    place: dict[int, int] = {}
    ordered = []
    for at, (segment, group) in enumerate(chosen):
        if segment.tensor is not None:
            place[group] = at
            ordered.append(segment)
        else:
            ordered.append(Segment(segment.source, REPEATED + place[group], None))
    return ordered


def remainder(data: bytes, segments: Sequence[Segment]) -> bytes:
    """Return the bytes outside of all segments, after a list of where those are and their sides."""
    numbers, pieces, end = [len(segments)], [], 0
    for segment in segments:
        numbers += [segment.source.start - end, segment.layout]
        if is_scaled(segment.layout):
            numbers.append(len(segment.side))
        pieces.append(data[end : segment.source.start])
        end = segment.source.stop
    sides = (segment.side for segment in segments)
    return b"".join([*map(varint, numbers), *sides, *pieces, data[end:]])


def is_scaled(layout: int) -> bool:
    """Whether a segment of this layout has a side."""
    return layout < REPEATED and bool(layout & SCALED)
