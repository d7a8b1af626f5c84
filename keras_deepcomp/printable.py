"""Names from files as text that is safe to show on a terminal or a page.

A name in a file is any text. Left as it is, it could move the cursor, turn the direction of what
follows, hide itself, or fill the screen.
"""

from __future__ import annotations

import itertools
import unicodedata

LONGEST = 72
"""Characters of a name that are shown, unless told otherwise."""

_MOST_MARKS = 2


def printable(text: str, longest: int | None = LONGEST) -> str:
    r"""Returns text with what does not print as an escape, as Python's `repr` spells it.

    Control characters, line ends, marks of direction, invisible characters, and accents heaped
    upon accents are escaped. Letters of every script stay.

    Args:
        text: Any text, such as a tensor's name.
        longest: The most characters to return; from longer ones the middle is left out. None for
            no limit.

    Returns:
        The text, of printable characters alone.

    Example:
        >>> printable("a\x1b[31m\u202eb")
        'a\\x1b[31m\\u202eb'
    """
    if longest is None:
        return "".join(_escaped(text))
    # Of a very long text no more than both ends is looked at.
    if len(text) > 2 * longest:
        text = f"{text[:longest]}\N{HORIZONTAL ELLIPSIS}{text[-longest:]}"
    shown = "".join(_escaped(text))
    if len(shown) <= longest:
        return shown
    head = 2 * longest // 3
    return f"{shown[:head]}\N{HORIZONTAL ELLIPSIS}{shown[head + 1 - longest :]}"


def _escaped(text: str) -> list[str]:
    pieces = []
    for is_mark, group in itertools.groupby(text, _is_mark):
        for number, character in enumerate(group):
            shown = character.isprintable() and not (is_mark and number >= _MOST_MARKS)
            pieces.append(character if shown else character.encode("unicode_escape").decode())
    return pieces


def _is_mark(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Me")
