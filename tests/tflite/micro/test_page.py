"""docs/micro.md says what is so: its code runs, and its table is that of the benchmark."""

import json
import re
from pathlib import Path

from support import run_python

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "micro.md"


def test_the_page(tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 4
    printed = run_python(
        """
        import json, os, sys
        from pathlib import Path

        folder, root, blocks = sys.argv[1:]
        sys.path += [root, root + "/benchmarks"]
        os.chdir(folder)
        names = {}
        for number, block in enumerate(json.loads(blocks)):
            exec(compile(block, f"<block {number}>", "exec"), names)
        report = names["report"]
        assert report.ratio > 2.5, report
        assert Path("small.tflite").stat().st_size == report.file_bytes_after
        assert f"model_data_len = {report.file_bytes_after};" in Path("model_data.cc").read_text()

        import micro

        stored = json.loads((micro.RESULTS / "tflite-micro.json").read_text())
        assert stored["held"] and all(claim["held"] for claim in stored["claims"])
        print("table", json.dumps(micro.markdown(stored["networks"])))
        """,
        tmp_path,
        ROOT,
        json.dumps(blocks),
    )
    table = json.loads(printed.splitlines()[-1].removeprefix("table "))
    assert f"<!-- table -->\n{table}\n<!-- end -->" in PAGE.read_text()
