"""Has a command run beside a server whenever it is due, by a child of its own, at low priority.

What takes memory, frame libraries or a core for a while is done there, so that the server stays light; what a killed
child leaves, the next one goes on with.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path

NICE = 10
LONGEST_REST = 300.0
"""A command that fails again and again is run again after twice the time, up to so many seconds."""


class ChildKeeper(ABC):
    """Looks each `seconds`, from `start` to `stop`, whether its command is due, and has it run.

    `complaint` opens what is logged where the command fails; a failure whose text holds `busy` is none.
    """

    def __init__(
        self, project: Path, store: str, *, words: list[str], seconds: float, complaint: str, busy: bytes | None, log: str
    ) -> None:
        self._words, self._seconds, self._complaint, self._busy = words, seconds, complaint, busy
        # no argument: others can read those, and the store's URL may have a password
        self._environment = {**os.environ, "KEDGE_STORE": store, "KEDGE_URL": ""}
        self._folder, self._log = project, logging.getLogger(log)
        self._stopping = threading.Event()
        self._rest = 0.0
        self._thread = threading.Thread(target=self._run, name=log, daemon=True)
        self._child: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def due(self) -> bool:
        """Say whether there is anything to do."""

    def start(self) -> None:
        """Begin to look, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """End; what is under way is ended, and the next one goes on with it."""
        self._stopping.set()
        child = self._child
        if child is not None:
            child.terminate()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> bool:
        """Have the command run if it is due; say whether it was."""
        if not self.due():
            return False
        self._child = subprocess.Popen(
            [sys.executable, "-m", "kedge", *self._words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self._environment,
            cwd=self._folder,
        )
        with suppress(OSError):  # it may have ended
            os.setpriority(os.PRIO_PROCESS, self._child.pid, NICE)
        _, told = self._child.communicate()
        busy = self._busy is not None and self._busy in told
        failed = bool(self._child.returncode) and not busy and not self._stopping.is_set()
        self._rest = self._longer() if failed else 0.0
        if failed:
            self.failed(told.decode(errors="replace").strip())
        return True

    def failed(self, told: str) -> None:
        """Tell that the command failed, and what it said last."""
        self._log.error("%s: %s", self._complaint, told[-500:])

    def _longer(self) -> float:
        """Give the seconds to rest after one more failure."""
        return min(LONGEST_REST, max(self._seconds, 2 * self._rest))

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds + self._rest):
            try:
                self.look()
            except Exception as error:  # this thread's door: if it died, the command would never be run again
                self._rest = self._longer()
                self._log.error("%s: %s", self._complaint, error)
