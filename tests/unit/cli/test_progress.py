"""Long work tells how far it is: after a second, as a bar on a terminal, as a line every ten seconds in a log."""

import io
import sys

import pytest

from kedge.cli import progress
from kedge.cli.progress import Counted, HowFar, duration


class Ticking:
    """A clock that a test sets."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Ticking:
    made = Ticking()
    monkeypatch.setattr(progress, "time", made)
    return made


def test_a_log_gets_a_line_every_ten_seconds(clock: Ticking, capsys: pytest.CaptureFixture[str]) -> None:
    with HowFar("reading", files=4, bytes=4000) as far, Counted("models made", unit="models") as made:
        for clock.now in (100.5, 105.0, 110.0, 111.0, 119.9, 120.5):
            far.told(2, 1000)
            made.told(1, 5)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "reading: 2 files, 1 kB, 100 B/s, 30 s left",
        "models made: 1 of 5 models, about 40 s left",
        "reading: 2 files, 1 kB, 48.8 B/s, 62 s left",
        "models made: 1 of 5 models, about 82 s left",
    ]


def test_what_is_not_known_is_not_said(clock: Ticking, capsys: pytest.CaptureFixture[str]) -> None:
    with HowFar("reading") as far, Counted("models made", unit="models") as made:
        clock.now = 110.0
        far.told(2, 1000)
        made.told(0, 5)
    assert capsys.readouterr().err.splitlines() == ["reading: 2 files, 1 kB, 100 B/s", "models made: 0 of 5 models"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("kind", [HowFar, Counted])
def test_a_terminal_gets_a_bar(clock: Ticking, monkeypatch: pytest.MonkeyPatch, kind: type[HowFar | Counted]) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with kind("reading", unit="things") as far:
        far.told(1, 5)
        assert screen.getvalue() == "", "nothing for what takes under a second"
        clock.now = 102.0
        far.told(3, 5)
    assert "reading" in screen.getvalue()


@pytest.mark.parametrize(("seconds", "said"), [(5, "5 s"), (600, "10 min"), (7200, "2.0 h")])
def test_spans_are_written_for_people(seconds: float, said: str) -> None:
    assert duration(seconds) == said
