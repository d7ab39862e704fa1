"""The data plane over HTTP: a raw ASGI application. Decode, one question, encode; no framework on the hot path.

An error is `{"error": "..."}`: 4xx is the caller's to mend, 422 the model's refusal, 503 to be asked again, 500 ours. Which
path names what is in `paths.py`, what an error is on the wire in `wire/faults.py`.
"""

import hmac
import logging
from asyncio import CancelledError, Future
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from ipaddress import ip_address
from time import monotonic
from typing import Any
from uuid import uuid4

import msgspec

from kedge.errors import KedgeError, NotFound, RequestInvalid
from kedge.serving.door.callers import ANY, Callers
from kedge.serving.door.heads import Head, KnownHeads, read_head, text_of
from kedge.serving.door.paths import OPEN, Destination, place_of
from kedge.serving.door.reading import (
    BODY_LIMIT,
    CallerGone,
    Given,
    Headers,
    HttpRefusal,
    Receive,
    Scope,
    Send,
    is_csv,
    read_body,
)
from kedge.serving.pending import Pending
from kedge.serving.wire.answers import encode_answer
from kedge.serving.wire.binary import read_binary
from kedge.serving.wire.decoding import JsonReader
from kedge.serving.wire.faults import fault_of, retry_seconds
from kedge.serving.wire.limits import deadline_of, patience_of, variant_of
from kedge.serving.wire.questions import InferRequest, InferResponse, ServingHost
from kedge.serving.wire.rows import encode_predictions, encode_rows, read_csv, read_rows, wanted

EXTENSIONS = ("binary_tensor_data",)
"""The extensions of the protocol that both doors speak."""

CARRIER = "kedge.carrier"
"""Where a scope's extensions name the connection that is to cancel what its caller no longer waits for."""

AskedInference = tuple[InferRequest, bool]
"""A question, and whether its answer is wanted in binary where its outputs do not say."""

_log = logging.getLogger("kedge.serving")
_DIRECT = 256
_encode = msgspec.json.Encoder().encode
_JSON: Headers = ((b"content-type", b"application/json"),)
_BINARY = (b"content-type", b"application/octet-stream")
_ID = b"x-request-id"


class HttpReply(msgspec.Struct, frozen=True, gc=False):
    """What goes back."""

    status: int
    body: bytes
    headers: Headers = _JSON


