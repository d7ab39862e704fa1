"""What surrounds a plane in the tests: rooms that answer from memory, a clock set by hand, an ASGI caller."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
from tests.unit.memory_journal import MemoryJournal

from kedge.domain.data import Column, ColumnType
from kedge.domain.evaluation import Task
from kedge.domain.features import FeatureService, FeatureView
from kedge.domain.ids import Digest, ModelName, RunId
from kedge.domain.records import decode_batch
from kedge.domain.registry import Servable, Signature
from kedge.domain.rollout import Deployment
from kedge.errors import ModelRefused, NotFound, StoreFull
from kedge.serving.door.application import HttpDoor
from kedge.serving.host import Host
from kedge.serving.log import PredictionLog
from kedge.serving.plane import DEFAULTS, Limits
from kedge.serving.wire.decoding import JsonReader
from kedge.serving.wire.questions import InferRequest

MODEL = ModelName("flights")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

PLANES = FeatureView(name="planes", entity="tailnum", source="planes.csv", time="built_at", features=("age",))
SERVICE = FeatureService(
    name="delay", request=("distance", "hour", "carrier", "night", "note"), views=(PLANES,), drop=("note",)
)
SIGNATURE = Signature(
    inputs=(
        Column(name="distance", type=ColumnType.FLOAT),
        Column(name="hour", type=ColumnType.INTEGER),
        Column(name="carrier", type=ColumnType.STRING, categories=("AA", "UA")),
        Column(name="night", type=ColumnType.BOOLEAN),
        Column(name="planes__age", type=ColumnType.FLOAT),
    ),
    task=Task.CLASSIFICATION,
    output="late",
    positive="1",
)
NUMERIC = FeatureService(name="numbers", request=("a", "b"))
NUMBERS = Signature(
    inputs=(Column(name="a", type=ColumnType.FLOAT), Column(name="b", type=ColumnType.INTEGER)),
    task=Task.REGRESSION,
    output="value",
)


class Clock:
    """A clock that stands."""

    def now(self) -> datetime:
        return NOW


class Ids:
    """Ids counted from 1."""

    def __init__(self) -> None:
        self.last = 0

    def __call__(self) -> str:
        self.last += 1
        return f"id-{self.last}"


@dataclass
class Served:
    features: dict[str, list[Any]]
    as_of: dict[str, list[datetime | None]]


class Reader:
    """Gives each plane an age of as many years as its tail number has letters."""

    def __init__(self, service: FeatureService) -> None:
        self.service = service
        self.asked: list[tuple[dict[str, list[Any]], datetime]] = []
        self.error: Exception | None = None

    def read(self, columns: dict[str, list[Any]], at: datetime) -> Served:
        self.asked.append((columns, at))
        if self.error is not None:
            raise self.error
        columns = dict(columns)
        as_of: dict[str, list[datetime | None]] = {}
        if self.service.views:
            tails = columns["tailnum"]
            columns["planes__age"] = [None if tail is None else float(len(str(tail))) for tail in tails]
            as_of["planes"] = [None if tail is None else at for tail in tails]
        return Served({name: columns[name] for name in self.service.columns()}, as_of)


class Evaluation:
    """Version N answers N / 10; or what is put into `answers`, or raises what is put there, or what that gives for rows."""

    def __init__(self) -> None:
        self.answers: dict[int, Any] = {}
        self.calls: list[tuple[int, int]] = []

    def take(self, model: Servable) -> "Version":
        return Version(self, model.number)

    def score(self, number: int, matrix: Any) -> Any:
        self.calls.append((number, len(matrix)))
        answer = self.answers.get(number, number / 10)
        if callable(answer):
            return answer(matrix)
        if isinstance(answer, BaseException):
            raise answer
        return np.full(len(matrix), answer)


class Version:
    """A loaded version."""

    def __init__(self, evaluation: Evaluation, number: int) -> None:
        self.evaluation, self.number = evaluation, number

    def predict(self, matrix: Any) -> Any:
        return self.evaluation.score(self.number, matrix)


class Registry:
    """Has versions 1 to 8, and verifies everything but those in `broken`. `others` and `demanding` say of single versions
    what they read, and which columns must have a value."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self.required: tuple[str, ...] = ()
        self.others: dict[int, Signature] = {}
        self.demanding: dict[int, tuple[str, ...]] = {}
        self.broken: set[int] = set()
        self.verified: list[int] = []

    def servable(self, model: ModelName, number: int) -> Servable:
        if number > 8:
            raise NotFound(f"model {model!r} has no version {number}")
        signature, required = self.others.get(number, self.signature), self.demanding.get(number, self.required)
        return msgspec.structs.replace(version_of(number, signature, model), required=required)

    def verify(self, version: Servable) -> None:
        self.verified.append(version.number)
        if version.number in self.broken:
            raise ModelRefused(f"version {version.number} answers otherwise")


class Deployments:
    def __init__(self) -> None:
        self.rows: list[Deployment] = []
        self.error: Exception | None = None

    def find(self, model: ModelName, revision: int | None = None) -> Deployment | None:
        if self.error is not None:
            raise self.error
        return next((row for row in reversed(self.rows) if row.model == model), None)

    def names(self) -> list[ModelName]:
        return list(dict.fromkeys(row.model for row in self.rows))

    def deploy(self, champion: int, challenger: int | None = None, *, model: ModelName = MODEL, **more: Any) -> None:
        self.rows.append(
            Deployment(
                model=model,
                revision=1 + sum(row.model == model for row in self.rows),
                champion=champion,
                challenger=challenger,
                since=NOW,
                actor="policy:test",
                reason="a test",
                **more,
            )
        )


