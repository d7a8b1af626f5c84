"""Files of all format versions, made once: see golden/README.md."""

import contextlib

import pytest
from golden.features import ALL, features
from golden.manifests import FOLDER, MANIFESTS, described, digest, entries, patterns, read

from keras_deepcomp import container
from keras_deepcomp.container import FormatError


def each(kind, wanted=lambda folder, entry: True):
    """Parametrizes a test with the files of a kind."""
    found = [pair for pair in entries(kind) if wanted(*pair)]
    names = [f"{folder}/{entry['file']}" for folder, entry in found]
    return pytest.mark.parametrize(("folder", "entry"), found, ids=names)


def test_there_are_files():
    assert len(entries("files")) >= 264
    assert len(entries("invalid")) >= 131


def test_each_folder_has_a_manifest():
    assert {path.name for path in FOLDER.glob("v*") if path.is_dir()} == set(MANIFESTS)
    assert [folder for folder, manifest in MANIFESTS.items() if manifest["current"]] in (
        [],
        [f"v{container.save({})[4]}"],
    )


@pytest.mark.parametrize("folder", MANIFESTS)
def test_manifest_is_complete(folder):
    manifest = MANIFESTS[folder]
    assert folder == f"v{manifest['version']}"
    listed = [entry["file"] for entry in manifest["files"] + manifest["invalid"]]
    there = [path for path in (FOLDER / folder).rglob("*") if path.is_file()]
    names = [path.relative_to(FOLDER / folder).as_posix() for path in there]
    assert sorted(names) == sorted([*listed, "manifest.json"])


@each("files")
def test_load(folder, entry):
    data = read(folder, entry)
    assert digest(data) == entry["sha256"]
    tensors, info = container.load_with_info(data)
    assert [
        described(name, array.dtype.name, array.shape, patterns(array))
        for name, array in tensors.items()
    ] == entry["tensors"]
    assert list(info.metadata.items()) == list(entry["metadata"].items())
    assert info.version == MANIFESTS[folder]["version"]
    plain = container.load(data)
    assert list(plain) == list(tensors)
    assert all(patterns(plain[name]) == patterns(tensors[name]) for name in tensors)


@each("files")
def test_inspect(folder, entry):
    data = read(folder, entry)
    info = container.inspect(data)
    assert info == container.load_with_info(data)[1]
    assert info.file_bytes == len(data)
    assert list(info.metadata.items()) == list(entry["metadata"].items())
    assert [(tensor.name, tensor.dtype, list(tensor.shape)) for tensor in info.tensors] == [
        (tensor["name"], tensor["dtype"], tensor["shape"]) for tensor in entry["tensors"]
    ]


@each("files", lambda folder, entry: MANIFESTS[folder]["current"] and entry["canonical"])
def test_saving_again_gives_the_same_bytes(folder, entry):
    data = read(folder, entry)
    tensors, info = container.load_with_info(data)
    assert container.save(tensors, info.metadata, effort=entry["effort"]) == data


@each("files")
def test_saving_again_keeps_everything(folder, entry):
    tensors, info = container.load_with_info(read(folder, entry))
    again, info_again = container.load_with_info(container.save(tensors, info.metadata))
    assert [
        described(name, array.dtype.name, array.shape, patterns(array))
        for name, array in again.items()
    ] == entry["tensors"]
    assert info_again.metadata == info.metadata


@each("invalid")
def test_invalid(folder, entry):
    data = read(folder, entry)
    assert digest(data) == entry["sha256"]
    with pytest.raises(FormatError):
        container.load(data)
    if MANIFESTS[folder]["version"] > 0:
        with pytest.raises(FormatError):
            container.inspect(data)
        return
    # inspect does not read the streams of version 0, so it cannot see everything.
    with contextlib.suppress(FormatError):
        container.inspect(data)


def test_each_feature_of_version_1_is_in_a_file():
    found = {}
    for folder, entry in entries("files"):
        if MANIFESTS[folder]["version"] == 1:
            for feature in features(read(folder, entry)):
                found.setdefault(feature, []).append(entry["file"])
    assert sorted(found) == sorted(ALL)
