"""The one error of the container: bytes that are not a `.kdc` file this reader can take."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class FormatError(ValueError):
    """The bytes are not a `.kdc` file, are damaged, are too new, or declare too much memory."""


def damaged(what: str) -> FormatError:
    """Return the error for a file that breaks a rule of the format.

    Args:
        what: What is wrong, as the beginning of a sentence, without a full stop.

    Returns:
        A `FormatError`, to be raised by the caller.
    """
    return FormatError(
        f"Damaged .kdc file: {what}. Fetch the file again, or save the tensors again."
    )


@contextlib.contextmanager
def naming(file: str | None) -> Iterator[None]:
    """Put the name of a file, if there is one, before the message of a `FormatError`."""
    try:
        yield
    except FormatError as error:
        if file is None:
            raise
        raise FormatError(f"{file}: {error}") from None
