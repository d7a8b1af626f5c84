"""From data to HTML: the template, and how numbers are written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_deepcomp.printable import printable

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
        "times": lambda number: "–" if number is None else _data(number, f"{number:.1f}×"),
        "bits": lambda number: _data(number, f"{number:.2f}"),
        "measure": lambda number: _data(number, f"{number:.6g}"),
        "printable": printable,
        "shape": lambda shape: "×".join(map(str, shape[:8])) + "×…" * (len(shape) > 8) or "scalar",
        "svg": Markup,
    }
    style = (_FOLDER / "report.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(style=Markup(style), **content)


def _data(number: float, written: str) -> Any:
    """A number as it is read, with its exact value for programs."""
    from markupsafe import Markup

    return Markup('<data value="{}">{}</data>').format(repr(number), written)
