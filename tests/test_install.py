"""What a new user does first: install into an empty environment, run the README's example."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLE = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S).group(1)


def run(*command, cwd):
    """Runs a program without anything of this environment; fails the test if it fails."""
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "KERAS_BACKEND")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout[-5000:]}\n{done.stderr[-5000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what is in the package, so that building leaves no trace in the checkout."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(
        ROOT / "keras_deepcomp", copy / "keras_deepcomp",
        ignore=shutil.ignore_patterns("__pycache__"),
    )  # fmt: skip
    return copy


@pytest.fixture(scope="module")
def empty_environment(tmp_path_factory, source):
    folder = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    run(folder / "bin" / "pip", "install", "--quiet", ".", cwd=source)
    return folder / "bin"


def test_the_readme_example_runs_after_pip_install(empty_environment, tmp_path):
    (tmp_path / "example.py").write_text(EXAMPLE)
    printed = run(empty_environment / "python", "-W", "error::UserWarning", "example.py",
                  cwd=tmp_path)  # fmt: skip
    assert "whole file" in printed
    size = (tmp_path / "model.kdc").stat().st_size
    program = empty_environment / "keras-deepcomp"
    inspected = json.loads(run(program, "inspect", "model.kdc", "--json", cwd=tmp_path))
    assert inspected["file_bytes"] == size
    assert "decode" in run(program, "verify", "model.kdc", cwd=tmp_path)
    run(program, "unpack", "model.kdc", "model.keras", cwd=tmp_path)
    run(program, "pack", "model.keras", "again.kdc", cwd=tmp_path)
    assert (tmp_path / "again.kdc").read_bytes() == (tmp_path / "model.kdc").read_bytes()


def test_the_wheel_holds_the_package_and_no_data(source, tmp_path):
    run(sys.executable, "-m", "build", "--quiet", "--outdir", tmp_path, source, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    (source_archive,) = tmp_path.glob("*.tar.gz")  # the wheel was made from this one
    with tarfile.open(source_archive) as archive:
        sources = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "setup.cfg", "pyproject.toml"} <= sources
    assert set(names) - sources == {name for name in names if ".dist-info/" in name}
    assert "keras_deepcomp/py.typed" in names
    assert "keras_deepcomp/container/huffman.py" in names
    for data in ("architecture/classes.json", "reporting/templates/report.html"):
        assert f"keras_deepcomp/{data}" in names
    assert all(n.split("/")[0].startswith("keras_deepcomp") for n in names)
    assert wheel.stat().st_size < 600_000  # the digits alone would be 11 MB
