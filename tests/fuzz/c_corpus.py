"""Makes the corpus that the decoder in C is fuzzed from, of golden files.

PYTHONPATH=tests .venv/bin/python -m fuzz.c_corpus FOLDER
"""

import sys
from pathlib import Path

from golden.manifests import MANIFESTS, read
from simple_decoder import version_1

LARGEST = 4096


def taken_apart(data):
    """Return a right file of version 1 in the second form of c/fuzz.c."""
    end = len(data) - 12
    start = end - version_1.unsigned(data[end : end + 4])
    listing = version_1.directory_text(data[start:end])
    return b"\0" + len(listing).to_bytes(2, "little") + listing + data[5:start]


def write(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for version, manifest in MANIFESTS.items():
        for entry in manifest["files"] + manifest["invalid"]:
            data = read(version, entry)
            if len(data) > LARGEST:
                continue
            name = f"{version}-{entry['file'].replace('/', '-')}"
            (folder / name).write_bytes(data)
            if version == "v1" and "metadata" in entry:
                (folder / f"{name}.apart").write_bytes(taken_apart(data))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