class Journal(MemoryJournal):
    """A journal whose disk can be full."""

    def __init__(self) -> None:
        super().__init__()
        self.full = False
        self.syncs = 0

    def append(self, payload: bytes) -> Any:
        if self.full:
            raise StoreFull("no space left")
        return super().append(payload)

    def append_all(self, payloads: Any) -> Any:
        if self.full:
            raise StoreFull("no space left")
        return super().append_all(payloads)

    def sync(self) -> None:
        self.syncs += 1


@dataclass
class Around:
    """A plane and all that surrounds it."""

    service: FeatureService = SERVICE
    signature: Signature = SIGNATURE
    sticky: str = "flight_id"
    replay_clock: bool = False
    token: str | None = None
    deployments: Deployments = field(default_factory=Deployments)
    limits: Limits = DEFAULTS
    only: list[str] | None = None
    evaluation: Evaluation = field(default_factory=Evaluation)
    journal: Journal = field(default_factory=Journal)

    def __post_init__(self) -> None:
        self.reader, self.registry = Reader(self.service), Registry(self.signature)
        self.host = Host(
            model=MODEL,
            service=self.service,
            sticky=self.sticky,
            deployments=self.deployments,
            registry=self.registry,
            shelf=self.evaluation,
            size=lambda servable: 1000,
            reader=self.reader if self.service.views else None,
            log=PredictionLog(self.journal),
            clock=Clock(),
            limits=self.limits,
            only=self.only,
            replay_clock=self.replay_clock,
            new_id=Ids(),
        )
        (self.plane,) = self.host.planes
        self.app = HttpDoor(self.host, token=self.token, version="9")

    def deployed(self, champion: int = 1, challenger: int | None = None, **more: Any) -> "Around":
        self.deployments.deploy(champion, challenger, **more)
        self.plane.refresh()
        return self

    def logged(self) -> list[Any]:
        return [decode_batch(payload) for _, payload in self.journal.scan()]

    def call(self, method: str, path: str, body: Any = b"", **more: Any) -> "Response":
        return call(self.app, method, path, body, host=self.host, **more)

    def infer(self, body: Any, **more: Any) -> "Response":
        return self.call("POST", "/v2/models/flights/infer", body, **more)


@dataclass
class Response:
    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    def output(self, name: str) -> Any:
        return next(each["data"] for each in self.json["outputs"] if each["name"] == name)


def call(
    app: HttpDoor,
    method: str,
    path: str,
    body: Any = b"",
    *,
    headers: Mapping[str, str] | None = None,
    client: tuple[str, int] | None = ("127.0.0.1", 1),
    messages: list[dict[str, Any]] | None = None,
    host: Host | None = None,
) -> Response:
    """Call an ASGI application in this process, and wait for the shadows of its host."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    waiting = messages or [{"type": "http.request", "body": data, "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    wire = {"content-type": "application/json", **(headers or {})}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.lower().encode(), value.encode()) for name, value in wire.items() if value],
        "client": client,
    }

    async def answered() -> None:
        await app(scope, receive, send)
        if host is not None:
            await settled(host)

    asyncio.run(answered())
    if not sent:
        return Response(0, {}, b"")
    return Response(sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"])


async def settled(host: Host) -> None:
    """Wait until what was copied to versions in shadow is logged."""
    await asyncio.sleep(0)  # copies leave after the answers
    assert await host.settled(60.0)


def version_of(number: int, signature: Signature, model: ModelName = MODEL) -> Servable:
    return Servable(
        model=model,
        number=number,
        digest=Digest(f"{number:064d}"),
        format="sklearn",
        example=Digest(""),
        signature=signature,
        service="delay",
        run=RunId(f"run{number}"),
    )


def question_of(body: bytes, model: str = MODEL) -> InferRequest:
    """Read a body as the doors do."""
    read = JsonReader().read(body)
    return InferRequest(
        model=model, inputs=read.inputs, id=read.id, parameters=read.parameters, outputs=read.outputs, body=body
    )


def tensor(name: str, datatype: str, data: list[Any], shape: list[int] | None = None) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}


def body_of(rows: int = 2, **more: Any) -> dict[str, Any]:
    """A request of `rows` good rows; `more` replaces or, where None, leaves out."""
    tensors = {
        "tailnum": tensor("tailnum", "BYTES", [f"N{row}" for row in range(rows)]),
        "distance": tensor("distance", "FP64", [100.5 + row for row in range(rows)]),
        "hour": tensor("hour", "INT64", [row % 24 for row in range(rows)]),
        "carrier": tensor("carrier", "BYTES", ["AA", "UA"][:1] * rows),
        "night": tensor("night", "BOOL", [False] * rows),
        "note": tensor("note", "BYTES", ["x"] * rows),
        "flight_id": tensor("flight_id", "BYTES", [f"F{row}" for row in range(rows)]),
    }
    tensors.update({name: value for name, value in more.items() if name not in ("id", "outputs", "parameters")})
    request = {key: more[key] for key in ("id", "outputs", "parameters") if key in more}
    return {"id": "r1", **request, "inputs": [value for value in tensors.values() if value is not None]}
