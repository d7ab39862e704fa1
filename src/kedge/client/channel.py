"""From the training thread to the store or server, without the training thread ever waiting for either.

    log() --append--> ring --writer thread--> spool (a local file) --sender thread--> store or server

The training thread appends a tuple to a deque, nothing more. The writer looks every 50 ms, numbers the steps, and hands
records to the spool: from there on kill -9 loses nothing. The sender reads the spool and delivers in batches; where that
fails it says so once and tries again, later and later. Only the writer and the sender ever hold locks of their own, so a
signal's handler may ask for a drain at any moment.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import msgspec

from kedge.client.life import FORKS
from kedge.domain.ids import RunId
from kedge.domain.told import FileTold, PointsTold, PointTold, RunBegan, RunEnded, Told, WordsTold, packed, unpacked
from kedge.domain.tracking import RunStatus
from kedge.errors import KedgeError, Unreachable
from kedge.training import Delivery

if TYPE_CHECKING:
    from kedge.storage.spool import Spool

log = logging.getLogger("kedge.client")

LOOK_SECONDS = 0.05
IDLE_SECONDS = 5.0
WRITTEN_AT_ONCE = 50_000
RING_LIMIT = 400_000
FRAME_POINTS = 5_000
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0
GAP_TAG = "kedge.gap"

# what log() appends: run, values by key, step (None: the next one), milliseconds since 1970
Logged = tuple[RunId, dict[str, float], int | None, int]


class Backoff:
    """How long to wait before the next try: twice as long each time, up to a bound, and never quite the same."""

    def __init__(
        self, *, first: float = FIRST_PAUSE, longest: float = LONGEST_PAUSE, chance: Callable[[], float] = random.random
    ) -> None:
        self._first, self._longest, self._chance, self._failures = first, longest, chance, 0

    def next(self) -> float:
        """Give the next pause in seconds: between half of the full pause and all of it."""
        full = min(self._longest, self._first * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return full * (0.5 + 0.5 * self._chance())

    def reset(self) -> None:
        """Begin anew after a success."""
        self._failures = 0


class Numbering:
    """Turns what was logged into records: gives steps where none were given, gathers points by run."""

    def __init__(self) -> None:
        self._next: dict[tuple[RunId, str], int] = {}

    def records(self, items: Sequence[Logged | Told]) -> Iterator[tuple[bytes, int]]:
        """Pack items in their order; give each record with the number of its points."""
        gathered: dict[RunId, list[PointTold]] = {}
        for item in items:
            if isinstance(item, tuple):
                self._gather(gathered.setdefault(item[0], []), item)
            else:
                yield from _pack(gathered)
                gathered = {}
                if isinstance(item, RunEnded):
                    self._next = {name: step for name, step in self._next.items() if name[0] != item.run}
                yield packed(item), 0
        yield from _pack(gathered)

    def _gather(self, points: list[PointTold], logged: Logged) -> None:
        run, values, step, at = logged
        for key, value in values.items():
            name = (run, key)
            at_step = self._next.get(name, 0) if step is None else step
            self._next[name] = at_step + 1
            points.append(PointTold(key, value, at, at_step))


def _pack(gathered: dict[RunId, list[PointTold]]) -> Iterator[tuple[bytes, int]]:
    for run, points in gathered.items():
        for start in range(0, len(points), FRAME_POINTS):
            some = points[start : start + FRAME_POINTS]
            yield packed(PointsTold(run=run, points=some)), len(some)


class Channel:
    """One way from this process to one store or server. Threads start with the first thing told."""

    def __init__(
        self,
        where: str,
        *,
        spool: Callable[[], Spool],
        delivery: Callable[[], Delivery],
        left: Callable[[], Iterator[Spool]],
        look_seconds: float = LOOK_SECONDS,
        backoff: Backoff | None = None,
    ) -> None:
        self.where = where
        self.ring: deque[Logged | Told] = deque()
        self.append = self.ring.append
        self.owned: set[RunId] = set()  # runs that end with this process, if they have not ended before
        self._make_spool, self._make_delivery, self._left = spool, delivery, left
        self._look, self._backoff = look_seconds, backoff or Backoff()
        self._spool: Spool | None = None
        self._numbering = Numbering()
        self._wakes: SimpleQueue[None] = SimpleQueue()  # its put() may be called from a signal's handler
        self._sends: SimpleQueue[None] = SimpleQueue()
        self._hurries: SimpleQueue[None] = SimpleQueue()
        self._asked = self._drained = 0  # drains asked for and made; plain numbers, to be read in a signal's handler
        self._stopping = False
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()
        self._told_unreachable = self._told_gap = self._told_left = False
        self.failure = ""
        self.dropped = self._failed_tries = 0

    @property
    def lost(self) -> int:
        """Count the points that neither disk nor memory took."""
        return self.dropped + (self._spool.lost if self._spool is not None else 0)

    def start(self) -> None:
        """Start the writer and the sender, if they do not run yet."""
        with self._starting:
            if self._threads or self._stopping:
                return
            self._spool = self._make_spool()
            for name, work in (("kedge-writer", self._write_on), ("kedge-sender", self._send_on)):
                thread = threading.Thread(target=work, name=name, daemon=True)
                thread.start()
                self._threads.append(thread)

    def keep_file(self, source: Path | bytes) -> str:
        """Copy a file, or bytes, into the spool; give its name there. Raises StoreFull, StoreBroken."""
        return self._started().keep_file(source)

    def has_room(self, points: int) -> bool:
        """Wait a moment for the writer where the ring is full; False, and the points are counted, where it stays so."""
        if len(self.ring) < RING_LIMIT:
            return True
        self._wakes.put(None)
        if _await(lambda: len(self.ring) < RING_LIMIT, 1.0):
            return True
        self.dropped += points
        return False

    def drain(self, seconds: float) -> bool:
        """Have all that was logged so far handed to the spool; False where that took too long. Safe in a handler."""
        if not self._threads:
            return not self.ring
        self._asked += 1
        mine = self._asked
        self._wakes.put(None)
        return _await(lambda: self._drained >= mine, seconds)

    def settle(self, seconds: float) -> bool:
        """Have all that was logged so far brought to its destination; False where that took too long, or where the
        destination, asked once more, did not answer."""
        until = time.monotonic() + (min(seconds, 2.0) if self.failure else seconds)
        if not self.drain(seconds):
            return False
        tries = self._failed_tries
        self._sends.put(None)
        self._hurries.put(None)
        spool = self._spool
        if spool is None:
            return True
        _await(lambda: spool.is_empty or self._failed_tries > tries, until - time.monotonic())
        return spool.is_empty

    def leave(self, seconds: float, *, stay: bool = False) -> bool:
        """Bring what can be brought in so long, say once what cannot, and end the threads unless they `stay`."""
        if self._stopping:
            return True
        arrived = self.settle(seconds)
        if not arrived and not self._told_left and self._spool is not None:
            self._told_left = True
            why = self.failure or f"{self.where} is slow"
            log.warning(
                "not all that was logged has arrived (%s): it waits in %s, and is sent by the next script that logs there,"
                " or by `kedge runs sync`",
                why,
                self._spool.root,
            )
        self._told_left = self._told_left and not arrived
        if not stay:
            self._stop()
        return arrived

    def _stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        for queue in (self._wakes, self._sends, self._hurries):
            queue.put(None)
        for thread in self._threads:
            thread.join(timeout=1.0)
        if self._spool is not None and not any(thread.is_alive() for thread in self._threads):
            self._spool.close()

    def forget(self) -> None:
        """Let go in a forked child: threads, connections and the spool are the parent's."""
        if self._spool is not None:
            self._spool.forget()

    def _started(self) -> Spool:
        self.start()
        if self._spool is None:
            raise KedgeError(f"logging to {self.where} has ended in this process")
        return self._spool

    def _write_on(self) -> None:
        spool = self._started()
        while not self._stopping:
            _pause(self._wakes, self._look)
            asked, left = self._asked, len(self.ring)
            while left > 0:
                left -= self._write(spool, min(left, WRITTEN_AT_ONCE))
            self._drained = asked

    def _write(self, spool: Spool, count: int) -> int:
        take = self.ring.popleft
        items = [take() for _ in range(count)]
        for item in items:
            if isinstance(item, RunBegan) and item.run in self.owned:
                spool.mark(item.run, is_open=True)
        written = 0
        try:
            for payload, points in self._numbering.records(items):
                spool.append([payload], points=points)
                written += points
        except (TypeError, ValueError, OverflowError) as error:  # what the calls let through and cannot be written
            left = sum(len(item[1]) for item in items if isinstance(item, tuple)) - written
            self.dropped += left
            log.warning("%d points cannot be written and are not kept: %s", left, error)
        for item in items:
            if isinstance(item, RunEnded):
                spool.mark(item.run, is_open=False)
        if self.lost and not self._told_gap:
            self._told_gap = True
            why = spool.refused or f"more waits for {self.where} than the spool may hold"
            log.warning("points are being dropped and counted: %s; the count will stand in the run's tag %s", why, GAP_TAG)
        if self._sends.empty():
            self._sends.put(None)
        return count

    def _send_on(self) -> None:
        spool = self._started()
        with FORKS.kept_off():
            delivery = self._make_delivery()
        replayed = False
        while not self._stopping:
            if not self._try(delivery, spool):
                _pause(self._hurries, self._backoff.next())
            elif spool.is_empty:
                replayed = replayed or self._replay(delivery)
                _pause(self._sends, IDLE_SECONDS)
        delivery.close()

    def _replay(self, delivery: Delivery) -> bool:
        """Bring what earlier processes left behind."""
        for spool in self._left():
            while not spool.is_empty and not self._stopping:
                if not self._try(delivery, spool):
                    spool.close()
                    return False
            if spool.is_empty:
                end_left(spool, delivery, but=self.owned)
            spool.close()
        return True

    def _try(self, delivery: Delivery, spool: Spool) -> bool:
        """Bring some of a spool. False where the destination does not answer."""
        try:
            with nullcontext() if self.failure else FORKS.kept_off():  # a destination that is away must not hold forks up
                send_some(spool, delivery)
        except (Unreachable, OSError) as error:  # the destination is away, or the spool cannot be read just now
            self.failure = str(error)
            self._failed_tries += 1
            if not self._told_unreachable:
                self._told_unreachable = True
                log.warning("%s; training goes on, what is logged waits in %s and is sent later", error, spool.root)
            return False
        if self._told_unreachable:
            self._told_unreachable = False
            log.warning("%s answers again", self.where)
        self.failure = ""
        self._backoff.reset()
        return True


