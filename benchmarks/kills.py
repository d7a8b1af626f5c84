"""Killed at random moments: does a training end with the bits that it has undisturbed?

Claim: a training of two stages, pruning and sharing, under Keras' `BackupAndRestore`, is killed
(SIGKILL) twenty times at random moments and started again each time; its final variables are equal,
bit for bit, to those of a training that nobody disturbed.

The training is a process of its own, which writes a line when a `fit` begins and at an epoch's end.
A moment is a number of these lines to wait for, and a fraction of an epoch's time after the last:
anywhere in a batch, an update of the masks or a backup, and on a slow machine as on a fast one. If
the training ends before all kills are done, it is started again from nothing.

`BackupAndRestore` keeps two backups here (`double_checkpoint=True`): a kill in the middle of its
writing would leave it none otherwise. (Between the writing of its two files, weights and number of
the epoch, lies a tenth of a millisecond, more on a busy machine, in which a kill makes it repeat an
epoch, of any model. The optimizer's steps tell; such a training is counted apart, and begun anew.)
Keras shuffles by a seed of the process, which nobody saves, so the data comes in order.

Prints a table, writes `benchmarks/results/kills.json`, and exits with 1 if the claim falls short.
Needs POSIX signals.
"""

import argparse
import hashlib
import json
import math
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).resolve().parent / "results"
KILLS = 20
EPOCHS = 30
LONGEST_LIFE = 8.0
LINE = "now in stage "
ROWS, BATCH = 2000, 20
REPEATS_AN_EPOCH = 3  # an exit code


