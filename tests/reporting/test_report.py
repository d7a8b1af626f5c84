import html.parser
import io
import json
import re
from types import SimpleNamespace

import hostile_names as hostile
import numpy as np
import pytest
from support import dense_model, run_python

import keras_deepcomp as kdc
from keras_deepcomp import cli, container
from keras_deepcomp.printable import printable
from keras_deepcomp.reporting import layers
from keras_deepcomp.reporting import report as module
from keras_deepcomp.reporting.advice import advice
from keras_deepcomp.reporting.comparing import compare
from keras_deepcomp.reporting.paper import row_of
from keras_deepcomp.reporting.summary import from_info


class Page(html.parser.HTMLParser):
    """The tables, tags, addresses and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.tables, self.rows, self.words = [], [], {}, None, []
        self.handlers, self.identities, self.cell = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        found = dict(attributes)
        self.handlers += [key for key in found if key.startswith("on")]
        self.addresses += [found[key] for key in ("href", "src", "xlink:href") if key in found]
        if "id" in found:
            self.identities.append(found["id"])
        if tag == "table":
            self.rows = self.tables[found.get("id", len(self.tables))] = []
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.cell = []
            self.rows[-1].append(self.cell)
        if tag == "data" and self.cell is not None:
            self.cell.append(json.loads(found["value"]))

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.cell = None

    def handle_data(self, data):
        self.words.append(data)
        if self.cell is not None and data.strip():
            self.cell.append(data.strip())

    @property
    def text(self):
        return " ".join("".join(self.words).split())


def check_safe(page):
    assert not {"script", "iframe", "object", "embed", "form", "img"} & set(page.tags)
    assert not page.handlers
    assert all(one.startswith(("#", "data:image/png;base64,", "data:,")) for one in page.addresses)
    assert len(set(page.identities)) == len(page.identities)


def shared(shape, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.choice(np.array([-0.5, 0.25, 0.75], np.float32), shape)
    return values * (rng.random(shape) < 0.2)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    tensors = {"a/kernel": shared((30, 20)), "a/bias": np.arange(20, dtype=np.float32) / 7,
               "b/kernel": shared((20, 10), 1)}  # fmt: skip
    container.save_file(tensors, folder / "a.kdc", metadata={"keras": "not read here"})
    tensors["b/kernel"] = shared((20, 10), 2)
    container.save_file({**tensors, "c": np.ones(40)}, folder / "b.kdc")
    kdc.report(folder / "a.kdc", metric=("error, %", 1.5, 1.25))
    return folder


@pytest.fixture(scope="module")
def page(files):
    return Page((files / "a.html").read_text(encoding="utf-8"))


def test_it_is_one_small_file_that_loads_nothing(files, page):
    assert (files / "a.html").stat().st_size < 500_000
    check_safe(page)
    text = (files / "a.html").read_text(encoding="utf-8")
    policy = """default-src 'none'; style-src 'unsafe-inline'; img-src data:"""
    assert f'http-equiv="Content-Security-Policy" content="{policy}"' in text
    assert set(re.findall(r"https?://[^\s\"]+", text)) == {
        "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # fmt: skip
    assert "prefers-color-scheme: dark" in text and "@media print" in text


def test_each_number_is_that_of_inspect_and_they_add_up_to_the_file(files, page, capsys):
    assert cli.main(["inspect", str(files / "a.kdc"), "--json"]) == 0
    inspected = json.loads(capsys.readouterr().out)
    size = (files / "a.kdc").stat().st_size
    rows = page.tables["tensors"][1:]
    for row, tensor in zip(rows, inspected["tensors"], strict=False):
        name, kept, values, count, ratio = row
        assert name[0] == tensor["name"]
        assert kept[0] == tensor["kept_percent"] and ratio[0] == tensor["ratio"]
        assert count[0] == tensor["bytes"]
        assert values[0] == (tensor["clusters"] if "kernel" in name[0] else "float32")
        parts = ("value", "position", "codebook", "table", "check")
        assert sum(tensor[f"{part}_bytes"] for part in parts) == tensor["bytes"]
        assert min(tensor[f"{part}_bytes"] for part in parts) >= 0
    assert [row[3][0] for row in rows[3:]] == [
        inspected["metadata_bytes"], inspected["header_bytes"], size]  # fmt: skip
    assert sum(row[3][0] for row in rows[:-1]) == size == inspected["file_bytes"]
    whole = page.tables["whole"][1:]
    assert sum(row[1][0] for row in whole[:-1]) == whole[-1][1][0] == size
    for number in (inspected["float32_bytes"], inspected["tensors"][0]["position_bytes"]):
        assert f"{number:,}" in page.text


def test_its_sections(page):
    assert page.tags.count("svg") == 1 + 3 + 1 + 3
    for words in ("Verdict", "Where the bytes went", "Layer by layer", "What was left alone",
                  "How to load it", "kdc.load_model", "1.25", "error, %",
                  "a vector, coded without shared values"):  # fmt: skip
        assert words in page.text
    assert "a/kernel, positions of non-zeros" in page.text  # a tooltip


def test_the_same_file_gives_the_same_page(files):
    again = kdc.report(files / "a.kdc", out=files / "again.html", metric=("error, %", 1.5, 1.25))
    assert again.read_bytes() == (files / "a.html").read_bytes()


def test_two_files_compared(files, capsys):
    out = files / "two.html"
    paths = [str(files / name) for name in ("a.kdc", "b.kdc")]
    assert cli.main(["report", *paths, "-o", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "files": paths, "report": str(out), "report_bytes": out.stat().st_size}  # fmt: skip
    page = Page(out.read_text(encoding="utf-8"))
    check_safe(page)
    totals = page.tables["totals"][1:5]
    assert [row[2][0] - row[1][0] for row in totals] == [row[3][0] for row in totals]
    assert totals[-1][1][0] == (files / "a.kdc").stat().st_size
    assert totals[-1][2][0] == (files / "b.kdc").stat().st_size
    first, second = (kdc.summary(path, verbose=False) for path in paths)
    few = compare(first, second, most=2)
    assert few.others == 2
    assert sum(pair.change for pair in few.pairs) + few.other_change == (
        sum(row.bytes for row in second.rows) - sum(row.bytes for row in first.rows))  # fmt: skip
    assert {pair.name for pair in few.pairs} == {"c", "b/kernel"}


def test_a_hostile_file_gives_a_safe_page_and_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(layers, "MOST_LAYERS", 2)
    hostile.write(tmp_path / "h.kdc", more=10_000 - len(hostile.NAMES))
    out = kdc.report(tmp_path / "h.kdc", out=tmp_path / "h.html")
    text = out.read_text(encoding="utf-8")
    assert len(text.encode()) < 500_000
    page = Page(text)
    check_safe(page)
    assert not set(hostile.FORBIDDEN) & set(text)
    assert "<script>alert(1)</script>" in page.text and "9,940 others" in page.text
    assert "\u0301" * 3 not in text
    assert "{{ 7 * 7 }}" in page.text
    assert cli.main(["inspect", str(tmp_path / "h.kdc")]) == 0
    printed = capsys.readouterr().out
    assert not set(hostile.FORBIDDEN) & set(printed)
    assert "9,800 others" in printed and len(printed) < 100_000
    total = sum(int(row[3][0]) for row in page.tables["tensors"][1:-1])
    assert total == (tmp_path / "h.kdc").stat().st_size


def test_a_name_of_10_megabytes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="from 1 to 65,535"):
        container.save({"x" * 10_000_000: np.zeros(3)})
    name = b"x" * 10_000_000
    with pytest.raises(kdc.FormatError):
        container.load(_with_name(name))


def _with_name(name):
    """A file with a name of any length."""
    import zlib

    from keras_deepcomp.container import frame, text
    from keras_deepcomp.container.wire import varint

    record = varint(len(name)) + name + bytes([1, 1]) + varint(3)
    content = varint(0) + varint(0) + varint(1) + record
    directory = varint(len(content)) + text.compress(content, level=0)
    return frame.HEAD + directory + frame.trailer(directory, zlib.crc32(frame.HEAD + directory))


def test_errors_of_hostile_files_do_not_reach_the_terminal_raw(tmp_path, capsys):
    path = tmp_path / "\x1b[31mred\u202e.kdc"
    assert cli.main(["report", str(path)]) == 1
    error = capsys.readouterr().err
    assert "\\x1b[31mred\\u202e.kdc: no such file" in error and "\x1b" not in error


def test_printable():
    assert printable("dense/kernel \u5c42 caf\u00e9") == "dense/kernel \u5c42 caf\u00e9"
    assert printable("\x1b\u202e\n\U000e0001") == "\\x1b\\u202e\\n\\U000e0001"
    long = printable("a" * 50 + "b" * 50_000_000 + "c" * 50, 20)
    assert len(long) == 20 and long.startswith("aaa") and long.endswith("ccc")
    assert printable("x" * 100, None) == "x" * 100


def test_a_page_that_would_be_too_large_has_fewer_pictures(files, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 60_000)
    out = kdc.report(files / "a.kdc", out=files / "small.html")
    assert out.stat().st_size < 60_000
    assert "a/kernel" in Page(out.read_text(encoding="utf-8")).text


def test_of_a_model_it_says_why_weights_were_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(layers, "MOST_LAYERS", 1)
    model = kdc.cluster_weights(dense_model((64, 2)), 4, verbose=False)
    out = kdc.report(model, out=tmp_path / "m.html")
    page = Page(out.read_text(encoding="utf-8"))
    assert "a bias, not a kernel" in page.text and "net" in page.text


def test_of_a_result_it_shows_the_tradeoff_and_the_weights_before(tmp_path, monkeypatch):
    monkeypatch.setattr(layers, "MOST_LAYERS", 1)
    model = dense_model((64, 10))
    kdc.save_model(model, tmp_path / "round-000.kdc")
    kdc.save_model(kdc.cluster_weights(model, 4, verbose=False), tmp_path / "best.kdc")
    points = [
        SimpleNamespace(bytes=size, metrics={"acc": value}, file=f"round-{number:03}.kdc")
        for number, (size, value) in enumerate([(9000, 0.9), (5000, 0.89), (7000, 0.85)])
    ]
    result = SimpleNamespace(
        path=tmp_path / "best.kdc", model=model, metric="acc", metric_direction="max",
        metrics_before={"acc": 0.9}, metrics_after={"acc": 0.89}, points=points,
        chosen="round-001.kdc", reason="The search ended because <it did>.",
    )  # fmt: skip
    out = kdc.report(result)
    assert out == tmp_path / "best.html"
    page = Page(out.read_text(encoding="utf-8"))
    check_safe(page)
    for words in ("What each byte buys", "The search ended because <it did>.", "0.89",
                  "The values before and after.", "a bias, not a kernel"):  # fmt: skip
        assert words in page.text
    files = next(rows for rows in page.tables.values() if rows[0][1] == ["acc"])
    assert [row[0][0] for row in files[1:]] == [5000, 7000, 9000]
    assert [" ".join(row[2]) for row in files[1:]] == ["chosen", "", "no other is better"]


def test_the_papers_rows_are_known_by_the_kernels():
    lenet = _rows((784, 300), (300,), (300, 100), (100,), (100, 10), (10,))
    assert row_of(lenet).network == "LeNet-300-100"
    assert row_of(lenet[:4]) is None


def _rows(*shapes):
    data = container.save({str(n): np.zeros(shape) for n, shape in enumerate(shapes)}, effort=0)
    return from_info(container.inspect(data)).rows


def test_advice_names_what_costs_most():
    dense = np.random.default_rng(0).normal(size=(60, 50)).astype(np.float32)
    found = from_info(container.inspect(container.save({"k": dense, "b": dense[0]}, effort=0)))
    said = advice(found)
    assert "hardly pruned, k the largest" in said[0] and "hardly shared" in said[1]
    small = {"k": shared((30, 20)), "b": np.random.default_rng(0).normal(size=200)}
    said = advice(from_info(container.inspect(container.save(small, effort=0))))
    assert len(said) == 1 and "are vectors" in said[0]


def test_what_cannot_be_reported_on_is_named(files):
    with pytest.raises(TypeError, match="got int"):
        kdc.report(3)
    broken = files / "broken.kdc"
    broken.write_bytes((files / "a.kdc").read_bytes()[:-1])
    with pytest.raises(kdc.FormatError, match=r"broken\.kdc"):
        kdc.report(broken)
    assert not (files / "broken.html").exists()


def test_a_file_needs_no_framework_and_the_error_without_jinja_says_what_to_install(files):
    code = """
        import sys, keras_deepcomp as kdc
        try:
            sys.modules["jinja2"] = None
            kdc.report(sys.argv[1])
        except ImportError as error:
            print(error)
        assert not {"keras", "tensorflow", "jax", "torch"} & sys.modules.keys()
        assert "matplotlib.pyplot" not in sys.modules
    """
    assert "pip install keras_deepcomp[plot]" in run_python(code, files / "a.kdc")


def test_the_table_on_a_terminal_is_bounded():
    data = container.save({str(n): np.zeros(1) for n in range(300)}, effort=0)
    out = io.StringIO()
    from_info(container.inspect(data)).print(out)
    assert "100 others" in out.getvalue()


def test_negative_zeros_are_pointed_out(tmp_path, monkeypatch):
    monkeypatch.setattr(layers, "MOST_LAYERS", 1)
    weights = np.where(shared((30, 20)) == 0, np.float32(-0.0), shared((30, 20)))
    container.save_file({"w": weights}, tmp_path / "m.kdc")
    out = kdc.report(tmp_path / "m.kdc")
    count = np.count_nonzero(weights == 0)
    page = Page(out.read_text(encoding="utf-8"))
    assert f"{count:,} weights are -0.0" in page.text
    assert "container.load_file" in page.text  # arrays by name, without an architecture
