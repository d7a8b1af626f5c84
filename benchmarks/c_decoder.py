"""How fast and how large is the decoder in C?

Cases are the networks of `benchmarks/results/format/`, pruned and shared, and made tensors. Claims,
for all cases together:

- decoding takes at most a third of the CPU time of `container.load` in Python;
- it takes at most twice the CPU time, for each byte that comes out, that zlib's `uncompress` takes
  for the same tensors, compressed with level 9;
- kdc.c and kdc.h have fewer than 1,000 lines together;
- a million inputs of libFuzzer or more, under AddressSanitizer and UndefinedBehaviorSanitizer, gave
  no report: `make fuzz-c`, whose log `--fuzz-log` reads.

The decoder is compiled with -O2. It checks all checksums, those of the file and of each block. All
three take turns, and the least of several times counts, so that a machine that is busy at times
matters little. zlib and the decoder write into memory that is there; Python makes its own.

Size is what `size` says of kdc.c compiled with -Os. Memory is what a decoder needs besides the file
and the tensor that it writes.

Prints a table, writes `benchmarks/results/c-decoder.json`, and exits with 1 if a claim falls short.
"""

import argparse
import ctypes
import ctypes.util
import json
import platform
import re
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from keras_deepcomp import container

ROOT = Path(__file__).resolve().parents[1]
C = ROOT / "c"
NETWORKS = ROOT / "benchmarks" / "results" / "format"
OUT = ROOT / "benchmarks" / "results" / "c-decoder.json"
LEAST_PYTHON, MOST_ZLIB, MOST_LINES, LEAST_RUNS = 3, 2, 999, 1_000_000
ROUNDS = {"networks": 15, "made": 5}
WORK_BYTES = 5 << 20
WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def made():
    """Large tensors as Deep Compression and quantization leave them."""
    rng = np.random.default_rng(2016)
    values = rng.normal(size=16).astype(np.float32)
    shares = rng.random(16)
    filled = rng.random((2500, 4000)) < 0.1
    return {
        "10 M float32, 10 % of 16 values": rng.choice(values, (2500, 4000)) * filled,
        "4 M float32, dense of 16 values": rng.choice(
            values, (2000, 2000), p=shares / shares.sum()
        ),
        "2 M int8, normal": np.rint(rng.normal(size=(2000, 1000)) * 25)
        .clip(-127, 127)
        .astype("i1"),
    }


def cases():
    """Return (name, kind, bytes of the file)."""
    for path in sorted(NETWORKS.glob("*.kdc")):
        # Their files may be of an older version than is written now.
        yield path.stem, "networks", container.save(container.load_file(path))
    for name, array in made().items():
        yield name, "made", container.save({"x": array})


def compiled(folder, *options):
    """Return the decoder as a library."""
    out = Path(folder) / "decoder.so"
    sources = [C / "kdc.c", ROOT / "benchmarks" / "c_decoder.c"]
    command = ["cc", *WARNINGS, *options, "-shared", "-fPIC", "-I", C, *sources, "-o", out]
    subprocess.run(command, check=True)
    library = ctypes.CDLL(str(out))
    library.file_size.restype = library.tensor_size.restype = ctypes.c_size_t
    return library


def zlib_library():
    name = ctypes.util.find_library("z")
    if name is None:
        raise SystemExit("zlib is not there as a library. Install it, such as the package zlib1g.")
    return ctypes.CDLL(name)


class Case:
    """A file, and what decodes it."""

    def __init__(self, library, inflater, name, kind, data):
        self.library, self.inflater = library, inflater
        self.name, self.kind, self.data = name, kind, data
        arrays = container.load(data).values()
        self.bytes = sum(array.nbytes for array in arrays)
        self.deflated = [(zlib.compress(array.tobytes(), 9), array.nbytes) for array in arrays]
        largest = max(array.nbytes for array in arrays)
        self.out = ctypes.create_string_buffer(largest)
        self.listing = ctypes.create_string_buffer(32 * len(data) + 8192)
        self.work = ctypes.create_string_buffer(WORK_BYTES)
        self.needs = (ctypes.c_size_t * 2)()

    def by_c(self):
        """Decode the file in C."""
        memory = []
        for buffer in (self.out, self.listing, self.work):
            memory += [buffer, ctypes.c_size_t(len(buffer))]
        size = ctypes.c_size_t(len(self.data))
        status = self.library.decode_all(self.data, size, *memory, self.needs)
        if status:
            raise SystemExit(f"{self.name}: kdc_status {status}")

    def by_zlib(self):
        """Inflate the tensors with zlib."""
        for deflated, size in self.deflated:
            length = ctypes.c_ulong(size)
            status = self.inflater.uncompress(
                self.out, ctypes.byref(length), deflated, ctypes.c_ulong(len(deflated))
            )
            if status or length.value != size:
                raise SystemExit(f"{self.name}: zlib says {status}")

    def by_python(self):
        """Decode the file in Python."""
        container.load(self.data)

    def measure(self, rounds):
        """Return seconds of CPU time for each."""
        times = {"c": [], "zlib": [], "python": []}
        for _ in range(rounds):
            for name, function in zip(
                times, (self.by_c, self.by_zlib, self.by_python), strict=True
            ):
                start = time.process_time()
                function()
                times[name].append(time.process_time() - start)
        return {name: min(some) for name, some in times.items()}


