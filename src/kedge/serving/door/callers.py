"""Which callers a door without a token answers: those who name it by its own name, and no page of another site.

Whoever can be reached by this machine alone can still be reached by a browser on it: a page elsewhere may have its own name
resolve to this machine (DNS rebinding), or post here without asking first. With a token neither gets an answer anyhow.
"""

from collections.abc import Collection

from kedge.security.hosts import host_allowed, origin_allowed
from kedge.serving.door.reading import Given, HttpRefusal

ANY = "*"
_KNOWN = 64
_SAFE = ("GET", "HEAD")


class Callers:
    """Checks the Host and Origin of requests. `hosts` are the names that are answered for, ANY for all."""

    def __init__(self, hosts: Collection[str]) -> None:
        self._hosts, self._open = frozenset(hosts), ANY in hosts
        self._known: set[bytes] = set()

    def plain(self, given: Given) -> bool:
        """Say whether a request is of a caller that was let in before, and of no browser."""
        return self._open or (
            given.get(b"host") in self._known and b"origin" not in given and b"sec-fetch-site" not in given
        )

    def require(self, given: Given, method: str) -> None:
        """Check a request. Raises HttpRefusal: 421 for a Host that is not this server's, 403 for another site's page."""
        if self._open:
            return
        raw = given.get(b"host", b"")
        host = raw.decode("latin-1")
        if not host_allowed(host, self._hosts):
            raise HttpRefusal(
                421, f"this server does not answer for the host {host[:80]!r}; ask it as localhost, or serve with a token"
            )
        if len(self._known) < _KNOWN:
            self._known.add(raw)
        origin = given.get(b"origin")
        foreign = given.get(b"sec-fetch-site", b"none") not in (b"same-origin", b"none")
        theirs = origin is not None and not origin_allowed(origin.decode("latin-1"), host, allowed=self._hosts)
        if method not in _SAFE and (foreign or theirs):
            raise HttpRefusal(
                403, "a page of another site asked; without a token only programs and this server's own are answered"
            )
