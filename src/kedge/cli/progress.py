"""Progress of work that takes over a second: how much is done, how fast, and how long it will take still."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from kedge.domain.counts import size

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_PATIENCE = 1.0  # seconds before anything is shown
_EVERY = 0.1
_LINE_EVERY = 10.0  # where standard error is no terminal: a log


class HowFar:
    """Shows how far some work is, on standard error. `told(files, bytes)` is given what is done in all."""

    def __init__(self, title: str, *, files: int = 0, bytes: int = 0, unit: str = "files") -> None:
        self._title, self._files, self._bytes, self._unit = title, files, bytes, unit
        self._begun = self._last = time.monotonic()
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        self._line_at = self._begun + _LINE_EVERY

    def __enter__(self) -> "HowFar":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bars is not None:
            self._bars.stop()

    def told(self, files: int, bytes: int) -> None:
        """Take how much is done."""
        now = time.monotonic()
        if now - self._last < _EVERY or now - self._begun < _PATIENCE:
            return
        self._last = now
        if sys.stderr.isatty():
            self._show(files, bytes)
        elif now >= self._line_at:
            self._line_at = now + _LINE_EVERY
            sys.stderr.write(f"{self._title}: {self._said(files, bytes, seconds=now - self._begun)}\n")

    def expect(self, *, files: int, bytes: int) -> None:
        """Say how much there is in all, once that is known."""
        self._files, self._bytes = files, bytes

    def expect_all(self, count: int, size: int) -> None:
        """Say how much there is in all, as what tells of it does."""
        self.expect(files=count, bytes=size)

    def _show(self, files: int, done: int) -> None:
        if self._bars is None:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
                TransferSpeedColumn,
            )
            from rich.progress import (
                Progress as RichBars,
            )

            self._bars = RichBars(
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                TextColumn("{task.fields[files]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bars.add_task(self._title, total=self._bytes or None, files="")
            self._bars.start()
        assert self._task is not None  # noqa: S101  # made with the bars
        of = f" of {self._files:,}" if self._files else ""
        self._bars.update(self._task, completed=done, total=self._bytes or None, files=f"{files:,}{of} {self._unit}")

    def _said(self, files: int, done: int, *, seconds: float) -> str:
        rate = done / seconds
        said = f"{files:,} {self._unit}, {size(done)}, {size(rate)}/s"
        if self._bytes > done and rate > 0:
            said += f", {duration((self._bytes - done) / rate)} left"
        return said


def duration(seconds: float) -> str:
    """Write a time span for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
