"""The format against its peers: is it the smallest, and is it fast?

Claims, on index arrays with the codebook left out (see `format_tensors.py` and `format_peers.py`):

- fewer bytes than NNCodec, in sum, over the trained networks and over everything, and on each
  tensor with more than 1,000 non-zero elements;
- over the trained networks, at most 0.985 of what the paper's scheme would take if its codes were
  as short as entropy allows and its tables were free;
- in sum, encoding at least 5 times and decoding at least 3 times as fast as NNCodec.

Codebook values are left out on both sides, and so are names and shapes: of NNCodec the payload is
counted, and of ours the tensors' blocks, with all tables and checksums, less the bits in which the
values of the integers stand. "File" is the whole file for comparison, which has a name, a shape, a
directory and two more checksums for each row. "The rest" of a network is one file of ours.

Times are medians of rounds in which we and NNCodec take turns, each in its own process, arrays in
memory, at our default effort, and with the settings of NNCodec whose bytes are reported; the search
for these settings is not timed.

Prints a table, writes `benchmarks/results/format.json`, and exits with 1 if a claim falls short.
With `--only`, just prints the rows whose names match.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from format_tensors import OWN_ROW, TRAINED, subjects
from rich.console import Console
from rich.table import Table

from keras_deepcomp import container

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PEERS_PYTHON = ROOT / "build" / "peers" / "bin" / "python"
PEERS = ("gzip", "xz", "zstd", "brotli", "zipnn", "nncodec")
CODERS = (*PEERS, "kdc", "file")
MOST_OF_NNCODEC, AIM_OF_NNCODEC = 1.0, 0.97
MOST_OF_PLAIN = 0.985
LEAST_ENCODE_SPEED, LEAST_DECODE_SPEED = 5.0, 3.0


class Peers:
    """The process that runs the peers in their own virtual environment."""

    def __init__(self, arrays, folder):
        path = Path(folder) / "arrays.npz"
        np.savez(path, **arrays)
        self._process = subprocess.Popen(
            [PEERS_PYTHON, ROOT / "benchmarks" / "format_peers.py", path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()

    def ask(self, what, *of):
        """Answers as the method of that name in `format_peers.Peers` does."""
        self._process.stdin.write(json.dumps({"do": what, "of": of}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the peers' process has ended; its error is above")
        return json.loads(answer)


def key(subject, name):
    return f"{subject.name}: {name}".replace("/", ".")


def entropy_bits(counts):
    counts = counts[counts > 0]
    return float(counts @ np.log2(counts.sum() / counts))


def plain_scheme_bytes(array):
    """The entropy of gaps and indices, fillers included, for the bound of the gaps that is best."""
    flat = array.ravel()
    positions = np.flatnonzero(flat)
    runs = np.diff(positions, prepend=-1) - 1
    symbols = np.unique(flat[positions], return_counts=True)[1]

    def bits(b):
        fillers = int((runs >> b).sum())
        gaps = np.bincount(runs & ((1 << b) - 1), minlength=1 << b)
        gaps[-1] += fillers
        return entropy_bits(gaps) + entropy_bits(np.append(symbols, fillers))

    return min(bits(b) for b in range(16)) / 8


def timed(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def our_times(arrays):
    encode, data = timed(container.save, arrays)
    decode, again = timed(container.load, data)
    if not all(np.array_equal(again[name], array) for name, array in arrays.items()):
        raise AssertionError("our file does not hold what went in")
    return {"encode": encode, "decode": decode}


def times(subject, peers):
    """Medians over rounds, the more the smaller the arrays are; the first round only warms up."""
    elements = sum(array.size for array in subject.arrays.values())
    rounds = int(np.clip(20_000_000 // elements, 3, 25))
    ours, theirs = [], []
    for _ in range(1 + rounds):
        ours.append(our_times(subject.arrays))
        theirs.append([peers.ask("times", key(subject, name)) for name in subject.arrays])

    def middle(way):
        return {
            "kdc": median(round_[way] for round_ in ours[1:]),
            "nncodec": median(sum(each[way] for each in round_) for round_ in theirs[1:]),
        }

    return {"encode": middle("encode"), "decode": middle("decode"), "rounds": rounds}


def measure(subject, peers):
    answers = {name: peers.ask("sizes", key(subject, name)) for name in subject.arrays}
    sizes = {coder: sum(answer["bytes"][coder] for answer in answers.values()) for coder in PEERS}
    file = container.save(subject.arrays)
    sizes["kdc"] = sum(
        # The codebook's bytes are rounded up.
        tensor.record_bytes - max(tensor.codebook_bytes - 1, 0)
        for tensor in container.inspect(file).tensors
    )
    sizes["file"] = len(file)
    return {
        "name": subject.name,
        "source": subject.source,
        "shapes": {name: array.shape for name, array in subject.arrays.items()},
        "nonzero": subject.nonzero,
        "bytes": sizes,
        "plain_scheme_entropy_bytes": sum(map(plain_scheme_bytes, subject.arrays.values())),
        "seconds": times(subject, peers),
        "nncodec": {
            name: {part: answer[part] for part in ("nncodec_setting", "nncodec_bytes_by_order")}
            for name, answer in answers.items()
        },
    }


def total(rows, name):
    return {
        "name": name,
        "source": "",
        "nonzero": sum(row["nonzero"] for row in rows),
        "bytes": {coder: sum(row["bytes"][coder] for row in rows) for coder in CODERS},
        "plain_scheme_entropy_bytes": sum(row["plain_scheme_entropy_bytes"] for row in rows),
        "seconds": {
            way: {who: sum(row["seconds"][way][who] for row in rows) for who in ("kdc", "nncodec")}
            for way in ("encode", "decode")
        },
    }


def of_nncodec(row):
    return row["bytes"]["kdc"] / row["bytes"]["nncodec"]


def of_plain(row):
    return row["bytes"]["kdc"] / row["plain_scheme_entropy_bytes"]


def speed(row, way):
    return row["seconds"][way]["nncodec"] / row["seconds"][way]["kdc"]


def print_table(rows, sums):
    table = Table(title="Bytes of index arrays; speeds are multiples of NNCodec's")
    table.add_column("tensor", no_wrap=True)
    table.add_column("source")
    headings = ("non-zeros", "plain entropy", *CODERS, "kdc / nncodec", "encode", "decode")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in [*rows, *sums]:
        if row is sums[0]:
            table.add_section()
        table.add_row(
            row["name"],
            row["source"],
            f"{row['nonzero']:,}",
            f"{row['plain_scheme_entropy_bytes']:,.0f}",
            *(f"{row['bytes'][coder]:,}" for coder in CODERS),
            f"{of_nncodec(row):.4f}",
            f"{speed(row, 'encode'):.2f}x",
            f"{speed(row, 'decode'):.2f}x",
        )
    Console(width=200).print(table)


def claims(rows, trained, everything):
    """Name, value, bound, and whether it holds."""
    large = [row for row in rows if row["nonzero"] > OWN_ROW and len(row["shapes"]) == 1]
    worst = max(large, key=of_nncodec)
    encode, decode = speed(everything, "encode"), speed(everything, "decode")
    found = [
        (f"bytes / NNCodec's, {each['name']}", of_nncodec(each), f"< {MOST_OF_NNCODEC}",
         of_nncodec(each) < MOST_OF_NNCODEC)
        for each in (trained, everything)
    ]  # fmt: skip
    behind = sum(of_nncodec(row) >= MOST_OF_NNCODEC for row in large)
    return [
        *found,
        (f"bytes / NNCodec's, the worst of {len(large)} tensors ({behind} behind): {worst['name']}",
         of_nncodec(worst), f"< {MOST_OF_NNCODEC}", behind == 0),
        ("bytes / the plain scheme's entropy, trained networks", of_plain(trained),
         f"<= {MOST_OF_PLAIN}", of_plain(trained) <= MOST_OF_PLAIN),
        ("encoding speed / NNCodec's, everything", encode, f">= {LEAST_ENCODE_SPEED}",
         encode >= LEAST_ENCODE_SPEED),
        ("decoding speed / NNCodec's, everything", decode, f">= {LEAST_DECODE_SPEED}",
         decode >= LEAST_DECODE_SPEED),
    ]  # fmt: skip


def measure_all(everything):
    """What measured, and the rows."""
    arrays = {
        key(subject, name): array
        for subject in everything
        for name, array in subject.arrays.items()
    }
    rows = []
    with tempfile.TemporaryDirectory() as folder, Peers(arrays, folder) as peers:
        versions = {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "keras": keras.__version__,
            "peers": peers.ask("versions"),
            "cores": os.cpu_count(),
        }
        print(json.dumps(versions), flush=True)
        for subject in everything:
            print(f"{subject.name} ...", flush=True)
            rows.append(measure(subject, peers))
    return versions, rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="PATTERN", help="a regular expression")
    only = parser.parse_args().only
    if only:
        _, rows = measure_all([each for each in subjects() if re.search(only, each.name)])
        print_table(rows, [total(rows, "these")])
        return 0

    versions, rows = measure_all(subjects())
    trained = total([row for row in rows if row["source"] == TRAINED], "trained networks")
    all_ = total(rows, "everything")
    print_table(rows, [trained, all_])
    checked = claims(rows, trained, all_)
    for name, value, bound, held in checked:
        print(f"{'holds' if held else 'SHORT'}  {value:.4f} {bound}  {name}")
    print(f"aim    {of_nncodec(all_):.4f} < {AIM_OF_NNCODEC}  bytes / NNCodec's, everything")
    held = all(held for *_, held in checked)
    result = {
        "versions": versions,
        "claims": [
            {"claim": name, "value": value, "bound": bound, "held": bool(held)}
            for name, value, bound, held in checked
        ],
        "held": held,
        "sums": [trained, all_],
        "rows": rows,
    }
    (RESULTS / "format.json").write_text(json.dumps(result, indent=2) + "\n")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