class HttpDoor:
    """The ASGI application over what answers. With a token, all but `/v2` and the health routes
    ask for it as a bearer; without one, only callers are answered who name it as one of `hosts`.

    `direct` are the targets, as they come over the wire, at which an inference was answered, `heads` the whole heads that
    `takes` agreed to: `direct.py` takes their requests from the connection. `begin` and `end` are the same for both ways.
    """

    def __init__(
        self,
        host: ServingHost,
        *,
        token: str | None = None,
        version: str = "",
        body_limit: int = BODY_LIMIT,
        hosts: Collection[str] = (ANY,),
    ) -> None:
        self._callers = Callers(hosts)
        self._host, self._version, self._limit = host, version, body_limit
        self._bearer = f"Bearer {token}".encode() if token else None
        self.ask: Callable[[InferRequest], Any] = host.ask
        self.direct: dict[bytes, Destination] = {}
        self.heads = KnownHeads()
        self._readers: dict[str, JsonReader] = {}
        self._answers: Mapping[str, Callable[..., Awaitable[HttpReply]]] = {
            "infer": self._infer,
            "predict": self._predict,
            "invocations": self._predict,
            "refresh": self._refresh,
        }
        self._told: Mapping[str, Callable[[Destination], object]] = {
            "server": lambda place: {"name": "kedge", "version": self._version, "extensions": EXTENSIONS},
            "live": lambda place: {"live": True},
            "ready": self._ready,
            "models": lambda place: {"models": self._host.models()},
            "metadata": lambda place: self._host.metadata(place.model, place.version),
            "model_ready": self._ready,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request (ASGI 3). Whatever happens, the caller gets an answer."""
        place = None
        try:
            path = scope["raw_path"].decode("latin-1") if "raw_path" in scope else scope["path"]
            place = place_of(path)
            given = dict(scope["headers"])
            self._callers.require(given, scope["method"])
            self._require_token(given, path)
            _require_method(scope, place)
            if answer := self._answers.get(place.answer):
                reply = await answer(place, given, scope=scope, receive=receive)
            elif place.answer == "metrics":
                kind, text = self._host.exposition(given.get(b"accept", b"").decode("latin-1"))
                reply = HttpReply(200, text, [(b"content-type", kind.encode())])
            else:
                if place.answer == "metadata" or place.version is not None:
                    await self._host.prepare(place.model, place.version)
                reply = HttpReply(200, _encode(self._told[place.answer](place)))
        except CallerGone:
            return
        except Exception as error:  # the request door
            reply = self.refusal(place, error)
        headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body))]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    def refusal(self, place: Destination | None, error: Exception) -> HttpReply:
        """Write what a caller is told of an error, and count it."""
        reply = _apology(error)
        if place is not None and place.infers:
            self._host.refused(place.model or self._first(), status=reply.status)
        return reply

    def _require_token(self, given: Given, path: str) -> None:
        if path.rstrip("/") not in OPEN and not self._admits(given):
            raise HttpRefusal(
                401, "this server asks for a token: Authorization: Bearer TOKEN", (b"www-authenticate", b"Bearer")
            )

    def _admits(self, given: Given) -> bool:
        return self._bearer is None or hmac.compare_digest(given.get(b"authorization", b""), self._bearer)

    def _ready(self, place: Destination) -> object:
        if not self._host.ready(place.model or None, place.version):
            what = f"model {place.model!r}" if place.model else "a model of this server"
            raise HttpRefusal(503, f"{what} is not ready to answer yet", (b"retry-after", b"1"))
        return {"name": place.model, "ready": True} if place.model else {"ready": True}

    def _first(self) -> str:
        return next(iter(self._host.models()), "")

    async def _infer(self, place: Destination, given: Given, *, scope: Scope, receive: Receive) -> HttpReply:
        head = read_head(place, given)
        asked = self.begin(head, await read_body(given, receive, limit=self._limit))
        reply = self.end(await self._answer(asked[0], scope), asked)
        if len(self.direct) < _DIRECT:
            self.direct[scope.get("raw_path", b"")] = place
        return reply

    def takes(self, target: bytes, given: Given) -> Head | None:
        """Give the head of a request if an inference was answered at its target before, and it is as plain as that; what
        is wrong with any other, the long way says."""
        place = self.direct.get(target)
        if place is None or b"content-encoding" in given or b"transfer-encoding" in given:
            return None
        if not (self._callers.plain(given) and self._admits(given)):
            return None
        try:
            head = read_head(place, given)
        except (HttpRefusal, RequestInvalid):
            return None
        return head if 0 <= head.length <= self._limit else None

    def begin(self, head: Head, raw: bytes, *, alone: bool = False) -> AskedInference:
        """Read an inference request; `alone` where no other caller is connected. Raises RequestInvalid."""
        received = monotonic()
        model = head.place.model
        reader = self._readers.get(model) or self._reader(model)
        body = reader.read(raw) if head.json is None else read_binary(raw, header=head.json)
        question = InferRequest(
            model=model,
            inputs=body.inputs,
            version=head.place.version,
            id=body.id,
            parameters=body.parameters,
            outputs=body.outputs,
            deadline=deadline_of(body.parameters, head.seconds) if body.parameters or head.seconds else None,
            variant=head.variant,
            entity=head.entity,
            body=raw if body.id else None,
            received=received,
            alone=alone,
        )
        return question, body.binary

    def end(self, answer: InferResponse, asked: AskedInference) -> HttpReply:
        """Write the answer to an inference request."""
        began = monotonic()
        encoded = encode_answer(answer, asked[0], binary=asked[1])
        if answer.serialized is not None:
            answer.serialized(monotonic() - began)
        if encoded.header is None:
            return HttpReply(200, encoded.body, _headers(answer))
        length = (b"inference-header-content-length", b"%d" % encoded.header)
        return HttpReply(200, encoded.body, [_BINARY, length, *_headers(answer)[1:]])

    async def _predict(self, place: Destination, given: Given, *, scope: Scope, receive: Receive) -> HttpReply:
        model = place.model or self._only()
        as_csv = is_csv(given)
        raw = await read_body(given, receive, limit=self._limit)
        await self._host.prepare(model, place.version)
        metadata = self._host.metadata(model, place.version)
        rows = read_csv(raw, metadata) if as_csv else read_rows(raw, metadata)
        question = InferRequest(
            model=model,
            inputs=rows.inputs,
            version=place.version,
            id=rows.id,
            parameters=rows.parameters,
            outputs=wanted(metadata, readable=rows.readable),
            deadline=deadline_of(rows.parameters, patience_of(given.get(b"kedge-timeout"))),
            variant=variant_of(given.get(b"kedge-variant")),
            entity=text_of(given.get(b"kedge-entity")),
            body=raw if rows.id else None,
        )
        answer = await self._answer(question, scope)
        return HttpReply(200, encode_rows(answer) if rows.readable else encode_predictions(answer), _headers(answer))

    def _only(self) -> str:
        models = self._host.models()
        if not models:
            raise NotFound("no model is deployed here yet")
        if len(models) > 1:
            raise NotFound(f"several models are served here: {', '.join(models)}; name one: /v1/models/NAME:predict")
        return models[0]

    async def _answer(self, question: InferRequest, scope: Scope) -> InferResponse:
        """Ask, and let the connection cancel the question when its caller goes away."""
        asked = self._host.ask(question)
        carrier = scope["extensions"].get(CARRIER) if "extensions" in scope else None
        if carrier is None or not isinstance(asked, Pending | Future):
            return await asked
        carrier.asked = asked
        try:
            answer: InferResponse = await asked
            return answer
        except CancelledError:
            raise CallerGone from None
        finally:
            carrier.asked = None

    def _reader(self, model: str) -> JsonReader:
        """Give a model's reader; a name that no model has is none to be remembered."""
        if model not in self._host.models():
            return JsonReader()
        return self._readers.setdefault(model, JsonReader())

    async def _refresh(self, place: Destination, given: Given, *, scope: Scope, receive: Receive) -> HttpReply:
        client = scope.get("client")
        if not client or not ip_address(client[0]).is_loopback:
            raise HttpRefusal(403, "only this machine may ask for a refresh; the deployment is followed anyhow")
        try:
            revision = await self._host.refresh(place.model)
        except NotFound:
            raise
        except KedgeError as error:
            raise HttpRefusal(503, f"the newest revision cannot be served, the one before still is: {error}") from error
        return HttpReply(200, _encode({"name": place.model, "revision": revision}))


def _headers(answer: InferResponse) -> Headers:
    # An id is the caller's own text: into a header goes only what cannot end a line.
    if answer.id.isascii() and answer.id.isprintable():
        return [*_JSON, (_ID, answer.id.encode())]
    return _JSON


def _require_method(scope: MutableMapping[str, Any], place: Destination) -> None:
    # A server drops the body of an answer to HEAD by itself.
    method = scope["method"]
    if method != place.method and (place.method, method) != ("GET", "HEAD"):
        allow = place.method.encode()
        raise HttpRefusal(405, f"{method} is not for {scope['path'][:200]}; use {place.method}", (b"allow", allow))


def _apology(error: Exception) -> HttpReply:
    if isinstance(error, HttpRefusal):
        return _error(error.status, str(error), *error.headers)
    fault = fault_of(error)
    if fault.status == 503:
        return _error(503, str(error), (b"retry-after", b"%d" % retry_seconds(error)))
    if fault.status != 500:
        return _error(fault.status, str(error))
    incident = uuid4().hex
    _log.error("request %s failed", incident, exc_info=error)
    return _error(500, f"a fault of this server, not of your request; its log names it {incident}")


def _error(status: int, message: str, *headers: tuple[bytes, bytes]) -> HttpReply:
    # A message may quote a name with half a surrogate pair, which no JSON can hold.
    text = message.encode("utf-8", "replace").decode()
    return HttpReply(status, _encode({"error": text}), [*_JSON, *headers])
