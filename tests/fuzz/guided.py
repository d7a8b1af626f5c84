"""Fuzzing that is guided by coverage, with Atheris: `make fuzz`.

Each file is refused or is what it says, as in campaign.py, and the simple decoder says the same of
it. Mutations go to the parts of a file, and lengths and checksums are mended after each. What is
found wrong is written to build/fuzz/; corpus and findings stay between runs.
"""

import random
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["keras_deepcomp"]):
    from keras_deepcomp import container  # noqa: F401

from golden.manifests import MANIFESTS, read

from fuzz import agreement, campaign, frames, mutations

FOLDER = Path("build/fuzz")
CORPUS = FOLDER / "corpus"
LONGEST = 8192
# The simple decoder is slow.
COMPARED_BYTES = 4096
OTHERS = [block for seed in campaign.seeds() if seed.version == 1 for block in seed.blocks()]


def test_one_input(data):
    result, _ = campaign.outcome(data, True)
    if result not in ("refused", "right"):
        raise RuntimeError(result)
    said = [
        read(data, COMPARED_BYTES) for read in (agreement.by_package, agreement.by_simple_decoder)
    ]
    if said[0] != said[1]:
        raise RuntimeError(f"the package says {said[0]}, the simple decoder {said[1]}")


def mutate(data, max_size, number):
    """Change a part of a file at random, or as Atheris likes."""
    rng = random.Random(number)
    try:
        seed = mutations.Seed(data, OTHERS)
    except ValueError:
        changed = frames.mended(bytes(atheris.Mutate(data, max_size)))
    else:
        by = mutations.resealed if rng.random() < 0.5 else by_atheris
        changed = by(rng, seed)[1]
    return changed if len(changed) <= max_size else data


def by_atheris(rng, seed):
    def change(data):
        return bytes(atheris.Mutate(data, len(data) + 64))

    if seed.version == 0:
        return "version 0", frames.seal_version_0(seed.data[:5] + change(seed.data[5:-4]))
    if rng.random() < 0.2 or not seed.blocks():
        return "listing", seed.frame.but(listing=change(seed.listing)).bytes()
    mutation = mutations.of_block(lambda rng, seed, block: change(block))
    return "block", mutation(rng, seed).bytes()


def main():
    CORPUS.mkdir(parents=True, exist_ok=True)
    for folder, manifest in MANIFESTS.items():
        for entry in manifest["files"] + manifest["invalid"]:
            data = read(folder, entry)
            if len(data) <= LONGEST:
                name = f"{folder}-{entry['file'].replace('/', '-')}"
                (CORPUS / name).write_bytes(data)
    # Code that Atheris has instrumented leaks some kilobytes a run; campaign.py bounds memory.
    own = [
        f"-max_len={LONGEST}",
        "-timeout=10",
        "-rss_limit_mb=8192",
        f"-artifact_prefix={FOLDER}/",
    ]
    arguments = [sys.argv[0], *own, *sys.argv[1:], str(CORPUS)]
    atheris.Setup(arguments, test_one_input, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
