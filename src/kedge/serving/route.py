"""The data plane's door: a raw ASGI application over a host. Decode, one call, encode; no framework on the hot path.

    GET  /v2  /v2/health/live  /v2/health/ready  /metrics
    GET  /v2/models/NAME[/versions/V][/ready]
    POST /v2/models/NAME[/versions/V]/infer
    POST /v2/models/NAME/refresh                     from this machine only: load the newest revision now
An error is `{"error": "..."}`: 4xx is the caller's to mend, 422 the model's refusal, 503 nothing deployed, 500 ours.
"""

import hmac
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from ipaddress import ip_address
from typing import Any, NamedTuple

from kedge.errors import DeadlineExceeded, KedgeError, ModelRefused, NotFound, NothingDeployed, Overloaded, RequestInvalid
from kedge.serving.host import Host
from kedge.serving.protocol import MOST_BYTES, encode, question_of, response_of

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_log = logging.getLogger("kedge.serving")
_JSON: Headers = [(b"content-type", b"application/json")]
_STATUS: tuple[tuple[type[KedgeError], int], ...] = (
    (RequestInvalid, 400),
    (NothingDeployed, 503),  # before its parent
    (NotFound, 404),
    (ModelRefused, 422),
    (Overloaded, 503),
    (DeadlineExceeded, 504),
)


class Reply(NamedTuple):
    """What goes back."""

    status: int
    body: bytes
    headers: Headers = _JSON


