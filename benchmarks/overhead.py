"""What do pruning and sharing cost a training step?

Claims, for LeNet-5, Keras' MobileNetV2 and a small transformer, each against the same model plain:

- a step takes at most 1.05 times as long while pruning, and at most 1.15 times while sharing;
- for LeNet-5 and MobileNetV2, pruning and sharing are not slower than tfmot's wrappers on tf-keras.
  Both are compared with their own plain model, and step against step.

A step is `train_on_batch` with Adam, and, while pruning, what `UpdatePruningStep` does in `fit`:
a driver asked before each batch, which moves the masks every hundred steps; tfmot does the same
within its step. Each library has a process of its own for each model. The variants of a model
take turns, step by step, so that a machine that is busy at times is so for all of them; a ratio is
the median over rounds of the ratios within a round. Our median leaves out the few steps in which
masks move, so their time, measured by itself, is added in the shares that the steps between them
have of it. (tfmot's median leaves them out too, and nothing is added.)

Memory is the peak of the resident set of a process that trains one variant only, for ten steps. It
stands beside the times, without a claim: the framework itself is most of it.

Prints a table, writes `benchmarks/results/overhead.json`, and exits with 1 if a claim falls short.
Needs Linux.
"""

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).resolve().parent / "results"
MOST = {"pruned": 1.05, "shared": 1.15}
ROUNDS = {"lenet_5": 200, "mobilenet_v2": 25, "transformer": 100}
WITH_TFMOT = ("lenet_5", "mobilenet_v2")
VARIANTS = ("plain", "pruned", "shared")
WARM_UP_STEPS, MEMORY_STEPS = 5, 10
SPARSITY, CLUSTERS, FREQUENCY = 0.9, 16, 100


def lenet_5(keras):
    """As `kdc.models.lenet_5`, in whichever Keras; and the shape of its batch."""
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.InputLayer((28, 28, 1)),
            layers.Conv2D(20, 5),
            layers.MaxPooling2D(),
            layers.Conv2D(50, 5),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(500, activation="relu"),
            layers.Dense(10),
        ]
    )
    return model, (128, 28, 28, 1)


def mobilenet_v2(keras):
    model = keras.applications.MobileNetV2(
        (96, 96, 3), weights=None, classes=10, classifier_activation=None
    )
    return model, (16, 96, 96, 3)


def transformer(keras):
    """Two blocks of attention and a feed-forward layer, over 64 places of 128 numbers."""
    layers = keras.layers
    inputs = x = keras.Input((64, 128))
    for _ in range(2):
        attended = layers.MultiHeadAttention(4, 32)(x, x)
        x = layers.LayerNormalization()(x + attended)
        forward = layers.Dense(128)(layers.Dense(512, activation="relu")(x))
        x = layers.LayerNormalization()(x + forward)
    outputs = layers.Dense(10)(layers.GlobalAveragePooling1D()(x))
    return keras.Model(inputs, outputs), (32, 64, 128)


MODELS = {"lenet_5": lenet_5, "mobilenet_v2": mobilenet_v2, "transformer": transformer}


def do_nothing(step):
    """Before the steps of a variant that needs nothing there."""


def with_kdc(model, variant):
    """A variant of a model, and what is called before each step."""
    import keras_deepcomp as kdc

    if variant == "shared":
        return kdc.cluster_weights(model, CLUSTERS), do_nothing
    if variant == "plain":
        return model, do_nothing
    schedule = kdc.schedules.Constant(SPARSITY, begin=0, frequency=FREQUENCY)
    pruned = kdc.prune_low_magnitude(model, schedule)
    driver = kdc.PruningDriver(pruned, last_step=None)
    return pruned, driver.update


def with_tfmot(model, variant):
    """The same of tfmot, and its callback's part: setting the step before each batch."""
    if variant == "plain":
        return model, do_nothing
    import tensorflow_model_optimization as tfmot
    from tf_keras.backend import batch_set_value

    sparsity, clustering = tfmot.sparsity.keras, tfmot.clustering.keras
    if variant == "shared":
        linear = clustering.CentroidInitialization.LINEAR
        shared = clustering.cluster_weights(model, CLUSTERS, linear, preserve_sparsity=False)
        return shared, do_nothing
    schedule = sparsity.ConstantSparsity(SPARSITY, begin_step=0, frequency=FREQUENCY)
    pruned = sparsity.prune_low_magnitude(model, schedule)
    counters = [layer.pruning_step for layer in pruned.layers if hasattr(layer, "pruning_step")]
    return pruned, lambda step: batch_set_value([(counter, step) for counter in counters])


LIBRARIES = {"kdc": with_kdc, "tfmot": with_tfmot}


def framework(library):
    if library == "tfmot":
        import tf_keras

        return tf_keras
    import keras

    return keras


def prepare(library, name, variant):
    """Functions that train one step of a compiled variant, and that do what goes before a step."""
    import numpy as np

    keras = framework(library)
    keras.utils.set_random_seed(0)
    model, shape = MODELS[name](keras)
    model, before = LIBRARIES[library](model, variant)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-4), loss)
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape, np.float32)
    y = rng.integers(0, 10, shape[0])
    count = iter(range(10**9))

    def step():
        before(next(count))
        model.train_on_batch(x, y)

    for _ in range(WARM_UP_STEPS):
        step()
    return step, before


