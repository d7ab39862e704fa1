"""The data planes' reports, kept in segments of a day each in a folder beside the logs, and dropped when they are old.

Nothing waits for a disk here: a report survives a kill of its writer, and a power cut may take the last ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from kedge.domain.plane_reports import PlaneReport
from kedge.storage.journal import FileJournal
from kedge.storage.segments import hold, read_bytes, records_of, segments

KEPT = timedelta(days=90)
DAY_SECONDS = 86_400.0

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(PlaneReport)


class ReportJournal:
    """Reports in a folder, written by one process of a data plane and read by anyone."""

    def __init__(self, folder: Path, writer: str, *, close_seconds: float = DAY_SECONDS) -> None:
        self._folder = folder
        self._journal = FileJournal(folder, writer, close_seconds=close_seconds)

    def append(self, report: PlaneReport) -> None:
        """Keep a report; once a day, or when another process has begun, drop those that are too old. Raises StoreFull,
        StoreBroken."""
        before = len(segments(self._folder))
        self._journal.tend()
        self._journal.append(_encoder.encode(report))
        if len(segments(self._folder)) != before:
            self._drop(report.at - KEPT)

    def read(self, start: datetime, end: datetime) -> Iterator[PlaneReport]:
        """Read the reports from `start` on, each writer's in its order; of a segment that begins after `end`, only the
        first. Raises StoreBroken."""
        for name, size in segments(self._folder):
            path = self._folder / name
            try:
                if path.stat().st_mtime < start.timestamp():
                    continue
                raw = read_bytes(path, size=size)
            except FileNotFoundError:  # dropped since the folder was listed
                continue
            for place, (_, payload) in enumerate(records_of(raw, path)):
                report = _decoder.decode(payload)
                if report.at >= start:
                    yield report
                if not place and report.at > end:
                    break

    def close(self) -> None:
        """Sync, and let go of the segment."""
        self._journal.close()

    def _drop(self, before: datetime) -> None:
        """Remove the segments last written before a moment; the newest stays, and what a living process holds."""
        for name, _ in segments(self._folder)[:-1]:
            path = self._folder / name
            try:
                if path.stat().st_mtime >= before.timestamp():
                    continue
            except FileNotFoundError:
                continue
            if (held := hold(path)) is not None:
                path.unlink(missing_ok=True)
                held.close()
