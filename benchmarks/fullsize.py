"""AlexNet and VGG-16 at full size through all stages, on the machine at hand.

The weights are synthetic, and like those of the paper's tables 4 and 5 in what the tables say: see
`fullsize_networks.py`. Claims:

- a file is at most 1.5 % larger than the entropy of the best model of each tensor, which here is
  known: the probability of each weight to be kept, and the counts of the indices; and it is at
  most as large as the paper's;
- pruning, sharing, coding and saving VGG-16 take at most 10 minutes, and at most 4 times the memory
  of its weights as float32, the model included;
- saving takes at most 1.5 times as long as `model.save`, and loading no longer than
  `keras.models.load_model`, and at most 1.3 times the memory of the weights (`format_vgg16.py`);
- a training step of VGG-16 with a batch of 8 takes at most 1.2 times as long while pruning and
  while sharing, and at most 1.6 times the memory;
- k-means of 10 million values in 256 clusters takes at most 3 times their memory, a minute, and has
  no larger objective than scikit-learn's from the same start, and than its default; on a small
  sample, at most 1 % more than the least that there is;
- all bits are back, and the weights are the same, on TensorFlow and on JAX.

Each measurement has a process of its own. `--only PART ...` measures these again and keeps the rest
of `benchmarks/results/fullsize.json`. Prints tables, draws `docs/growth.svg`, and exits with 1 if a
claim falls short or was not measured. Needs Linux, 8 GB of memory, and build/fullsize.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import fullsize_claims
import fullsize_growth

ROOT = Path(__file__).resolve().parent.parent
HERE, RESULTS = ROOT / "benchmarks", ROOT / "benchmarks" / "results"
PEER = ROOT / "build" / "fullsize" / "bin" / "python"
NETWORKS = ("alexnet", "vgg16")
BACKENDS = ("tensorflow", "jax")
SIZES = tuple(10**power for power in range(4, 9))
KINDS = ("pruned", "shared")


def run(part, folder, *arguments, backend="tensorflow"):
    """The result of a part, from a process of its own."""
    return _run([sys.executable, HERE / "fullsize_parts.py", part, folder, *arguments], backend)


def _run(command, backend="tensorflow"):
    environment = {**os.environ, "KERAS_BACKEND": backend}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    start = time.perf_counter()
    command = [str(each) for each in command]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    print(f"{' '.join(command[1:])}: {time.perf_counter() - start:.0f} s", flush=True)
    return json.loads(done.stdout.splitlines()[-1])


def make_weights(folder, network):
    """The dense weights of a network, if they are not there."""
    if not (folder / f"{network}.json").exists():
        run("weights", folder, network)


def stages(folder, network):
    make_weights(folder, network)
    found = {backend: run("stages", folder, network, backend=backend) for backend in BACKENDS}
    return {**found, "entropy": run("entropy", folder, network)}


def files(folder):
    """`format_vgg16.py` as it is, which has its own claims."""
    import format_vgg16

    with tempfile.TemporaryDirectory() as own:
        result = format_vgg16.measure(own)
    return {**result, "claims": format_vgg16.claims(result)}


def steps(folder):
    make_weights(folder, "vgg16")
    times = {kind: run("step_times", folder, "vgg16", kind) for kind in KINDS}
    memory = {kind: run("step_memory", folder, "vgg16", kind) for kind in ("plain", *KINDS)}
    return {"times": times, "memory": memory}


def kmeans(folder):
    run("kmeans_values", folder)
    ours = {init: run("kmeans", folder, init) for init in ("linear", "compander")}
    peer = {}
    for init, iterations in (("linear", 300), ("k-means++", 300)):
        peer[init] = _run([PEER, HERE / "fullsize_peer.py", folder, init, 256, iterations])
        peer[init] |= run("kmeans_of", folder, folder / f"kmeans-{init}-peer.npy")
    return {"ours": ours, "scikit-learn": peer, "sample": run("kmeans_exact", folder)}


def growth(folder):
    return {str(size): run("growth", folder, size) for size in SIZES}


PARTS = {
    "alexnet": lambda folder: stages(folder, "alexnet"),
    "vgg16": lambda folder: stages(folder, "vgg16"),
    "files": files,
    "steps": steps,
    "kmeans": kmeans,
    "growth": growth,
}


def versions():
    packages = ("numpy", "keras", "tensorflow", "jax")
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
        "cores": os.cpu_count(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--folder", type=Path, help="keeps the weights, for another time")
    arguments = parser.parse_args()
    path = RESULTS / "fullsize.json"
    result = json.loads(path.read_text())["parts"] if path.exists() else {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for part in arguments.only:
            result[part] = PARTS[part](folder)
            result[part]["load_average_after"] = os.getloadavg()[1]
            held = write(path, result)
    fullsize_claims.print_tables(result)
    for claim in fullsize_claims.claims(result):
        print(f"{'holds' if claim['held'] else 'SHORT'}  {claim['value']:.4g} "
              f"{claim['bound']}  {claim['claim']}")  # fmt: skip
    missing = [part for part in PARTS if part not in result]
    print(f"not measured: {', '.join(missing)}" if missing else "all parts are measured")
    if "growth" in result:
        fullsize_growth.draw(result["growth"])
    return 0 if held and not missing else 1


def write(path, result):
    """Writes what there is so far, so that a part that was interrupted can be done by itself."""
    checked = fullsize_claims.claims(result)
    held = all(claim["held"] for claim in checked)
    report = {"versions": versions(), "held": held, "claims": checked, "parts": result}
    path.write_text(json.dumps(report, indent=1) + "\n")
    return held


if __name__ == "__main__":
    sys.exit(main())
