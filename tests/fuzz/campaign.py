"""A million damaged files, the same ones for the same seed: each is refused, or is what it says.

Half of the files have wrong checksums, and all of those are to be refused. In the other half the
checksums were mended, so that the damage reaches the inside of the decoder: each is refused with
`FormatError`, or gives tensors exactly as its directory declares them. No file may take longer
than 100 ms of CPU time, or more memory than `max_bytes` and 64 MiB.

    PYTHONPATH=tests .venv/bin/python -m fuzz.campaign --out benchmarks/results/fuzz.json
"""

import argparse
import collections
import importlib.metadata
import json
import multiprocessing.connection
import platform
import random
import resource
import sys
import time
import traceback
from pathlib import Path

import simple_decoder
from golden.manifests import MANIFESTS, read

from fuzz import mutations
from keras_deepcomp import container

MAX_BYTES = 16 << 20
MORE_BYTES = 64 << 20
MAX_SECONDS = 0.1
CHUNK = 500
LARGEST_SEED = 1 << 16


def seeds():
    """Return the golden files of all versions that are small in memory as well."""
    data = [
        read(folder, entry) for folder, manifest in MANIFESTS.items() for entry in manifest["files"]
    ]
    data = [one for one in data if container.inspect(one).decoded_bytes <= LARGEST_SEED]
    apart = [mutations.Seed(one) for one in data if one[4] == 1]
    others = [block for seed in apart for block in seed.blocks()]
    # Version 0 is half as large, and is no longer written.
    new = [mutations.Seed(one, others) for one in data if one[4] == 1]
    return new * 4 + [mutations.Seed(one) for one in data if one[4] == 0]


def mutant(found, seed, number):
    """Return kind, bytes and whether the checksums fit of the mutant of a number."""
    rng = random.Random(seed << 40 | number)
    kind, data = (mutations.unsealed, mutations.resealed)[number % 2](rng, rng.choice(found))
    return kind, data, number % 2 == 1


def outcome(data, fits, max_bytes=MAX_BYTES):
    """Return "refused", "right" or what is wrong, and the seconds of CPU time that it took."""
    start = time.thread_time()
    try:
        tensors, info = container.load_with_info(data, max_bytes=max_bytes)
    except container.FormatError:
        return "refused", time.thread_time() - start
    except MemoryError:
        return "too much memory", time.thread_time() - start
    except Exception:
        return traceback.format_exc(limit=-3), time.thread_time() - start
    seconds = time.thread_time() - start
    if not fits:
        return "taken in spite of its checksums", seconds
    declared = list(simple_decoder.declared(data).items())
    if declared != [(name, (x.dtype.name, x.shape)) for name, x in tensors.items()]:
        return "other tensors than declared", seconds
    held = sum(x.nbytes for x in tensors.values())
    held += sum(len(text.encode()) for text in info.metadata.values())
    if held > max_bytes or info.decoded_bytes > max_bytes:
        return "more than max_bytes", seconds
    return "right", seconds


def least_seconds(data, fits, seconds):
    """Return the least of up to ten timings: a busy machine makes CPU time longer as well."""
    for number in range(10):
        if seconds <= MAX_SECONDS:
            break
        time.sleep(0.1 * number)
        seconds = min(seconds, outcome(data, fits)[1])
    return seconds


def limit_memory(bytes_more):
    """Let this process take no more than it has now and so many bytes. Linux alone knows how."""
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[0])
    limit = pages * resource.getpagesize() + bytes_more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


class Worker:
    """Tries mutants in a process of its own."""

    def __init__(self, seed):
        self.seed = seed
        self.seeds = seeds()
        self.originals = {one.data for one in self.seeds}
        for data in self.originals:
            container.load(data)  # What is made once is made now.

    def run(self, start, stop):
        """Return counts by kind and outcome, failures, and the slowest (seconds, number, kind)."""
        counts = collections.Counter()
        failures = []
        slowest = (0.0, -1, "")
        for number in range(start, stop):
            kind, data, fits = mutant(self.seeds, self.seed, number)
            if data in self.originals:
                counts[kind, "not changed"] += 1
                continue
            result, seconds = outcome(data, fits)
            seconds = least_seconds(data, fits, seconds)
            slowest = max(slowest, (seconds, number, kind))
            if result in ("refused", "right") and seconds > MAX_SECONDS:
                result = f"{seconds:.3f} s"
            if result not in ("refused", "right"):
                failures.append(
                    {"number": number, "kind": kind, "what": result, "data": data.hex()}
                )
                result = "wrong"
            counts[kind, result] += 1
        return counts, failures, slowest


def work(seed, ranges, pipe):
    worker = Worker(seed)
    limit_memory(MAX_BYTES + MORE_BYTES)
    for start, stop in ranges:
        pipe.send((stop - start, *worker.run(start, stop)))
    pipe.close()


def run(seed, mutants, processes, report=lambda done, failures, slowest: None):
    """Try all mutants, and return what came out as it is written to the file."""
    context = multiprocessing.get_context("spawn")
    starts = range(0, mutants, CHUNK)
    ranges = [(start, min(start + CHUNK, mutants)) for start in starts]
    pipes = []
    for number in range(processes):
        # No queues: they have threads, which take memory of their own.
        pipe, end = context.Pipe(duplex=False)
        arguments = seed, ranges[number::processes], end
        context.Process(target=work, args=arguments, daemon=True).start()
        end.close()
        pipes.append(pipe)
    counts, failures, slowest, done = collections.Counter(), [], (0.0, -1, ""), 0
    while pipes:
        for pipe in multiprocessing.connection.wait(pipes):
            try:
                finished, own_counts, own_failures, own_slowest = pipe.recv()
            except EOFError:
                pipes.remove(pipe)
                continue
            done += finished
            counts += own_counts
            failures += own_failures
            slowest = max(slowest, own_slowest)
            report(done, failures, slowest)
    if done < mutants:
        raise SystemExit(f"a process ended after {done:,} of {mutants:,} mutants of all")
    kinds = sorted({kind for kind, _ in counts})
    return {
        "seed": seed,
        "mutants": mutants,
        "max_bytes": MAX_BYTES,
        "outcomes": totals(counts),
        "kinds": {
            kind: totals({key: count for key, count in counts.items() if key[0] == kind})
            for kind in kinds
        },
        "slowest": {
            "milliseconds": round(1000 * slowest[0], 1),
            "number": slowest[1],
            "kind": slowest[2],
        },
        "failures": sorted(failures, key=lambda failure: failure["number"])[:100],
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("numpy", "bitarray")},
        },
    }


def totals(counts):
    found = collections.Counter()
    for (_, result), count in counts.items():
        found[result] += count
    return dict(sorted(found.items()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=2016)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    start = time.perf_counter()
    shown = []

    def report(done, failures, slowest):
        for failure in failures[len(shown) :]:
            shown.append(failure["number"])
            print(failure["number"], failure["kind"], failure["what"], failure["data"], flush=True)
        if done % 10_000 < CHUNK or done == arguments.mutants:
            rate = done / (time.perf_counter() - start)
            print(
                f"{done:,} of {arguments.mutants:,}, {rate:.0f} a second, {len(failures)} wrong, "
                f"at most {1000 * slowest[0]:.0f} ms (number {slowest[1]}, {slowest[2]})",
                flush=True,
            )

    found = run(arguments.seed, arguments.mutants, arguments.processes, report)
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=2) + "\n", encoding="ascii")
    print(json.dumps({key: found[key] for key in ("outcomes", "kinds", "slowest")}, indent=2))
    sys.exit(bool(found["failures"]))


if __name__ == "__main__":
    main()
