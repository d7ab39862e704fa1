"""Which requests are told to a tracing system, decided when they have been answered: some by chance, all that were slow or
failed, all that the caller traces.

Without an address to tell, none of this is in the way of a request.
"""

import random
from collections.abc import Callable
from contextvars import ContextVar
from time import monotonic, time_ns
from typing import Any

from kedge.domain.tracing import TracedRequest, read_traceparent

Tell = Callable[[TracedRequest], None]


class RequestNotes:
    """What the engine notes of a request that may be told: as whom it was answered, and when (seconds of `monotonic`)."""

    __slots__ = ("attributes", "stages")

    def __init__(self) -> None:
        self.attributes: dict[str, str | int] = {}
        self.stages: list[tuple[str, float, float]] = []


NOTES: ContextVar[RequestNotes | None] = ContextVar("kedge.request", default=None)


class Traces:
    """Tells of requests, of either door. `share` of them by chance, in [0, 1]; those of `slow` seconds and more in any case,
    and those that failed."""

    def __init__(self, tell: Tell, *, share: float, slow: float) -> None:
        self._tell, self._share, self._slow = tell, share, slow

    def end(
        self, name: str, notes: RequestNotes, *, traceparent: str, failed: bool, began: float, known: dict[str, str | int]
    ) -> None:
        """Tell of a request that has been answered, where it is worth it. `known` is said of it beside its notes."""
        parent = read_traceparent(traceparent)
        ended = monotonic()
        chosen = parent.sampled if parent else random.random() < self._share  # noqa: S311 - no secret
        if not (chosen or failed or ended - began >= self._slow):
            return
        offset = time_ns() - round(ended * 1e9)
        stages = [("parse", began, notes.stages[0][1]), *notes.stages] if notes.stages else []
        if stages:
            stages.append(("serialize", stages[-1][2], ended))
        self._tell(
            TracedRequest(
                name=name,
                began=round(began * 1e9) + offset,
                ended=round(ended * 1e9) + offset,
                failed=failed,
                parent=parent,
                attributes={**known, **notes.attributes},
                stages=[(name, round(begin * 1e9) + offset, round(end * 1e9) + offset) for name, begin, end in stages],
            )
        )


class Traced:
    """An ASGI application (version 3) whose POST requests are told."""

    def __init__(self, app: Any, traces: Traces) -> None:
        self._app, self._traces = app, traces

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request, and tell of it where it is worth it."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        notes, status, began = RequestNotes(), [500], monotonic()

        async def noted(message: Any) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
            await send(message)

        NOTES.set(notes)
        try:
            await self._app(scope, receive, noted)
        finally:
            header = next((value for name, value in scope["headers"] if name == b"traceparent"), b"").decode("latin-1")
            self._traces.end(
                f"POST {scope['path']}",
                notes,
                traceparent=header,
                failed=status[0] >= 500,
                began=began,
                known={"http.response.status_code": status[0]},
            )
