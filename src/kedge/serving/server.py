"""Starts the data plane of one project: what one process does, alone or as a worker (`supervisor.py` starts several)."""

import gc
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kedge.serving.door.application import HttpDoor
from kedge.serving.door.connection import Connection
from kedge.serving.ending import Ending
from kedge.serving.follow import Follower
from kedge.serving.host import Host, host_of
from kedge.serving.listening import listen, require_token, url_of
from kedge.serving.metrics import Metrics
from kedge.serving.worker import Bounds, answer
from kedge.version import installed

if TYPE_CHECKING:
    from kedge.app import House


def application(host: Host, *, token: str | None = None) -> HttpDoor:
    """Make the ASGI application of a host."""
    return HttpDoor(host, token=token, version=installed())


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
            ending=ending,
            metrics=Metrics(),
            limits=Bounds(),
            replay_clock=replay_clock,
            token=token,
            ready=lambda: tell(url_of(listener)),
        )


def serve_on(
    listener: socket.socket,
    house: "House",
    *,
    ending: Ending,
    metrics: Metrics,
    limits: Bounds,
    replay_clock: bool = False,
    token: str | None = None,
    ready: Callable[[], None] = lambda: None,
    supervisor: int = 0,
) -> None:
    """Serve a house's project on a socket that listens already, until told to end."""
    models = host_of(house, replay_clock=replay_clock, metrics=metrics)
    app = application(models, token=token)
    with _awake(models):
        gc.collect()
        gc.freeze()  # what is loaded now stays: no later collection needs to look at it
        answer(
            app,
            listener,
            metrics=metrics,
            limits=limits,
            ending=ending,
            ready=ready,
            supervisor=supervisor,
            options={"http": Connection, "ws": "none"},
        )


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
