"""Where the data plane listens: one socket, which the processes of `--workers` inherit.

They share one queue of connections (and not one each, by SO_REUSEPORT): whoever is idle accepts the next one, so a worker
that hangs or has died is sent nothing, and what waits while it is replaced is answered by the others.
"""

import socket
from errno import EADDRINUSE

from kedge.errors import ConfigError, PortInUse
from kedge.security.hosts import is_loopback

_WAITING = 2048


def require_token(host: str, token: str | None) -> None:
    """Check that a host which others can reach is not open to them. Raises ConfigError."""
    if not is_loopback(host) and not token:
        raise ConfigError(
            f"{host!r} can be reached from other machines: serve there with a token (set KEDGE_TOKEN), or on 127.0.0.1"
        )


def require_free(host: str, port: int) -> None:
    """Check that nobody listens on the port of the gRPC door, which workers share: another server's would share it, too,
    and each get some of the other's calls. Raises PortInUse, ConfigError."""
    listen(host, port, option="--grpc-port").close()


def listen(host: str, port: int, *, option: str = "--port") -> socket.socket:
    """Listen on a port, 0 for a free one; `option` names what chooses it. Raises PortInUse; ConfigError for a host that
    cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_WAITING)
    except OSError as error:
        if error.errno == EADDRINUSE:
            raise PortInUse(f"port {port} on {host} is in use; choose another with {option}") from error
        raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error


def url_of(listener: socket.socket) -> str:
    """Give the address that a listener's callers use."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