class Refusal(Exception):
    """A request that HTTP itself refuses: no such path, method, size or content type."""

    def __init__(self, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.status, self.headers = status, list(headers)


class Gone(Exception):
    """The caller went away before its body was whole."""


class Application:
    """The ASGI application. With a token, all but the health routes ask for it as a bearer."""

    def __init__(self, host: Host, *, token: str | None = None, version: str = "") -> None:
        self._host, self._version = host, version
        self._bearer = f"Bearer {token}".encode() if token else None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one HTTP request (ASGI 3). Whatever happens, the caller gets an answer."""
        parts = scope["path"].strip("/").split("/")
        try:
            self._require_token(scope, parts)
            reply = await self._route(scope, parts, receive=receive)
        except Gone:
            return
        except Exception as error:  # the request door
            reply = self._apologize(error)
        if parts[-1] == "infer" and reply.status != 200:
            self._host.refused(parts[2] if len(parts) > 2 else "", status=reply.status)
        headers = [*reply.headers, (b"content-length", str(len(reply.body)).encode())]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    def _require_token(self, scope: MutableMapping[str, Any], parts: list[str]) -> None:
        if self._bearer is None or parts[:2] == ["v2", "health"]:
            return
        given = _header(scope, b"authorization") or b""
        if not hmac.compare_digest(given, self._bearer):
            raise Refusal(401, "this server asks for a token: Authorization: Bearer TOKEN", (b"www-authenticate", b"Bearer"))

    async def _route(self, scope: MutableMapping[str, Any], parts: list[str], *, receive: Receive) -> Reply:
        match parts:
            case ["v2", "models", model, *rest]:
                return await self._model(scope, model, rest=rest, receive=receive)
            case ["v2"]:
                _require_method(scope, "GET")
                return _json({"name": "kedge", "version": self._version, "extensions": []})
            case ["v2", "health", "live"]:
                _require_method(scope, "GET")
                return _json({"live": True})
            case ["v2", "health", "ready"]:
                _require_method(scope, "GET")
                if not self._host.ready():
                    raise NothingDeployed(f"no version of {self._host.model!r} is deployed yet")
                return _json({"ready": True})
            case ["metrics"]:
                _require_method(scope, "GET")
                accept = (_header(scope, b"accept") or b"").decode("latin-1")
                kind, body = self._host.exposition(accept)
                return Reply(200, body, [(b"content-type", kind.encode())])
        raise Refusal(404, f"there is nothing at {scope['path']}; the models are under /v2/models/NAME")

    async def _model(self, scope: MutableMapping[str, Any], model: str, *, rest: list[str], receive: Receive) -> Reply:
        match rest:
            case ["infer"]:
                return await self._infer(scope, model, number=None, receive=receive)
            case ["versions", number, "infer"]:
                return await self._infer(scope, model, number=_number(number), receive=receive)
            case ["refresh"]:
                _require_method(scope, "POST")
                _require_local(scope)
                return await self._refresh(model)
            case [] | ["ready"] | ["versions", _] | ["versions", _, "ready"]:
                _require_method(scope, "GET")
                told = self._host.metadata(model, _number(rest[1]) if rest[:1] == ["versions"] else None)
                return _json({"name": model, "ready": True} if rest[-1:] == ["ready"] else told)
        if model not in self._host.models():
            raise NotFound(f"model {model!r} is not served here; served are: {', '.join(self._host.models())}")
        raise Refusal(404, f"there is nothing at {scope['path']}; ask /v2/models/{model}/infer")

    async def _infer(self, scope: MutableMapping[str, Any], model: str, *, number: int | None, receive: Receive) -> Reply:
        _require_method(scope, "POST")
        _require_json(scope)
        body = await _body(scope, receive)
        answer = await self._host.ask(question_of(body, model, version=number))
        return _json(response_of(answer))

    async def _refresh(self, model: str) -> Reply:
        try:
            revision = await self._host.refresh(model)
        except NotFound:
            raise
        except KedgeError as error:
            raise Refusal(503, f"the newest revision cannot be served, the one before still is: {error}") from error
        return _json({"name": model, "revision": revision})

    def _apologize(self, error: Exception) -> Reply:
        if isinstance(error, Refusal):
            return _error(error.status, str(error), *error.headers)
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        if status == 503:
            return _error(status, str(error), (b"retry-after", b"1"))
        if status != 500:
            return _error(status, str(error))
        incident = self._host.new_id()
        _log.error("request %s failed", incident, exc_info=error)
        return _error(500, f"a fault of this server, not of your request; its log names it {incident}")


def _json(value: object) -> Reply:
    return Reply(200, encode(value))


def _error(status: int, message: str, *headers: tuple[bytes, bytes]) -> Reply:
    return Reply(status, encode({"error": message}), [*_JSON, *headers])


def _header(scope: MutableMapping[str, Any], name: bytes) -> bytes | None:
    return next((value for key, value in scope["headers"] if key == name), None)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise NotFound(f"there is no version {text!r}; versions are numbers")
    return int(text)


def _require_method(scope: MutableMapping[str, Any], method: str) -> None:
    # A server drops the body of an answer to HEAD by itself.
    if scope["method"] != method and (method, scope["method"]) != ("GET", "HEAD"):
        raise Refusal(405, f"{scope['method']} is not for {scope['path']}; use {method}", (b"allow", method.encode()))


def _require_json(scope: MutableMapping[str, Any]) -> None:
    # Some clients of the protocol name no type at all; a body that names another one is not read.
    kind = (_header(scope, b"content-type") or b"application/json").partition(b";")[0].strip().lower()
    if kind != b"application/json" or (_header(scope, b"content-encoding") or b"identity").lower() != b"identity":
        raise Refusal(415, "send plain application/json")
    if _header(scope, b"inference-header-content-length") is not None:
        raise Refusal(415, "binary tensors are not read here; send the data as JSON (binary_data=False)")


def _require_local(scope: MutableMapping[str, Any]) -> None:
    client = scope.get("client")
    if not client or not ip_address(client[0]).is_loopback:
        raise Refusal(403, "only this machine may ask for a refresh; the deployment is followed anyhow")


async def _body(scope: MutableMapping[str, Any], receive: Receive) -> bytes:
    """Read a body up to the limit. Refusal 413 as soon as it is known to be longer."""
    length = _header(scope, b"content-length")
    if length is not None and int(length) > MOST_BYTES:
        raise _too_long()
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        part = message.get("body", b"")
        size += len(part)
        if size > MOST_BYTES:
            raise _too_long()
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _too_long() -> Refusal:
    return Refusal(413, f"a body has at most {MOST_BYTES} bytes; send fewer rows at once")
