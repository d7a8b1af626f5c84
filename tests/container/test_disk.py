"""Files on disk: what was there stays until all of the new file is there."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_deepcomp import container
from keras_deepcomp.container import disk

TENSORS = {"x": np.arange(10.0), "y": np.zeros(3, np.int8)}
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX files")


def test_round_trip(tmp_path):
    path = tmp_path / "model.kdc"
    size = container.save_file(TENSORS, path, {"key": "value"})
    assert path.read_bytes() == container.save(TENSORS, {"key": "value"})
    assert size == path.stat().st_size
    loaded = container.load_file(str(path))
    assert list(loaded) == ["x", "y"]
    np.testing.assert_array_equal(loaded["x"], TENSORS["x"])
    assert container.inspect_file(path) == container.inspect(path.read_bytes())
    assert os.listdir(tmp_path) == ["model.kdc"]


def test_errors_name_the_file(tmp_path):
    path = tmp_path / "broken.kdc"
    path.write_bytes(b"PK")
    for read in (container.load_file, container.inspect_file):
        with pytest.raises(container.FormatError, match=r"broken\.kdc: This is not a \.kdc file"):
            read(path)
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "nothing.kdc")
    container.save_file(TENSORS, path)
    with pytest.raises(container.FormatError, match=r"broken\.kdc.*pass max_bytes=83"):
        container.load_file(path, max_bytes=82)
    with pytest.raises(FileNotFoundError):
        container.save_file(TENSORS, tmp_path / "nowhere" / "x.kdc")


def test_bad_tensors_leave_the_old_file(tmp_path):
    path = tmp_path / "model.kdc"
    container.save_file(TENSORS, path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        container.save_file({"x": np.array([None])}, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.kdc"]


@posix
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_mode_follows_the_umask(tmp_path, umask, mode):
    path = tmp_path / "model.kdc"
    old = os.umask(umask)
    try:
        container.save_file(TENSORS, path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@posix
def test_mode_of_an_older_file_stays(tmp_path):
    path = tmp_path / "model.kdc"
    container.save_file(TENSORS, path)
    path.chmod(0o640)
    container.save_file(TENSORS, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@posix
def test_links_are_followed(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    link = tmp_path / "link.kdc"
    link.symlink_to(folder / "model.kdc")
    container.save_file(TENSORS, link)
    container.save_file({}, link)
    assert link.is_symlink()
    assert container.load_file(folder / "model.kdc") == {}
    assert os.listdir(folder) == ["model.kdc"]


@posix
def test_only_ordinary_files_are_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="not an ordinary file"):
        container.save_file(TENSORS, pipe)
    with pytest.raises(IsADirectoryError):
        container.save_file(TENSORS, tmp_path)
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_failure_at_any_step(tmp_path, monkeypatch, step, error, old):
    path = tmp_path / "model.kdc"
    if old is not None:
        path.write_bytes(old)
    elif step == "chmod":
        pytest.skip("nothing to copy the mode from")

    def fail(*arguments):
        raise error

    monkeypatch.setattr(disk.os, step, fail)
    with pytest.raises(type(error)):
        container.save_file(TENSORS, path)
    assert os.listdir(tmp_path) == ([] if old is None else ["model.kdc"])
    assert old is None or path.read_bytes() == old


def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path, monkeypatch):
    real = os.open

    def refuse_folders(path, *arguments, **more):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *arguments, **more)

    monkeypatch.setattr(disk.os, "open", refuse_folders)
    container.save_file(TENSORS, tmp_path / "model.kdc")
    assert list(container.load_file(tmp_path / "model.kdc")) == ["x", "y"]


@posix
def test_a_disk_that_fills_up(tmp_path):
    path = tmp_path / "model.kdc"
    container.save_file(TENSORS, path)
    before = path.read_bytes()
    code = """
import errno, resource, signal, sys
import numpy as np
from keras_deepcomp import container

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
weights = np.random.default_rng(0).normal(size=1_000_000)
try:
    container.save_file({"weights": weights}, sys.argv[1])
except OSError as error:
    assert error.errno == errno.EFBIG, error
    print("refused")
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(container.__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, env=environment
    )
    assert (done.stdout, done.stderr) == ("refused\n", "")
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.kdc"]
