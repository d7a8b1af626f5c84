"""What `fullsize.py` measures, each in a process of its own: `python fullsize_parts.py PART ...`.

A part prints its result as JSON in its last line.
"""

import contextlib
import gc
import hashlib
import json
import os
import sys
import time
import warnings
from pathlib import Path
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from format_vgg16 import resident_bytes
from fullsize_networks import NETWORKS, dense_weights, source_bits

import keras_deepcomp as kdc
from keras_deepcomp import centroids, container
from keras_deepcomp.devices import to_numpy

BATCH = 8
ROUNDS = 3
KMEANS_VALUES, KMEANS_CLUSTERS = 10_000_000, 256
SAMPLE, SAMPLE_CLUSTERS = 2_000, 16


def weights(folder, network):
    """Makes a network with dense weights, and what to prune each layer by, as files in a folder."""
    model, qualities = NETWORKS[network].make(), {}
    for name in NETWORKS[network].layers:
        kernel, bias, threshold = dense_weights(network, name)
        model.get_layer(name).set_weights([kernel, bias])
        qualities[name] = threshold / float(np.std(kernel, dtype=np.float64))
        del kernel
    kdc.save_model(model, folder / f"{network}.kdc")
    (folder / f"{network}.json").write_text(json.dumps(qualities))
    return qualities


def dense_model(folder, network):
    """The model before pruning, and the quality of each layer: its threshold in deviations."""
    model = kdc.load_model(folder / f"{network}.kdc")
    return model, json.loads((folder / f"{network}.json").read_text())


def prune(model, qualities):
    """The paper's rule, at once."""
    schedules = {n: kdc.schedules.Threshold(q, begin=0, end=0) for n, q in qualities.items()}
    pruned = kdc.prune_low_magnitude(model, schedules, verbose=False)
    driver = kdc.PruningDriver(pruned, last_step=1)
    driver.update(0)
    driver.finish(1)
    return pruned


def share(model, network):
    """Codebooks of the paper's sizes."""
    clusters = {name: 1 << layer.bits for name, layer in NETWORKS[network].layers.items()}
    return kdc.cluster_weights(model, clusters, verbose=False)


def warm_up(folder):
    """A tiny model through everything, so that imports and the framework's start are not timed."""
    tiny = keras.Sequential([keras.layers.Input((4, 4, 1)), keras.layers.Conv2D(8, 3, name="tiny")])
    shared = kdc.cluster_weights(prune(tiny, {"tiny": 1.0}), 4, verbose=False)
    path = folder / f"tiny-{os.getpid()}.kdc"
    kdc.save_model(shared, path)
    kdc.load_model(path)
    path.unlink()


class Meter:
    """Seconds and peak memory of one thing after the other."""

    def __init__(self):
        gc.collect()
        self._floor = resident_bytes("VmRSS")
        self.stages = {}
        self.peak = 0

    @contextlib.contextmanager
    def stage(self, name):
        """Measures what is inside; peaks are of all of the process since the meter was made."""
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        peak = resident_bytes("VmHWM") - self._floor
        self.stages[name] = {"seconds": seconds, "peak_bytes": peak}
        self.peak = max(self.peak, peak)


def stages(folder, network):
    """All stages through the public functions; and all bits back."""
    warm_up(folder)
    path = folder / f"{network}-{keras.backend.backend()}.kdc"
    meter = Meter()
    model, qualities = dense_model(folder, network)
    float32_bytes = sum(4 * int(np.prod(v.shape)) for v in model.weights)
    with meter.stage("prune"):
        model = prune(model, qualities)
    with meter.stage("share"):
        model = share(model, network)
    with meter.stage("code and save"):
        kdc.save_model(model, path)
    # Of the stages so far there is a bound.
    seconds, peak = sum(s["seconds"] for s in meter.stages.values()), meter.peak
    with meter.stage("strip"):
        plain = kdc.strip(model)
    del model
    expected = [digest(variable) for variable in plain.variables]
    # The state of dropout is of another type on each backend.
    weights = [digest(variable) for variable in plain.weights if "float" in str(variable.dtype)]
    del plain
    with meter.stage("load"):
        again = kdc.load_model(path)
    same = [digest(variable) for variable in again.variables] == expected
    return {
        "backend": keras.backend.backend(),
        "float32_bytes": float32_bytes,
        "stages": meter.stages,
        "seconds": seconds,
        "peak_bytes": peak,
        "same_bits": same,
        "weights_sha256": hashlib.sha256("".join(weights).encode()).hexdigest(),
        "summary": kdc.summary(path).as_dict(),
    }


def entropy(folder, network):
    """What each kernel in the file takes, against the least for how it was made."""
    path = folder / f"{network}-tensorflow.kdc"
    rows, least = {row["name"]: row["bytes"] for row in kdc.summary(path).as_dict()["tensors"]}, {}
    with container.open_file(path) as file:
        for name in NETWORKS[network].layers:
            positions, values = source_bits(network, name, file[f"{name}/kernel"])
            least[name] = {
                "position_bytes": positions / 8,
                "value_bytes": values / 8,
                "bytes": rows[f"{name}/kernel"],
            }
    biases = sum(size for name, size in rows.items() if name.endswith("/bias"))
    return {"kernels": least, "bias_bytes": biases, "file_bytes": path.stat().st_size}


def digest(variable):
    return hashlib.sha256(to_numpy(variable, copy=False).tobytes()).hexdigest()


