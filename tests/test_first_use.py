"""From `git clone` to a compressed model of one's own, by the commands of the README."""

import os
import re
import shlex
import shutil
import subprocess
import sysconfig
import venv

import keras
import numpy as np
import pytest
from pages import ROOT

import keras_deepcomp as kdc

COMMANDS = re.search(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(), re.S | re.M).group(1)


@pytest.fixture
def environment(tmp_path):
    """A new environment in which the dependencies are installed already, and nothing else."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    scheme = {"base": tmp_path / "venv", "platbase": tmp_path / "venv"}
    own = sysconfig.get_path("purelib", "venv", scheme)
    # Of these packages, none is loaded by a hook of its own: this one is not there yet.
    with open(f"{own}/installed.pth", "w") as file:
        file.write(sysconfig.get_path("purelib"))
    pip = tmp_path / "venv" / "bin" / "pip"
    pip.write_text(f'#!/bin/sh\nexec {python} -m pip "$@"\n')
    pip.chmod(0o755)
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "KERAS_BACKEND")
    return {
        **{name: value for name, value in os.environ.items() if name not in hidden},
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        # From this machine alone.
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip takes it as it is written: no isolation
    }


@pytest.fixture
def own_model(tmp_path):
    x = np.random.default_rng(0).standard_normal((128, 20), np.float32)
    y = x[:, :4].argmax(axis=1)
    model = keras.Sequential(
        [
            keras.layers.Input((20,)),
            keras.layers.Dense(16, "relu", name="hidden"),
            keras.layers.Dense(4, "softmax", name="classes"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=True)
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x_train=x, y_train=y)
    return model


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no clone")
def test_the_commands_of_the_readme(environment, own_model, tmp_path):
    commands = COMMANDS.splitlines()
    assert len(commands) <= 5 and commands[0].startswith("git clone <this repository> ")
    # The search ends after its first round.
    text = COMMANDS.replace("<this repository>", shlex.quote(str(ROOT))).replace(
        "--minutes 30", "--minutes 0.001"
    )
    assert "0.001" in text
    done = subprocess.run(
        ["sh", "-ec", text], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert (tmp_path / "model.html").stat().st_size < 500_000
    assert (tmp_path / "model.kdc").stat().st_size < (tmp_path / "model.keras").stat().st_size / 4
    again = kdc.load_model(tmp_path / "model.kdc")
    assert [layer.name for layer in again.layers] == ["hidden", "classes"]
    program = shutil.which("keras-deepcomp", path=environment["PATH"])
    assert program == str(tmp_path / "venv" / "bin" / "keras-deepcomp")
