"""A notebook as a page: its text, its code and what the code gave when it was committed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def page(path: Path) -> str:
    """Markdown of an .ipynb file with outputs; pictures are in it."""
    parts = []
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        parts += [_output(output) for output in cell["outputs"]]
    return "\n\n".join(parts) + "\n"


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        picture = "".join("".join(data["image/png"]).split())
        return f"![What this code draws](data:image/png;base64,{picture})"
    text = "".join(data.get("text/plain", output.get("text", "")))
    return f"```text\n{_ESCAPES.sub('', text).rstrip()}\n```"
