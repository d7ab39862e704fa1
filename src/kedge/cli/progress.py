"""Progress of work that takes over a second: how much is done, how fast, and how long it will take still."""

import sys
import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kedge.domain.counts import size

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import ProgressColumn, TaskID

_PATIENCE = 1.0  # seconds before anything is shown
_EVERY = 0.1
_LINE_EVERY = 10.0  # where standard error is no terminal: a log


class _Progress(ABC):
    """Shows how far some work is, on standard error: as a bar on a terminal, else as a line now and then."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._begun = self._last = time.monotonic()
        self._line_at = self._begun + _LINE_EVERY
        self._bars: Bars | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bars is not None:
            self._bars.stop()

    def _tell(self, done: float, whole: float | None, *, unit: str) -> None:
        """Show what is done of the whole (None: not known), if it is time to; `unit` stands beside a bar."""
        now = time.monotonic()
        if now - self._last < _EVERY or now - self._begun < _PATIENCE:
            return
        self._last = now
        if sys.stderr.isatty():
            if self._bars is None:
                self._bars = self._made()
                self._task = self._bars.add_task(self._title, total=whole, unit=unit)
                self._bars.start()
            assert self._task is not None  # noqa: S101  # made with the bars
            self._bars.update(self._task, completed=done, total=whole, unit=unit)
        elif now >= self._line_at:
            self._line_at = now + _LINE_EVERY
            sys.stderr.write(f"{self._title}: {self._line(now - self._begun)}\n")

    @abstractmethod
    def _made(self) -> "Bars":
        """Make the bar, with the columns that suit what is counted."""

    @abstractmethod
    def _line(self, seconds: float) -> str:
        """Say how far it is after so many seconds."""


class HowFar(_Progress):
    """Shows how far some work is. `told(files, bytes)` is given what is done in all."""

    def __init__(self, title: str, *, files: int = 0, bytes: int = 0, unit: str = "files") -> None:
        super().__init__(title)
        self._files, self._bytes, self._unit = files, bytes, unit
        self._done = (0, 0)

    def told(self, files: int, bytes: int) -> None:
        """Take how much is done."""
        self._done = files, bytes
        of = f" of {self._files:,}" if self._files else ""
        self._tell(bytes, self._bytes or None, unit=f"{files:,}{of} {self._unit}")

    def expect(self, *, files: int, bytes: int) -> None:
        """Say how much there is in all, once that is known."""
        self._files, self._bytes = files, bytes

    def expect_all(self, count: int, size: int) -> None:
        """Say how much there is in all, as what tells of it does."""
        self.expect(files=count, bytes=size)

    def _made(self) -> "Bars":
        from rich.progress import DownloadColumn, TextColumn, TransferSpeedColumn

        return _bars(DownloadColumn(), TransferSpeedColumn(), TextColumn("{task.fields[unit]}"))

    def _line(self, seconds: float) -> str:
        files, done = self._done
        rate = done / seconds
        said = f"{files:,} {self._unit}, {size(done)}, {size(rate)}/s"
        if self._bytes > done and rate > 0:
            said += f", {duration((self._bytes - done) / rate)} left"
        return said


class Counted(_Progress):
    """Shows how many of some like pieces of work are done. `told(done, all)` is given both."""

    def __init__(self, title: str, *, unit: str) -> None:
        super().__init__(title)
        self._unit = unit
        self._done = (0, 0)

    def told(self, done: int, whole: int) -> None:
        """Take how many are done, of how many."""
        self._done = done, whole
        self._tell(done, whole, unit=self._unit)

    def _made(self) -> "Bars":
        from rich.progress import MofNCompleteColumn

        return _bars(MofNCompleteColumn())

    def _line(self, seconds: float) -> str:
        done, whole = self._done
        left = f", about {duration(seconds / done * (whole - done))} left" if done else ""
        return f"{done:,} of {whole:,} {self._unit}{left}"


def _bars(*columns: "ProgressColumn") -> "Bars":
    """Make a bar with its title before it, what is counted and the time behind it."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichBars

    title, left = TextColumn("{task.description}"), TextColumn("left")
    time_columns = (TimeElapsedColumn(), left, TimeRemainingColumn())
    return RichBars(title, BarColumn(), *columns, *time_columns, console=Console(stderr=True), transient=True)


def duration(seconds: float) -> str:
    """Write a time span for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
