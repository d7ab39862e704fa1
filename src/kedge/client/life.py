"""Exit, SIGTERM and fork: whatever ends or doubles this process, what was logged is handed over, once.

exit       runs that are open are ended, all is brought, for a bounded time
SIGTERM    where nothing else handles it: runs end as killed, all is brought, then the signal takes its course;
           where the script has a handler of its own: all is handed to the spool, then that handler decides
fork       the child begins with empty hands and, if it logs, with a spool of its own; the parent goes on
"""

import atexit
import os
import signal
import sys
import threading
from types import FrameType
from typing import Protocol

from kedge.domain.tracking import RunStatus

DRAIN_SECONDS = 5.0


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
                os.register_at_fork(after_in_child=self._child)
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
        self._living.forget_all()