def send_some(spool: Spool, delivery: Delivery) -> int:
    """Bring the oldest records of a spool to where they go; give their number. What is refused for good is told and let
    go. Raises Unreachable."""
    payloads, upto = spool.read()
    records = list(_readable(payloads))
    try:
        delivery.deliver(records, spool.files)
    except Unreachable:
        raise
    except KedgeError:
        for record in records:
            _deliver_in_parts(record, delivery, files=spool.files)
    if payloads:
        spool.done(upto)
    for record in records:
        if isinstance(record, FileTold):
            spool.drop_file(record.kept)
    return len(payloads)


def end_left(spool: Spool, delivery: Delivery, *, but: Collection[RunId] = ()) -> None:
    """Say of the runs that a killed process had open that they were killed; those that were taken up again go on."""
    for run in spool.open_runs() - set(but):
        ended = RunEnded(run=run, ended_at=spool.last_written(), status=RunStatus.KILLED, if_running=True)
        try:
            delivery.deliver([ended], spool.files)
        except KedgeError as error:
            log.debug("run %s could not be ended: %s", run, error)


def _deliver_in_parts(record: Told, delivery: Delivery, *, files: Path) -> None:
    """Bring a record of which something may be refused: whole, else part by part."""
    parts = [record]
    try:
        delivery.deliver(parts, files)
    except Unreachable:
        raise
    except KedgeError as error:
        parts = list(_parts(record))
        if len(parts) > 1:
            for part in parts:
                _deliver_in_parts(part, delivery, files=files)
        else:
            log.warning("%s of run %s was refused and is not kept: %s", _name(record), record.run, error)


