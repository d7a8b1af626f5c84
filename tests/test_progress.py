import re

from support import terminal_as_stderr

from keras_deepcomp import progress


def test_lines_where_there_is_no_terminal(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.counting_bytes(True, "Saving") as report:
        for done in (1, 2, 3, 4):
            now[0] += 6.0
            report(done * 10**6, 4 * 10**6)
    out, err = capsys.readouterr()
    assert out == "" and err == "Saving: 50% of 4.0 MB, about 12 s left\n"


def test_a_bar_on_a_terminal(monkeypatch):
    terminal = terminal_as_stderr(monkeypatch)
    with progress.counting_bytes(True, "Saving") as report:
        report(10**6, 4 * 10**6)
    assert re.search(r"Saving.*1\.0/4\.0 MB.*:..", terminal.getvalue())


def test_nothing_when_nothing_is_wanted(monkeypatch):
    terminal = terminal_as_stderr(monkeypatch)
    with progress.counting_bytes(False, "Saving") as report:
        assert report is None
    assert terminal.getvalue() == ""
