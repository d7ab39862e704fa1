"""Keeps the prediction log small beside a server: has closed segments compacted now and then.

Laying tables out takes memory and a core for a while, so a child does it, a bounded amount at a time. The folder's lock
lets one of several servers do it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from kedge.app import House
from kedge.child_keeper import ChildKeeper
from kedge.ports import Archive, Journal

SECONDS = 300.0
DAY = 86_400.0
"""Old predictions are looked for so often, whether or not there is anything to compact."""
MOST = "256MiB"


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


class LogKeeper(ChildKeeper):
    """Looks whether a segment of the archives waits to be compacted.

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
        super().__init__(
            project,
            store,
            words=["predictions", "compact", "--project", str(project), "--most", MOST],
            seconds=seconds,
            complaint="the prediction log was not compacted",
            busy=b"another process compacts",  # a worker beside this one, or the control plane
            log="kedge.predictions",
        )
        self._archives, self._tended = archives, tended
        self._looked = float("-inf")

    def due(self) -> bool:
        """Say whether a segment waits, or a day has passed."""
        for journal in self._tended:
            journal.tend()
        if monotonic() - self._looked < DAY and not any(archive.waits() for archive in self._archives):
            return False
        self._looked = monotonic()
        return True
