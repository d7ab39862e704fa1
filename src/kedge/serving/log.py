"""The prediction log as the data plane writes it: appended before the answer leaves, synced in the background.

Appended means it survives a kill of this process; a sync each 50 ms or 1,000 rows makes it survive power loss. A log
that cannot be written never fails a prediction: the answer says `logged: false` and the gap is counted.
"""

import logging
import threading
from collections.abc import Sequence
from time import monotonic

from kedge.domain.monitoring import PredictionBatch
from kedge.domain.records import encode_batch
from kedge.errors import KedgeError
from kedge.ports import Journal

_log = logging.getLogger("kedge.serving")


class PredictionLog:
    """Appends batches to a journal and keeps it synced. Appends come from one thread."""

    def __init__(self, journal: Journal, *, sync_seconds: float = 0.05, sync_rows: int = 1000) -> None:
        self._journal, self._seconds, self._rows = journal, sync_seconds, sync_rows
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._appended = self._synced = 0
        self._oldest: float | None = None
        self.gap_rows = 0
        self.sync_failures = 0

    @property
    def lag_rows(self) -> int:
        """Count the rows appended and not yet synced."""
        return self._appended - self._synced

    @property
    def lag_seconds(self) -> float:
        """Tell how long the oldest row has been waiting for a sync."""
        oldest = self._oldest
        return 0.0 if oldest is None else monotonic() - oldest

    def append(self, batch: PredictionBatch) -> bool:
        """Write one answered request; False, counted as a gap, where it could not be written."""
        return self.append_all((batch,))

    def append_all(self, batches: Sequence[PredictionBatch]) -> bool:
        """Write requests that were answered together, in one write; False, counted as a gap, where it was refused."""
        rows = sum(len(batch.versions) for batch in batches)
        try:
            self._journal.append_all([encode_batch(batch) for batch in batches])
        except (KedgeError, OSError) as error:
            self.gap_rows += rows
            names = ", ".join(batch.request for batch in batches[:3])
            _log.error("prediction log: %d rows of request %s are not logged: %s", rows, names, error)
            return False
        self._appended += rows
        if self._oldest is None:
            self._oldest = monotonic()
        if self.lag_rows >= self._rows:
            self._wake.set()
        return True

    def start(self) -> None:
        """Start the background sync."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._keep_synced, name="kedge-log-sync", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the background sync after a last one."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.sync()

    def sync(self) -> None:
        """Sync what was appended; a failure is counted and told."""
        upto = self._appended
        if upto == self._synced:
            return
        # Cleared before the sync: a row appended meanwhile sets it anew and waits for the next one.
        self._oldest = None
        try:
            self._journal.sync()
        except (KedgeError, OSError) as error:
            self.sync_failures += 1
            _log.error("prediction log: rows are written but not synced, a power cut would lose them: %s", error)
        self._synced = upto

    def _keep_synced(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(self._seconds)
            self._wake.clear()
            self.sync()
