import re
import shutil
import subprocess

import pytest

from keras_deepcomp import FormatError, cli
from keras_deepcomp.tflite import carray

MODEL = b"\x1c\0\0\0TFL3" + bytes(range(256)) + b"\x7f"


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "keyword net.tflite"
    path.write_bytes(MODEL)
    return path


@pytest.mark.parametrize(("compiler", "suffix"), [("gcc", ".c"), ("g++", ".cc")])
def test_a_program_has_the_bytes_aligned(model, tmp_path, compiler, suffix):
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    source = tmp_path / f"model_data{suffix}"
    assert carray(model, source) == len(MODEL)
    main = tmp_path / f"main{suffix}"
    main.write_text(
        '#include "model_data.h"\n#include "model_data.h"\n#include <stdio.h>\n'
        "int main(void) {\n"
        "  fwrite(model_data, 1, model_data_len, stdout);\n"
        "  return (int)((size_t)model_data % 16);\n}\n"
    )
    program = tmp_path / "program"
    standard = "-std=c11" if suffix == ".c" else "-std=c++11"
    subprocess.run(
        [compiler, standard, "-Wall", "-Wextra", "-Werror", "-o", program, main, source],
        check=True,
    )
    assert subprocess.run([program], stdout=subprocess.PIPE, check=True).stdout == MODEL


def test_the_source_holds_the_bytes_and_the_header_a_guard(model, tmp_path):
    carray(model, tmp_path / "2-nets.c", name="nets")
    source, header = (tmp_path / f"2-nets{suffix}" for suffix in (".c", ".h"))
    values = bytes(int(byte, 16) for byte in re.findall(r"0x(\w\w),", source.read_text()))
    assert values == MODEL
    assert "alignas(16) const unsigned char nets[265]" in source.read_text()
    assert header.read_text().startswith("#ifndef NETS_H\n#define NETS_H\n")
    assert "extern const size_t nets_len;" in header.read_text()


@pytest.mark.parametrize(
    ("stem", "name"), [("my-net.v2", "my_net_v2"), ("7seg", "seg"), ("__", "model")]
)
def test_the_arrays_name_is_made_of_the_sources(model, tmp_path, stem, name):
    carray(model, tmp_path / f"{stem}.c")
    assert f"unsigned char {name}[" in (tmp_path / f"{stem}.c").read_text()


def test_what_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match=r"ends in one of \.c, \.cc, \.cpp"):
        carray(model, tmp_path / "model.txt")
    with pytest.raises(ValueError, match="no name for an array"):
        carray(model, tmp_path / "m.c", name="x; y")
    (tmp_path / "other").write_bytes(b"something else")
    with pytest.raises(FormatError, match=r"not a \.tflite file"):
        carray(tmp_path / "other", tmp_path / "m.c")
    assert not list(tmp_path.glob("*.[ch]"))


def test_the_command(model, tmp_path, capsys):
    assert cli.main(["tflite", "carray", str(model), str(tmp_path / "m.cc"), "--name", "n"]) == 0
    assert f"({len(MODEL)} B)" in capsys.readouterr().out
    assert "n_len = 265" in (tmp_path / "m.cc").read_text()
