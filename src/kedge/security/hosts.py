"""Which Host and Origin headers a server answers to: exact names, so that a page elsewhere cannot reach a local server.

Host guards against DNS rebinding (a foreign name that resolves to this machine), Origin against cross-site requests.
"""

import re
from collections.abc import Collection
from typing import NamedTuple

LOOPBACK = ("localhost", "127.0.0.1", "::1")

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?)\.?)(?::(?P<port>\d{1,5}))?")
_ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<rest>[^/?#@\s]+)", re.IGNORECASE)


class Address(NamedTuple):
    """A host header, taken apart: the name in small letters without brackets or a last dot, and the port if there."""

    name: str
    port: int | None


def address_of(header: str | None) -> Address | None:
    """Take a Host header apart; None where it is missing, empty or not of the form NAME, NAME:PORT or [IPV6]:PORT."""
    match = _HOST.fullmatch((header or "").lower())
    if match is None or (match["port"] and not 0 < int(match["port"]) < 65536):
        return None
    return Address(match["six"] or match["name"], int(match["port"]) if match["port"] else None)


def host_allowed(header: str | None, allowed: Collection[str]) -> bool:
    """Say whether a Host header names one of `allowed` (names and addresses without ports), whatever its port."""
    address = address_of(header)
    return address is not None and address.name in {_plain(name) for name in allowed}


def origin_allowed(origin: str | None, host: str | None, *, allowed: Collection[str]) -> bool:
    """Say whether a request may come from this Origin: none (no browser), or this very server under an allowed name.

    Another port of the same machine is another site.
    """
    if origin is None:
        return True
    match = _ORIGIN.fullmatch(origin)
    if match is None or not host_allowed(host, allowed):
        return False
    default = _DEFAULT_PORTS[match["scheme"].lower()]
    return _with_port(address_of(match["rest"]), default) == _with_port(address_of(host), default)


def is_loopback(name: str) -> bool:
    """Say whether an address to listen on is reachable from this machine only."""
    plain = _plain(name)
    return plain in LOOPBACK or re.fullmatch(r"127(\.\d{1,3}){3}", plain) is not None


def _with_port(address: Address | None, default: int) -> Address | None:
    return address and Address(address.name, address.port or default)


def _plain(name: str) -> str:
    return name.lower().removeprefix("[").removesuffix("]").removesuffix(".")
