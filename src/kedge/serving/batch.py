"""Batching without a timer: what waits is taken when the model becomes free.

The event loop's own thread keeps the queue. Requests that arrive in the same turn of the loop are answered by one model
call at its end: nobody waits for anybody who is not there yet, and who is the only caller is answered at once. A call of
more than `inline_rows` would hold the loop for too long (as measured when the version was warmed): it runs in the model's
own thread, so that health, metrics and deadlines go on meanwhile; what arrives during such a call is the next one. A
shorter call runs inline: the hop to a thread and back costs more than it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from math import ceil
from time import monotonic

from kedge.domain.rollout import Strategy
from kedge.errors import DeadlineExceeded, Overloaded
from kedge.serving.waiting import Waiting

_log = logging.getLogger("kedge.serving")

Group = list[Waiting]


class Queue:
    """The requests that wait for one model, and their way through it.

    `call` answers a group, in whichever thread; `finish` takes it from there in the loop's. `called` is told when the
    model's thread begins and ends a call, `gone` of a request whose caller has left before it was computed.
    At most `most` wait; one call takes up to `most_rows` rows, or a single request that has more.
    """

    def __init__(
        self,
        name: str,
        *,
        call: Callable[[Group], None],
        finish: Callable[[Group], None],
        most: int,
        most_rows: int,
        called: Callable[[bool], None],
        gone: Callable[[], None],
    ) -> None:
        self._name, self._call, self._finish = name, call, finish
        self._called, self._gone = called, gone
        self._most, self._most_rows = most, most_rows
        self._waiting: deque[Waiting] = deque()
        self._thread: ThreadPoolExecutor | None = None
        self._due = False
        self._in_flight = 0

    @property
    def pending(self) -> int:
        """Count the requests that wait or are being answered."""
        return len(self._waiting) + self._in_flight

    def __len__(self) -> int:
        """Count the requests that wait."""
        return len(self._waiting)

    def put(self, asked: Waiting) -> None:
        """Let a request wait, but for one that is alone: it is answered at once. Raises Overloaded where too many wait."""
        if asked.question.alone and not self._waiting and not self._in_flight and asked.deadline > asked.arrived:
            self._answer([asked], asked.count)  # nobody else can come in this turn of the loop
            return
        if len(self._waiting) >= self._most:
            raise Overloaded(
                f"{self._most} requests wait for model {self._name!r} already; ask again shortly", seconds=self._retry()
            )
        self._waiting.append(asked)
        if self._in_flight:
            _watch(asked)
        elif not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Answer what waits: at the end of a turn of the loop, or when the model's thread has become free."""
        self._due = False
        group, rows = self._take()
        if group:
            self._answer(group, rows)

    def _answer(self, group: Group, rows: int) -> None:
        """Answer a group, here or in the model's thread."""
        try:
            if rows > group[0].active.inline_rows or any(map(_would_wait, group)):
                self._send(group)
            else:
                self._call(group)
                self._finish(group)
        except Exception as error:  # the queue's door: who waits would wait for ever
            _fail(group, error)
        if self._waiting:
            self._go_on()

    def _take(self) -> tuple[Group, int]:
        """Take what one call can answer, and count its rows: requests of one revision, whose callers still wait."""
        group: Group = []
        rows, now = 0, 0.0
        waiting = self._waiting
        while waiting:
            asked = waiting[0]
            if not asked.future.waits:
                waiting.popleft()
                if asked.future.cancelled():
                    self._gone()
                continue
            now = now or monotonic()
            if asked.deadline < now:
                waiting.popleft()
                _expire(asked)
                continue
            if group and (rows + asked.count > self._most_rows or asked.active is not group[0].active):
                break
            group.append(waiting.popleft())
            rows += asked.count
        return group, rows

    def _send(self, group: Group) -> None:
        """Have the model's thread answer a group; meanwhile the loop goes on."""
        loop = asyncio.get_running_loop()
        for asked in group:
            _watch(asked)
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"kedge-model-{self._name}")
        done = self._thread.submit(self._call, group)
        self._in_flight = len(group)
        self._called(True)
        done.add_done_callback(lambda call: back(loop, self._returned, group, call))

    def _returned(self, group: Group, call: "Future[None]") -> None:
        self._in_flight = 0
        self._called(False)
        if (failure := call.exception()) is not None:
            _fail(group, failure)
        else:
            try:
                self._finish([asked for asked in group if asked.future.waits])
            except Exception as error:  # the queue's door, as in `_turn`
                _fail(group, error)
        self._go_on()

    def _go_on(self) -> None:
        if self._waiting and not self._due and not self._in_flight:
            self._due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _retry(self) -> int:
        """Tell in how many seconds what waits should have been answered."""
        return max(1, ceil(sum(map(_seconds, self._waiting))))


def _seconds(asked: Waiting) -> float:
    """Tell how long a request should take: what its versions took when they were warmed, but for one in shadow."""
    deployment, versions = asked.deployment, asked.active.versions
    seconds = versions[deployment.champion].seconds(asked.count)
    if deployment.challenger is None or deployment.strategy is Strategy.SHADOW:
        return seconds
    return seconds + versions[deployment.challenger].seconds(asked.count)


def _would_wait(asked: Waiting) -> bool:
    """Say whether a version that is asked may be in a call elsewhere: one in shadow, asked by a tester, may begin one at any
    time; one that was in shadow until now may still be answering copies."""
    named, own = asked.active.deployment, asked.deployment
    if own is not named and named.strategy is Strategy.SHADOW and own.champion == named.challenger:
        return True
    versions, challenger = asked.active.versions, own.challenger
    if versions[own.champion].one_call.locked():
        return True
    return challenger is not None and own.strategy is not Strategy.SHADOW and versions[challenger].one_call.locked()


def _fail(group: Group, error: BaseException) -> None:
    """Tell those of a group that are not answered yet what went wrong."""
    for asked in group:
        asked.future.set_exception(error)


def back(loop: asyncio.AbstractEventLoop, returned: Callable[..., None], *told: object) -> None:
    """Tell the loop that a call has returned; a loop that is closed has nobody left who waits."""
    try:
        loop.call_soon_threadsafe(returned, *told)
    except RuntimeError:
        _log.info("a model call ended after its server")


def _watch(asked: Waiting) -> None:
    """Let a request that has to wait for a thread be told at its deadline."""
    timer = asyncio.get_running_loop().call_later(max(0.0, asked.deadline - monotonic()), _expire, asked)
    asked.future.add_done_callback(lambda _: timer.cancel())


def _expire(asked: Waiting) -> None:
    if asked.future.waits:
        waited = asked.deadline - asked.arrived
        within = f"within {waited:.3g} s" if waited > 0 else "in the time that was given"
        said = f"no answer {within}; ask with more time, or for fewer rows"
        asked.future.set_exception(DeadlineExceeded(said))
