"""Which handler answers which request of the MLflow protocol. A raw ASGI application: its overhead is paid per logged point.

    scope -> who asks (token) -> row of the table -> policy -> decode -> one call of a room -> encode

A module adds its part as a table of rows: `calls(...)` for JSON in and out, `streams(...)` for a body that is no JSON or
does not fit into memory. Paths are written as `/api/2.0/mlflow/...`; their twins under `/ajax-api/` are answered as well.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, NamedTuple

import msgspec

from kedge.errors import KedgeError
from kedge.security.access import Right, needed
from kedge.server.guard import Guard, holder_is_unknown
from kedge.server.house import House
from kedge.server.mlflow.errors import INTERNAL, NO_ENDPOINT, NOT_BUILT, ErrorAnswer, ProtocolError, answer_to, code_of
from kedge.server.mlflow.wire import Decoder, Nothing, encode
from kedge.server.problems import Refused

log = logging.getLogger("kedge.server")

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON = ((b"content-type", b"application/json"),)
ASKS_TOKEN = ((b"www-authenticate", b"Bearer"),)
NOTHING = Nothing()
PREFIXES = ("/api/2.0/", "/api/3.0/", "/ajax-api/", "/v1/traces", "/graphql")
ALONE = frozenset(("/health", "/version", "/get-artifact", "/model-versions/get-artifact"))


class Ask:
    """One request, as a handler sees it: the house, who asks (`actor`), what stands in the path (`names`), headers, body."""

    __slots__ = ("actor", "far", "house", "method", "names", "path", "receive", "scope")

    def __init__(self, house: House, scope: MutableMapping[str, Any], *, receive: Receive) -> None:
        self.house, self.scope, self.receive, self.path = house, scope, receive, plain(scope["path"])
        self.method: str = scope["method"]
        self.names: dict[str, str] = {}
        self.far = False
        self.actor = "person:unknown"

    def header(self, name: str) -> str:
        """Read a header; "" where there is none. `name` is in small letters."""
        wanted = name.encode()
        return next((value.decode("latin-1") for key, value in self.scope["headers"] if key == wanted), "")

    async def body(self) -> bytes:
        """Read the whole body; the door has limited its size."""
        message = await self.receive()
        if not message.get("more_body"):
            whole: bytes = message.get("body", b"")
            return whole
        pieces = [message.get("body", b"")]
        while message.get("more_body"):
            message = await self.receive()
            pieces.append(message.get("body", b""))
        return b"".join(pieces)


class Handled(NamedTuple):
    """One line of the table. `path` may hold `{name}` for one part of it and, at its end, `{name:path}` for the rest."""

    method: str
    path: str
    answer: "Callable[[Ask, Send], Awaitable[None]]"


def calls(
    method: str,
    path: str,
    *,
    act: Callable[[Ask, Any], Any],
    takes: type[msgspec.Struct] = Nothing,
    slow: bool = False,
) -> Handled:
    """Make a row for JSON in, JSON out: `act(ask, request)` gets the request as a `takes`, gives a struct or None.

    What takes longer than about a millisecond says `slow`, and runs in a thread. All else runs where the requests are read:
    a thread would cost more than the work. Over a store that is not in this process's own files, everything is slow.
    """
    decoder = Decoder(takes)

    async def answer(ask: Ask, send: Send) -> None:
        if method == "GET" and ask.scope["query_string"]:
            request = decoder.query(ask.scope["query_string"], names=ask.names)
        else:
            request = decoder.body(await ask.body(), names=ask.names)
        made = await asyncio.to_thread(act, ask, request) if slow or ask.far else act(ask, request)
        await send_json(send, NOTHING if made is None else made)

    return Handled(method, path, answer)


def streams(method: str, path: str, *, act: "Callable[[Ask, Send], Awaitable[None]]") -> Handled:
    """Make a row whose handler reads `ask.receive` and sends the ASGI messages of its answer itself.

    It may raise KedgeError or ProtocolError as long as it has sent nothing.
    """
    return Handled(method, path, act)


async def send_json(send: Send, made: Any, *, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Send a struct as JSON; bytes are sent as they are."""
    body = made if isinstance(made, bytes) else encode(made)
    told = [*JSON, *headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": body})


def is_ours(path: str) -> bool:
    """Say whether a path belongs to this protocol."""
    return path.startswith(PREFIXES) or path in ALONE


def plain(path: str) -> str:
    """Write a path's twin under `/ajax-api/` as the one under `/api/`."""
    return f"/api/{path[10:]}" if path.startswith("/ajax-api/") else path


class Router:
    """The protocol as one ASGI application."""

    def __init__(self, house: House, guard: Guard, *, rows: Iterable[Handled]) -> None:
        self._house, self._guard = house, guard
        self._far = not house.settings.url.startswith("sqlite")
        self.rows = tuple(rows)
        self._exact = {(row.method, row.path): row for row in self.rows if "{" not in row.path}
        self._shaped: dict[tuple[str, str], list[tuple[list[str], Handled]]] = {}
        for row in self.rows:
            if "{" in row.path:
                head = row.path.split("{")[0]
                self._shaped.setdefault((row.method, "/".join(head.split("/")[:5])), []).append((row.path.split("/"), row))
        # the policy table does not change while this runs, so it is asked once for each path that stands as it is
        self._rights = {asked: needed(*asked) for asked in self._exact}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request."""
        ask = Ask(self._house, scope, receive=receive)
        ask.far = self._far
        sent = _Sent(send)
        try:
            row = self._admit(ask)
            await row.answer(ask, sent)
        except (KedgeError, ProtocolError) as error:
            if sent.started:
                raise
            status, body = answer_to(error)
            if status == 500:
                log.error("request %s %s failed", ask.method, ask.path, exc_info=error)
            await send_json(send, body, status=status, headers=ASKS_TOKEN if status == 401 else ())
        except Refused as refused:
            if sent.started:
                raise
            await send_json(send, ErrorAnswer(code_of(refused.status), str(refused)), status=refused.status)
        except Exception as error:  # the request door
            log.error("request %s %s failed", ask.method, ask.path, exc_info=error)
            if sent.started:
                raise
            body = ErrorAnswer(INTERNAL, f"{ask.method} {ask.path} failed inside Kedge; this process's log tells why")
            await send_json(send, body, status=500)

    def _admit(self, ask: Ask) -> Handled:
        """Find the row, for one who may use it. Raises ProtocolError."""
        if ask.method == "DELETE":
            ask.path = ask.path.removesuffix("/")  # older clients delete a folder as `FOLDER/`
        who = self._guard.of_scope(ask.scope)
        asked = (ask.method, ask.path)
        right = self._rights[asked] if asked in self._rights else needed(*asked)
        if holder_is_unknown(who) and right is not Right.OPEN:
            raise ProtocolError(
                "UNAUTHENTICATED",
                "this server asks for a token: set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_PASSWORD with any user name",
            )
        ask.actor = f"person:{who.name}"
        row = self._exact.get(asked) or self._by_shape(ask)
        if row is None:
            raise self._unknown(ask)
        if right is None or who.right < right:
            wanted = right.name.lower() if right else "a row in the policy table"
            raise ProtocolError(
                "PERMISSION_DENIED", f"{who.name} has the right to {who.right.name.lower()}; this needs {wanted}"
            )
        return row

    def _by_shape(self, ask: Ask) -> Handled | None:
        parts = ask.path.split("/")
        for shape, row in self._shaped.get((ask.method, "/".join(parts[:5])), ()):
            names = _names(shape, parts)
            if names is not None:
                ask.names = names
                return row
        return None

    def _unknown(self, ask: Ask) -> ProtocolError:
        asked = f"{ask.method} {ask.path}"
        if any(ask.path.startswith(family) for family in NEVER):
            return ProtocolError(NOT_BUILT, f"{asked}: this part of MLflow (traces, prompts, gateway ...) is not built")
        others = sorted({row.method for row in self.rows if row.path == ask.path})
        if others:
            return ProtocolError(NO_ENDPOINT, f"{asked}: this method is not taken here; use {', '.join(others)}")
        return ProtocolError(NO_ENDPOINT, f"{asked}: there is nothing at this address")


# parts of MLflow that are not built: each answers with a clear code, whatever stands behind it
NEVER = (
    "/graphql",
    "/v1/traces",
    *(
        f"/api/{version}/mlflow/{family}"
        for version in ("2.0", "3.0")
        for family in (
            "assessments",
            "budget",
            "datasets",
            "demo",
            "gateway",
            "genai",
            "get-trace-artifact",
            "issues",
            "jobs",
            "label-schemas",
            "mcp-servers",
            "prompt-optimization",
            "prompts",
            "review-queues",
            "runs/create-promptlab-run",
            "scorers",
            "traces",
            "webhooks",
            "workspaces",
        )
    ),
)


def _names(shape: list[str], parts: list[str]) -> dict[str, str] | None:
    """Match the parts of a path with a shape; None where they do not fit."""
    names: dict[str, str] = {}
    for at, want in enumerate(shape):
        if want.endswith(":path}"):
            rest = "/".join(parts[at:])
            return {**names, want[1:-6]: rest} if rest else None
        if at >= len(parts):
            return None
        if want.startswith("{"):
            if not parts[at]:
                return None
            names[want[1:-1]] = parts[at]
        elif want != parts[at]:
            return None
    return names if len(shape) == len(parts) else None


class _Sent:
    """Passes an answer on, and knows whether it has begun."""

    __slots__ = ("_send", "started")

    def __init__(self, send: Send) -> None:
        self._send, self.started = send, False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        self.started = True
        await self._send(message)
