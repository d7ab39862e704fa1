"""`kedge serve --workers N`: one small process that starts workers, watches them, and puts another in a lost one's place.

A worker is forked from this process, which has imported what all of them need, holds the listening socket and never
answers; nothing here starts a thread, so a fork is safe. It is told by signals: SIGTERM and SIGINT drain all, and a
second one ends all at once; SIGHUP replaces the workers one by one, each after its successor is ready.
"""

import gc
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Literal, NoReturn

import psutil

from kedge.ports import PlaneReports
from kedge.serving.board import Board, Segment, WorkerState
from kedge.serving.metrics import Metrics
from kedge.serving.reporting import Reporter
from kedge.serving.worker import HUNG, Bounds

REFUSED = 78  # the exit code of a worker that cannot start and has said why
_LOOK = 0.25
_GRACE = 1.0  # seconds beyond a limit in which a worker keeps it by itself
_STABLE = 30.0  # seconds after which a worker's end is no repetition of the last one's
_WELL = 1.0  # seconds of answering after which it was not its start that failed
_LONGEST_WAIT = 30.0
_PATIENCE = 1.0  # seconds without a worker after which callers are told instead of kept waiting

Reason = Literal["died", "hung", "memory"]
REASONS: tuple[Reason, ...] = ("died", "hung", "memory")
Begin = Callable[[Metrics], None]


@dataclass
class Worker:
    """One forked process. `retires` is whom it takes over from once it is ready; `ending` and `ready`
    are since when it was told to end, and since when it answers (0: not)."""

    pid: int
    segment: Segment
    retires: int = 0
    ending: float = 0.0
    ready: float = 0.0
    reason: Reason | None = None

    def end(self) -> None:
        """Have it drain."""
        if not self.ending:
            self.ending = monotonic()
            os.kill(self.pid, signal.SIGTERM)

    def kill(self, reason: Reason = "died") -> None:
        """End it at once."""
        self.reason = reason
        os.kill(self.pid, signal.SIGKILL)


