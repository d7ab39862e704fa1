"""Who is asking, and whether they may: the policy table of `security/access.py` decides, here it is only obeyed.

Without KEDGE_TOKEN the server answers this machine only, and whoever is on it may do everything. With it, a request
carries the token: as `Authorization: Bearer ...`, as the password of `Basic ...` (any user name), or, from a browser, as
the cookie that /login sets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from kedge.security.access import Right, allowed, needed
from kedge.security.hosts import LOOPBACK
from kedge.security.tokens import Token, find_holder, given_token, presented_by
from kedge.server.house import House
from kedge.server.problems import wants_page

if TYPE_CHECKING:
    from litestar import Request
    from litestar.connection import ASGIConnection
    from litestar.handlers import BaseRouteHandler

COOKIE = "kedge_session"
LOCAL = Token(name="local", hash="", right=Right.ADMIN)
_NOBODY = Token(name="nobody", hash="", right=Right.OPEN)


class Guard:
    """Finds the holder of a request, and checks the request against the policy table."""

    def __init__(self, house: House, token: str) -> None:
        self._house = house
        self._tokens = (given_token(token),) if token else ()

    @property
    def asks_for_token(self) -> bool:
        """Tell whether a token is needed at all."""
        return bool(self._tokens)

    def hosts(self, given: Collection[str] | None) -> Collection[str]:
        """Name the hosts that are answered for: those given, else this machine's own names, or any ("*") where a token is
        asked for: a foreign name that leads here has none."""
        return given if given is not None else ("*",) if self.asks_for_token else LOOPBACK

    def holder(self, presented: str | None) -> Token | None:
        """Find who holds a token; None where it is none of ours."""
        return find_holder(presented, self._tokens, now=self._house.clock.now())

    def of_scope(self, scope: Mapping[str, Any]) -> Token:
        """Find who sends a raw ASGI request."""
        if not self._tokens:
            return LOCAL
        headers = {key: value.decode("latin-1") for key, value in scope["headers"] if key in (b"authorization", b"cookie")}
        presented = presented_by(headers.get(b"authorization")) or _session(headers.get(b"cookie", ""))
        return self.holder(presented) or _NOBODY

    def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        """Let a request through, with its holder noted. Raises 401 or 403."""
        from litestar.exceptions import NotAuthorizedException, PermissionDeniedException

        method, path = str(connection.scope.get("method", "GET")), connection.url.path
        who = self._who(connection)
        connection.scope.setdefault("state", {})["holder"] = who.name
        if allowed(who.right, method, path=path):
            return
        if who is _NOBODY and wants_page(path, connection.headers.get("accept", "")):
            raise NotAuthorizedException(detail="show a token first", headers={"Location": f"/login?next={quote(path)}"})
        if who is _NOBODY:
            detail = "this server asks for a token: send it as `Authorization: Bearer TOKEN`"
            raise NotAuthorizedException(detail=detail, headers={"WWW-Authenticate": "Bearer"})
        right = needed(method, path)
        wanted = right.name.lower() if right else "a row in the policy table"
        raise PermissionDeniedException(f"{who.name} has the right to {who.right.name.lower()}; this needs {wanted}")

    def _who(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Token:
        if not self._tokens:
            return LOCAL
        presented = presented_by(connection.headers.get("authorization")) or connection.cookies.get(COOKIE)
        return self.holder(presented) or _NOBODY


def holder_is_unknown(who: Token) -> bool:
    """Tell whether a request came without a token of ours."""
    return who is _NOBODY


def _session(header: str) -> str | None:
    try:
        cookie = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return None
    return cookie.value if cookie else None


def actor_of(request: Request[Any, Any, Any]) -> str:
    """Name the person behind a write, as events name them."""
    return f"person:{request.scope.get('state', {}).get('holder', 'unknown')}"
