"""A data plane tells of itself: differences between reports, whichever processes count, and what a kill leaves."""

import os
from datetime import UTC, datetime, timedelta
from time import monotonic

import pytest

from kedge.domain.plane_reports import ModelCounts, PlaneReport
from kedge.errors import StoreBroken
from kedge.serving.board import Board, WorkerState
from kedge.serving.metrics import Metrics
from kedge.serving.reporting import Reporter, reporting
from kedge.storage.plane_reports import ReportJournal

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Kept:
    """Keeps reports in memory, unless it is full."""

    def __init__(self) -> None:
        self.reports: list[PlaneReport] = []
        self.full = self.closed = False

    def append(self, report: PlaneReport) -> None:
        if self.full:
            raise OSError(28, "no space left")
        self.reports.append(report)

    def close(self) -> None:
        self.closed = True


def answer(metrics: Metrics, *, requests: int, rows: int, code: int = 200, variant: str = "champion") -> None:
    counted = metrics.model("m").version(1, variant)
    counted.requests[code].add(requests)
    counted.rows.add(requests * rows)
    counted.stages["predict"].observe(0.25, times=requests)
    for _ in range(requests):
        metrics.model("m").batch(rows=rows)


def test_reports_are_differences_over_all_workers_and_shadows_are_no_answers() -> None:
    board, kept = Board(3), Kept()
    first, second = (Metrics(board, segment) for segment in board.segments[:2])
    answer(first, requests=7, rows=2)
    reporter = Reporter(Metrics(board, board.segments[2]), kept, now=lambda: NOW)
    for metrics in (first, second):
        metrics.segment.state = WorkerState.READY
        metrics.model("m").queue.set(4)
        metrics.gauge("kedge_worker_memory_bytes", str(board.segments.index(metrics.segment))).set(100)
    answer(first, requests=2, rows=3)
    answer(second, requests=1, rows=5)
    answer(second, requests=1, rows=5, variant="shadow")
    second.model("m").unanswered[503].add(6)
    now = monotonic()
    reporter.look(now)
    for metrics in (first, second):
        metrics.model("m").queue.set(1)
    reporter.look(now + 61)
    one, two = kept.reports
    counts = one.models["m"]
    assert (counts.requests, counts.rows) == ({"200": 4, "503": 6}, 11)
    assert (counts.calls, counts.call_rows, counts.call_most, counts.seconds) == (4, 16, 8, 1.0)
    assert (counts.queue, counts.queue_most, one.memory_bytes) == (8, 8, 200)
    assert (two.models["m"].requests, two.models["m"].queue_most) == ({}, 2)
    assert (one.at, one.ended, one.process == two.process) == (NOW, False, True)


def test_what_cannot_be_written_is_in_the_next_report_and_told_once(capsys) -> None:
    metrics, kept = Metrics(), Kept()
    reporter = Reporter(metrics, kept, seconds=0.0)
    kept.full = True
    for moment in range(3):
        answer(metrics, requests=1, rows=1)
        reporter.look(monotonic() + moment)
    kept.full = False
    reporter.end()
    (report,) = kept.reports
    assert (report.models["m"].rows, report.ended, kept.closed) == (3, True, True)
    assert capsys.readouterr().err.count("was not written") == 1


def test_a_process_alone_says_its_last_words() -> None:
    kept = Kept()
    with reporting(Metrics(), kept):
        pass
    assert [report.ended for report in kept.reports] == [True]


def report(minute: int, **more) -> PlaneReport:
    return PlaneReport(at=NOW + timedelta(minutes=minute), host="a", process="1", seconds=60.0, **more)


def test_a_torn_tail_is_cut_and_several_writers_add_up(tmp_path) -> None:
    one, two = (ReportJournal(tmp_path / "planes", name) for name in ("plane-1", "plane-2"))
    for minute in range(3):
        one.append(report(minute, models={"m": ModelCounts(rows=minute)}))
        two.append(report(minute))
    one.close()
    torn = next(path for path in (tmp_path / "planes").iterdir() if "plane-1" in path.name)
    torn.write_bytes(torn.read_bytes()[:-5])
    again = ReportJournal(tmp_path / "planes", "plane-1")
    again.append(report(3))
    read = [each.at.minute for each in again.read(NOW, NOW + timedelta(hours=1))]
    assert sorted(read) == [0, 0, 1, 1, 2, 3]


def test_old_segments_are_passed_over_and_dropped_and_damage_is_told(tmp_path) -> None:
    folder = tmp_path / "planes"
    for day in range(0, 200, 50):
        journal = ReportJournal(folder, f"plane-{day}")
        journal.append(report(day * 1440))
        journal.append(report(day * 1440 + 1))
        journal.close()
        moment = (NOW + timedelta(days=day)).timestamp()
        newest = max(folder.iterdir())
        os.utime(newest, (moment, moment))
    assert len(list(folder.iterdir())) == 2
    reader = ReportJournal(folder, "reader")
    start = NOW + timedelta(days=99)
    found = [(each.at - NOW) / timedelta(minutes=1) for each in reader.read(start, start + timedelta(days=2))]
    assert found == [144000, 144001, 216000]
    path = min(folder.iterdir())
    damaged = bytearray(path.read_bytes())
    damaged[10] ^= 255
    path.write_bytes(damaged)
    with pytest.raises(StoreBroken, match="damaged"):
        list(reader.read(start, start))


def test_nothing_is_there_where_nobody_told(tmp_path) -> None:
    assert list(ReportJournal(tmp_path / "planes", "x").read(NOW, NOW)) == []
    assert not (tmp_path / "planes").exists()
