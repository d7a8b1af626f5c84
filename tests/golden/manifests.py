"""What the manifests of the golden files say, for the tests and for the scripts that make them."""

import hashlib
import json
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
MANIFESTS = {
    path.parent.name: json.loads(path.read_text(encoding="ascii"))
    for path in sorted(FOLDER.glob("v*/manifest.json"))
}
UNUSED_BITS = {"int4": 0x0F, "uint4": 0x0F, "int2": 0x03, "uint2": 0x03}


def entries(kind):
    """Return (folder, entry) for each file of this kind, "files" or "invalid", of all versions."""
    return [(folder, entry) for folder, manifest in MANIFESTS.items() for entry in manifest[kind]]


def read(folder, entry):
    return (FOLDER / folder / entry["file"]).read_bytes()


def digest(data):
    return hashlib.sha256(data).hexdigest()


def patterns(value):
    """Return the bytes that are hashed: little-endian, in C order, unused bits zero."""
    array = np.asarray(value)
    data = array.astype(array.dtype.newbyteorder("<"), order="C").tobytes()
    mask = UNUSED_BITS.get(array.dtype.name, 0xFF)
    return bytes(byte & mask for byte in data) if mask != 0xFF else data


def described(name, dtype, shape, data):
    """Return a tensor's entry in a manifest."""
    return {"name": name, "dtype": dtype, "shape": list(shape), "sha256": digest(data)}


def write(folder, manifest):
    """Write a manifest with a line for each tensor and each invalid file."""
    head = {key: value for key, value in manifest.items() if key not in ("files", "invalid")}
    files = []
    for entry in manifest["files"]:
        rest = {key: value for key, value in entry.items() if key != "tensors"}
        tensors = ",\n".join(f"   {json.dumps(tensor)}" for tensor in entry["tensors"])
        tensors = f"[\n{tensors}\n  ]" if tensors else "[]"
        files.append(f'  {json.dumps(rest)[:-1]}, "tensors": {tensors}}}')
    invalid = [f"  {json.dumps(entry)}" for entry in manifest["invalid"]]
    text = f"{json.dumps(head)[:-1]},\n"
    text += ' "files": [\n' + ",\n".join(files) + "\n ],\n"
    text += ' "invalid": [\n' + ",\n".join(invalid) + "\n ]}\n"
    assert json.loads(text) == manifest
    (FOLDER / folder / "manifest.json").write_text(text, encoding="ascii")
