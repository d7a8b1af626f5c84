"""What several tests need."""

import io
import os
import re
import subprocess
import sys
import textwrap

import numpy as np

COLOUR = re.compile(r"\x1b\[(?:[0-9]+;)*(?:3[0-8]|4[0-8]|9[0-7])[;0-9]*m")
"""A terminal's control sequence that sets a colour; bold and the cursor's are others."""


class Terminal(io.StringIO):
    """What looks like a terminal, and keeps what it is sent."""

    def isatty(self):
        return True


def terminal_as_stderr(monkeypatch, **environment):
    """Makes standard error a terminal of 100 columns; returns it."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    settings = {"TERM": "xterm-256color", "COLUMNS": "100", **environment}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def run_python(code, *arguments, **environment):
    """Runs code in a fresh interpreter; returns what it printed. Fails the test if it fails."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def array(variable):
    import keras

    return np.array(keras.ops.convert_to_numpy(variable))


def bits(values):
    values = np.asarray(values)
    return values.dtype.name, values.shape, values.tobytes()


def dense_model(units=(32, 10), inputs=20, seed=0, **arguments):
    import keras

    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(n, name=f"d{i}", **arguments) for i, n in enumerate(units)]
    return keras.Sequential([keras.layers.Input((inputs,)), *layers], name="net")


def regression_data(samples=64, inputs=20, outputs=10, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, inputs), np.float32)
    return x, np.tanh(x @ rng.standard_normal((inputs, outputs), np.float32))


def compiled(model, optimizer="adam", **arguments):
    model.compile(optimizer=optimizer, loss="mse", **arguments)
    return model
