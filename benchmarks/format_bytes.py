"""The same tensors give the same bytes, whatever Python and numpy do the work.

Codes the tensors of every golden file of the current version, and the kernels of the networks that
the format is measured on, once per environment: each Python that is given, with numpy and bitarray
at their lower bounds (or the oldest that have wheels for it) and at their newest. Prints a row for
each environment, writes `benchmarks/results/format-bytes.json`, and exits with 1 where one differs.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
BUILD = ROOT / "build" / "bytes"
PYTHONS = ("python3.11", "python3.12", "python3.13")
# The lower bounds of setup.cfg; numpy has wheels for Python 3.13 from 2.1 on.
OLDEST = ["numpy==2.0.0", "bitarray==3.1.0", "ml_dtypes==0.5.0"]
OLDEST_FOR = {(3, 13): ["numpy==2.1.0", "bitarray==3.1.0", "ml_dtypes==0.5.0"]}
NEWEST = ["numpy", "bitarray", "ml_dtypes"]


def digest():
    """Print the digest of all files, and versions; runs in each environment."""
    import bitarray
    import numpy as np

    from keras_deepcomp import container

    found = hashlib.sha256()
    files = 0
    for path in sorted((ROOT / "tests" / "golden" / "v1").glob("*.kdc")):
        tensors, info = container.load_file_with_info(path)
        found.update(container.save(tensors, info.metadata))
        files += 1
    for path in sorted((RESULTS / "format").rglob("*.kdc")):
        for effort in (0, container.DEFAULT_EFFORT, 9):
            found.update(container.save(container.load_file(path), effort=effort))
            files += 1
    versions = {"numpy": np.__version__, "bitarray": bitarray.__version__}
    result = {"sha256": found.hexdigest(), "files": files, **versions}
    print(json.dumps({"python": sys.version.split()[0], **result}))


def environment(python, requirements, name):
    """Make a virtual environment, and return its interpreter."""
    folder = BUILD / name
    interpreter = folder / "bin" / "python"
    if not (folder / ".installed").exists():
        subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
        install = [interpreter, "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
        subprocess.run([*install, *requirements], check=True)
        (folder / ".installed").touch()
    return interpreter


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--digest", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--pythons", nargs="+", default=PYTHONS, help="interpreters to compare")
    arguments = parser.parse_args()
    if arguments.digest:
        digest()
        return 0
    rows = []
    for python in arguments.pythons:
        asked = [python, "-c", "import sys; print(*sys.version_info[:2])"]
        if shutil.which(python) is None:
            print(f"{python}: not to be had here")
            continue
        answer = subprocess.run(asked, capture_output=True, text=True, check=False)
        if answer.returncode:
            print(f"{python}: does not start")
            continue
        version = tuple(map(int, answer.stdout.split()))
        for kind, needed in (("oldest", OLDEST_FOR.get(version, OLDEST)), ("newest", NEWEST)):
            name = f"{version[0]}.{version[1]}-{kind}"
            interpreter = environment(python, needed, name)
            run = subprocess.run(
                [interpreter, __file__, "--digest"],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                check=True,
            )
            rows.append(json.loads(run.stdout))
            print(json.dumps(rows[-1]), flush=True)
    same = len({row["sha256"] for row in rows}) == 1
    result = {"same": same, "environments": rows}
    (RESULTS / "format-bytes.json").write_text(json.dumps(result, indent=2) + "\n")
    verdict = "the same bytes" if same else "they differ"
    print(f"{len(rows)} environments, {rows[0]['files']} files: {verdict}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
