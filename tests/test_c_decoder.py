"""The decoder in C says the same about files as the package does."""

import random
import re
import shutil
import subprocess
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from fuzz import campaign, frames, mutations
from fuzz.agreement import by_package
from golden.manifests import MANIFESTS, described, read
from simple_decoder import version_1
from simple_decoder.reading import TYPES, Reader, unsigned

from keras_deepcomp import container

ROOT = Path(__file__).parent.parent
C = ROOT / "c"
WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
SANITIZERS = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
OK, NOT_KDC, VERSION, CHECKSUM = 0, 2, 3, 4  # of kdc_status
DRIVER = ROOT / "tests" / "c_decoder" / "driver.c"
MAX_BYTES = 20_000


def compiler():
    if shutil.which("cc") is None:
        pytest.fail("There is no C compiler `cc`. Install one, such as the package gcc.")


def compile_c(out, *arguments):
    compiler()
    command = ["cc", *WARNINGS, "-I", C, *arguments, "-o", out]
    made = subprocess.run(command, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return out


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    out = tmp_path_factory.mktemp("c") / "driver"
    return compile_c(out, *SANITIZERS, "-DKDC_V0", C / "kdc.c", DRIVER)


def number(reader):
    return unsigned(reader.take(8))


def by_c(driver, files, max_bytes=1 << 40):
    """Return for each file (status, what the simple decoder would return of it or None)."""
    sent = b"".join(len(data).to_bytes(8, "little") + data for data in files)
    ran = subprocess.run([driver, str(max_bytes)], input=sent, capture_output=True)
    assert ran.returncode == 0, ran.stderr.decode()
    reader = Reader(ran.stdout)
    found = []
    for _ in files:
        status = reader.byte()
        found.append((status, read_found(reader) if status == 0 else None))
    reader.end()
    return found


def read_found(reader):
    pairs = Reader(reader.take(number(reader)))
    metadata = {}
    for _ in range(pairs.varint() if pairs.data else 0):
        key = pairs.string()
        metadata[key] = pairs.take(pairs.varint()).decode()
    pairs.end()
    tensors = {}
    for _ in range(number(reader)):
        name = reader.take(number(reader)).decode()
        kind = TYPES[number(reader)][0]
        shape = tuple(number(reader) for _ in range(number(reader)))
        tensors[name] = kind, shape, reader.take(number(reader))
    return metadata, tensors


def each(kind):
    """Return (path, bytes, entry) of the golden files of a kind."""
    return [
        (f"{folder}/{entry['file']}", read(folder, entry), entry)
        for folder, manifest in MANIFESTS.items()
        for entry in manifest[kind]
    ]


def test_golden(driver):
    files = each("files")
    for (path, _, entry), (status, found) in zip(
        files, by_c(driver, [data for _, data, _ in files]), strict=True
    ):
        assert status == OK, path
        metadata, tensors = found
        assert list(metadata.items()) == list(entry["metadata"].items()), path
        assert [described(name, *tensor) for name, tensor in tensors.items()] == entry["tensors"]


def test_invalid(driver):
    files = each("invalid")
    found = by_c(driver, [data for _, data, _ in files])
    accepted = [path for (path, _, _), (status, _) in zip(files, found, strict=True) if not status]
    assert accepted == []


def test_errors(driver):
    data = container.save({"w": np.arange(100, dtype=np.float32)}, {"k": "v"})
    changed = bytearray(data)
    changed[20] ^= 1
    cut_off = [data[:length] for length in range(1, len(data))]
    files = [b"", b"PK\3\4", data[:4] + b"\2" + data[5:], bytes(changed), data + b"\0", *cut_off]
    statuses = [status for status, _ in by_c(driver, files)]
    assert statuses == [NOT_KDC, NOT_KDC, VERSION] + [CHECKSUM] * (len(files) - 3)
    resealed = frames.mended(bytes(changed))  # The block's own checksum still is wrong.
    forged = frames.mended(data[:-12] + (1 << 31).to_bytes(4, "little") + data[-8:])
    assert [status for status, _ in by_c(driver, [resealed])] == [CHECKSUM]
    assert by_c(driver, [forged])[0][0] != OK


@pytest.mark.parametrize("version", [0, 1])
def test_mutants(driver, version):
    """Damaged files, most with mended checksums: both readers take them, or neither does."""
    rng = random.Random(version)
    seeds = [seed for seed in campaign.seeds() if seed.version == version]
    files = [mutations.resealed(rng, rng.choice(seeds))[1] for _ in range(700)]
    files += [mutations.unsealed(rng, rng.choice(seeds))[1] for _ in range(50)]
    taken = 0
    for data, (_, found) in zip(files, by_c(driver, files, MAX_BYTES), strict=True):
        assert found == by_package(data, MAX_BYTES), data.hex()
        taken += found is not None
    assert 70 < taken < 680


def test_large(driver):
    """Several bands and blocks, and rows and columns of all kinds."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=16).astype(np.float32)
    sparse = values[rng.integers(0, 16, 2_000_000)] * (rng.random(2_000_000) < 0.05)
    arrays = {
        "tall": sparse.reshape(-1, 4),
        "wide": sparse.reshape(4, -1),
        "dense": values[rng.integers(0, 16, (700, 1000))],
        "raw": rng.integers(0, 2**32, 1_500_000, np.uint32),
    }
    ((status, found),) = by_c(driver, [container.save(arrays, effort=0)])
    assert status == OK
    assert found[1] == {
        name: (array.dtype.name, array.shape, array.tobytes()) for name, array in arrays.items()
    }


def test_dictionary(driver):
    """Text that is copied from all over the format's dictionary."""
    words = "".join(chr(byte) if byte < 128 else " " for byte in version_1.DICTIONARY)
    data = container.save({}, {"k": words})
    assert len(data) < 200
    assert by_c(driver, [data]) == [(OK, ({"k": words}, {}))]


def test_version_0_is_refused_if_it_is_left_out(tmp_path):
    driver = compile_c(tmp_path / "driver", C / "kdc.c", DRIVER)
    old, new = (read(folder, MANIFESTS[folder]["files"][0]) for folder in ("v0", "v1"))
    assert [status for status, _ in by_c(driver, [old, new])] == [VERSION, OK]


def test_the_decoder_is_short():
    lines = sum(len((C / name).read_text().splitlines()) for name in ("kdc.c", "kdc.h"))
    assert lines < 1000


def test_the_dictionary_is_that_of_the_format():
    _, table = (C / "kdc_tables.h").read_text().split("dictionary[]", 1)
    rows = re.findall(r'^    "(.*)",$', table, re.MULTILINE)
    assert "".join(rows).encode().decode("unicode_escape").encode("latin-1") == version_1.DICTIONARY


@pytest.fixture(scope="module")
def kdc_unpack(tmp_path_factory):
    """The command, as its Makefile builds it."""
    compiler()
    copy = shutil.copytree(C, tmp_path_factory.mktemp("unpack") / "c")
    made = subprocess.run(["make", "-C", copy, "kdc-unpack"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr

    def call(*arguments):
        return subprocess.run([copy / "kdc-unpack", *arguments], capture_output=True, text=True)

    return call


def test_kdc_unpack_writes_what_numpy_loads(tmp_path, kdc_unpack):
    # A type that numpy does not have, and then one of each that it has.
    arrays = {"small": np.arange(6).astype(ml_dtypes.bfloat16)}
    numbers = [f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)]
    for name in ["bool", *numbers, "f2", "f4", "f8", "c8", "c16"]:
        arrays[f"a/{name}"] = np.arange(6).reshape(1, 3, 2).astype(name)
    arrays["scalar"] = np.array(3.5)
    arrays["one axis"] = np.arange(3)
    file = tmp_path / "t.kdc"
    file.write_bytes(container.save(arrays, {"made by": "me"}))
    ran = kdc_unpack(file, tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[:4] == [
        "made by: me",
        "small bfloat16 6",
        "a/bool bool 1x3x2",
        "a/i1 int8 1x3x2",
    ]
    assert (tmp_path / "0.bin").read_bytes() == arrays.pop("small").tobytes()
    for number, array in enumerate(arrays.values(), 1):
        loaded = np.load(tmp_path / f"{number}.npy")
        assert loaded.dtype == array.dtype
        np.testing.assert_array_equal(loaded, array, strict=True)


def test_kdc_unpack_refuses_a_damaged_file(tmp_path, kdc_unpack):
    file = tmp_path / "t.kdc"
    file.write_bytes(container.save({"b": np.arange(3)})[:-1])
    ran = kdc_unpack(file)
    assert ran.returncode == 1
    assert "checksum" in ran.stderr


def test_kdc_unpack_prints_hostile_names_safely(tmp_path, kdc_unpack):
    file = tmp_path / "t.kdc"
    file.write_bytes(container.save({"a\x1b[2J\nb\u202e": np.arange(3)}, {"k\t": "\x07"}))
    lines = kdc_unpack(file).stdout.splitlines()
    assert lines[:2] == [r"k\x09: \x07", r"a\x1b[2J\x0ab\xe2\x80\xae int64 3"]


def test_the_code_on_the_page_compiles(tmp_path):
    blocks = re.findall(
        r"^```c\n(.*?)^```$", (ROOT / "docs" / "c-decoder.md").read_text(), re.S | re.M
    )
    assert len(blocks) == 1
    source = tmp_path / "page.c"
    source.write_text(blocks[0])
    compile_c(tmp_path / "page.o", "-c", source)


def test_the_enum_on_the_page():
    """The page has a row for each status of the header, in its order."""
    header = (C / "kdc.h").read_text()
    statuses = re.findall(r"\bKDC_\w+", header[header.index("typedef enum") :].split("}")[0])
    rows = re.findall(r"^\| `(KDC_\w+)` \|", (ROOT / "docs" / "c-decoder.md").read_text(), re.M)
    assert rows == statuses