def sections(folder, *options):
    """Return what `size` says of the decoder, and the largest stack frame of a function."""
    out = Path(folder) / "kdc.o"
    command = ["cc", *WARNINGS, "-Os", *options, "-c", C / "kdc.c", "-o", out]
    subprocess.run([*command, "-fstack-usage"], check=True)
    printed = subprocess.run(["size", out], check=True, capture_output=True, text=True).stdout
    text, data, bss = map(int, printed.splitlines()[1].split()[:3])
    frames = [int(line.split("\t")[1]) for line in out.with_suffix(".su").read_text().splitlines()]
    return {"text": text, "data": data, "bss": bss, "largest_frame": max(frames)}


def lines():
    return sum(len((C / name).read_text().splitlines()) for name in ("kdc.c", "kdc.h"))


def fuzz_facts(log):
    """Return what a log of libFuzzer says."""
    text = log.read_text(errors="replace")
    done = re.search(r"stat::number_of_executed_units:\s*(\d+)", text)
    rate = re.search(r"stat::average_exec_per_sec:\s*(\d+)", text)
    slowest = re.search(r"stat::slowest_unit_time_sec:\s*(\d+)", text)
    if not done:
        raise SystemExit(f"{log} is no log of a campaign that ended, with -print_final_stats=1")
    return {
        "executions": int(done[1]),
        "executions_per_second": int(rate[1]),
        "reports": len(re.findall(r"^SUMMARY: |^==\d+==\s*ERROR: |runtime error: ", text, re.M)),
        "slowest_seconds": int(slowest[1]),
        "edges_covered": max(map(int, re.findall(r"\bcov: (\d+)", text))),
        "sanitizers": ["address", "undefined"],
    }


def ratios(total):
    return {
        "python_over_c": round(total["python"] / total["c"], 2),
        "c_over_zlib": round(total["c"] / total["zlib"], 2),
    }


def row(table, name, size, seconds):
    spent = [f"{1e9 * seconds[key] / size:.2f}" for key in ("c", "zlib", "python")]
    shown = ratios(seconds)
    table.add_row(name, f"{size:,}", *spent, *map(str, shown.values()))


def measured(folder):
    library, inflater = compiled(folder, "-O2"), zlib_library()
    table = Table(title="CPU time in ns for each byte of the tensors")
    for title in ("case", "bytes", "C", "zlib", "Python", "Python / C", "C / zlib"):
        table.add_column(title, justify="left" if title == "case" else "right")
    found, total, size = [], {"c": 0, "zlib": 0, "python": 0}, 0
    for name, kind, data in cases():
        case = Case(library, inflater, name, kind, data)
        seconds = case.measure(ROUNDS[kind])
        total = {key: total[key] + seconds[key] for key in total}
        size += case.bytes
        row(table, name, case.bytes, seconds)
        needs = {"open": case.needs[0], "decode": case.needs[1]}
        milliseconds = {key: round(1000 * value, 3) for key, value in seconds.items()}
        found.append(
            {
                "case": name,
                "bytes": case.bytes,
                "file_bytes": len(data),
                "milliseconds": milliseconds,
                **ratios(seconds),
                "work_bytes": needs,
            }
        )
    row(table, "all", size, total)
    Console(width=120).print(table)
    structures = {"kdc_file": library.file_size(), "kdc_tensor": library.tensor_size()}
    return {"cases": found, "total": ratios(total), "structure_bytes": structures}


def claims(found):
    yield (
        f"Python takes {LEAST_PYTHON} times as long",
        (found["total"]["python_over_c"] >= LEAST_PYTHON),
    )
    yield f"at most {MOST_ZLIB} times zlib's time", found["total"]["c_over_zlib"] <= MOST_ZLIB
    yield f"at most {MOST_LINES} lines", found["lines"] <= MOST_LINES
    fuzz = found.get("fuzz", {"executions": 0, "reports": 0})
    yield (
        f"{LEAST_RUNS:,} inputs without a report",
        (fuzz["executions"] >= LEAST_RUNS and fuzz["reports"] == 0),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fuzz-log", type=Path, help="only take over what this log says")
    arguments = parser.parse_args()
    found = json.loads(OUT.read_text()) if OUT.exists() else {}
    if arguments.fuzz_log:
        found["fuzz"] = fuzz_facts(arguments.fuzz_log)
        print(found["fuzz"])
    else:
        with tempfile.TemporaryDirectory() as folder:
            found |= measured(folder)
            found["size"] = {
                "version 1": sections(folder),
                "versions 0 and 1": sections(folder, "-DKDC_V0"),
            }
        compiler = subprocess.run(["cc", "--version"], capture_output=True, text=True).stdout
        found["lines"] = lines()
        found["versions"] = {
            "cc": compiler.splitlines()[0],
            "zlib": zlib.ZLIB_RUNTIME_VERSION,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "machine": platform.machine(),
        }
        print(json.dumps({key: found[key] for key in ("size", "lines")}, indent=2))
    if "total" in found:
        found["claims"] = {claim: bool(held) for claim, held in claims(found)}
        print(json.dumps(found["claims"], indent=2))
    OUT.write_text(json.dumps(found, indent=2) + "\n", encoding="ascii")
    sys.exit(not all(found.get("claims", {}).values()))


if __name__ == "__main__":
    main()