def _parts(record: Told) -> Iterator[Told]:
    """Take a record apart: points by key, params and tags one by one."""
    if isinstance(record, PointsTold):
        by_key: dict[str, list[PointTold]] = {}
        for point in record.points:
            by_key.setdefault(point.key, []).append(point)
        yield from (PointsTold(run=record.run, points=points) for points in by_key.values())
    elif isinstance(record, WordsTold):
        yield from (WordsTold(run=record.run, params={key: value}) for key, value in record.params.items())
        yield from (WordsTold(run=record.run, tags={key: value}) for key, value in record.tags.items())
    else:
        yield record


def _name(record: Told) -> str:
    match record:
        case PointsTold(points=points):
            return f"{len(points)} points of metric {points[0].key!r}"
        case WordsTold(params=params, tags=tags):
            return ", ".join(repr(key) for key in (*params, *tags))
        case FileTold(path=path):
            return f"file {path!r}"
    return type(record).__name__


def _readable(payloads: Sequence[bytes]) -> Iterator[Told]:
    for payload in payloads:
        try:
            yield unpacked(payload)
        except msgspec.DecodeError as error:
            log.warning("a record of the spool cannot be read and is left out: %s", error)


def _pause(wakes: SimpleQueue[None], seconds: float) -> None:
    """Sleep until woken, or so long."""
    try:
        wakes.get(timeout=seconds)
        while True:
            wakes.get_nowait()
    except Empty:
        return


def _await(holds: Callable[[], bool], seconds: float) -> bool:
    """Look again and again until something holds; nothing here can be locked by a thread that a signal interrupted."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.001)
    return True
