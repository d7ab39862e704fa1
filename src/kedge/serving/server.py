"""Starts the data plane of one project: uvicorn on one process, one event loop, one host."""

import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EADDRINUSE
from typing import TYPE_CHECKING

from kedge.errors import ConfigError, PortInUse
from kedge.security.hosts import is_loopback
from kedge.serving.follow import Follower
from kedge.serving.host import Host, host_of
from kedge.serving.route import Application
from kedge.version import installed

if TYPE_CHECKING:
    import uvicorn

    from kedge.app import House

_DRAIN_SECONDS = 30
_WAITING = 2048


def application(host: Host, *, token: str | None = None) -> Application:
    """Make the ASGI application of a host."""
    return Application(host, token=token, version=installed())


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

    _require_token(host, token)
    with _listen(host, port) as listener:
        models = host_of(house, replay_clock=replay_clock)
        config = uvicorn.Config(
            application(models, token=token),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
        )
        server = uvicorn.Server(config)
        with _awake(models), _drained_by_signals(server):
            (ready or _print_ready(models))(_url(listener))
            server.run(sockets=[listener])


@contextmanager
def _awake(host: Host) -> Iterator[None]:
    """Follow the deployment and keep the log synced meanwhile."""
    follower = Follower(host)
    follower.start()
    host.log.start()
    try:
        yield
    finally:
        follower.stop()
        host.log.stop()


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


def _print_ready(host: Host) -> Callable[[str], None]:
    def tell(url: str) -> None:
        sys.stdout.write(f"kedge serves {host.model} at {url}\n")
        sys.stdout.flush()

    return tell
