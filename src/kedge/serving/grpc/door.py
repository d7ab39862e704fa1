"""The gRPC door: six methods over what answers, the same questions and the same errors as over HTTP.

    ServerLive  ServerReady  ModelReady  ServerMetadata  ModelMetadata  ModelInfer
It serves in the event loop that HTTP is served in. A call that its client cancels cancels its question.
"""

import hmac
import logging
import time
from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import grpc
from google.protobuf.message import DecodeError

from kedge.errors import ConfigError, NotFound, PortInUse, RequestInvalid
from kedge.serving.door.application import EXTENSIONS
from kedge.serving.door.reading import BODY_LIMIT
from kedge.serving.grpc.contents import parameters_of, response_of, tensors_of, wanted_of
from kedge.serving.grpc.messages import METHODS, SERVICE, message
from kedge.serving.tracing import NOTES, RequestNotes, Traces
from kedge.serving.wire.faults import fault_of
from kedge.serving.wire.limits import deadline_of, variant_of
from kedge.serving.wire.questions import InferRequest, ServingHost

_log = logging.getLogger("kedge.serving")
_OPEN = ("ServerLive", "ServerReady")
_MOST_ID = 200
_MOST_WORDS = 2000  # a status travels in trailers, of which a client takes 8 KiB
_Answer = Callable[[Any, Any], Awaitable[Any]]


