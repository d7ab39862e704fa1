"""The prediction log as the data plane writes it: appended before the answer leaves, synced in the background.

    ack "written"   appended, then answered: survives a kill of this process; a sync each 50 ms or 1,000 rows follows
    ack "synced"    appended, answered after `acknowledged`: survives power loss; one sync for all who wait
    ack "memory"    queued, answered, written in the background: what is in the queue dies with the process
A log that cannot be written never fails a prediction: the answer says `logged: false`, the gap is counted, and a record
of the gap is written as soon as records can be written again, so that readers know how many rows they do not see.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from time import monotonic
from uuid import uuid4

from kedge.domain.ids import ModelName, RequestId
from kedge.domain.monitoring import COPIED, PredictionBatch
from kedge.domain.predictions import Ack, WhenFull
from kedge.domain.stencils import Loggable, encode
from kedge.errors import KedgeError
from kedge.ports import Journal

_log = logging.getLogger("kedge.serving")

_BLOCK_SECONDS = 1.0
_SILENT_SECONDS = 10.0  # between two lines about rows that are not logged

Prepare = Callable[[Sequence[Loggable]], Sequence[Loggable]]


class PredictionLog:
    """Appends batches to a journal and keeps it synced. Appends come from one thread.

    `prepare` gives what is logged of batches, which may be fewer; `queue_rows` bounds what waits in memory.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        ack: Ack = Ack.WRITTEN,
        queue_rows: int = 100_000,
        when_full: WhenFull = WhenFull.DROP,
        prepare: Prepare | None = None,
        sync_seconds: float = 0.05,
        sync_rows: int = 1000,
    ) -> None:
        self._journal, self._seconds, self._rows, self._prepare = journal, sync_seconds, sync_rows, prepare
        self.ack, self._most, self._when_full = ack, queue_rows, when_full
        self._wake, self._stopping, self._room = threading.Event(), threading.Event(), threading.Condition()
        self._thread: threading.Thread | None = None
        self._queue: deque[Sequence[Loggable]] = deque()
        self._waiting: deque[tuple[int, asyncio.Future[bool]]] = deque()
        self._lost: dict[tuple[ModelName, int, datetime], int] = {}
        self._losing = threading.Lock()
        self._appended = self._synced = 0
        self._safe = True
        self._oldest: float | None = None
        self._untold, self._tell_again = 0, 0.0
        self.queue_rows = 0
        self.logged_rows = 0
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

    def append(self, batch: Loggable) -> bool:
        """Write one answered request; False, counted as a gap, where it could not be written."""
        return self.append_all((batch,))

    def append_filled(self, bare: PredictionBatch, fill: Callable[[PredictionBatch], PredictionBatch]) -> bool:
        """Write one answered request whose columns `fill` adds; where it cannot, the rows of `bare` are counted as a gap."""
        try:
            batch = fill(bare)
        except Exception as error:  # no prediction fails for the log's sake
            self._lose((bare,), error)
            return False
        return self.append(batch)

    def append_all(self, batches: Sequence[Loggable]) -> bool:
        """Write requests that were answered together, in one write; False, counted as a gap, where it was refused."""
        if self._prepare is not None:
            try:
                batches = self._prepare(batches)
            except Exception as error:  # no prediction fails for the log's sake, and nothing is logged that is not prepared
                self._lose(batches, error)
                return False
            if not batches:
                return True
        return self._enqueue(batches) if self.ack is Ack.MEMORY else self._write(batches)

    async def acknowledged(self) -> bool:
        """Wait until all that was appended is as safe as `ack` promises; False where it could not be made so."""
        if self.ack is not Ack.SYNCED:
            return True
        if self._synced >= self._appended:
            return self._safe
        if self._thread is None:
            return self.sync()
        synced: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._appended, synced))
        self._wake.set()
        return await synced

    def start(self) -> None:
        """Open the journal, and start what runs in the background: writing the queue, syncing, closing segments."""
        self._stopping.clear()
        try:
            self._journal.open()
        except (KedgeError, OSError) as error:  # the first record will say so again, and be counted
            _log.error("prediction log: it cannot be written: %s", error)
        self._thread = threading.Thread(target=self._keep_safe, name="kedge-log-sync", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End what runs in the background after all that waits is written and synced."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._drain()
        if self._lost:
            self._write(())
        self.sync()

    def sync(self) -> bool:
        """Sync what was appended; a failure is counted and told."""
        upto = self._appended
        if upto == self._synced:
            self._settle_waiting(upto)  # one may have begun to wait while the sync before this one ended
            return True
        # Cleared before the sync: a row appended meanwhile sets it anew and waits for the next one.
        self._oldest = None
        done = True
        try:
            self._journal.sync()
        except Exception as error:  # the thread's door: if it died, nothing would be synced any more
            done = False
            self.sync_failures += 1
            _log.error("prediction log: rows are written but not synced, a power cut would lose them: %s", error)
        self._safe, self._synced = done, upto
        self._settle_waiting(upto)
        return done

    def _settle_waiting(self, upto: int) -> None:
        while self._waiting and self._waiting[0][0] <= upto:
            _, waiter = self._waiting.popleft()
            try:
                waiter.get_loop().call_soon_threadsafe(_settle, waiter, self._safe)
            except RuntimeError:  # its loop has ended, and whoever waited with it
                continue

    def _write(self, batches: Sequence[Loggable]) -> bool:
        """Append batches, after the records of what was lost before them."""
        lost, gaps = self._take_lost() if self._lost else {}, 0
        try:
            if lost or len(batches) != 1:
                payloads = [encode(batch) for batch in batches]
                told = [_gap(model, revision, at=hour, rows=rows) for (model, revision, hour), rows in lost.items()]
                payloads[:0], gaps = map(encode, told), len(told)
                self._journal.append_all(payloads)
            else:
                self._journal.append(encode(batches[0]))
        except Exception as error:  # a full disk, or a value that no record holds: no prediction fails for the log's sake
            self._count_lost(lost)
            self._lose(batches, error)
            return False
        rows = batches[0].count if len(batches) == 1 else sum([batch.count for batch in batches])
        self._appended += rows + gaps
        self.logged_rows += rows - sum([batch.count for batch in batches if batch.variant == COPIED])
        if self._oldest is None:
            self._oldest = monotonic()
        if self._appended - self._synced >= self._rows and not self._wake.is_set():
            self._wake.set()
        return True

    def _lose(self, batches: Sequence[Loggable], error: BaseException | str) -> None:
        """Count rows that are not logged, by model, revision and hour: bounded, however long it lasts."""
        rows = 0
        for batch in batches:
            if batch.variant == COPIED:
                continue  # its answer is another record
            hour = batch.at.replace(minute=0, second=0, microsecond=0)
            self._count_lost({(batch.model, batch.revision, hour): batch.count})
            rows += batch.count
        if not rows:
            return
        self.gap_rows += rows
        self._untold += rows
        if monotonic() >= self._tell_again:
            names = ", ".join(batch.request for batch in batches[:3])
            _log.error(
                "prediction log: %d rows are not logged, those of request %s among them: %s", self._untold, names, error
            )
            self._untold, self._tell_again = 0, monotonic() + _SILENT_SECONDS

    def _count_lost(self, lost: Mapping[tuple[ModelName, int, datetime], int]) -> None:
        with self._losing:
            for of, rows in lost.items():
                self._lost[of] = self._lost.get(of, 0) + rows

    def _take_lost(self) -> dict[tuple[ModelName, int, datetime], int]:
        """Take what was lost and is not told yet: requests may be refused while a thread writes of those before them."""
        if not self._lost:
            return {}
        with self._losing:
            lost, self._lost = self._lost, {}
        return lost

    def _enqueue(self, batches: Sequence[Loggable]) -> bool:
        rows = sum([batch.count for batch in batches])
        with self._room:
            if self._when_full is WhenFull.BLOCK and self._thread is not None:
                self._wake.set()
                self._room.wait_for(lambda: self._fits(rows), _BLOCK_SECONDS)
            if not self._fits(rows):
                self._lose(batches, f"{self.queue_rows} rows wait to be written, {self._most} may")
                return False
            self._queue.append(batches)
            self.queue_rows += rows
        return True

    def _fits(self, rows: int) -> bool:
        return not self.queue_rows or self.queue_rows + rows <= self._most

    def _drain(self) -> None:
        """Write what is queued, in one write."""
        with self._room:
            taken = [batch for batches in self._queue for batch in batches]
            self._queue.clear()
        if taken:
            self._write(taken)
        with self._room:
            self.queue_rows -= sum(batch.count for batch in taken)
            self._room.notify_all()

    def _tend(self) -> None:
        try:
            self._journal.tend()
        except Exception as error:  # the thread's door, as above
            self.sync_failures += 1
            _log.error("prediction log: a segment was closed without a sync: %s", error)

    def _keep_safe(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(self._seconds)
            self._wake.clear()
            self._drain()
            self.sync()
            self._tend()


def _settle(waiter: "asyncio.Future[bool]", done: bool) -> None:
    if not waiter.done():  # its client may be gone
        waiter.set_result(done)


def _gap(model: ModelName, revision: int, *, at: datetime, rows: int) -> PredictionBatch:
    """Make the record that says how many rows are missing from the log in an hour."""
    return PredictionBatch(
        request=RequestId(f"gap-{uuid4().hex}"),
        model=model,
        at=at,
        revision=revision,
        service="",
        entities=[],
        versions=[],
        features={},
        as_of={},
        outputs=[],
        batches=[],
        missing=rows,
    )