def train(folder, epochs):
    """Both stages, each going on from what `folder` holds of it."""
    import keras
    import numpy as np

    import keras_deepcomp as kdc

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, 20), np.float32)
    y = np.tanh(x @ rng.standard_normal((20, 10), np.float32))

    def fit(model, stage, update):
        def check(epoch, logs):
            if int(model.optimizer.iterations) != epoch * (ROWS // BATCH):
                os._exit(REPEATS_AN_EPOCH)

        model.compile(keras.optimizers.Adam(0.003), "mse")
        backup = keras.callbacks.BackupAndRestore(folder / stage, double_checkpoint=True)
        say = keras.callbacks.LambdaCallback(
            on_train_begin=lambda logs: print(LINE + stage, flush=True),
            on_epoch_begin=check,
            on_epoch_end=lambda epoch, logs: print(LINE + stage, flush=True),
        )
        model.fit(x, y, batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0,
                  callbacks=[say, update, backup])  # fmt: skip
        # Whole or not at all, as everything must be that a killed process leaves behind.
        partial = folder / f"partial-{stage}.keras"
        model.save(partial)
        partial.replace(folder / f"{stage}.keras")

    if not (folder / "prune.keras").exists():
        dense = keras.layers.Dense
        model = keras.Sequential([keras.layers.Input((20,)), dense(64, "relu"), dense(10)])
        schedule = kdc.schedules.Polynomial(0.8, end=0.8, frequency=30)
        fit(kdc.prune_low_magnitude(model, schedule), "prune", kdc.UpdatePruningStep())
    if not (folder / "share.keras").exists():
        pruned = keras.models.load_model(folder / "prune.keras")
        fit(kdc.cluster_weights(pruned, 16), "share", kdc.UpdateCentroids(reassign=True))
    shared = keras.models.load_model(folder / "share.keras")
    variables = [np.asarray(v) for v in (*shared.variables, *shared.optimizer.variables)]
    digest = hashlib.sha256(b"".join(v.tobytes() for v in variables)).hexdigest()
    kernels = [layer.kernel for layer in kdc.strip(shared).layers]
    zeros = sum(int(np.count_nonzero(np.asarray(k) == 0)) for k in kernels)
    return {"digest": digest, "sparsity": zeros / sum(int(np.prod(k.shape)) for k in kernels)}


def run(folder, epochs, lines=None, fraction=0.0):
    """Trains in a process, to the end or to a moment.

    Returns:
        The stage in which it was killed, or None; and what it ended with, or None if it was killed
        or is about to repeat an epoch.
    """
    command = [sys.executable, __file__, "--train", str(folder), "--epochs", str(epochs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        seen, before, result = 0, time.perf_counter(), None
        for line in process.stdout:
            if line.startswith("{"):
                result = json.loads(line)
            if not line.startswith(LINE):
                continue
            seen, now = seen + 1, time.perf_counter()
            if lines is not None and seen > lines:
                # Before the first epoch's end, nobody knows how long one takes.
                time.sleep(fraction * (now - before if seen > 1 else 1.0))
                process.send_signal(signal.SIGKILL)
                if process.wait() == -signal.SIGKILL:
                    return line.removeprefix(LINE).strip(), None
            before = now
        if process.wait() == REPEATS_AN_EPOCH:
            return None, None
        if process.returncode != 0:
            raise RuntimeError(f"the training failed with exit code {process.returncode}")
    return None, result


def campaign(folder, number_of_kills, seed, epochs=EPOCHS, write=print):
    """Kills trainings until the number is reached; compares each that ends with the undisturbed."""
    rng = random.Random(seed)
    _, undisturbed = run(folder / "undisturbed", epochs)
    write(f"undisturbed: {undisturbed['sparsity']:.1%} zeros, digest {undisturbed['digest'][:12]}")
    kills, stages, trainings, repeating = 0, Counter(), [], 0
    while kills < number_of_kills:
        current, killed_here = folder / f"training-{len(trainings)}", 0
        while True:
            moment = ()
            if kills < number_of_kills:
                fraction, lines = math.modf(rng.uniform(0, min(LONGEST_LIFE, epochs)))
                moment = lines, fraction
            stage, result = run(current, epochs, *moment)
            if stage is None:
                break
            kills, killed_here = kills + 1, killed_here + 1
            stages[stage] += 1
            write(f"kill {kills}: stage '{stage}', {lines + fraction:.2f} epochs after it went on")
        if result is None:
            write("killed between the two files of a backup: begun anew")
            kills, repeating = kills - killed_here, repeating + 1
            shutil.rmtree(current)
            continue
        equal = result == undisturbed
        trainings.append({"kills": killed_here, "equal": equal, **result})
        write(f"ended after {killed_here} kills: {'equal' if equal else 'NOT EQUAL'}")
        shutil.rmtree(current)
    return {
        "kills": kills,
        "stages_killed": dict(stages),
        "undisturbed": undisturbed,
        "killed_between_files": repeating,
        "trainings": trainings,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of each stage")
    parser.add_argument("--train", type=Path, help="used by the program itself")
    arguments = parser.parse_args()
    if arguments.train:
        arguments.train.mkdir(parents=True, exist_ok=True)
        print(json.dumps(train(arguments.train, arguments.epochs)))
        return 0

    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = campaign(Path(folder), arguments.kills, arguments.seed, arguments.epochs,
                          lambda line: print(line, flush=True))  # fmt: skip
    import keras

    table = Table(title=f"{result['kills']} kills in two stages under BackupAndRestore")
    for heading in ("training", "kills", "zeros", "variables"):
        table.add_column(heading, justify="right")
    for i, training in enumerate(result["trainings"]):
        same = "equal" if training["equal"] else "NOT EQUAL"
        table.add_row(str(i), str(training["kills"]), f"{training['sparsity']:.1%}", same)
    Console().print(table)
    held = all(training["equal"] for training in result["trainings"])
    report = {
        "claim": "each training that was killed and resumed ends with the undisturbed one's bits",
        "held": held,
        "seed": arguments.seed,
        "seconds": round(time.perf_counter() - start, 1),
        "versions": {
            "python": platform.python_version(),
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
        },
        **result,
    }
    (RESULTS / "kills.json").write_text(json.dumps(report, indent=2) + "\n")
    print("the claim holds" if held else "the claim does not hold")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
