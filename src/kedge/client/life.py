"""Exit, SIGTERM and fork: whatever ends or doubles this process, what was logged is handed over, once.

exit       runs that are open are ended, all is brought, for a bounded time
SIGTERM    where nothing else handles it: runs end as killed, all is brought, then the signal takes its course;
           where the script has a handler of its own: all is handed to the spool, then that handler decides
fork       waits for what background threads import or write; the child begins with empty hands and, if it logs, with a
           spool of its own; the parent goes on
"""

import atexit
import concurrent.futures.thread  # noqa: F401 - it has hooks of its own for forks: none may come in between ours
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from kedge.domain.tracking import RunStatus

DRAIN_SECONDS = 5.0
FORK_SECONDS = 2.0


class Forks:
    """Keeps forks and the background threads' imports and writes apart: a child inherits every lock that a thread holds
    at that moment as held for ever, the import system's and SQLite's among them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._at_work = 0
        self._forking = False

    @contextmanager
    def kept_off(self) -> Iterator[None]:
        """Keep forks off while a thread does something that takes locks; a fork that is under way comes first."""
        with self._changed:
            self._changed.wait_for(lambda: not self._forking)
            self._at_work += 1
        try:
            yield
        finally:
            with self._changed:
                self._at_work -= 1
                self._changed.notify_all()

    def begin(self) -> None:
        """Wait until no thread is at work, for a bounded time, and let none begin."""
        with self._changed:
            self._forking = True
            self._changed.wait_for(lambda: self._at_work == 0, FORK_SECONDS)

    def end(self) -> None:
        """Let the threads go on, in the process that forked."""
        with self._changed:
            self._forking = False
            self._changed.notify_all()

    def forget(self) -> None:
        """Begin anew in the child: the threads are the parent's."""
        self._changed, self._at_work, self._forking = threading.Condition(), 0, False


FORKS = Forks()


class Living(Protocol):
    """What must be told of the process's ends: all open runs and channels."""

    def end_all(self, status: RunStatus) -> None:
        """End the runs that are open, bring what can be brought."""
        ...

    def drain_all(self, seconds: float) -> None:
        """Hand all that was logged to the spool."""
        ...

    def forget_all(self) -> None:
        """Begin anew in a forked child."""
        ...


class Watchman:
    """Waits for the process's ends; told once where to turn to."""

    def __init__(self, living: Living) -> None:
        self._living = living
        self._process = 0
        self._before: object = None
        self._is_known = False

    def watch(self) -> None:
        """Begin to wait, once in a process. Signals can be watched only from the main thread."""
        if self._process != os.getpid():
            self._process = os.getpid()
            if not self._is_known:  # a forked child inherits both
                self._is_known = True
                atexit.register(self._exit)
                os.register_at_fork(before=FORKS.begin, after_in_parent=FORKS.end, after_in_child=self._child)
            if "multiprocessing.util" in sys.modules:
                from multiprocessing import parent_process
                from multiprocessing.util import Finalize

                if parent_process() is not None:  # its children end without exit handlers, but with these
                    Finalize(None, self._exit, exitpriority=0)
        if threading.current_thread() is threading.main_thread():
            now = signal.getsignal(signal.SIGTERM)
            if now != self._term and now not in (signal.SIG_IGN, None):
                self._before = now
                signal.signal(signal.SIGTERM, self._term)

    def _exit(self) -> None:
        if self._process == os.getpid():
            raised = getattr(sys, "last_value", None) is not None  # the script ended with an error that nobody caught
            self._living.end_all(RunStatus.FAILED if raised else RunStatus.FINISHED)

    def _term(self, number: int, frame: FrameType | None) -> None:
        if callable(self._before):
            self._living.drain_all(DRAIN_SECONDS)
            self._before(number, frame)
            return
        self._living.end_all(RunStatus.KILLED)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _child(self) -> None:
        self._process = -1
        FORKS.forget()
        self._living.forget_all()
