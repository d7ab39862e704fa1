"""What people named is printed as it stands: no markup of Rich's, no code that a terminal obeys, nothing cut in silence."""

import pytest

from kedge.cli.showing import LONGEST, bars, brief, plain, show_records, show_rows


@pytest.mark.parametrize(
    ("text", "shown"),
    [("rate é 模型 🚀", "rate é 模型 🚀"), ("\x1b[2Jgone", "\\x1b[2Jgone"), ("a\nb", "a\\nb"), ("\u202egpj", "\\u202egpj")],
)
def test_what_a_terminal_would_obey_is_shown(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_a_long_value_says_how_long_it_is() -> None:
    assert brief("x" * LONGEST) == "x" * LONGEST
    assert brief("x" * 6000) == "x" * LONGEST + "... (6,000 characters; --json prints all)"


def test_names_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows("[/] runs", ("[/red]", "value"), rows=[("[bold]x[/bold]", "[/]")])
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("[/] runs", "[/red]", "[bold]x[/bold]"))


def test_a_column_that_is_needed_whole_is_never_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    show_rows("runs", ("run", "why", "more"), rows=[("0123456789ab", "word " * 30, "word " * 30)], whole={"run"})
    assert "0123456789ab" in capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 200])
def test_records_are_read_in_any_terminal_without_a_broken_word(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    words = ("0123456789abcdef01234567", "critical", "acknowledged", "prediction_skew of flights", "2026-05-01 12:00 UTC")
    show_records("1 alert", ("id", "severity", "state", "what", "since"), rows=[words], head=3)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert all(any(word in line for line in lines) for cell in words for word in cell.split())
    assert any("since" in line for line in lines)


@pytest.mark.parametrize(
    ("values", "between", "drawn"),
    [
        ([0.0, 3.5, None, 7.0], {}, "▁▅·█"),
        ([2.0, 2.0], {}, "▄▄"),
        ([None], {}, "·"),
        ([], {}, ""),
        ([0.0, 5.0], {"low": 0.0, "high": 10.0}, "▁▅"),
        ([0.0, 0.0], {"low": 0.0, "high": 0.0}, "▄▄"),
        ([20.0], {"low": 0.0, "high": 10.0}, "█"),
    ],
)
def test_numbers_are_drawn_as_a_line_of_bars(values, between, drawn) -> None:
    assert bars(values, **between) == drawn


def test_records_that_are_none_are_a_line(capsys) -> None:
    show_records("0 alerts", ("id", "severity"), rows=[])
    assert capsys.readouterr().out == "0 alerts\n"