class Supervisor:
    """Keeps so many workers answering on a listening socket. `begin` is what each does, from its start to its end; `ready`
    is called once all of them accept connections; `reports` takes what it tells of itself each minute."""

    def __init__(
        self,
        listener: socket.socket,
        workers: int,
        *,
        begin: Begin,
        bounds: Bounds,
        ready: Callable[[], None],
        reports: PlaneReports | None = None,
    ) -> None:
        # A segment more, for the one that is replaced while its successor starts; and the supervisor's own.
        self.board = Board(workers + 2)
        self._listener, self._wanted, self._begin, self._bounds, self._ready = listener, workers, begin, bounds, ready
        self._metrics = Metrics(self.board, self.board.segments[-1])
        self._ends = {reason: self._metrics.counter("kedge_worker_ends_total", reason) for reason in REASONS}
        self._workers: dict[int, Worker] = {}
        self._signals: list[int] = []
        self._rolling: list[int] = []
        self._failures = 0
        self._failed_at, self._next_start, self._last_alive = -_STABLE, 0.0, 0.0
        self._told_ready = self._stopping = self._refused = False
        self._terminal = _has_terminal()
        self._reporter = Reporter(self._metrics, reports, workers=lambda: [*self._workers]) if reports else None

    def run(self, *, while_open: int | None = None) -> int:
        """Supervise until told to end, or a file descriptor comes to its end; gives the exit code."""
        gc.freeze()  # what is there now is there for good: a collection in a worker need not touch (and copy) it
        self._listener.setblocking(False)
        noticed, waking = socket.socketpair()
        for end in (noticed, waking):
            end.setblocking(False)
        signal.set_wakeup_fd(waking.fileno())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda number, _: self._signals.append(number))
        with selectors.DefaultSelector() as selector:
            selector.register(noticed, selectors.EVENT_READ)
            if while_open is not None:
                selector.register(while_open, selectors.EVENT_READ)
            while True:
                self._heed()
                if (code := self._look()) is not None:
                    if self._reporter is not None and self._told_ready:
                        self._reporter.end()
                    return code
                if self._reporter is not None and self._told_ready:
                    self._reporter.look(monotonic())
                for key, _ in selector.select(_LOOK):
                    if not os.read(key.fd, 4096):
                        selector.unregister(key.fd)
                        self._signals.append(signal.SIGTERM)

    def _heed(self) -> None:
        while self._signals:
            match self._signals.pop(0):
                case signal.SIGTERM | signal.SIGINT as number:
                    self._stop(number)
                case signal.SIGHUP if self._terminal and not _has_terminal():
                    self._stop(signal.SIGHUP)
                case signal.SIGHUP:
                    self._rolling = [worker.pid for worker in self._workers.values()]

    def _stop(self, number: int) -> None:
        if self._stopping:
            for worker in self._workers.values():
                worker.kill()
            os._exit(128 + number)
        self._stopping = True
        for worker in self._workers.values():
            worker.end()

    def _look(self) -> int | None:
        """Do what is due; gives an exit code where this is the end."""
        now = monotonic()
        self._reap(now)
        for worker in self._workers.values():
            self._watch(worker, now)
        if self._stopping or self._refused:
            return (1 if self._refused else 0) if not self._workers else None
        ready = [worker for worker in self._workers.values() if worker.segment.state is WorkerState.READY]
        for worker in ready:
            worker.ready = worker.ready or now
            if worker.retires:
                self._workers[worker.retires].end()
                worker.retires = 0
        if len(ready) >= self._wanted and not self._told_ready:
            self._told_ready = True
            self._ready()
        self._fill(now)
        self._answer_for_nobody(now, alive=bool(ready))
        return None

    def _fill(self, now: float) -> None:
        """Start whom it lacks, and the successor whose turn it is."""
        staying = sum(not (worker.ending or worker.retires) for worker in self._workers.values())
        while staying < self._wanted and now >= self._next_start:
            self._start()
            staying += 1
        self._rolling = [pid for pid in self._rolling if pid in self._workers]
        settled = not any(worker.ending or worker.retires for worker in self._workers.values())
        if self._rolling and settled and now >= self._next_start:
            self._start(retires=self._rolling.pop(0))

    def _start(self, *, retires: int = 0) -> None:
        segment = next(segment for segment in self.board.segments[:-1] if segment.state is WorkerState.GONE)
        segment.take(now=monotonic())
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if not pid:
            _be_worker(self._begin, Metrics(self.board, segment))
        self._workers[pid] = Worker(pid, segment, retires=retires)

    def _watch(self, worker: Worker, now: float) -> None:
        if worker.reason is not None:
            return
        if worker.ending:
            if now - worker.ending > self._bounds.drain + _GRACE:
                worker.kill()
        elif worker.segment.state is WorkerState.READY and now - worker.segment.beat > self._bounds.hang + _GRACE:
            worker.kill("hung")
        elif self._bounds.memory and _resident(worker.pid) > self._bounds.memory:
            worker.kill("memory")

    def _reap(self, now: float) -> None:
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            worker = self._workers.pop(pid)
            for other in self._workers.values():
                other.retires = 0 if other.retires == pid else other.retires
            self._settle(worker, os.waitstatus_to_exitcode(status), now=now)
            worker.segment.leave()

    def _settle(self, worker: Worker, code: int, *, now: float) -> None:
        """Say why a worker ended, and when another is due."""
        if worker.ending or self._stopping:
            return
        if code == REFUSED and not self._told_ready:
            self._refused = True
            for other in self._workers.values():
                other.kill()
            return
        if worker.retires:
            self._rolling = []
        stale = now - worker.segment.beat > self._bounds.hang / 2
        hung = code == HUNG or (stale and worker.segment.state is WorkerState.READY)
        reason: Reason = worker.reason or ("hung" if hung else "died")
        self._ends[reason].add()
        # Who has answered for a while was well; only what never gets far is started more and more seldom.
        again = now - self._failed_at < _STABLE and not (worker.ready and now - worker.ready > _WELL)
        self._failures = self._failures + 1 if again else 1
        self._failed_at = now
        wait = min(_LONGEST_WAIT, 0.5 * 2.0 ** (self._failures - 2)) if again else 0.0
        self._next_start = now + wait
        when = f"{self._failures} in a row; another is started in {wait:g} s" if again else "another takes its place"
        if worker.retires:
            when = "those before it stay"
        sys.stderr.write(f"worker {worker.pid} {self._said(reason, code)}; {when}\n")

    def _said(self, reason: Reason, code: int) -> str:
        if reason == "memory":
            return f"took more than {self._bounds.memory >> 20} MiB and was ended"
        if reason == "hung":
            return f"did not answer for {self._bounds.hang:g} s and was ended"
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def _answer_for_nobody(self, now: float, *, alive: bool) -> None:
        """Where there is no worker for a while, tell callers so instead of keeping them waiting."""
        self._last_alive = now if alive or not self._told_ready else self._last_alive
        if now - self._last_alive < _PATIENCE:
            return
        while True:
            try:
                caller, _ = self._listener.accept()
            except BlockingIOError:
                return
            with caller:
                _apologize(caller)
            self._metrics.nowhere[503].add()


def _be_worker(begin: Begin, metrics: Metrics) -> NoReturn:
    """Be a worker from here to the end of this process, whatever happens."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        for number in (signal.SIGINT, signal.SIGHUP):  # a terminal sends them to all: they are the supervisor's
            signal.signal(number, signal.SIG_IGN)
        begin(metrics)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        if (error := sys.exception()) is not None and not isinstance(error, SystemExit):
            sys.excepthook(type(error), error, error.__traceback__)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _resident(pid: int) -> int:
    """Give the resident memory of a process in bytes; 0 for one that is gone."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _apologize(caller: socket.socket) -> None:
    body = b'{"error":"no worker is alive; its supervisor is starting another, and its log says what ended the last"}'
    head = f"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    try:
        caller.settimeout(0.1)
        caller.recv(1 << 16)
        caller.sendall(head.encode() + b"retry-after: 1\r\nconnection: close\r\n\r\n" + body)
        caller.shutdown(socket.SHUT_WR)
    except OSError:
        return


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True
