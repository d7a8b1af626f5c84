"""Where tables are printed: a terminal, a file, a notebook, or a string."""

from __future__ import annotations

from io import StringIO
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def console(file: IO[str] | None = None, **options: Any) -> Console:
    """A rich console that writes to a file, or to standard output.

    In a notebook rich displays all that it prints, even what is meant for a file. Ours does so only
    where no file is given.

    Args:
        file: Where to write; None for standard output.
        **options: For `rich.console.Console`.
    """
    from rich.console import Console

    return Console(file=file, force_jupyter=None if file is None else False, **options)


def as_text(table: Any) -> str:
    """What rich makes of a table, 110 columns wide and without colours."""
    out = StringIO()
    console(out, width=110).print(table)
    return out.getvalue()
