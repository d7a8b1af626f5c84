"""docs/command-line.md has each command and option, and its exit codes are so."""

import argparse
import re
from pathlib import Path

import pytest
from support import dense_model

import keras_deepcomp as kdc
from keras_deepcomp import cli, completion
from keras_deepcomp.compressing import commands

PAGE = (Path(__file__).parent.parent / "docs" / "command-line.md").read_text(encoding="utf-8")
COMMANDS = {
    " ".join(words): parser
    for words, parser in completion.parsers_of(cli._parser())
    if not any(isinstance(action, argparse._SubParsersAction) for action in parser._actions)
}
SECTIONS = dict(re.findall(r"^### `(.*?)`\n(.*?)(?=^### |\Z)", PAGE, re.S | re.M))


def test_each_command_has_a_section():
    assert set(SECTIONS) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_section_has_the_example_of_the_help_and_all_options(command):
    parser, section = COMMANDS[command], SECTIONS[command]
    (example,) = re.findall(r"```\n(.*?)\n```", section, re.S)
    assert parser.epilog == f"example:\n  {example}"
    assert f"\n  {example}\n" in parser.format_help()  # on one line, to be copied
    for action in parser._actions:
        names = {name for name in action.option_strings if name.startswith("--")}
        known = {"--help", "--json"}
        assert not names or names & known or any(name in section for name in names) or (
            names & {"--out"} and " -o " in section
        )  # fmt: skip


def test_the_examples_are_command_lines():
    for command, section in SECTIONS.items():
        (example,) = re.findall(r"```\n(.*?)\n```", section, re.S)
        words = re.findall(r'"[^"]*"|\S+', example.split(" > ")[0])
        options = cli._parser().parse_args([word.strip('"') for word in words[1:]])
        assert options.command.__qualname__, command


def interrupted(options):
    # Not by a signal: shells let programs in the background ignore SIGINT.
    raise KeyboardInterrupt


def test_the_exit_codes(tmp_path, monkeypatch, capsys):
    kdc.save_model(dense_model(), tmp_path / "m.kdc")
    (tmp_path / "cut.kdc").write_bytes((tmp_path / "m.kdc").read_bytes()[:-1])
    monkeypatch.chdir(tmp_path)
    found = {
        cli.main(["verify", "m.kdc"]): "done",
        cli.main(["verify", "cut.kdc"]): "damaged",
        cli.main(["verify", "none.kdc"]): "missing",
    }
    with pytest.raises(SystemExit) as wrong:
        cli.main(["verify", "--fast", "m.kdc"])
    found[wrong.value.code] = "command line is wrong"
    monkeypatch.setattr(cli, "_inspect", interrupted)
    found[cli.main(["inspect", "m.kdc"])] = "interrupted"
    assert capsys.readouterr().err.endswith("keras-deepcomp: error: interrupted\n")
    # That the search comes to such a result is tested in compressing/test_commands.py.
    monkeypatch.setattr(commands, "_compress", lambda options: {"keeps_budget": False})
    compress = ["compress", "m.keras", "--data", "d.npz", "--max-bytes", "10"]
    found[cli.main(compress)] = "none that keeps the budget"
    rows = dict(re.findall(r"^\| (\d+) \| (.*) \|$", PAGE, re.M))
    assert {str(code) for code in found} == set(rows)
    assert all(why in rows[str(code)] for code, why in found.items())
