"""The constants of the format, and varints and strings, its smallest pieces."""

from __future__ import annotations

from keras_deepcomp.container.errors import damaged

MAGIC = b"\x89KDC"
VERSION = 1
CHECKSUM_BYTES = 4
MAX_RANK = 32
# A few bytes can stand for a very long text, and text is always expanded.
MAX_METADATA_BYTES = 16 << 20
MAX_PAIRS = 65_536
MAX_TENSORS = 65_536
MAX_STRING_BYTES = 65_535
VARINT_LIMIT = 1 << 63
# Nine groups of seven bits hold every value below 2**63.
_MAX_VARINT_BYTES = 9


def varint(value: int) -> bytes:
    """Return `value` as an unsigned LEB128 varint in its shortest form.

    Args:
        value: An integer, 0 <= value < 2**63.

    Returns:
        One to nine bytes, seven bits in each, the least significant group first.

    Raises:
        ValueError: `value` is out of range.
    """
    if not 0 <= value < VARINT_LIMIT:
        raise ValueError(f"A varint holds integers from 0 up to 2**63 - 1, got {value}.")
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def string(text: str, what: str) -> bytes:
    """Return `text` as its UTF-8 length and its UTF-8 bytes.

    Args:
        text: A tensor's name or a metadata key.
        what: What the text is, for the error message.

    Returns:
        The bytes of the `string` production of the format.

    Raises:
        TypeError: `text` is not a str.
        ValueError: `text` is empty, too long, or has a lone surrogate.
    """
    if not isinstance(text, str):
        raise TypeError(f"A {what} must be a str, got {type(text).__name__}: {text!r}.")
    encoded = utf8(text, f"The {what} {text[:80]!r}")
    if not 1 <= len(encoded) <= MAX_STRING_BYTES:
        raise ValueError(
            f"A {what} must have from 1 to {MAX_STRING_BYTES:,} UTF-8 bytes, "
            f"got {len(encoded):,}: {text[:80]!r}. Choose another name."
        )
    return varint(len(encoded)) + encoded


def utf8(text: str, what: str) -> bytes:
    """Return the UTF-8 bytes of `text`.

    Args:
        text: Any str.
        what: What the text is, as the subject of the error message.

    Returns:
        The bytes.

    Raises:
        ValueError: `text` has a lone surrogate, which UTF-8 cannot hold.
    """
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{what} has a lone surrogate at index {error.start}, which UTF-8 cannot hold. "
            "Use text without surrogates."
        ) from None


class Reader:
    """A cursor over bytes that checks every length before it is used.

    Attributes:
        position: How many bytes are behind the cursor.
    """

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self.position = 0

    @property
    def remaining(self) -> int:
        """How many bytes are ahead of the cursor."""
        return len(self._view) - self.position

    def take(self, count: int, what: str) -> memoryview:
        """Return the next `count` bytes without copying them, and step over them."""
        if count > self.remaining:
            raise damaged(f"{what} needs {count:,} bytes, and {self.remaining:,} are left")
        start = self.position
        self.position += count
        return self._view[start : self.position]

    def byte(self, what: str) -> int:
        """Return the next byte as an integer, and step over it."""
        return self.take(1, what)[0]

    def varint(self, what: str) -> int:
        """Return the next varint, and step over it; only the shortest form is accepted."""
        value = 0
        for group in range(_MAX_VARINT_BYTES):
            byte = self.byte(what)
            value |= (byte & 0x7F) << (7 * group)
            if byte < 0x80:
                if byte == 0 and group > 0:
                    raise damaged(f"{what} is not a varint in its shortest form")
                return value
        raise damaged(f"{what} is a varint of more than {_MAX_VARINT_BYTES} bytes")

    def string(self, what: str) -> str:
        """Return the next `string`, and step over it."""
        length = self.varint(f"the length of {what}")
        if not 1 <= length <= MAX_STRING_BYTES:
            raise damaged(
                f"{what} has {length:,} bytes, and from 1 to {MAX_STRING_BYTES:,} are allowed"
            )
        return decode_utf8(self.take(length, what), what)

    def end(self, what: str) -> None:
        """Check that no byte is left."""
        if self.remaining:
            raise damaged(f"{self.remaining:,} bytes are left over after {what}")


def decode_utf8(encoded: bytes | memoryview, what: str) -> str:
    """Return the text of UTF-8 bytes from a file, or raise `FormatError`."""
    try:
        return str(encoded, "utf-8")
    except UnicodeDecodeError as error:
        raise damaged(f"{what} is not UTF-8 at byte {error.start}") from None
