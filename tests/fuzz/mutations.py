"""Damaged `.kdc` files from right ones, at random, but the same for the same random generator."""

from simple_decoder.reading import TYPES
from simple_encoder import CODES

from fuzz import frames

COMPLEX128 = CODES["complex128"]
BYTES = (0, 1, 2, 0x3F, 0x40, 0x7F, 0x80, 0x81, 0xC0, 0xFE, 0xFF)
NUMBERS = (0, 1, 2, 3, 127, 128, 1024, 4096, 2**16, 2**18, 2**20, 2**20 + 1, 2**31, 2**62)


class Seed:
    """A right file to make damaged ones of.

    Args:
        data: Its bytes.
        others: Blocks of other files, to be put into this one.

    Raises:
        ValueError: It is none whose parts can be told.
    """

    def __init__(self, data, others=()):
        self.data = data
        self.version = data[4] if data[:4] == frames.MAGIC and len(data) >= 9 else None
        if self.version not in (0, 1):
            raise ValueError("not a file of a known version")
        self.others = others
        if self.version == 1:
            self.frame = frames.take_apart(data)
            self.listing = self.frame.full_listing()

    def blocks(self):
        return [block for record in self.frame.records for block in record.blocks if block]


def unsealed(rng, seed):
    """Return a kind and a damaged file whose checksums do not fit."""
    kind = rng.choice(("bits", "bytes", "cut off", "added", "moved"))
    data = seed.data
    match kind:
        case "bits":
            changed = flip(rng, data, rng.choice((1, 1, 1, 2, 3, 8)))
        case "bytes":
            changed = change_bytes(rng, data)
        case "cut off":
            changed = data[: rng.randrange(len(data))]
        case "added":
            changed = data + rng.randbytes(rng.choice((1, 1, 2, 12, 40)))
        case "moved":
            changed = moved(rng, data)
    return f"unsealed: {kind}", changed


def resealed(rng, seed):
    """Return a kind and a damaged file whose checksums and lengths were mended."""
    if seed.version == 0:
        body = bytearray(change_bytes(rng, seed.data[5:-4], rng.choice((1, 1, 1, 2, 4))))
        return "version 0", frames.seal_version_0(seed.data[:5] + bytes(body))
    kind = rng.choice(KINDS)
    changed = MUTATIONS[kind](rng, seed)
    if isinstance(changed, frames.Frame):
        changed = changed.bytes()
    return kind, changed


# Bytes and bits.


def flip(rng, data, count=1):
    changed = bytearray(data)
    for _ in range(count if data else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def change_bytes(rng, data, count=1):
    changed = bytearray(data)
    for _ in range(count):
        place = rng.randrange(len(changed) + 1)
        length = rng.choice((1, 1, 1, 2, 4, 16))
        match rng.randrange(7) if place < len(changed) else 4:
            case 0 | 1:
                changed[place] ^= 1 << rng.randrange(8)
            case 2:
                changed[place] = rng.choice(BYTES)
            case 3:
                changed[place] = (changed[place] + rng.choice((-1, 1))) % 256
            case 4:
                changed[place:place] = rng.randbytes(length)
            case 5:
                del changed[place : place + length]
            case 6:
                changed[place:place] = changed[place : place + length]
    return bytes(changed)


def change_bits(rng, data, count=1):
    """Flip, insert, delete or set bits, mostly near the front, where the model is."""
    bits = f"{int.from_bytes(data):0{8 * len(data)}b}" if data else ""
    for _ in range(count):
        end = rng.choice((8, 32, 128, len(bits), len(bits)))
        place = rng.randrange(min(end, len(bits)) + 1)
        length = rng.choice((1, 1, 1, 2, 3, 8, 40))
        match rng.randrange(6):
            case 0 | 1 | 2:
                flipped = "".join("10"[bit == "1"] for bit in bits[place : place + 1])
                bits = bits[:place] + flipped + bits[place + 1 :]
            case 3:
                bits = bits[:place] + "".join(rng.choices("01", k=length)) + bits[place:]
            case 4:
                bits = bits[:place] + bits[place + length :]
            case 5:
                bits = bits[:place] + rng.choice("01") * length + bits[place + length :]
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8) if bits else b""


def moved(rng, data):
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    rest = data[:start] + data[end:]
    place = rng.randrange(len(rest) + 1)
    return rest[:place] + data[start:end] + rest[place:]


# Parts of version 1.


