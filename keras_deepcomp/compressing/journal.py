"""All of a search on disk: what was measured, the files, and the best one at any moment.

`search.json` has the rounds that are complete, and is written whole or not at all; a file that it
names was there before. So whatever the moment at which a process dies, the search goes on with the
round that it was in.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_deepcomp.compressing.result import Point
from keras_deepcomp.compressing.steering import Round, round_as_dict, round_from_dict
from keras_deepcomp.container.disk import replacing
from keras_deepcomp.devices import to_numpy

STATE, BEST = "search.json", "best.kdc"
_VERSION = 1


class ResumeError(ValueError):
    """A directory holds a search that this one cannot go on with."""


class Journal:
    """The directory of one search.

    Args:
        directory: Made if need be.
        identity: What the search is of, by name: two searches are one if all of it is equal.

    Raises:
        ResumeError: There is another search in it, or one that cannot be read.
    """

    def __init__(self, directory: str | os.PathLike[str], identity: dict[str, Any]) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.rounds: list[Round] = []
        self.before: dict[str, float] | None = None
        self.start: Point | None = None
        self.sensitivity: dict[str, Any] | None = None
        self._identity = identity
        for left in self.directory.glob(".kdc-*.tmp"):  # by a process that was killed
            with contextlib.suppress(OSError):
                left.unlink()
        if (self.directory / STATE).exists():
            self._read()

    def _read(self) -> None:
        path = self.directory / STATE
        mend = "Give another directory, or delete this one to begin anew."
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            if state["version"] != _VERSION:
                raise ResumeError(f"{path} is of version {state['version']!r}. {mend}")
            known = state["identity"]
            self.before, self.sensitivity = state["before"], state["sensitivity"]
            self.start = Point(**state["start"])
            self.rounds = [round_from_dict(each) for each in state["rounds"]]
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ResumeError(f"{path} is not the state of a search: {error!r}. {mend}") from None
        now = json.loads(json.dumps(self._identity))
        differing = sorted(name for name in known.keys() | now if known.get(name) != now.get(name))
        if differing:
            raise ResumeError(
                f"'{self.directory}' holds another search, which differs in "
                f"{', '.join(_in_words(name, known, now) for name in differing)}. {mend}"
            )
        missing = [p.file for p in self.points() if not (self.directory / p.file).is_file()]
        if missing:
            raise ResumeError(f"'{self.directory}' has lost {', '.join(missing)}. {mend}")

    def points(self) -> list[Point]:
        """All files so far, that of the given model first."""
        given = [] if self.start is None else [self.start]
        return [*given, *(point for each in self.rounds for point in each.points)]

    @property
    def seconds(self) -> float:
        """How long the rounds took."""
        return sum(each.seconds for each in self.rounds)

    def begin(self, before: dict[str, float], start: Point, sensitivity: dict[str, Any]) -> None:
        """Keeps what was measured before the first round."""
        self.before, self.start, self.sensitivity = before, start, sensitivity
        self._write()

    def add(self, done: Round) -> None:
        """Keeps a round, whose files are there."""
        self.rounds.append(done)
        self._write()

    def path(self, name: str) -> Path:
        """Where a file of the search is."""
        return self.directory / name

    def pruned(self, number: int) -> Path:
        """Where the pruned weights of a round are, before sharing."""
        return self.directory / f"round-{number:03}.weights.kdc"

    def publish(self, point: Point) -> Path:
        """Makes a file the best one, at once."""
        target = self.directory / BEST
        data = self.path(point.file).read_bytes()
        if not target.exists() or target.read_bytes() != data:
            with replacing(target) as file:
                file.write(data)
        return target

    def _write(self) -> None:
        assert self.start is not None
        state = {
            "version": _VERSION,
            "identity": self._identity,
            "before": self.before,
            "start": self.start.__dict__,
            "sensitivity": self.sensitivity,
            "rounds": [round_as_dict(each) for each in self.rounds],
        }
        with replacing(self.directory / STATE) as file:
            file.write((json.dumps(state, indent=1) + "\n").encode())


def digest_of(model: keras.Model) -> str:
    """Says whether a model is the same as another time: its classes, names and weights."""
    found = hashlib.sha256()
    for layer in model._flatten_layers():
        found.update(f"{type(layer).__name__} {layer.name};".encode())
    for variable in model.variables:
        value = to_numpy(variable)
        found.update(f"{value.dtype.name} {value.shape};".encode())
        found.update(np.ascontiguousarray(value).tobytes())
    return found.hexdigest()


def _in_words(name: str, known: dict[str, Any], now: dict[str, Any]) -> str:
    there, here = known.get(name), now.get(name)
    if any(len(str(value)) > 40 for value in (there, here)):
        return f"the {name}"
    return f"{name} ({there!r} there, {here!r} here)"
