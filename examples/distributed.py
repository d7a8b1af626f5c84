"""Prune and share one model in two processes on this machine, with JAX; no arguments.

The script starts itself once for each process. On several machines, start one process on each, with
the address of the first one as `address`, and with the data that is its own.
"""

import hashlib
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"

PROCESSES = 2


def train(address: str, process: int, folder: str) -> None:
    """What each process does."""
    import keras
    import numpy as np

    import keras_deepcomp as kdc

    # Before anything else is asked of JAX. Then all processes draw the same initial weights.
    keras.utils.set_random_seed(0)
    keras.distribution.initialize(address, PROCESSES, process)
    # Each process reads its own share of the data, so that Keras need not divide it.
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    rng = np.random.default_rng(process)
    x = rng.standard_normal((512, 64), np.float32)
    y = x[:, :10].argmax(axis=1)

    model = keras.Sequential(
        [
            keras.layers.Input((64,)),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    # Below here, nothing knows of the processes.
    pruned = kdc.prune_low_magnitude(model, kdc.schedules.Polynomial(final_sparsity=0.9))
    pruned.compile("adam", "sparse_categorical_crossentropy")
    pruned.fit(x, y, epochs=5, verbose=0, callbacks=[kdc.UpdatePruningStep()])
    shared = kdc.cluster_weights(pruned, number_of_clusters=16)
    shared.compile("adam", "sparse_categorical_crossentropy")
    shared.fit(x, y, epochs=2, verbose=0, callbacks=[kdc.UpdateCentroids()])
    # One process would do. This example has each write a file, to compare them.
    kdc.save_model(shared, f"{folder}/{process}.kdc")


def main() -> None:
    """Starts the processes and compares what they wrote."""
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
        free.close()
        processes = [
            subprocess.Popen([sys.executable, __file__, address, str(process), folder])
            for process in range(PROCESSES)
        ]
        if any([process.wait() for process in processes]):
            raise SystemExit("A process failed.")
        files = [Path(folder, f"{process}.kdc").read_bytes() for process in range(PROCESSES)]
    for process, data in enumerate(files):
        digest = hashlib.sha256(data).hexdigest()
        print(f"process {process}: {len(data)} bytes, sha256 {digest[:16]}")
    if len(set(files)) != 1:
        raise SystemExit("The processes have different models.")
    print("The same model in all processes.")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        train(sys.argv[1], int(sys.argv[2]), sys.argv[3])
