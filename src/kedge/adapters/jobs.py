"""Runs functions in a process of their own: warm, so that the hundredth training pays no imports, and never orphaned.

The worker dies when this process does, however it does: it watches a pipe that only this process holds open.
"""

import importlib
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from typing import Any

from kedge.adapters.parcel import Parcel
from kedge.adapters.worker import Report, describe
from kedge.domain.tracking import Usage
from kedge.ports import JobFailed

_START_SECONDS = 120.0
_LOOK = os.WEXITED | os.WNOWAIT | os.WNOHANG
_BOOT = """
import json, sys
pipe, life, sys.path[:], preload = json.loads(sys.argv[1])
del sys.argv[1:]
from kedge.adapters.worker import serve
serve(pipe, life, preload)
"""


class ProcessRunner:
    """One worker process, started by the first call and again after a death. Calls from several threads take turns.

    `preload` names modules that the worker imports before its first job. Hashes of strings are the same in each worker,
    so that a training that walks a set is the same twice.
    """

    def __init__(self, preload: tuple[str, ...] = ()) -> None:
        self._preload = preload
        self._turn = threading.Lock()
        self._worker: _Worker | None = None

    def call(self, function: Callable[..., Any], *args: Any, seconds: float) -> tuple[Any | JobFailed, Usage]:
        """Run a function of an importable module and wait. A raise, a death or the time limit gives JobFailed."""
        with Parcel((function, args)) as request, self._turn:
            del args
            try:
                if self._worker is None:
                    self._worker = _Worker(self._preload)
                result, usage = self._worker.call(request, seconds)
            except BaseException:  # Ctrl-C above all: a worker in the middle of a job cannot take another
                self._stop()
                raise
            if self._worker.ended:
                self._worker = None
            return result, usage

    def close(self) -> None:
        """End the worker."""
        with self._turn:
            self._stop()

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.end()
            self._worker = None


class _Worker:
    """The worker process as its parent sees it."""

    def __init__(self, preload: tuple[str, ...]) -> None:
        self._connection, other = Pipe()
        life, self._life = os.pipe()
        paths = [path or os.getcwd() for path in sys.path]
        arguments = json.dumps([other.fileno(), life, paths, preload])
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, arguments],
            stdin=subprocess.DEVNULL,
            stdout=2,
            pass_fds=(other.fileno(), life),
            env={**os.environ, "PYTHONHASHSEED": "0"},
            start_new_session=True,  # its own children end with it
        )
        other.close()
        os.close(life)
        self.ended = False
        self._cpu = 0.0
        self._is_ready = False

    def call(self, request: Parcel, seconds: float) -> tuple[Any | JobFailed, Usage]:
        """Send a job, wait for its report. The time limit runs once the worker is ready."""
        try:
            if not self._is_ready:
                self._await_ready()
            start = time.monotonic()
            request.send(self._connection)
            if not self._connection.poll(seconds):
                return self._died(f"ran longer than {seconds:g} seconds and was stopped", start)
            report: Report = pickle.loads(self._connection.recv_bytes())  # noqa: S301 - our own worker
            packed = b"" if report.reason else self._connection.recv_bytes()
        except (EOFError, OSError):
            return self._died("", time.monotonic() if not self._is_ready else start)
        self._cpu = report.cpu_so_far
        usage = Usage(cpu_seconds=report.cpu_seconds, wall_seconds=time.monotonic() - start, peak_bytes=report.peak_bytes)
        return JobFailed(report.reason, report.traceback) if report.reason else _unpacked(packed), usage

    def _await_ready(self) -> None:
        if not self._connection.poll(_START_SECONDS):
            raise EOFError
        report: Report = self._connection.recv()
        self._cpu = report.cpu_so_far
        self._is_ready = True

    def _died(self, reason: str, start: float) -> tuple[JobFailed, Usage]:
        wall = time.monotonic() - start
        code, used = self.end(patience=0.0 if reason else 1.0)
        usage = Usage(
            cpu_seconds=max(0.0, used.ru_utime + used.ru_stime - self._cpu),
            wall_seconds=wall,
            peak_bytes=used.ru_maxrss * 1024,
        )
        return JobFailed(reason or _how_it_died(code), ""), usage

    def end(self, *, patience: float = 0.0) -> tuple[int | None, resource.struct_rusage]:
        """Wait so long for the process to end by itself, then kill it and its children.

        Give the exit code (None where it had to be killed) and what the process used.
        """
        self.ended = True
        self._connection.close()
        until = time.monotonic() + patience
        # Not reaped yet (WNOWAIT): as long as the process is a zombie, its group's number cannot become another's.
        while not (gone := os.waitid(os.P_PID, self._process.pid, _LOOK)) and time.monotonic() < until:
            time.sleep(0.01)
        os.killpg(self._process.pid, signal.SIGKILL)
        _, status, used = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        os.close(self._life)
        return self._process.returncode if gone else None, used


def _how_it_died(code: int | None) -> str:
    if code is None:
        return "the process let go of its pipe and was stopped"
    if code == -signal.SIGKILL:
        return "the process died (signal 9); most often the system's answer to a lack of memory"
    return f"the process died (signal {-code})" if code < 0 else f"the process died (exit code {code})"


def _unpacked(packed: bytes) -> Any | JobFailed:
    try:
        return pickle.loads(packed)  # noqa: S301 - our own worker
    except Exception as error:  # the job runner: a class that this process cannot import, or worse
        reason, trace = describe(error)
        return JobFailed(f"the function's result cannot be read here: {reason}", trace)


class _TooLongError(BaseException):
    """Raised in a job that has used up its time; no `except Exception` of the job's own can catch it."""


@contextmanager
def _stopped_after(seconds: float) -> Iterator[None]:
    """Stop the block after its time, where this thread can be interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _TooLongError:
        raise TimeoutError(f"ran longer than {seconds:g} seconds and was stopped") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class InlineRunner:
    """Runs functions in this process, for tests and rehearsals. The time limit stops what runs in Python, in a process's
    main thread; peak memory is not known. `preload` names modules that are imported before the first job."""

    def __init__(self, preload: tuple[str, ...] = ()) -> None:
        self._preload = preload

    def call(self, function: Callable[..., Any], *args: Any, seconds: float) -> tuple[Any | JobFailed, Usage]:
        """Run a function. A raise gives JobFailed."""
        for module in self._preload:
            importlib.import_module(module)
        cpu, wall = time.process_time(), time.perf_counter()
        try:
            with _stopped_after(seconds):
                result = function(*args)
        except (Exception, SystemExit) as error:  # the job runner: whatever a job raises is its result
            result = JobFailed(*describe(error))
        return result, Usage(cpu_seconds=time.process_time() - cpu, wall_seconds=time.perf_counter() - wall)

    def close(self) -> None:
        """Do nothing."""
