import io

import rich.console
from support import dense_model

import keras_deepcomp as kdc
from keras_deepcomp import consoles


def in_a_notebook(monkeypatch):
    """Makes rich believe so; returns what it displays."""
    displayed = []
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    monkeypatch.setattr("rich.jupyter.display", lambda segments, text: displayed.append(text))
    return displayed


def test_what_is_for_a_string_is_not_displayed_in_a_notebook(monkeypatch):
    sizes = kdc.summary(dense_model(), verbose=False)
    wanted, displayed = str(sizes), in_a_notebook(monkeypatch)
    assert str(sizes) == wanted and "d0/kernel" in wanted
    file = io.StringIO()
    sizes.print(file)
    assert "d0/kernel" in file.getvalue() and displayed == []
    sizes.print()
    assert "d0/kernel" in displayed[0]


def test_a_string_has_no_colours(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "")
    assert consoles.as_text("[red]a[/red]") == "a\n"