def of_block(change):
    """Return a mutation that changes a block, and its length in the directory."""

    def mutation(rng, seed):
        places = [
            (number, place)
            for number, record in enumerate(seed.frame.records)
            for place in range(len(record.blocks))
        ]
        if not places:
            return records(rng, seed)
        number, place = rng.choice(places)
        blocks = list(seed.frame.records[number].blocks)
        blocks[place] = change(rng, seed, blocks[place])
        return seed.frame.with_record(number, blocks=blocks)

    return mutation


def block_of_another(rng, seed, _):
    return rng.choice(seed.others)


def half_of_another(rng, seed, block):
    other = rng.choice(seed.others)
    return block[: rng.randrange(len(block) + 1)] + other[rng.randrange(len(other)) :]


def records(rng, seed):
    """Change what the directory says of a tensor, or the tensors' order and number."""
    frame = seed.frame
    if not frame.records:
        return metadata(rng, seed)
    number = rng.randrange(len(frame.records))
    record = frame.records[number]
    match rng.randrange(8):
        case 0:
            return frame.with_record(number, kind=rng.randrange(len(TYPES) + 1))
        case 1:
            return frame.with_record(number, coding=rng.randrange(4))
        case 2:
            shape = list(record.shape)
            rng.shuffle(shape)
            return frame.with_record(number, shape=tuple(shape))
        case 3:
            return frame.with_record(number, shape=other_shape(rng, record.shape))
        case 4:
            merged = tuple(
                a * b for a, b in zip(record.shape[::2], (*record.shape[1::2], 1), strict=False)
            )
            return frame.with_record(number, shape=merged)
        case 5:
            lengths = [len(block) for block in record.blocks] or [0]
            place = rng.randrange(len(lengths))
            lengths[place] = max(0, lengths[place] + rng.choice((-1, 1, *NUMBERS)))
            return frame.with_record(number, lengths=lengths)
        case 6:
            blocks = list(record.blocks)
            blocks.insert(rng.randrange(len(blocks) + 1), rng.choice((b"", b"\0", *blocks[:1])))
            return frame.with_record(number, blocks=blocks)
        case 7:
            some = list(frame.records) + [rng.choice(frame.records)] * rng.randrange(2)
            return frame.but(records=tuple(rng.sample(some, rng.randrange(len(some) + 1))))


def other_shape(rng, shape):
    shape = list(shape)
    place = rng.randrange(len(shape) + 1)
    match rng.randrange(4):
        case 0:
            shape.insert(place, rng.choice((1, 1, 2, *NUMBERS)))
        case 1 if place < len(shape):
            del shape[place]
        case 2 if place < len(shape):
            shape[place] = max(0, shape[place] + rng.choice((-1, 1)))
        case 3 if place < len(shape):
            shape[place] = rng.choice(NUMBERS)
    return tuple(shape)


def listing(rng, seed):
    """Change the directory's text, but not its length in the file."""
    return seed.frame.but(listing=change_bytes(rng, seed.listing, rng.choice((1, 1, 2))))


def metadata(rng, seed):
    """Change the metadata's text, or its size."""
    text = change_bytes(rng, seed.frame.metadata or b"\1\1k\1v", rng.choice((1, 1, 2)))
    size = rng.choice((None, None, None, *NUMBERS))
    return seed.frame.but(metadata=text, metadata_size=size, level=rng.choice((0, 1, 9)))


def streams(rng, seed):
    """Change a DEFLATE stream, or the size of what is in it."""
    stream = change_bits(rng, frames.deflate(seed.listing), rng.choice((1, 1, 2)))
    match rng.randrange(3):
        case 0:
            return seed.frame.but(directory_stream=stream, directory_size=len(seed.listing))
        case 1:
            return seed.frame.but(directory_size=rng.choice(NUMBERS))
        case 2:
            text = seed.frame.metadata or b"\1\1k\1v"
            stream = change_bits(rng, frames.deflate(text), rng.choice((1, 1, 2)))
            return seed.frame.but(metadata=text, metadata_stream=stream)


def whole(rng, seed):
    """Change the file's bytes anywhere, and mend the checksums of directory and file."""
    return frames.mended(change_bytes(rng, seed.data))


MUTATIONS = {
    "block bits": of_block(lambda rng, _, b: change_bits(rng, b, rng.choice((1, 1, 1, 2, 4)))),
    "block bytes": of_block(lambda rng, _, b: change_bytes(rng, b, rng.choice((1, 1, 2)))),
    "block of another": of_block(block_of_another),
    "half a block": of_block(half_of_another),
    "records": records,
    "listing": listing,
    "metadata": metadata,
    "streams": streams,
    "whole": whole,
}
# The blocks hold most of the grammar.
KINDS = (*["block bits"] * 5, *["records"] * 2, *MUTATIONS)
