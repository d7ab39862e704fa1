"""Keeps the prediction log small beside a server: has closed segments compacted now and then, by a process of its own.

Laying tables out takes memory and a core for a while, so a child does it, at low priority and a bounded amount at a time.
The folder's lock lets one of several servers do it; what a killed child leaves, the next one mends.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

from kedge.app import House
from kedge.errors import KedgeError
from kedge.ports import Archive, Journal

SECONDS = 300.0
DAY = 86_400.0
"""Old predictions are looked for so often, whether or not there is anything to compact."""
MOST = "256MiB"
NICE = 10
_BUSY = b"another process compacts"  # a worker beside this one, or the control plane
_log = logging.getLogger("kedge.predictions")


@contextmanager
def kept_small(house: House) -> Iterator[None]:
    """Keep a house's logs small meanwhile."""
    where = house.settings
    archives = (house.archive, house.truth_archive)
    keeper = LogKeeper(where.project, where.store, archives=archives, tended=(house.truths,))
    keeper.start()
    try:
        yield
    finally:
        keeper.stop()


class LogKeeper:
    """Looks each `seconds`, from `start` to `stop`, whether a segment of the archives waits to be compacted.

    `tended` are journals that this process writes now and then, and that nothing else closes.
    """

    def __init__(
        self,
        project: Path,
        store: str,
        *,
        archives: tuple[Archive, ...],
        seconds: float = SECONDS,
        tended: tuple[Journal, ...] = (),
    ) -> None:
        self._archives, self._seconds, self._tended = archives, seconds, tended
        self._words = ["predictions", "compact", "--project", str(project), "--most", MOST]
        # no argument: others can read those, and the store's URL may have a password
        self._environment = {**os.environ, "KEDGE_STORE": store, "KEDGE_URL": ""}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kedge-log-keeper", daemon=True)
        self._child: subprocess.Popen[bytes] | None = None
        self._looked = float("-inf")

    def start(self) -> None:
        """Begin to look, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """End; a compaction that is under way is ended, and the next one goes on with it."""
        self._stopping.set()
        child = self._child
        if child is not None:
            child.terminate()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> bool:
        """Have what waits compacted; say whether there was anything."""
        for journal in self._tended:
            journal.tend()
        if monotonic() - self._looked < DAY and not any(archive.waits() for archive in self._archives):
            return False
        self._looked = monotonic()
        self._child = subprocess.Popen(
            [sys.executable, "-m", "kedge", *self._words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self._environment,
        )
        with suppress(OSError):  # it may have ended
            os.setpriority(os.PRIO_PROCESS, self._child.pid, NICE)
        _, told = self._child.communicate()
        if self._child.returncode and _BUSY not in told and not self._stopping.is_set():
            _log.error("the prediction log was not compacted: %s", told.decode(errors="replace").strip()[-500:])
        return True

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds):
            try:
                self.look()
            except (KedgeError, OSError) as error:
                _log.error("the prediction log was not compacted: %s", error)