def made_batch(model):
    """A batch of made images: noise, and labels that mean nothing."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, *model.input_shape[1:]), np.float32)
    return x, rng.integers(0, model.output_shape[-1], BATCH)


def variant(folder, network, kind):
    """A compiled model before pruning, while pruned, or while sharing."""
    model, qualities = dense_model(folder, network)
    if kind != "plain":
        model = prune(model, qualities)
    if kind == "shared":
        model = share(model, network)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=network == "alexnet")
    # As in the paper's training; small steps, for these weights and images mean nothing.
    model.compile(keras.optimizers.SGD(1e-6, momentum=0.9), loss)
    return model


def step_times(folder, network, kind):
    """Training steps of a wrapped model against those of the plain one, in turns."""
    models = {name: variant(folder, network, name) for name in ("plain", kind)}
    batches = {name: made_batch(model) for name, model in models.items()}
    rounds = []
    for number in range(1 + ROUNDS):  # the first one compiles
        seconds = {}
        for name in sorted(models, reverse=number % 2 == 0):
            start = time.perf_counter()
            loss = models[name].train_on_batch(*batches[name])
            seconds[name] = time.perf_counter() - start
            if not np.isfinite(loss):
                raise AssertionError(f"the loss of {name} is {loss}")
        rounds.append(seconds)
    rounds = rounds[1:]
    return {
        "seconds": median(seconds[kind] for seconds in rounds),
        "plain_seconds": median(seconds["plain"] for seconds in rounds),
        "ratio": median(seconds[kind] / seconds["plain"] for seconds in rounds),
    }


def step_memory(folder, network, kind):
    """The peak of two training steps, model included and framework not."""
    warm_up(folder)
    gc.collect()
    floor = resident_bytes("VmRSS")
    model = variant(folder, network, kind)
    batch = made_batch(model)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # what the conversion took is measured elsewhere
    for _ in range(2):
        model.train_on_batch(*batch)
    return {"peak_bytes": resident_bytes("VmHWM") - floor}


def kmeans_values(folder):
    """The values to cluster: what the tail of a pruned layer looks like, on either side."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal(KMEANS_VALUES, np.float32)
    values += np.sign(values) * np.float32(0.7)
    np.save(folder / "kmeans.npy", values)


def kmeans(folder, init):
    """Time, memory and objective of ours; the start for the peer to start from, too."""
    values = np.load(folder / "kmeans.npy")
    centroids.kmeans(values[:10_000], KMEANS_CLUSTERS, init)
    meter = Meter()
    with meter.stage("kmeans"):
        found = centroids.kmeans(values, KMEANS_CLUSTERS, init)
    ordered = centroids.Ordered(values)
    start = centroids.INITIALIZATIONS[init](ordered, KMEANS_CLUSTERS, None)
    np.save(folder / f"kmeans-{init}-start.npy", start)
    return {
        **meter.stages["kmeans"],
        "value_bytes": values.nbytes,
        "objective": squared_error(values, found),
    }


def kmeans_of(folder, found):
    """The objective of a peer's centroids, as float64 and in the same way as for ours."""
    return {"objective": squared_error(np.load(folder / "kmeans.npy"), np.load(found))}


def squared_error(values, found):
    found, total = np.sort(found.astype(np.float64).ravel()), 0.0
    for start in range(0, values.size, 1 << 20):
        some = values[start : start + (1 << 20)].astype(np.float64)
        total += float(((some - found[centroids.assign(some, found)]) ** 2).sum())
    return total


def kmeans_exact(folder):
    """Ours on a small sample against the least objective that there is."""
    rng = np.random.default_rng(0)
    values = np.sort(rng.standard_normal(SAMPLE))
    ours = {
        init: squared_error(values, centroids.kmeans(values, SAMPLE_CLUSTERS, init))
        for init in ("linear", "compander")
    }
    return {"least": least_objective(values, SAMPLE_CLUSTERS), **ours}


def least_objective(ordered, clusters):
    """Of all ways to cut sorted values into intervals, by dynamic programming."""
    n = ordered.size
    sums, squares = (np.concatenate([[0.0], np.cumsum(ordered**p)]) for p in (1, 2))
    ends = np.arange(n + 1)
    best = np.full(n + 1, np.inf)
    best[0] = 0.0
    for _ in range(clusters):
        after = np.full(n + 1, np.inf)
        for end in range(1, n + 1):
            first = ends[:end]
            cost = squares[end] - squares[first] - (sums[end] - sums[first]) ** 2 / (end - first)
            after[end] = (best[:end] + cost).min()
        best = after
    return float(best[n])


def growth(folder, size):
    """One dense layer of about so many weights through all stages."""
    warm_up(folder)
    side = round(float(size) ** 0.5)
    meter = Meter()
    model = keras.Sequential([keras.layers.Input((side,)), keras.layers.Dense(side, name="only")])
    path = folder / f"growth-{size}.kdc"
    with meter.stage("prune"):
        model = prune(model, {"only": 0.9 * 3**0.5})  # of uniform weights, a tenth stays
    with meter.stage("share"):
        model = kdc.cluster_weights(model, 32, verbose=False)
    with meter.stage("save"):
        kdc.save_model(model, path)
    del model
    with meter.stage("load"):
        kdc.load_model(path)
    path.unlink()
    return {"weights": side * side, "stages": meter.stages}


PARTS = {
    "weights": weights,
    "stages": stages,
    "entropy": entropy,
    "step_times": step_times,
    "step_memory": step_memory,
    "kmeans_values": kmeans_values,
    "kmeans": kmeans,
    "kmeans_of": kmeans_of,
    "kmeans_exact": kmeans_exact,
    "growth": growth,
}


def main():
    part, folder, *arguments = sys.argv[1:]
    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(sys.stderr):
        result = PARTS[part](Path(folder), *arguments)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
