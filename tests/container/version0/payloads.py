"""Payloads and files of version 0 put together by hand; the package has no writer of it."""

import heapq

from container.samples import sealed

from keras_deepcomp.container.wire import varint

ZEROS = b"\x01\x03\x00\x00\x00"


def pack(digits):
    """Return bytes of a string of bits, filled up with zeros."""
    return bytes(
        int(digits[start : start + 8].ljust(8, "0"), 2) for start in range(0, len(digits), 8)
    )


def pack_lengths(lengths):
    """Return code lengths as a file holds them, five bits each."""
    return pack("".join(f"{length:05b}" for length in lengths))


def code_lengths(counts):
    """Return code lengths that fit these counts; 0 for symbols that do not occur."""
    lengths = [0] * len(counts)
    heap = [(count, symbol, [symbol]) for symbol, count in enumerate(counts) if count]
    if len(heap) == 1:
        lengths[heap[0][1]] = 1
    heapq.heapify(heap)
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        leaves = first[2] + second[2]
        for symbol in leaves:
            lengths[symbol] += 1
        heapq.heappush(heap, (first[0] + second[0], first[1], leaves))
    return lengths


def canonical_codes(lengths):
    """Return the code of each symbol that has one, as a string of bits."""
    codes, code, previous = {}, -1, 0
    for length, symbol in sorted((length, s) for s, length in enumerate(lengths) if length):
        code = (code + 1) << (length - previous)
        previous = length
        codes[symbol] = f"{code:0{length}b}"
    return codes


def file_of(*records, decoded, metadata=(), version=0):
    """Return a file with these tensor records and metadata records as they are."""
    body = b"\x89KDC" + bytes([version]) + varint(decoded)
    body += varint(len(metadata)) + b"".join(metadata)
    return sealed(body + varint(len(records)) + b"".join(records))


def record(name, dtype, shape, payload):
    """Return a tensor record."""
    head = varint(len(name)) + name + bytes([dtype, len(shape)])
    return head + b"".join(map(varint, shape)) + payload


# The entries 1, (filler), 2, 1 with b = 2: gaps 0 3 1 0; so the tensor is 1 0 0 0 0 0 2 1.
# Gap codes: 0 is "0", 1 is "10", 3 is "11"; index codes: 1 is "0", 0 is "10", 2 is "11".
def hand_made(
    *,
    bits=2,
    nonzero=3,
    fillers=1,
    clusters=2,
    codebook=b"\x01\x02",
    gap_count=4,
    gap_lengths=(1, 2, 0, 2),
    index_lengths=(2, 1, 2),
    gap_bits="011100",
    index_bits="010110",
    gap_size=None,
    index_size=None,
    extra=b"",
):
    """Return a coded uint8 payload, right or wrong in one place."""
    body = bytes([bits]) + varint(nonzero) + varint(fillers) + varint(clusters) + codebook
    body += varint(gap_count) + pack_lengths(gap_lengths) + pack_lengths(index_lengths)
    body += varint(len(gap_bits) if gap_size is None else gap_size)
    body += varint(len(index_bits) if index_size is None else index_size)
    body += pack(gap_bits) + pack(index_bits) + extra
    return b"\x01" + varint(len(body)) + body
