"""A data plane tells of itself: each minute one small report of what its processes counted, read from their board.

Who answers requests does nothing for it. What cannot be written is told on standard error, and is in the next report.
"""

import json
import os
import socket
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from time import monotonic
from uuid import uuid4

import psutil

from kedge.domain.plane_reports import ModelCounts, PlaneReport
from kedge.errors import KedgeError
from kedge.ports import PlaneReports
from kedge.serving.board import WorkerState
from kedge.serving.exposition import Series, collected
from kedge.serving.metrics import ROWS, Metrics

SECONDS = 60.0
_LOOKS = 1.0
_QUEUE = b'["kedge_queue_requests",'
_SHADOW = "shadow"


class _Totals:
    """What was counted from the start on, by model."""

    def __init__(self, series: dict[str, Series]) -> None:
        self.requests: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for (model, _, _, code), (count,) in series["kedge_requests_total"].items():
            self.requests[model][code] += count
        self.rows = _by_model(series["kedge_rows_total"])
        self.seconds: dict[str, float] = defaultdict(float)
        for (model, _, _, stage), values in series["kedge_request_seconds"].items():
            self.seconds[model] += values[-1] if stage == "predict" else 0.0
        self.calls = {model: values for (model,), values in series["kedge_batch_rows"].items()}
        self.queue = _by_model(series["kedge_queue_requests"])
        self.logged = _sum(series["kedge_log_rows_total"])
        self.unlogged = _sum(series["kedge_log_gap_rows_total"])
        self.lag = max((values[0] for values in series["kedge_log_lag_seconds"].values()), default=0.0)
        self.memory = _sum(series["kedge_worker_memory_bytes"])

    def since(self, old: "_Totals", *, most: dict[str, float]) -> dict[str, ModelCounts]:
        """Give what was counted since an earlier moment; `most` is the longest each queue was meanwhile."""
        return {model: self._counts(model, old, most=most.get(model, 0.0)) for model in sorted(self.models)}

    @property
    def models(self) -> set[str]:
        """Name the models of which anything can be counted, and "" where something was."""
        return {*self.calls, *(model for model, codes in self.requests.items() if any(codes.values()))}

    def _counts(self, model: str, old: "_Totals", *, most: float) -> ModelCounts:
        before = old.requests.get(model, {})
        requests = {code: round(count - before.get(code, 0)) for code, count in self.requests.get(model, {}).items()}
        nothing = [0.0] * (len(ROWS) + 2)
        pairs = zip(self.calls.get(model, nothing), old.calls.get(model, nothing), strict=True)
        *bins, rows = (now - then for now, then in pairs)
        most_rows = max((min(place, len(ROWS) - 1) for place, count in enumerate(bins) if count), default=None)
        queue = self.queue.get(model, 0.0)
        return ModelCounts(
            requests={code: count for code, count in requests.items() if count},
            rows=round(self.rows.get(model, 0) - old.rows.get(model, 0)),
            seconds=self.seconds.get(model, 0.0) - old.seconds.get(model, 0.0),
            calls=round(sum(bins)),
            call_rows=round(rows),
            call_most=0 if most_rows is None else round(ROWS[most_rows]),
            queue=round(queue),
            queue_most=round(max(queue, most)),
        )


class Reporter:
    """Writes the reports of one data plane. `workers` names the processes that answer, this one among them or not."""

    def __init__(
        self,
        metrics: Metrics,
        reports: PlaneReports,
        *,
        workers: Callable[[], Sequence[int]] = lambda: (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        seconds: float = SECONDS,
    ) -> None:
        self._metrics, self._reports, self._workers, self._now, self._seconds = metrics, reports, workers, now, seconds
        self._host, self._process = socket.gethostname(), f"{os.getpid()}-{uuid4().hex[:8]}"
        self._before, self._cpu, self._at = _Totals(collected(metrics)), 0.0, monotonic()
        self._looked, self._due = float("-inf"), self._at
        self._most: dict[str, float] = {}
        self._failing = False
        self._queues: list[tuple[int, list[tuple[str, memoryview[float]]]]] = [(-1, []) for _ in metrics.board.segments]

    def look(self, now: float) -> None:
        """Do what is due: note how long the queues are, each second; report, each minute (the first time at once)."""
        if now - self._looked >= _LOOKS:
            self._looked = now
            self._note_queues()
        if now >= self._due:
            self._due = now + self._seconds
            self._report(now, ended=False)

    def end(self) -> None:
        """Give the last report: this data plane was told to end."""
        self._report(monotonic(), ended=True)
        try:
            self._reports.close()
        except (KedgeError, OSError) as error:
            self._complain(error)

    def _report(self, now: float, *, ended: bool) -> None:
        totals, pids = _Totals(collected(self._metrics)), self._workers()
        cpu = cpu_seconds(pids)
        report = PlaneReport(
            at=self._now(),
            host=self._host,
            process=self._process,
            seconds=now - self._at,
            workers=max(len(pids), 1),
            models=totals.since(self._before, most=self._most),
            logged=round(totals.logged - self._before.logged),
            unlogged=round(totals.unlogged - self._before.unlogged),
            lag_seconds=totals.lag,
            memory_bytes=round(totals.memory),
            cpu_seconds=max(cpu - self._cpu, 0.0),
            ended=ended,
        )
        try:
            self._reports.append(report)
        except (KedgeError, OSError) as error:
            self._complain(error)
            return
        self._before, self._cpu, self._at, self._most, self._failing = totals, cpu, now, {}, False

    def _complain(self, error: BaseException) -> None:
        if not self._failing:
            sys.stderr.write(f"the data plane's report of itself was not written, and is tried again: {error}\n")
        self._failing = True

    def _note_queues(self) -> None:
        waiting: dict[str, float] = defaultdict(float)
        for place, segment in enumerate(self._metrics.board.segments):
            if self._queues[place][0] != segment.used:
                self._queues[place] = segment.used, list(_queues_of(segment.items()))
            if segment.state is WorkerState.READY:
                for model, value in self._queues[place][1]:
                    waiting[model] += value[0]
        for model, count in waiting.items():
            self._most[model] = max(self._most.get(model, 0.0), count)


@contextmanager
def reporting(metrics: Metrics, reports: PlaneReports) -> Iterator[None]:
    """Report meanwhile, from a thread of its own: for a process that nobody supervises."""
    reporter, ending = Reporter(metrics, reports), threading.Event()

    def tell() -> None:
        while not ending.wait(_LOOKS):
            reporter.look(monotonic())

    thread = threading.Thread(target=tell, name="kedge-plane-report", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
        reporter.end()


def cpu_seconds(children: Sequence[int]) -> float:
    """Sum the CPU time of this process, of its children that have ended, and of living ones with theirs that have ended."""
    own = os.times()
    total = own.user + own.system + own.children_user + own.children_system
    for pid in children:
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system + getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return total


def _queues_of(series: "Iterator[tuple[bytes, memoryview[float]]]") -> "Iterator[tuple[str, memoryview[float]]]":
    for key, values in series:
        if key.startswith(_QUEUE):
            yield json.loads(key)[1], values


def _by_model(series: Series) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for (model, *labels), values in series.items():
        found[model] += values[0] if labels[-1:] != [_SHADOW] else 0.0
    return found


def _sum(series: Series) -> float:
    return sum(values[0] for values in series.values())
