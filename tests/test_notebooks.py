"""The notebooks run from top to bottom, in their short form, and what is committed is clean."""

import re
from pathlib import Path

import nbformat
import pytest
from support import run_python

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS


# In a process of its own: the client of the kernel leaves sockets for the garbage collector.
EXECUTE = """
    import sys
    import nbformat
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    # The kernel of this interpreter, whatever kernels are installed on the machine.
    own = AsyncKernelManager(
        kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[])
    )
    NotebookClient(
        nbformat.read(sys.argv[1], as_version=4),
        km=own,
        timeout=None,
        resources={"metadata": {"path": sys.argv[2]}},
    ).execute()
"""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_from_top_to_bottom(path):
    run_python(EXECUTE, path, FOLDER, KDC_SHORT="1", TF_CPP_MIN_LOG_LEVEL="3")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_with_clean_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    outputs = [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    for output in outputs:
        assert output.output_type != "error" and output.get("name") != "stderr"
        texts = [output.get("text", ""), *map(str, output.get("data", {}).values())]
        pictures = output.get("data", {}).get("image/png")
        for text in texts:
            assert text == pictures or not re.search(r"(^|[\s'\"(])/(home|root|tmp|work)\b", text)
    assert path.stat().st_size < 1_000_000
