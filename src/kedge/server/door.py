"""The door in front of everything: who may speak to this server at all, and the headers that every answer carries.

A plain ASGI middleware of our own: Litestar's allowed-hosts check compares the raw header with its port, and its JSON
decoding takes any content type, so a page elsewhere could post JSON as text/plain without asking first.

    unknown Host (DNS rebinding)                  421
    another site's Origin on a write              403
    a write whose body is not JSON (or a form)    415
    a body over the limit, declared or not        413
    files in a form                               415     but on the one page that takes some
    a body that is packed (Content-Encoding)      415     what it unpacks to has no limit
Files are let through as they come, on their own paths and with a limit of their own (`uploads.py`).
"""

import secrets
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

import msgspec

from kedge.security.hosts import address_of, host_allowed, origin_allowed
from kedge.server.brought import BODY_AT_MOST as BROUGHT_LIMIT
from kedge.server.mlflow.errors import ErrorAnswer, code_of
from kedge.server.mlflow.router import is_ours
from kedge.server.problems import ErrorBody, Problem, Refused
from kedge.server.uploads import carries_file, check_file_type

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

BODY_LIMIT = 8 * 1024 * 1024
POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
COMPARED = "/monitoring/compare"
_LENGTH_DIGITS = 18
_SAFE = ("GET", "HEAD", "OPTIONS")
_PACKED = "application/msgpack"
_FORM = "application/x-www-form-urlencoded"
_FILES = "multipart/form-data"
_HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Door:
    """Checks host, origin, content type and size, then passes on; adds request id and security headers to every answer."""

    def __init__(self, app: App, *, hosts: Collection[str], upload_limit: int = BODY_LIMIT) -> None:
        self._app, self._hosts, self._upload_limit = app, frozenset(hosts), upload_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = name
        answer = _Answer(send, name)
        try:
            limit = _limit(scope["method"], scope["path"], upload_limit=self._upload_limit)
            check(scope, self._hosts, limit=limit)
            await self._app(scope, _limited(scope, receive, limit=limit), answer)
        except Refused as refused:
            if answer.started:
                raise
            await _refuse(answer, refused, body=body_of(scope["path"], refused, name=name))


def check(scope: Scope, hosts: Collection[str], *, limit: int = BODY_LIMIT) -> None:
    """Check a request's head. Raises Refused."""
    headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
    host = headers.get("host", "")
    if "*" not in hosts and not host_allowed(host, hosts):
        raise Refused(
            421, "host_unknown", message=f"this server does not answer for the host {host!r}; ask it by its own name"
        )
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdecimal()):
        raise Refused(400, "request_invalid", message=f"the content length {length[:40]!r} is not a number of bytes")
    if len(length) > _LENGTH_DIGITS or int(length) > limit:
        raise _too_large(limit)
    if scope["method"] in _SAFE:
        return
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Refused(
            403,
            "origin_foreign",
            message="a page of another site asked for this write; writes are taken from this site only",
        )
    origin = headers.get("origin")
    if not origin_allowed(origin, host, allowed=hosts if "*" not in hosts else _own(host)):
        raise Refused(
            403, "origin_foreign", message=f"the origin {origin!r} is not this server; writes are taken from this site only"
        )
    _check_body(scope, headers)


def _own(host: str) -> Collection[str]:
    address = address_of(host)
    return (address.name,) if address else ()


def _check_body(scope: Scope, headers: dict[str, str]) -> None:
    method, path, given = scope["method"], scope["path"], headers.get("content-type", "")
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        told = f"a body packed as {headers['content-encoding']!r} is not taken; send it as it is"
        raise Refused(415, "media_type_unsupported", message=told)
    if carries_file(method, path):
        check_file_type(method, given)
        return
    empty = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
    if method != "POST" and empty and not given:  # no page can send these unasked
        return
    kind = given.split(";", maxsplit=1)[0].strip().lower()
    if kind == _PACKED and path.startswith("/api/v1/runs"):
        return  # a page elsewhere cannot send it without asking first
    wanted = "application/json" if path.startswith(("/api/", "/ajax-api/")) else _FORM
    if kind != wanted and not (kind == _FILES and path == COMPARED):
        raise Refused(415, "media_type_unsupported", message=f"the content type {given!r} is not taken here; send {wanted}")


def _limit(method: str, path: str, *, upload_limit: int) -> int:
    """Say how many bytes a body may have."""
    if carries_file(method, path):
        return upload_limit
    return BROUGHT_LIMIT if method == "POST" and path == COMPARED else BODY_LIMIT


def _too_large(limit: int) -> Refused:
    if limit == BROUGHT_LIMIT:
        told = f"the files are over {limit >> 20} MiB; compare them where they lie: kedge monitor compare A B"
        return Refused(413, "too_large", message=told)
    if limit == BODY_LIMIT:
        return Refused(413, "too_large", message=f"the body is over {limit // 1024**2} MB; send it in several requests")
    return Refused(413, "too_large", message=f"the file is over {limit:,} bytes; KEDGE_UPLOAD_LIMIT of the server sets this")


def _limited(scope: Scope, receive: Receive, *, limit: int) -> Receive:
    """Count the bytes of a body that comes without its length, or with a wrong one."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _too_large(limit)
        return message

    return counted if scope["method"] not in _SAFE else receive


class _Answer:
    """Passes an answer on, with the headers that every answer carries."""

    def __init__(self, send: Send, name: str) -> None:
        self._send, self._name, self.started = send, name, False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            given = list(message.get("headers", ()))
            kept = {key.lower() for key, _ in given}
            own = [*_HEADERS, (b"x-request-id", self._name.encode()), (b"cache-control", b"private, no-cache")]
            message = {**message, "headers": [*given, *(header for header in own if header[0] not in kept)]}
        await self._send(message)


def body_of(path: str, refused: Refused, *, name: str) -> bytes:
    """Write a refusal as the client of this path reads errors."""
    if is_ours(path):
        return msgspec.json.encode(ErrorAnswer(code_of(refused.status), str(refused)))
    return msgspec.json.encode(ErrorBody(Problem(refused.code, str(refused), name)))


async def _refuse(send: Send, refused: Refused, *, body: bytes) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
