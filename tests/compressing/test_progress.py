import pytest
from support import COLOUR, compiled, dense_model, regression_data, terminal_as_stderr

from keras_deepcomp.compressing.progress import Show


def show_a_round(verbose=True):
    """What a search says of a round of two epochs."""
    x, y = regression_data()
    with Show(verbose, deadline=None) as show:
        show.line("budget: at most 10,000 bytes")
        show.round(3)
        model = compiled(dense_model(), run_eagerly=True)
        model.fit(x, y, epochs=2, verbose=0, callbacks=show.stage("pruning", 2))
        show.line("[round] 3 is over")


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}])
def test_on_a_terminal(monkeypatch, environment):
    terminal = terminal_as_stderr(monkeypatch, **environment)
    show_a_round()
    shown = terminal.getvalue()
    assert "round 3, pruning" in shown and "0:00:00" in shown
    assert "budget: at most 10,000 bytes" in shown and "[round] 3 is over" in shown
    assert bool(COLOUR.search(shown)) == (not environment)


def test_elsewhere_it_is_plain_lines(capsys):
    show_a_round()
    out, err = capsys.readouterr()
    assert out == "" and err == "budget: at most 10,000 bytes\n[round] 3 is over\n"


def test_silence(monkeypatch):
    terminal = terminal_as_stderr(monkeypatch)
    show_a_round(verbose=False)
    assert terminal.getvalue() == ""