def measure_times(library, name):
    """Seconds of each variant in each round."""
    prepared = {variant: prepare(library, name, variant) for variant in VARIANTS}
    steps = {variant: step for variant, (step, _) in prepared.items()}
    rounds = []
    for number in range(ROUNDS[name]):
        seconds = {}
        # Each goes first in turn: what runs after a larger model finds the caches cold.
        for i in range(len(VARIANTS)):
            variant = VARIANTS[(number + i) % len(VARIANTS)]
            start = time.perf_counter()
            steps[variant]()
            seconds[variant] = time.perf_counter() - start
        rounds.append(seconds)
    result = {
        variant: {
            "milliseconds": 1000 * median(seconds[variant] for seconds in rounds),
            "ratio": median(seconds[variant] / seconds["plain"] for seconds in rounds),
        }
        for variant in VARIANTS
    }
    if library == "kdc":
        moving = 1000 * time_of_moving_masks(prepared["pruned"][1])
        pruned, plain = result["pruned"], result["plain"]
        pruned["milliseconds_of_moving_masks"] = moving
        pruned["milliseconds"] += moving / FREQUENCY
        pruned["ratio"] += moving / FREQUENCY / plain["milliseconds"]
    return result


def time_of_moving_masks(update):
    """Median seconds of a driver's `update` at steps at which something is due."""
    seconds = []
    for step in range(10**6, 10**6 + 5 * FREQUENCY, FREQUENCY):
        start = time.perf_counter()
        if not update(step):
            raise AssertionError("no masks moved")
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def measure_memory(library, name, variant):
    step, _ = prepare(library, name, variant)
    for _ in range(MEMORY_STEPS):
        step()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return {"peak_mib": int(line.split()[1]) / 1024}
    raise RuntimeError("no VmHWM")


def in_fresh_process(*arguments):
    done = subprocess.run(
        [sys.executable, __file__, "--measure", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def measure(names):
    result = {}
    for name in names:
        result[name] = {}
        for library in LIBRARIES if name in WITH_TFMOT else ("kdc",):
            times = in_fresh_process(library, name)
            # No times are taken in these, so they need not wait for each other.
            with ThreadPoolExecutor(max_workers=2) as pool:
                memory = pool.map(partial(in_fresh_process, library, name), VARIANTS)
                for variant, peak in zip(VARIANTS, memory, strict=True):
                    times[variant] |= peak
            result[name][library] = times
            ratios = ", ".join(f"{v} {times[v]['ratio']:.3f}" for v in VARIANTS[1:])
            print(f"{name}, {library}: {ratios}", flush=True)
    return result


def claims(result):
    """What, its value, its bound."""
    checked = []
    for name, libraries in result.items():
        for variant, most in MOST.items():
            ours = libraries["kdc"][variant]
            checked.append((f"{name}: {variant} / plain", ours["ratio"], most))
            if "tfmot" in libraries:
                theirs = libraries["tfmot"][variant]
                checked += [
                    (f"{name}: {variant}, our ratio / tfmot's", ours["ratio"] / theirs["ratio"], 1),
                    (
                        f"{name}: {variant}, our step / tfmot's",
                        ours["milliseconds"] / theirs["milliseconds"],
                        1,
                    ),
                ]
    return checked


def print_table(result):
    table = Table(title="One training step; ratios to the same library's plain model")
    for heading in ("model", "library", "", "ms", "ratio", "peak MiB"):
        table.add_column(
            heading, justify="left" if heading in ("model", "library", "") else "right"
        )
    for name, libraries in result.items():
        for library, variants in libraries.items():
            for variant, row in variants.items():
                table.add_row(name, library, variant, f"{row['milliseconds']:.2f}",
                              f"{row['ratio']:.3f}",
                              f"{row['peak_mib']:.0f}")  # fmt: skip
    Console().print(table)


def versions():
    from importlib.metadata import version

    import keras

    packages = ("numpy", "keras", "tensorflow", "tf-keras", "tensorflow-model-optimization")
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
        "backend": keras.backend.backend(),
        "cores": os.cpu_count(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--measure", nargs="+", help="used by the program itself")
    arguments = parser.parse_args()
    if arguments.measure:
        warnings.simplefilter("ignore")
        library, name, *variant = arguments.measure
        with contextlib.redirect_stdout(sys.stderr):
            measured = (
                measure_memory(library, name, *variant) if variant else measure_times(library, name)
            )
        print(json.dumps(measured))
        return 0

    start = time.perf_counter()
    result = measure(arguments.models)
    print_table(result)
    checked = claims(result)
    for what, value, most in checked:
        print(f"{'holds' if value <= most else 'SHORT'}  {value:.3f} <= {most}  {what}")
    held = all(value <= most for _, value, most in checked)
    report = {
        "versions": versions(),
        "rounds": ROUNDS,
        "seconds": round(time.perf_counter() - start, 1),
        "claims": [
            {"claim": what, "value": value, "bound": f"<= {most}", "held": value <= most}
            for what, value, most in checked
        ],
        "held": held,
        "models": result,
    }
    (RESULTS / "overhead.json").write_text(json.dumps(report, indent=2) + "\n")
    print(f"{report['versions']}: {'all claims hold' if held else 'a claim falls short'}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
