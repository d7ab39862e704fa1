"""Server-sent events: names and ids of what changed, so that an open page fetches anew what it shows.

One task reads the newest events each second while anybody listens; each listener hears of all that came after the
serial it has seen (`Last-Event-ID`), and a comment every 15 s so that both ends know the line is alive.
"""

import asyncio
from collections.abc import AsyncIterator

import msgspec
from litestar.exceptions import ServiceUnavailableException
from litestar.response import ServerSentEventMessage

from kedge.ports import MetaStore

_MOST = 64
_BEAT_SECONDS = 15.0
_LOOK_SECONDS = 1.0


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """What has changed since the message before: up to which serial, kinds of event, and whom they concern."""

    serial: int
    kinds: tuple[str, ...]
    subjects: tuple[str, ...]


class Pulse:
    """Watches the store for all listeners of this process."""

    def __init__(self, meta: MetaStore) -> None:
        self._meta = meta
        self._listeners = 0
        self._task: asyncio.Task[None] | None = None
        self._moved = asyncio.Condition()
        self._serial = 0

    async def listen(self, after: int | None) -> AsyncIterator[ServerSentEventMessage]:
        """Tell of changes after a serial (None: from now on), for as long as the listener stays."""
        if self._listeners >= _MOST:
            raise ServiceUnavailableException(f"{_MOST} pages are listening already; this one stays as it is until reloaded")
        self._listeners += 1
        try:
            seen = await self._start() if after is None else after
            yield ServerSentEventMessage(comment="listening", retry=3000)
            while True:
                changed = await self._next(seen)
                if changed is None:
                    yield ServerSentEventMessage(comment="still here")
                    continue
                seen = changed.serial
                yield ServerSentEventMessage(event="changed", id=str(seen), data=msgspec.json.encode(changed).decode())
        finally:
            self._listeners -= 1

    async def _start(self) -> int:
        self._serial = max(self._serial, await asyncio.to_thread(newest, self._meta))
        return self._serial

    async def _next(self, seen: int) -> Changed | None:
        """Wait for news after a serial; None where a beat went by without."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch())
        try:
            async with asyncio.timeout(_BEAT_SECONDS), self._moved:
                await self._moved.wait_for(lambda: self._serial > seen)
        except TimeoutError:
            return None
        return await asyncio.to_thread(changed_since, self._meta, seen)

    async def _watch(self) -> None:
        while self._listeners:
            serial = await asyncio.to_thread(newest, self._meta)
            async with self._moved:
                self._serial = max(self._serial, serial)
                self._moved.notify_all()
            await asyncio.sleep(_LOOK_SECONDS)


def newest(meta: MetaStore) -> int:
    """Read the serial of the newest event; 0 where there is none."""
    page = meta.events.list(limit=1)
    return page[0][0] if page else 0


def changed_since(meta: MetaStore, seen: int) -> Changed | None:
    """Sum up what came after a serial (at most the newest 200 events)."""
    page = [(serial, event) for serial, event in meta.events.list(limit=200) if serial > seen]
    if not page:
        return None
    return Changed(
        serial=page[0][0],
        kinds=tuple(sorted({event.kind.value for _, event in page})),
        subjects=tuple(sorted({event.subject for _, event in page})),
    )
