"""One process that answers: uvicorn on a listening socket, its heartbeat, and how it ends.

    starting -> ready -> draining -> gone
Draining is: no new connection, each answer the last of its connection, idle ones closed; then the caller syncs the log.
A supervised process also ends when its supervisor is gone, and when it hangs, saying where.
"""

import asyncio
import faulthandler
import os
import resource
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import psutil
import uvicorn

from kedge.domain.durations import seconds_of
from kedge.domain.project import ServingRules
from kedge.domain.sizes import bytes_of
from kedge.serving.board import WorkerState
from kedge.serving.ending import Ending
from kedge.serving.metrics import Metrics

HUNG = 75  # the exit code of a process that gave itself up
_LAST_WORDS = 0.3  # seconds in which a draining process answers on connections that are kept alive
_REARMED = 0.25  # of the time that a call may hang: how often the alarm is put off

App = Callable[..., Awaitable[None]]


@dataclass(frozen=True)
class Bounds:
    """How long a process may drain and hang, in seconds; how much memory it may take, in bytes (0 any)."""

    drain: float = 30.0
    hang: float = 60.0
    memory: int = 0

    @classmethod
    def of(cls, rules: ServingRules) -> "Bounds":
        """Read them from a project's rules."""
        memory = bytes_of(rules.memory) if rules.memory else 0
        return cls(drain=seconds_of(rules.drain), hang=seconds_of(rules.hang), memory=memory)


def answer(
    app: App,
    listener: socket.socket,
    *,
    metrics: Metrics,
    bounds: Bounds,
    ending: Ending,
    ready: Callable[[], None],
    beside: Sequence["Companion"] = (),
    supervisor: int = 0,
    options: dict[str, Any] | None = None,
) -> None:
    """Answer until told to end, then drain. `ready` is called once connections are accepted; `supervisor` is the process
    that this one does not outlive, 0 for none; what is `beside` lives in the same event loop; `options` are more of
    uvicorn's."""
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=max(1, round(bounds.drain)),
        **(options or {}),
    )
    server = _Server(config, metrics=metrics, bounds=bounds, ready=ready, beside=beside, supervisor=supervisor)
    ending.drain = server.drain
    server.run(sockets=[listener])
    faulthandler.cancel_dump_traceback_later()


class Companion(Protocol):
    """What lives in the event loop beside the HTTP server, from before it accepts connections to its end."""

    async def start(self) -> None:
        """Begin. Raises KedgeError where it cannot."""
        ...

    async def stop(self, seconds: float) -> None:
        """End within so many seconds, with what is in flight."""
        ...


class _Server(uvicorn.Server):
    """uvicorn with a heartbeat and an end that cuts nobody off."""

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        metrics: Metrics,
        bounds: Bounds,
        ready: Callable[[], None],
        beside: Sequence["Companion"],
        supervisor: int,
    ) -> None:
        super().__init__(config)
        self._beside = beside
        self._metrics, self._bounds, self._ready, self._supervisor = metrics, bounds, ready, supervisor
        self._segment = metrics.segment
        self._armed = 0.0
        metrics.sampled(_memory_sampler(metrics))

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever runs this: uvicorn would raise them again when it has drained."""
        yield

    def drain(self) -> None:
        """End soon."""
        self._segment.state = WorkerState.DRAINING
        self._metrics.gauge("kedge_workers_ready").set(0)
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, and say so."""
        for each in self._beside:
            await each.start()
        await super().startup(sockets)
        if not self.should_exit:
            if self._bounds.memory:
                bound_memory(self._bounds.memory)
            self._segment.state = WorkerState.READY
            self._metrics.gauge("kedge_workers_ready").set(1)
            self._ready()

    async def on_tick(self, counter: int) -> bool:
        """Show that the loop turns, ten times a second."""
        now = monotonic()
        self._segment.beat = now
        if counter % 5 == 0:
            self._metrics.sample()
        if self._supervisor:
            self._watch(now)
        return await super().on_tick(counter)

    def _watch(self, now: float) -> None:
        if os.getppid() != self._supervisor:
            self.drain()
        called = self._segment.called
        if called and now - called > self._bounds.hang:
            give_up()
        if now - self._armed > _REARMED * self._bounds.hang:
            self._armed = now
            # From a thread of the C library: it strikes even where a call never lets go of the interpreter.
            faulthandler.dump_traceback_later(self._bounds.hang, exit=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, answer what still comes on open connections, close them."""
        if self._supervisor:
            faulthandler.dump_traceback_later(self._bounds.drain + self._bounds.hang, exit=True)
        for server in self.servers:
            server.close()
        last = self.config.app = self.config.loaded_app = _Last(self.config.loaded_app)
        for connection in list(self.server_state.connections):
            connection.end_with(last)  # type: ignore[union-attr]
        until = monotonic() + _LAST_WORDS
        while self.server_state.connections and monotonic() < until:
            await asyncio.sleep(0.01)
        await asyncio.gather(super().shutdown(sockets), *(each.stop(self._bounds.drain) for each in self._beside))


def give_up() -> None:
    """Say where every thread stands, and end at once."""
    sys.stderr.write("a model's call took too long; this is where it stands:\n")
    faulthandler.dump_traceback(all_threads=True)
    sys.stderr.flush()
    os._exit(HUNG)


def bound_memory(limit: int) -> None:
    """Have the system refuse this process memory beyond a limit in bytes, and a quarter for what is given back late.

    The supervisor ends a worker that is over its limit; this is for the one call that wants all at once, which fails then.
    """
    if sys.platform == "linux":
        page = os.sysconf("SC_PAGE_SIZE")
        resident, data = (int(Path("/proc/self/statm").read_text().split()[place]) * page for place in (1, 5))
        bound = data + max(0, limit - resident) + limit // 4
        resource.setrlimit(resource.RLIMIT_DATA, (bound, resource.RLIM_INFINITY))


def _memory_sampler(metrics: Metrics) -> Callable[[], None]:
    number = metrics.board.segments.index(metrics.segment)
    gauge, process = metrics.gauge("kedge_worker_memory_bytes", str(number)), psutil.Process()
    return lambda: gauge.set(process.memory_info().rss)


class _Last:
    """An application whose every answer is the last of its connection, in a process that is not ready any more."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Answer one request (ASGI 3)."""

        async def closing(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        if scope["type"] == "http" and scope["path"] == "/v2/health/ready":
            body = b'{"error":"this process is ending"}'
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await closing({"type": "http.response.start", "status": 503, "headers": headers})
            await closing({"type": "http.response.body", "body": body})
        else:
            await self._app(scope, receive, closing)
