"""Starts the data plane of one project: what one process does, alone or as a worker (`supervisor.py` starts several)."""

import gc
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from kedge.domain.durations import seconds_of, share_of
from kedge.domain.predictions import Ack
from kedge.domain.project import ServingRules
from kedge.domain.sizes import bytes_of
from kedge.security.hosts import LOOPBACK
from kedge.serving.door.application import HttpDoor
from kedge.serving.door.callers import ANY
from kedge.serving.door.connection import Connection
from kedge.serving.ending import Ending
from kedge.serving.follow import Follower
from kedge.serving.grpc import open_door
from kedge.serving.host import Host, host_of
from kedge.serving.listening import listen, require_token, url_of
from kedge.serving.metrics import Metrics
from kedge.serving.plane import Limits
from kedge.serving.tracing import Traced, Traces
from kedge.serving.worker import Bounds, answer
from kedge.version import installed

if TYPE_CHECKING:
    from kedge.app import House
    from kedge.serving.grpc.door import GrpcDoor

_LAST_COPIES = 1.0


def serve(
    house: "House",
    *,
    host: str = "127.0.0.1",
    port: int = 8500,
    replay_clock: bool = False,
    token: str | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve a house's project from this process until SIGTERM or SIGINT, then finish what is in flight and sync the log.

    Tells its URL once it answers (to `ready`, else as one line on standard output). Port 0 takes a free one. Raises
    PortInUse; ConfigError for a host that cannot be used, or one that is not loopback without a token.
    """
    require_token(host, token)
    with listen(host, port) as listener, Ending.by_signals() as ending:
        tell = ready or _print_ready(house)
        serve_on(
            listener,
            house,
            rules=house.spec.serving,
            ending=ending,
            metrics=Metrics(),
            replay_clock=replay_clock,
            token=token,
            ready=lambda: tell(url_of(listener)),
        )


def serve_on(
    listener: socket.socket,
    house: "House",
    *,
    rules: ServingRules,
    ending: Ending,
    metrics: Metrics,
    only: Sequence[str] | None = None,
    ack: Ack | None = None,
    replay_clock: bool = False,
    token: str | None = None,
    ready: Callable[[], None] = lambda: None,
    supervisor: int = 0,
) -> None:
    """Serve a house's project on a socket that listens already, until told to end. `rules` are the project's, or what was
    asked for instead; `only` names the models to serve; `ack` is what answers wait for, else what the project says."""
    models = host_of(house, replay_clock=replay_clock, metrics=metrics, limits=limits_of(rules), only=only, ack=ack)
    port = rules.grpc_port
    hosts = (ANY,) if token else (*LOOPBACK, listener.getsockname()[0])
    known: dict[str, Any] = {"token": token, "version": installed(), "body_limit": bytes_of(rules.body_limit)}
    door = HttpDoor(models, hosts=hosts, **known)
    with _awake(models), _traces(house, rules) as traces:
        grpc = partial(open_door, models, shared=bool(supervisor), traces=traces, **known)
        gc.collect()
        gc.freeze()  # what is loaded now stays: no later collection needs to look at it
        answer(
            door if traces is None else Traced(door, traces),
            listener,
            metrics=metrics,
            bounds=Bounds.of(rules),
            ending=ending,
            ready=ready,
            beside=[*([_Grpc(listener.getsockname()[0], port, make=grpc)] if port else []), _LastCopies(models)],
            supervisor=supervisor,
            options={"http": Connection, "ws": "none"},
        )


@contextmanager
def _traces(house: "House", rules: ServingRules) -> Iterator[Traces | None]:
    """Give what tells of requests where an address is given; else None, and the doors are left as they are."""
    if not rules.traces:
        yield None
        return
    sent = house.traces(rules.traces)
    try:
        share = share_of(rules.trace_share) if rules.trace_share else 0.0
        yield Traces(sent, share=share, slow=seconds_of(rules.trace_slow))
    finally:
        sent.close()


def limits_of(rules: ServingRules) -> Limits:
    """Read from the project's rules how much may wait, and how long."""
    loaded = bytes_of(rules.loaded) if rules.loaded else None
    holdout = share_of(rules.holdout) if rules.holdout else 0.0
    return Limits(
        queue=rules.queue,
        call_rows=rules.call_rows,
        patience=seconds_of(rules.timeout),
        models_bytes=loaded,
        holdout=holdout,
    )


class _Grpc:
    """The gRPC door, at the address of the other one. Workers share its port: each has a socket of its own."""

    def __init__(self, host: str, port: int, *, make: Callable[[], "GrpcDoor"]) -> None:
        self._host, self._port, self._open = host, port, make
        self._door: GrpcDoor | None = None

    async def start(self) -> None:
        """Listen. The door belongs to the event loop in which it is made."""
        self._door = self._open()
        await self._door.start(self._host, self._port)

    async def stop(self, seconds: float) -> None:
        """Finish what is in flight."""
        if self._door is not None:
            await self._door.stop(seconds)


class _LastCopies:
    """What was copied to versions in shadow and is not answered when the process ends: it has a moment left."""

    def __init__(self, models: Host) -> None:
        self._models = models

    async def start(self) -> None:
        """Do nothing: copies come with requests."""

    async def stop(self, seconds: float) -> None:
        """Let them be answered, for a second at most; the others are not compared."""
        await self._models.settled(min(seconds, _LAST_COPIES))


@contextmanager
def _awake(host: Host) -> Iterator[None]:
    """Follow the deployments and keep the log synced meanwhile."""
    follower = Follower(host)
    follower.start()
    host.log.start()
    try:
        yield
    finally:
        follower.stop()
        host.log.stop()


def _print_ready(house: "House") -> Callable[[str], None]:
    def tell(url: str) -> None:
        sys.stdout.write(f"kedge serves {house.spec.name} at {url}\n")
        sys.stdout.flush()

    return tell
