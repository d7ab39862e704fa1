"""What a version in shadow answers: copies of requests whose answers have left, in a thread of its own.

    answer leaves -> copy waits -> thread of the shadow -> loop: a second record in the log
Nobody waits for it. At most `most_rows` rows wait, or one request that has more; what comes then is left out, and counted. A
call that never comes back leaves out everything after it, and harms nobody. The thread ends when nothing has come for a
while, and with its process: what waits then is not compared.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from kedge.serving.batch import back
from kedge.serving.loader import Active

_log = logging.getLogger("kedge.serving")
_IDLE_SECONDS = 5.0
_LOOKS_SECONDS = 0.005


class Copied(Protocol):
    """A request that was answered and is to be answered again: of how many rows, by which revision."""

    @property
    def count(self) -> int:
        """Tell how many rows it has."""
        ...

    @property
    def active(self) -> Active:
        """Tell what answers it."""
        ...


Copy = TypeVar("Copy", bound=Copied)


class Shadow(Generic[Copy]):
    """The copies that wait for one model's version in shadow.

    `call` answers some of one revision, in the thread; `done` takes them from there, in the loop's. `left_out` is told how
    many rows are not answered. One call takes as many rows as hold the interpreter for a few milliseconds, or one request.
    """

    def __init__(
        self,
        name: str,
        *,
        call: Callable[[list[Copy]], None],
        done: Callable[[list[Copy]], None],
        left_out: Callable[[float], None],
        most_rows: int,
    ) -> None:
        self._name, self._call, self._done, self._left_out = name, call, done, left_out
        self._most = most_rows
        self._waiting: deque[Copy] = deque()
        self._rows = 0
        self._under_way = 0
        self._come = threading.Condition()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def put(self, copies: Sequence[Copy]) -> None:
        """Let copies wait, as many as may. In the loop's thread."""
        with self._come:
            self._loop = asyncio.get_running_loop()
            for copy in copies:
                if self._waiting and self._rows + copy.count > self._most:
                    self._left_out(copy.count)
                    continue
                self._waiting.append(copy)
                self._rows += copy.count
                self._under_way += 1
            if self._waiting and self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"kedge-shadow-{self._name}", daemon=True)
                self._thread.start()
            self._come.notify()

    async def settled(self, seconds: float) -> bool:
        """Wait until nothing is under way, no longer than so many seconds; say whether that is so."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while self._under_way and loop.time() < until:
            await asyncio.sleep(_LOOKS_SECONDS)
        return not self._under_way

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            group, loop = taken
            failed = False
            try:
                self._call(group)
            except Exception:  # the thread's door: if it died, nothing would be compared any more
                _log.exception("the shadow of %s failed on %d requests", self._name, len(group))
                failed = True
            back(loop, self._returned, group, failed)

    def _take(self) -> tuple[list[Copy], asyncio.AbstractEventLoop] | None:
        """Wait for copies, and take those of one call; None when none has come for a while."""
        with self._come:
            if not self._waiting:
                self._come.wait(_IDLE_SECONDS)
            if not self._waiting or self._loop is None:
                self._thread = None
                return None
            first = self._waiting[0].active
            group: list[Copy] = []
            rows = 0
            while self._waiting and self._waiting[0].active is first:
                if group and rows + self._waiting[0].count > first.copied_rows:
                    break
                group.append(self._waiting.popleft())
                rows += group[-1].count
            self._rows -= rows
            return group, self._loop

    def _returned(self, group: list[Copy], failed: bool) -> None:
        self._under_way -= len(group)
        if failed:
            self._left_out(sum(copy.count for copy in group))
        else:
            self._done(group)
