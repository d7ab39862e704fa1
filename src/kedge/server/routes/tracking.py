"""/api/v1/runs...: what Kedge's own client writes, as JSON or MessagePack, and the history of a metric as columns.

A write that is sent again changes nothing: ids are the client's, points are named by their values.
"""

import sys
from array import array
from collections.abc import Sequence
from math import isfinite
from typing import Annotated, TypeVar

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.datastructures import State as Shared
from litestar.params import FromPath, FromQuery, QueryParameter, RawBody

from kedge.domain.ids import RunId
from kedge.domain.told import ModelTold, RunBegan, RunEnded
from kedge.domain.tracking import LoggedModel, Point
from kedge.errors import RequestInvalid
from kedge.server import wire
from kedge.server.guard import actor_of
from kedge.server.routes.given import ANSWERS, TheHouse

T = TypeVar("T")
Asked = Request[None, None, Shared]
PACKED = "application/msgpack"
POINTS_AT_MOST = 100_000
Limit = Annotated[int, QueryParameter(ge=1, le=POINTS_AT_MOST, description="How many points at most.")]
Token = Annotated[str, QueryParameter(name="page", description="The `next` of the page before; opaque.")]


class Tellings(Controller):
    """What a client tells of its runs."""

    path = "/api/v1"

    @post("/runs/{run:str}/begin", sync_to_thread=True, status_code=201, responses=ANSWERS)
    def begin(self, request: Asked, house: TheHouse, body: RawBody, run: FromPath[str]) -> wire.OneRun:
        """Begin a run under an id of the client's choice, in the experiment of this name."""
        told = given(request, body, kind=RunBegan)
        _require_same(told.run, run)
        return wire.OneRun(run=house.telling.begin(told, actor=actor_of(request)))

    @post("/runs/{run:str}/log", sync_to_thread=True, status_code=202, responses=ANSWERS)
    def log(self, request: Asked, house: TheHouse, body: RawBody, run: FromPath[str]) -> wire.PointsTaken:
        """Log points ([key, value, at, step]), params, tags and datasets: all of it or nothing, and once."""
        told = given(request, body, kind=wire.LogGiven)
        points = [point.told() for point in told.points]
        house.telling.log(RunId(run), points=points, params=told.params, tags=told.tags, datasets=told.datasets)
        return wire.PointsTaken(points=len(points))

    @post("/runs/{run:str}/end", sync_to_thread=True, status_code=200, responses=ANSWERS)
    def end(self, request: Asked, house: TheHouse, body: RawBody, run: FromPath[str]) -> wire.OneRun:
        """End a run: finished, failed or killed."""
        told = given(request, body, kind=RunEnded)
        _require_same(told.run, run)
        house.telling.end(told, actor=actor_of(request))
        return wire.OneRun(run=house.logging.get_run(RunId(run)).run)

    @post("/runs/{run:str}/models", sync_to_thread=True, status_code=201, responses=ANSWERS)
    def model(self, request: Asked, house: TheHouse, body: RawBody, run: FromPath[str]) -> LoggedModel:
        """Note a model that a run makes, under an id of the client's choice; `whole` says that its files are all there."""
        told = given(request, body, kind=ModelTold)
        _require_same(told.run, run)
        return house.telling.model(told, actor=actor_of(request))

    @get("/runs/{run:str}/history", sync_to_thread=True, responses=ANSWERS)
    def history(  # noqa: PLR0917 - called by name
        self,
        request: Asked,
        house: TheHouse,
        run: FromPath[str],
        key: FromQuery[str],
        limit: Limit = 10_000,
        token: Token = "",
    ) -> Response[bytes]:
        """Read what a run measured under a key, as columns in the order of time: `at` (ms), `steps`, `values`. With Accept:
        application/msgpack each column is its numbers' bytes, little-endian int64 or float64."""
        page = house.logging.history(RunId(run), key, limit=limit, page=token)
        is_packed = PACKED in request.headers.get("accept", "")
        data = packed_columns(page.items, page.next) if is_packed else plain_columns(page.items, page.next)
        return Response(data, media_type=PACKED if is_packed else "application/json")


def given(request: Asked, body: bytes, *, kind: type[T]) -> T:
    """Read a body, JSON or MessagePack as its content type says. Raises RequestInvalid."""
    is_packed = request.headers.get("content-type", "").split(";", maxsplit=1)[0].strip().lower() == PACKED
    try:
        return msgspec.msgpack.decode(body, type=kind) if is_packed else msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestInvalid(f"the body does not fit: {error}") from None


def packed_columns(points: Sequence[Point], token: str) -> bytes:
    """Write points as columns of bytes."""
    columns: dict[str, array[int] | array[float]] = {
        "at": array("q", [point[0] for point in points]),
        "steps": array("q", [point[1] for point in points]),
        "values": array("d", [point[2] for point in points]),
    }
    if sys.byteorder != "little":
        for column in columns.values():
            column.byteswap()
    return msgspec.msgpack.encode({**{name: column.tobytes() for name, column in columns.items()}, "next": token})


def plain_columns(points: Sequence[Point], token: str) -> bytes:
    """Write points as columns of JSON numbers; NaN and infinities, which JSON lacks, are strings."""
    at, steps, values = zip(*points, strict=True) if points else ((), (), ())
    written = [value if isfinite(value) else wire.number_word(value) for value in values]
    return msgspec.json.encode({"at": at, "steps": steps, "values": written, "next": token})


def _require_same(told: RunId, run: str) -> None:
    if told != run:
        raise RequestInvalid(f"the body is about run {told!r}, the address about {run!r}; send one of them")
