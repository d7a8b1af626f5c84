import json
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from support import array, bits, dense_model, run_python, terminal_as_stderr

import keras_deepcomp as kdc
from keras_deepcomp import cli, completion, container


@pytest.fixture
def model_file(tmp_path):
    dense_model().save(tmp_path / "m.keras")
    return tmp_path / "m.keras"


@pytest.fixture
def kdc_file(tmp_path):
    kdc.save_model(dense_model(), tmp_path / "m.kdc")
    return tmp_path / "m.kdc"


def run(capsys, *arguments):
    code = cli.main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_pack_and_unpack(model_file, capsys):
    code, out, _ = run(capsys, "pack", model_file)
    assert code == 0 and "m.kdc" in out
    packed = model_file.with_suffix(".kdc")
    code, _, _ = run(capsys, "unpack", packed, model_file.with_name("again.keras"))
    assert code == 0
    before, after = (keras.models.load_model(model_file.with_name(n), compile=False)
                     for n in ("m.keras", "again.keras"))  # fmt: skip
    assert [bits(array(v)) for v in before.variables] == [bits(array(v)) for v in after.variables]


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_pack_h5_and_wrapped_models(tmp_path, capsys):
    dense_model().save(tmp_path / "a.h5")
    kdc.cluster_weights(dense_model(), 4, verbose=False).save(tmp_path / "b.keras")
    for name in ("a.h5", "b.keras"):
        code, out, _ = run(capsys, "pack", tmp_path / name, tmp_path / "x.kdc", "--json")
        assert code == 0
        assert json.loads(out)["file_bytes"] == (tmp_path / "x.kdc").stat().st_size
    assert np.unique(container.load_file(tmp_path / "x.kdc")["d0/kernel"]).size == 4


def test_inspect(kdc_file, capsys):
    code, out, _ = run(capsys, "inspect", kdc_file)
    assert code == 0 and "d0/kernel" in out
    code, out, _ = run(capsys, "inspect", kdc_file, "--json")
    assert json.loads(out)["file_bytes"] == kdc_file.stat().st_size


def test_verify(kdc_file, capsys):
    code, out, _ = run(capsys, "verify", kdc_file)
    assert code == 0 and "4 tensors of 1,002 elements decode" in out
    code, out, _ = run(capsys, "verify", kdc_file, "--json")
    assert json.loads(out)["whole"] is True


def test_verify_names_the_damaged_tensor(kdc_file, capsys):
    with container.open_file(kdc_file) as file:
        names = file.keys()
    data = bytearray(kdc_file.read_bytes())
    data[5] ^= 1  # the first block begins right after magic and version
    kdc_file.write_bytes(data)
    code, _, err = run(capsys, "verify", kdc_file)
    assert code == 1
    assert f"1 of {len(names)} tensors are damaged: {names[0]!r}." in err


def test_pack_takes_an_effort(model_file, capsys):
    sizes = []
    for effort in ("0", "9"):
        code, out, _ = run(capsys, "pack", model_file, "--effort", effort, "--json")
        assert code == 0
        sizes.append(json.loads(out)["file_bytes"])
    assert sizes[1] <= sizes[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["verify", "nowhere.kdc"], "nowhere.kdc: no such file"),
        (["inspect", "nowhere.kdc"], "nowhere.kdc"),
        (["verify", "{model}"], "not a .kdc file"),
        (["unpack", "{model}"], "not a .kdc file"),
        (["pack", "{kdc}"], "expected a .keras or .h5 file"),
        (["unpack", "{kdc}", "x.onnx"], "Keras writes .keras and .h5"),
        (["pack", "{model}", "{model}"], "give one that ends in .kdc"),
        (["pack", "{model}", "nowhere/m.kdc"], "no such folder"),
        (["pack", "{broken}"], "error"),
        (["verify", "{cut}"], "damaged|cut off|checksum"),
        (["demo", "--data", "nowhere.npz"], "nowhere.npz"),
        (["demo", "--data", "{kdc}"], "error"),
    ],
)
def test_errors_are_one_line_and_a_non_zero_exit(
    arguments, says, model_file, kdc_file, tmp_path, capsys
):
    (tmp_path / "broken.keras").write_bytes(b"PK nonsense")
    (tmp_path / "cut.kdc").write_bytes(kdc_file.read_bytes()[:-9])
    names = {
        "model": model_file,
        "kdc": kdc_file,
        "broken": tmp_path / "broken.keras",
        "cut": tmp_path / "cut.kdc",
    }
    code, out, err = run(capsys, *(a.format(**names) for a in arguments))
    assert code == 1 and out == ""
    assert err.startswith("keras-deepcomp: error: ") and err.count("\n") == 1
    assert re.search(says, err)


def test_wrong_command_lines_exit_with_2(capsys):
    for arguments in ([], ["nonsense"], ["pack"], ["demo", "--seed", "x"]):
        with pytest.raises(SystemExit) as exit_:
            cli.main(arguments)
        assert exit_.value.code == 2
        assert "usage: keras-deepcomp" in capsys.readouterr().err


COMMANDS = [words for words, _ in completion.parsers_of(cli._parser())]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main([*command, "--help"])
    out = capsys.readouterr().out
    assert exit_.value.code == 0
    assert out.startswith(" ".join(["usage: keras-deepcomp", *command]))
    assert re.search(rf"^example:\n  keras-deepcomp {' '.join(command)}.+\n\Z", out, re.M)


def test_help_inspect_verify_and_report_import_no_framework(kdc_file):
    code = """
        import json, sys
        from keras_deepcomp import cli
        file = sys.argv[1]
        helps = [[*words, "--help"] for words in json.loads(sys.argv[2])]
        for arguments in (["inspect", file], ["verify", file], ["report", file], *helps):
            try:
                assert cli.main(arguments) == 0
            except SystemExit as done:
                assert done.code == 0
        assert not {"keras", "tensorflow", "jax", "torch"} & sys.modules.keys()
    """
    assert "decode" in run_python(code, kdc_file, json.dumps(COMMANDS))


def test_json_is_all_of_the_output_on_a_terminal_too(model_file, capsys, monkeypatch):
    terminal = terminal_as_stderr(monkeypatch)
    assert cli.main(["pack", str(model_file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == str(model_file.with_suffix(".kdc"))
    assert "Saving" in terminal.getvalue()


def test_errors_are_one_line_of_the_process_too(tmp_path):
    program = Path(sys.executable).with_name("keras-deepcomp")
    (tmp_path / "broken.keras").write_bytes(b"PK nonsense")
    done = subprocess.run(
        [program, "pack", tmp_path / "broken.keras"], capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("keras-deepcomp: error: ") and done.stderr.count("\n") == 1


def test_the_installed_command_bears_a_closed_pipe(kdc_file):
    program = Path(sys.executable).with_name("keras-deepcomp")
    shell = f"{program} inspect {kdc_file} --json | head -n 1"
    done = subprocess.run(shell, shell=True, capture_output=True, text=True)
    assert done.stdout == "{\n" and "Traceback" not in done.stderr
