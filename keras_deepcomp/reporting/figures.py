"""Matplotlib figures as SVG that stands in a page: small, the same each time, light and dark."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from keras_deepcomp.plot import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
_INK = "#123456"
_RULES: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "keras_deepcomp",
    "svg.image_inline": True,
    "font.size": 9.0,
    "text.usetex": False,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.6,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "lines.linewidth": 1.2,
}
_FONT = re.compile(r"font: (?:\d+ )?([\d.]+px)[^;]*")
_LONG_NUMBER = re.compile(r"(\d+\.\d\d)\d+")
_REFERENCE = re.compile(r"#([\w-]+)")


def figure(
    draw: Callable[[Axes], Any], label: str, number: int, width: float = 4.6, height: float = 3.0
) -> str:
    """Draws a figure and returns it as an `<svg>` element for a page.

    What was drawn with `style.hint` has a tooltip. Colours of `style` become CSS variables.

    Args:
        draw: Draws into the axes that it is given.
        label: What the figure shows, for those who do not see it.
        number: Another one for each figure of a page.
        width: In inches, of 72 CSS pixels.
        height: Likewise.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib
    from matplotlib.figure import Figure

    out = io.StringIO()
    with warnings.catch_warnings(), matplotlib.rc_context():
        # The browser has glyphs that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RULES)
        canvas = Figure(figsize=(width, height), layout="constrained")
        draw(canvas.add_subplot())
        canvas.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return _for_page(out.getvalue(), label, number)


def _for_page(drawn: str, label: str, number: int) -> str:
    root = ElementTree.fromstring(drawn[drawn.index("<svg") :])
    for child in list(root):
        if child.tag.endswith("}metadata"):
            root.remove(child)
    _drop_rules(root)
    for element in root.iter():
        # Only the text of `<text>` is more than white space.
        if not (element.text or "").strip():
            element.text = None
        element.tail = None
    text = ElementTree.tostring(root, encoding="unicode")
    used = set(_REFERENCE.findall(text)) - {""}
    for element in root.iter():
        _rename(element, used, number)
    root.attrib.pop("version", None)
    root.attrib.pop("width", None)
    root.attrib.pop("height", None)
    root.set("role", "img")
    root.set("aria-label", label)
    ElementTree.register_namespace("", _SVG[1:-1])
    ElementTree.register_namespace("xlink", _LINK[1:].split("}")[0])
    return ElementTree.tostring(root, encoding="unicode")


def _drop_rules(root: ElementTree.Element) -> None:
    """Takes out style sheets, which would hold for all of the page."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == f"{_SVG}style":
                parent.remove(child)


def _rename(element: ElementTree.Element, used: set[str], number: int) -> None:
    name = element.attrib.pop("id", "")
    if name.startswith(style.HINT):
        tip = ElementTree.Element(f"{_SVG}title")
        tip.text = name.removeprefix(style.HINT)
        element.insert(0, tip)
    elif name in used:
        element.set("id", f"f{number}-{name}")
    for key, value in element.attrib.items():
        if key == "style":
            value = _coloured(_FONT.sub(r"font-size: \1", value))
        if key in ("d", "transform", "points", "x", "y"):
            value = " ".join(_LONG_NUMBER.sub(r"\1", value).split())
        if key == _LINK and value.startswith("#"):
            value = f"#f{number}-{value[1:]}"
        element.set(key, value.replace("url(#", f"url(#f{number}-"))


def _coloured(rule: str) -> str:
    for part, colour in style.PARTS.items():
        rule = rule.replace(colour, f"var(--{part})")
    return rule.replace(_INK, "currentColor").replace("#000000", "currentColor")
