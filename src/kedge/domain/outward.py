"""Which addresses Kedge may call when a setting, not a person at the keyboard, names the place (server-side requests).

A name is resolved once; every address that it has is held against these rules, and the connection goes to the very
address that passed. What only this machine, its network or its cloud's metadata service can reach is refused.
"""

import ipaddress
from urllib.parse import urlsplit

import msgspec

from kedge.errors import ConfigError

METADATA = frozenset({"169.254.169.254", "169.254.170.2", "100.100.100.200", "fd00:ec2::254"})
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A URL taken apart: where to connect, and what to ask there."""

    secure: bool
    host: str
    port: int
    path: str

    @property
    def header(self) -> str:
        """Give the Host header."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == (443 if self.secure else 80) else f"{name}:{self.port}"


def target_of(url: str) -> Target:
    """Take a URL apart. Raises ConfigError, without the URL's path: it may be a secret."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"the address is no URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("the address must begin with https:// (or http://) and name a host")
    if parts.username or parts.password:
        raise ConfigError("the address holds a user or password; leave them out")
    if any(ord(letter) <= 32 or ord(letter) > 126 for letter in url):
        raise ConfigError("the address holds a blank or a letter that is not ASCII; write it percent-encoded")
    secure = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(secure=secure, host=parts.hostname, port=port or (443 if secure else 80), path=path)


def refusal(address: str, *, allow_private: bool) -> str:
    """Say why an address may not be called; "" where it may. Metadata services may never."""
    try:
        found = _inner(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return f"{address!r} is no IP address"
    if str(found) in METADATA:
        return f"{address} is a cloud's metadata service"
    if found.is_unspecified or found.is_multicast:
        return f"{address} is no address of one machine"
    if allow_private or (found.is_global and not found.is_reserved):
        return ""
    kind = "this machine" if found.is_loopback else "link-local" if found.is_link_local else "private"
    return f"{address} is {kind}; set allow_private = true on the channel if that is meant"


def _inner(address: Address) -> Address:
    """Give the IPv4 address that an IPv6 one stands for (mapped, 6to4, Teredo, NAT64), else itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
