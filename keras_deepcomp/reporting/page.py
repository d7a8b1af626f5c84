"""From data to HTML: the template, and how numbers are written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_deepcomp.printable import printable
from keras_deepcomp.reporting.summary import shares

TIMES, DASH = "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"
_MOST_AXES = 8
_FOLDER = Path(__file__).parent / "templates"


def render(template: str, content: Mapping[str, Any]) -> str:
    """Fills in a template. Whatever is not markup of ours is escaped.

    Args:
        template: Its file name.
        content: What it needs.

    Raises:
        ImportError: jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise ImportError(
            "Reports need jinja2 and matplotlib. Install them: pip install keras_deepcomp[plot]"
        ) from error
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": lambda number: _data(number, f"{number:,}"),
        "change": lambda number: _data(number, f"{number:+,}" if number else "0"),
        "percent": lambda number: _data(number, f"{number:.1f} %"),
        "times": lambda number: DASH if number is None else _data(number, f"{number:.1f}{TIMES}"),
        "bits": lambda number: _data(number, f"{number:.2f}"),
        "measure": lambda number: _data(number, f"{number:.6g}"),
        "printable": printable,
        "shape": _shape,
        "svg": Markup,
    }
    environment.tests["sharing"] = shares
    style = (_FOLDER / "report.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(style=Markup(style), **content)


def _data(number: float, written: str) -> Any:
    """A number as it is read, with its exact value for programs."""
    from markupsafe import Markup

    return Markup('<data value="{}">{}</data>').format(repr(number), written)


def _shape(shape: tuple[int, ...]) -> str:
    more = [f"({len(shape) - _MOST_AXES} more)"] if len(shape) > _MOST_AXES else []
    return TIMES.join([*map(str, shape[:_MOST_AXES]), *more]) or "scalar"
