"""One HTTP POST to a place that a setting names, so that nobody can be led elsewhere.

The name is resolved once; every address it has must be allowed (`domain/outward.py`), and the connection goes to the
first of them as an address: what the name says a moment later changes nothing. TLS still checks the certificate by name.
No redirect is followed, no proxy is used, an answer is read up to a limit, and the whole call ends at its timeout.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable, Mapping
from threading import Event, Timer

import msgspec

from kedge.domain.durations import seconds_of
from kedge.domain.outward import Target, refusal, target_of
from kedge.errors import NotTold

ANSWER_LIMIT = 4096
SHOWN = 300
_FINAL = {400, 405, 410, 411, 413, 414, 415, 422}  # the same message again gets the same answer

Resolve = Callable[[str, int], list[str]]
"""Gives the addresses of a host."""


class Reply(msgspec.Struct, frozen=True):
    """What a receiver answered: its status, and the beginning of its words."""

    status: int
    words: str

    def __str__(self) -> str:
        return f"{self.status} {self.words}".strip()


def resolve(host: str, port: int) -> list[str]:
    """Ask for the addresses of a host. Raises NotTold."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NotTold(f"the name {host!r} cannot be resolved: {error}") from None
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def pinned(host: str, port: int, *, allow_private: bool, resolver: Resolve) -> str:
    """Resolve a name once and give the address to connect to. Raises NotTold where any of its addresses is refused."""
    addresses = resolver(host, port)
    if not addresses:
        raise NotTold(f"the name {host!r} has no address")
    for address in addresses:
        if why := refusal(address, allow_private=allow_private):
            raise NotTold(f"{host} is not called: {why}")
    return addresses[0]


def post(
    url: str,
    body: bytes,
    *,
    headers: Mapping[str, str],
    timeout: str = "10s",
    allow_private: bool = False,
    resolver: Resolve = resolve,
) -> Reply:
    """Send a body; give the answer of a receiver that took it. Raises NotTold for any other, ConfigError for a bad URL."""
    target, limit = target_of(url), seconds_of(timeout)
    address = pinned(target.host, target.port, allow_private=allow_private, resolver=resolver)
    connection = _connection(target, address, timeout=limit)
    late = Event()
    clock = Timer(limit, _hang_up, [connection, late])
    clock.daemon = True
    clock.start()
    try:
        answer = _asked(connection, target, body=body, headers=headers)
    except (OSError, http.client.HTTPException) as error:
        name = type(error).__name__ if not str(error) else str(error)
        raise NotTold(f"{target.host} ({address}) gave no answer within {timeout}: {name}") from None
    finally:
        clock.cancel()
        connection.close()
    if late.is_set():  # the library takes an answer that breaks off among its headers for a whole one
        raise NotTold(f"{target.host} ({address}) gave no whole answer within {timeout}")
    if 200 <= answer.status < 300:
        return answer
    if 300 <= answer.status < 400:
        raise NotTold(f"{target.host} answered {answer.status}, a redirect: it is not followed; give the final address")
    raise NotTold(f"{target.host} answered {answer}", final=answer.status in _FINAL)


def _asked(connection: http.client.HTTPConnection, target: Target, *, body: bytes, headers: Mapping[str, str]) -> Reply:
    sent = {"Host": target.header, "User-Agent": "kedge", "Content-Type": "application/json", **headers}
    connection.request("POST", target.path, body=body, headers={**sent, "Connection": "close"})
    response = connection.getresponse()
    words = response.read(ANSWER_LIMIT).decode("utf-8", "replace")
    return Reply(response.status, " ".join(words.split())[:SHOWN])


def _connection(target: Target, address: str, *, timeout: float) -> http.client.HTTPConnection:
    if not target.secure:
        return http.client.HTTPConnection(address, target.port, timeout=timeout)
    return _Pinned(address, target.port, name=target.host, timeout=timeout)


class _Pinned(http.client.HTTPSConnection):
    """A connection to an address whose certificate must be that of a name."""

    def __init__(self, address: str, port: int, *, name: str, timeout: float) -> None:
        self._trust = ssl.create_default_context()
        super().__init__(address, port, timeout=timeout, context=self._trust)
        self._name = name

    def connect(self) -> None:
        """Connect to the address, and check the certificate by the name."""
        plain = socket.create_connection((self.host, self.port), self.timeout)
        self.sock = self._trust.wrap_socket(plain, server_hostname=self._name)


def _hang_up(connection: http.client.HTTPConnection, late: Event) -> None:
    """End a call whose time is up: a receiver that answers a byte at a time must not hold the sender."""
    late.set()
    sock = connection.sock
    if sock is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return