class GrpcDoor:
    """The gRPC server over what answers. With a token, all but live and ready ask for it in `authorization`. `shared`: other
    processes of the same supervisor listen on the port, too; else nobody else may. `traces` is told of inferences."""

    def __init__(
        self,
        host: ServingHost,
        *,
        token: str | None = None,
        version: str = "",
        body_limit: int = BODY_LIMIT,
        shared: bool = False,
        traces: Traces | None = None,
    ) -> None:
        self._host, self._version, self._traces = host, version, traces
        self._bearer = f"Bearer {token}".encode() if token else None
        # Names and numbers beside the tensors are given room of their own.
        self._shared = shared
        limits = [
            ("grpc.so_reuseport", int(shared)),
            ("grpc.max_receive_message_length", body_limit + 2**16),
            ("grpc.max_send_message_length", -1),
        ]
        self._server = grpc.aio.server(options=[*limits, ("grpc.max_metadata_size", 2**14)])
        answers = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._model_infer,
        }
        handlers = {name: self._handler(name, answers[name]) for name in METHODS}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    async def start(self, host: str, port: int) -> int:
        """Listen and serve; port 0 takes a free one. Gives the port. Raises PortInUse, ConfigError."""
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            bound: int = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise PortInUse(f"gRPC cannot listen on {address}: {error}; choose another with --grpc-port") from error
        if not bound:
            raise ConfigError(f"gRPC cannot listen on {address}")
        await self._server.start()
        return bound

    async def stop(self, grace: float) -> None:
        """Take no new calls, finish those in flight within `grace` seconds, then end."""
        await self._server.stop(grace)

    def _handler(self, name: str, answer: _Answer) -> grpc.RpcMethodHandler:
        kind = message(f"{name}Request")

        async def answered(raw: bytes, context: Any) -> Any:
            model = ""
            notes, began = RequestNotes(), time.monotonic()
            status, code, said = 200, grpc.StatusCode.OK, ""
            if tells := self._traces is not None and name == "ModelInfer":
                NOTES.set(notes)
            try:
                if name not in _OPEN:
                    self._require_token(context)
                request = _read(kind, raw)
                model = request.model_name if name == "ModelInfer" else ""
                return (await answer(request, context)).SerializeToString()
            except (CancelledError, grpc.aio.AbortError):
                code = grpc.StatusCode.CANCELLED
                raise
            except Exception as error:  # the request door
                status, code, said = _apology(error)
            finally:
                if tells:
                    self._tell(context, notes, code=code, failed=status >= 500, began=began)
            if name == "ModelInfer":
                self._host.refused(model, status=status)
            await context.abort(code, said[:_MOST_WORDS])

        return grpc.unary_unary_rpc_method_handler(answered)

    def _tell(self, context: Any, notes: RequestNotes, *, code: grpc.StatusCode, failed: bool, began: float) -> None:
        if self._traces is not None:
            method = {"rpc.system": "grpc", "rpc.service": SERVICE, "rpc.method": "ModelInfer"}
            self._traces.end(
                f"{SERVICE}/ModelInfer",
                notes,
                traceparent=_metadata(context).get("traceparent", ""),
                failed=failed,
                began=began,
                known={**method, "rpc.grpc.status_code": code.value[0]},
            )

    def _require_token(self, context: Any) -> None:
        if self._bearer is None:
            return
        given = _metadata(context).get("authorization", "")
        if not hmac.compare_digest(given.encode(), self._bearer):
            raise _Unauthenticated

    async def _server_live(self, request: Any, context: Any) -> Any:
        return message("ServerLiveResponse")(live=True)

    async def _server_ready(self, request: Any, context: Any) -> Any:
        return message("ServerReadyResponse")(ready=self._host.ready())

    async def _model_ready(self, request: Any, context: Any) -> Any:
        number = _number(request.version)
        if number is not None:
            await self._host.prepare(request.name, number)
        ready = self._host.ready(request.name, number)
        return message("ModelReadyResponse")(ready=ready)

    async def _server_metadata(self, request: Any, context: Any) -> Any:
        return message("ServerMetadataResponse")(name="kedge", version=self._version, extensions=EXTENSIONS)

    async def _model_metadata(self, request: Any, context: Any) -> Any:
        number = _number(request.version)
        await self._host.prepare(request.name, number)
        told = self._host.metadata(request.name, number)
        response = message("ModelMetadataResponse")(name=told.name, versions=told.versions, platform=told.platform)
        for tensors, into in ((told.inputs, response.inputs), (told.outputs, response.outputs)):
            for tensor in tensors:
                into.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        return response

    async def _model_infer(self, request: Any, context: Any) -> Any:
        received = time.monotonic()
        given, parameters = _metadata(context), parameters_of(request.parameters)
        if len(request.id) > _MOST_ID:
            raise RequestInvalid(f"id has more than {_MOST_ID} characters")
        left = context.time_remaining()
        question = InferRequest(
            model=request.model_name,
            inputs=tensors_of(request),
            version=_number(request.model_version),
            id=request.id or None,
            parameters=parameters,
            outputs=wanted_of(request),
            deadline=deadline_of(parameters) if left is None else time.monotonic() + left,
            variant=variant_of(given.get("kedge-variant")),
            entity=given.get("kedge-entity"),
            body=request.SerializeToString(deterministic=True) if request.id else None,
            received=received,
        )
        answer = await self._host.ask(question)
        began = time.monotonic()
        response = response_of(answer, raw=bool(request.raw_input_contents))
        if answer.serialized is not None:
            answer.serialized(time.monotonic() - began)
        return response


def _read(kind: Any, raw: bytes) -> Any:
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise RequestInvalid(f"the message is no {kind.DESCRIPTOR.full_name}: {error}") from error


class _Unauthenticated(Exception):
    """A call without the token."""


def _metadata(context: Any) -> dict[str, str]:
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}


def _number(version: str) -> int | None:
    if not version:
        return None
    if not (version.isascii() and version.isdigit() and len(version) < 10):
        raise NotFound(f"there is no version {version[:40]!r}; versions are numbers")
    return int(version)


def _apology(error: Exception) -> tuple[int, grpc.StatusCode, str]:
    """Say what went wrong: the HTTP status that equals it, the code, the words."""
    if isinstance(error, _Unauthenticated):
        return 401, grpc.StatusCode.UNAUTHENTICATED, "this server asks for a token: authorization: Bearer TOKEN"
    fault = fault_of(error)
    if fault.status != 500:
        return fault.status, grpc.StatusCode[fault.grpc], str(error)
    incident = uuid4().hex
    _log.error("request %s failed", incident, exc_info=error)
    return 500, grpc.StatusCode.INTERNAL, f"a fault of this server, not of your request; its log names it {incident}"
