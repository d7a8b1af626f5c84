"""The completion that shells offer, asked of a real bash."""

import re
import shutil
import subprocess
import sys

import pytest
from support import run_python

from keras_deepcomp import cli, completion

# Calls the function that completes, as bash does when Tab is pressed after these words.
ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
function=$(complete -p keras-deepcomp | sed -E 's/.*-F ([^ ]+).*/\\1/')
"$function" keras-deepcomp "${COMP_WORDS[$COMP_CWORD]}" "${COMP_WORDS[$COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("completion")
    (folder / "script.bash").write_text(completion.script_for("bash", cli._parser()))
    for name in ("model.kdc", "model.keras", "model.tflite", "model.txt"):
        (folder / name).touch()
    (folder / "models").mkdir()
    return folder


@pytest.fixture
def offered(folder):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")

    def ask(*words):
        done = subprocess.run(
            [bash, "--norc", "-c", ASK, "bash", folder / "script.bash", "keras-deepcomp", *words],
            cwd=folder, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0 and done.stderr == ""
        return {word.strip() for word in done.stdout.split("\n")} - {""}

    return ask


def test_bash_completes_commands(offered):
    assert offered("ver") == {"verify"}
    assert offered("comp") == {"compress", "completion"}
    assert offered("tflite", "c") == {"convert", "carray"}


def test_bash_completes_options_and_their_values(offered):
    assert offered("compress", "--max") == {"--max-metric-drop", "--max-bytes"}
    assert offered("tflite", "micro", "a.tflite", "b.tflite", "--method", "h") == {"huffman"}
    assert offered("completion", "") >= set(completion.SHELLS)


def test_bash_completes_files_of_the_right_kind_and_folders(offered):
    assert offered("inspect", "mod") == {"model.kdc", "models"}
    assert offered("tflite", "pack", "mod") == {"model.tflite", "models"}
    assert offered("pack", "mod") == {"model.keras", "model.kdc", "models"}
    assert offered("demo", "--out", "mod") == {"models"}
    assert "model.txt" in offered("compress", "--data", "mod")


def test_each_argument_is_of_a_known_kind():
    """So that a new one is either completed or knowingly not."""
    words = {"NAME", "SHELL", ("NAME", "BEFORE", "AFTER"), "COMMAND"}
    for action in completion.actions_of(cli._parser()):
        if action.nargs == 0 or action.type is not None or action.choices is not None:
            continue
        files = {*completion.PATTERNS, *completion.FILES, *completion.FOLDERS}
        assert action.metavar in files | words, action


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_each_shell_has_a_script_with_all_commands(shell, capsys):
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for words, _ in completion.parsers_of(cli._parser()):
        assert all(re.search(rf"\b{word}\b", script) for word in words)
    program = shutil.which(shell)
    if program is not None:
        done = subprocess.run([program, "-n"], input=script, capture_output=True, text=True)
        assert done.returncode == 0 and done.stderr == ""


def test_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert cli.main(["completion", "bash"]) == 1
    assert "pip install keras_deepcomp[completion]" in capsys.readouterr().err


def test_it_imports_no_framework():
    run_python(
        """
        import sys
        from keras_deepcomp import cli
        assert cli.main(["completion", "zsh"]) == 0
        assert not {"keras", "tensorflow", "jax", "torch", "numpy"} & sys.modules.keys()
        """
    )
