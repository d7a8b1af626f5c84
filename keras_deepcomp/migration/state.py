"""A model as plain data: its configuration, and per layer the weights and what tfmot added.

Knows no framework. The same data goes from one process to the other as a `.kdc` container, which
has all dtypes and runs no code when it is read.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_deepcomp import container, schedules

_KEY = "migration"


@dataclass
class Pruned:
    """What tfmot's pruning wrapper holds.

    Attributes:
        schedule: Its pruning schedule, as one of ours.
        step: Optimizer steps done, -1 before the first.
        pattern: In words, a pattern of zeros other than single weights; empty if there is none.
        masks: Position among the layer's weights -> mask (bool, the weight's shape).
        thresholds: Position -> the threshold of the last update.
    """

    schedule: schedules.Schedule
    step: int
    pattern: str = ""
    masks: dict[int, np.ndarray] = field(default_factory=dict)
    thresholds: dict[int, float] = field(default_factory=dict)


@dataclass
class Shared:
    """What tfmot's clustering wrapper holds.

    Attributes:
        initialization: How the centroids were found, in our words.
        averaged: Whether a centroid's gradient is the mean of its members', not the sum.
        centroids: Position among the layer's weights -> the codebook, 1-D, of the weight's dtype.
        assignments: Position -> 0 for a weight that stays zero, i + 1 for centroid i.
    """

    initialization: str
    averaged: bool
    centroids: dict[int, np.ndarray] = field(default_factory=dict)
    assignments: dict[int, np.ndarray] = field(default_factory=dict)


@dataclass
class LayerState:
    """One layer, without tfmot's wrapper.

    Attributes:
        values: Its weights, trainable ones first, as Keras 2 orders them.
        pruned: From the pruning wrapper, if it had one with weights to prune.
        shared: From the clustering wrapper, likewise.
    """

    values: list[np.ndarray]
    pruned: Pruned | None = None
    shared: Shared | None = None


@dataclass
class ModelState:
    """A model.

    Attributes:
        config: Class name and configuration, in the words of Keras 2, without tfmot's wrappers.
        layers: "model inside/layer" -> its state, for each layer that is not a model itself.
    """

    config: dict[str, Any]
    layers: dict[str, LayerState]


def write(state: ModelState, path: str | os.PathLike[str]) -> None:
    """Writes a model's state into a file, for `read`.

    Raises:
        ValueError: A schedule that only exists as code in this process.
    """
    tensors: dict[str, np.ndarray] = {}
    layers: dict[str, Any] = {}
    for number, (name, layer) in enumerate(state.layers.items()):
        about: dict[str, Any] = {"values": len(layer.values)}
        for position, value in enumerate(layer.values):
            tensors[f"{number}/value/{position}"] = value
        if pruned := layer.pruned:
            for position, mask in pruned.masks.items():
                tensors[f"{number}/mask/{position}"] = mask
            about["pruned"] = {
                "schedule": _schedule_to_data(pruned.schedule, name),
                "step": pruned.step,
                "pattern": pruned.pattern,
                "thresholds": list(pruned.thresholds.items()),
            }
        if shared := layer.shared:
            for position, centroids in shared.centroids.items():
                tensors[f"{number}/centroids/{position}"] = centroids
                tensors[f"{number}/assignments/{position}"] = shared.assignments[position]
            about["shared"] = {
                "initialization": shared.initialization,
                "averaged": shared.averaged,
                "positions": list(shared.centroids),
            }
        layers[name] = about
    text = json.dumps({"config": state.config, "layers": layers})
    container.save_file(tensors, path, {_KEY: text}, effort=0)


def read(path: str | os.PathLike[str]) -> ModelState:
    """Reads what `write` has written."""
    with container.open_file(path) as file:
        data = json.loads(file.metadata[_KEY])
        tensors = {name: file[name] for name in file}
    layers = {}
    for number, (name, about) in enumerate(data["layers"].items()):

        def tensor(what: str, position: int, number: int = number) -> np.ndarray:
            return tensors[f"{number}/{what}/{position}"]

        layer = LayerState([tensor("value", i) for i in range(about["values"])])
        if pruned := about.get("pruned"):
            layer.pruned = Pruned(
                _schedule_from_data(pruned["schedule"]), pruned["step"], pruned["pattern"]
            )
            for position, threshold in pruned["thresholds"]:
                layer.pruned.masks[position] = tensor("mask", position)
                layer.pruned.thresholds[position] = threshold
        if shared := about.get("shared"):
            layer.shared = Shared(shared["initialization"], shared["averaged"])
            for position in shared["positions"]:
                layer.shared.centroids[position] = tensor("centroids", position)
                layer.shared.assignments[position] = tensor("assignments", position)
        layers[name] = layer
    return ModelState(data["config"], layers)


def _schedule_to_data(schedule: schedules.Schedule, layer: str) -> dict[str, Any]:
    if isinstance(schedule, schedules.FromCallable):
        raise ValueError(
            f"The pruning schedule of layer '{layer}' is code of your own, which a file cannot "
            "carry. Load the model with tf_keras and pass the model itself to from_tfmot."
        )
    return {"kind": type(schedule).__name__, **schedule.get_config()}


def _schedule_from_data(data: dict[str, Any]) -> schedules.Schedule:
    arguments = dict(data)
    kind: type[schedules.Schedule] = getattr(schedules, arguments.pop("kind"))
    return kind.from_config(arguments)
