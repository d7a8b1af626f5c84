"""`docs/deploying.md`: its tables are those of the results, and its commands run, in its order."""

import importlib.util
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keras_deepcomp import cli

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "deploying.md"


def script():
    path = ROOT / "benchmarks" / "deploying_page.py"
    spec = importlib.util.spec_from_file_location("deploying_page", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_of_the_results():
    text = PAGE.read_text()
    assert script().page(text) == text
    assert text.count("| LeNet-5 |") == 5  # three modes, two NPUs


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return str(server.getsockname()[1])


def wait_for(port):
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", int(port))).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise AssertionError("the server does not answer")


def test_the_commands_run_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    port = free_port()
    text = PAGE.read_text().replace("8000", port)
    names, servers, ran = {"__name__": "__main__"}, [], []
    try:
        for language, block in re.findall(r"^```(python|sh)\n(.*?)^```$", text, re.DOTALL | re.M):
            if language == "python":
                exec(compile(block, f"<{block}>", "exec"), names)
                continue
            for line in block.splitlines():
                program, *arguments = shlex.split(line.removesuffix(" &"))
                ran.append(program)
                if program == "keras-deepcomp":
                    assert cli.main(arguments) == 0, capsys.readouterr().err
                elif line.endswith(" &"):
                    server = [sys.executable, *arguments]
                    servers.append(subprocess.Popen(server, stderr=subprocess.DEVNULL))
                    wait_for(port)
                elif program == "curl":
                    subprocess.run([program, *arguments], check=True)
                else:
                    # A package and a compiler of others: `make bench-vela` runs them.
                    assert program in ("pip", "vela")
    finally:
        for server in servers:
            server.kill()
            server.wait()
    assert ran.count("keras-deepcomp") == 6
    assert Path("same.tflite").read_bytes() == Path("model.tflite").read_bytes()
    assert Path("small.tflite").stat().st_size < Path("model.tflite").stat().st_size
    assert len(names["tensors"]) == len(names["model"].variables)
    printed = capsys.readouterr().out
    assert "hidden/kernel" in printed and "tensors of" in printed


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", PAGE.read_text()))
def test_links_lead_somewhere(link):
    assert (PAGE.parent / link).exists()
