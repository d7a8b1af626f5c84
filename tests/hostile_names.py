"""A file whose names try what names can do to a page or a terminal."""

import numpy as np

from keras_deepcomp import container

NAMES = (
    "<script>alert(1)</script>",
    "</title><img src=x onerror=alert(2)>",
    '"><svg onload=alert(3)>',
    "{{ 7 * 7 }}{% raw %}",
    "\x1b[2J\x1b]0;owned\x07red\x9b31m",
    "\u202egnp.exe\u2066\u200b\ufeff",
    "line\nbreak\r\x00\ttab",
    "a" + "\u0301" * 500,
    "$\\frac{1}{2}$ &amp; ]]>",
    "javascript:alert(4)",
    "very long " * 6000,
    "\N{CJK UNIFIED IDEOGRAPH-5C42}/\N{ARABIC LETTER BEH}\N{GRINNING FACE}",
)
FORBIDDEN = "\x1b\x9b\x07\x00\u202e\u2066\u200b\ufeff"
"""Characters that must reach neither a page nor a terminal."""


def write(path, more=0):
    """Writes the file; `more` tensors of one element follow those with the names above."""
    rng = np.random.default_rng(0)
    values = np.array([-0.5, 0.25, 0.75], np.float32)
    tensors = {}
    for name in NAMES:
        tensors[name] = rng.choice(values, (24, 20)) * (rng.random((24, 20)) < 0.3)
    for number in range(more):
        tensors[f"<b>{number}</b>"] = np.full(1, number, np.int32)
    container.save_file(tensors, path, metadata={"<i>key</i>": "</script>"}, effort=0)
