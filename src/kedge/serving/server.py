"""Starts the data plane of one project: uvicorn on one process, one event loop, one plane."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EADDRINUSE
from typing import TYPE_CHECKING

from kedge.errors import ConfigError, PortInUse
from kedge.rollout.split import sticky_column
from kedge.security.hosts import is_loopback
from kedge.serving.follow import Follower
from kedge.serving.plane import Plane
from kedge.serving.route import Application
from kedge.version import installed

if TYPE_CHECKING:
    import uvicorn

    from kedge.app import House

_DRAIN_SECONDS = 30
_WAITING = 2048


def application(plane: Plane, *, token: str | None = None) -> Application:
    """Make the ASGI application of a plane."""
    return Application(plane, token=token, version=installed())


def plane_of(house: "House", *, replay_clock: bool = False) -> Plane:
    """Make the plane of a house's project."""
    spec = house.spec
    service = house.features.service(spec)
    return Plane(
        model=spec.name,
        service=service,
        sticky=sticky_column(spec, service),
        deployments=house.meta.deployments,
        models=house.meta.models,
        registry=house.registry,
        reader=house.features.reader(service),
        evaluation=house.evaluation,
        journal=house.predictions,
        clock=house.clock,
        replay_clock=replay_clock,
    )


def serve(
    house: "House",
    *,
    host: str = "127.0.0.1",
    port: int = 8500,
    replay_clock: bool = False,
    token: str | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve a house's project until SIGTERM or SIGINT, then finish what is in flight and sync the log.

    Tells its URL once it answers (to `ready`, else as one line on standard output). Port 0 takes a free one. Raises
    PortInUse; ConfigError for a host that cannot be used, or one that is not loopback without a token.
    """
    import uvicorn

    # A request is answered by one thread. More threads inside a model's call would fight over the cores with the next
    # request: 50 rows through 100 trees take as long, with a 99th percentile of 21 ms instead of 8. Read by OpenMP when
    # the first model is loaded; who has set it knows better.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    _require_token(host, token)
    with _listen(host, port) as listener:
        plane = plane_of(house, replay_clock=replay_clock)
        config = uvicorn.Config(
            application(plane, token=token),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
        )
        server = uvicorn.Server(config)
        with _awake(plane), _drained_by_signals(server):
            (ready or _print_ready(plane))(_url(listener))
            server.run(sockets=[listener])


@contextmanager
def _awake(plane: Plane) -> Iterator[None]:
    """Follow the deployment and keep the log synced meanwhile."""
    follower = Follower(plane)
    follower.start()
    plane.log.start()
    try:
        yield
    finally:
        follower.stop()
        plane.log.stop()


@contextmanager
def _drained_by_signals(server: "uvicorn.Server") -> Iterator[None]:
    """Let SIGTERM and SIGINT end the server, and nothing more.

    uvicorn handles both while it runs, and when it has drained it raises the signal again for whoever handled it
    before: the default would kill the process ahead of the log's last sync. Before it runs, these handlers count.
    """

    def end(*_: object) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _require_token(host: str, token: str | None) -> None:
    if not is_loopback(host) and not token:
        raise ConfigError(f"{host!r} can be reached from other machines: serve there with a token, or on 127.0.0.1")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_WAITING)
    except OSError as error:
        if error.errno == EADDRINUSE:
            raise PortInUse(f"port {port} on {host} is in use; choose another with --port") from error
        raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _print_ready(plane: Plane) -> Callable[[str], None]:
    def tell(url: str) -> None:
        sys.stdout.write(f"kedge serves {plane.model} at {url}\n")
        sys.stdout.flush()

    return tell
