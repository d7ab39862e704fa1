"""/api/2.0/mlflow/metrics/...: what was measured in runs, point by point, whole or thinned out.

A series may have millions of points: an answer is read, written and sent a piece at a time, so that memory stays bounded.
"""

import asyncio
import zlib
from collections.abc import Sequence
from math import isfinite
from typing import Protocol

import msgspec

from kedge.domain.ids import RunId
from kedge.domain.tracking import Point
from kedge.security.hosts import is_loopback
from kedge.server.mlflow import checks
from kedge.server.mlflow.entities import told_value
from kedge.server.mlflow.errors import INVALID, ProtocolError
from kedge.server.mlflow.router import JSON, Ask, Handled, Send, calls, streams
from kedge.server.mlflow.wire import Decoder, Int, Text, encode

PIECE = 20_000
BULK_POINTS = 25_000
BULK_RUNS = 100
SAMPLED = 2_500
_WORTH_PACKING = 65_536


class GetHistory(msgspec.Struct, frozen=True):
    """Read a series."""

    run_id: Text
    metric_key: Text
    page_token: str = ""
    max_results: Int | None = None


class HistoryPoint(msgspec.Struct, frozen=True):
    """A point of a series."""

    key: str
    value: float | str
    timestamp: int
    step: int


class BulkHistory(msgspec.Struct, frozen=True):
    """Read a metric's series in several runs."""

    metric_key: Text
    run_id: tuple[str, ...] = ()
    max_results: Int = BULK_POINTS


class BulkInterval(msgspec.Struct, frozen=True):
    """Read a metric's series in several runs, so many points of each at most."""

    run_ids: tuple[str, ...]
    metric_key: Text
    start_step: Int | None = None
    end_step: Int | None = None
    max_results: Int = SAMPLED


class RunPoint(msgspec.Struct, frozen=True):
    """A point of a run's series."""

    key: str
    value: float | str
    timestamp: int
    step: int
    run_id: str


class RunPoints(msgspec.Struct, frozen=True, omit_defaults=True):
    """Points of several runs."""

    metrics: tuple[RunPoint, ...] = ()


class Packer(Protocol):
    """Packs a stream of bytes, as zlib's object does."""

    def compress(self, data: bytes, /) -> bytes:
        """Take some bytes, give those that are ready."""
        ...

    def flush(self) -> bytes:
        """Give the rest."""
        ...


_history = Decoder(GetHistory)


async def history(ask: Ask, send: Send) -> None:
    """Send a series, a piece at a time; with `max_results`, that many points and the token of the rest."""
    sent = _history.query(ask.scope["query_string"], names={})
    checks.page_size(sent.max_results, most=2**31 - 1)
    piece, page, left = await asyncio.to_thread(_piece, ask, sent, page=sent.page_token, left=sent.max_results)
    packer = zlib.compressobj(1, wbits=31) if len(piece) > _WORTH_PACKING and _packs(ask) else None
    headers = [*JSON, *([(b"content-encoding", b"gzip"), (b"vary", b"accept-encoding")] if packer else [])]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    body = b'{"metrics":[' + piece
    while page and left != 0:
        await _send_piece(send, body, packer=packer)
        piece, page, left = await asyncio.to_thread(_piece, ask, sent, page=page, left=left)
        body = b"," + piece
    body += b"]" + (b',"next_page_token":' + encode(page) if page else b"") + b"}"
    await send({"type": "http.response.body", "body": packer.compress(body) + packer.flush() if packer else body})


async def _send_piece(send: Send, body: bytes, *, packer: Packer | None) -> None:
    packed = await asyncio.to_thread(packer.compress, body) if packer else body
    await send({"type": "http.response.body", "body": packed, "more_body": True})


def _piece(ask: Ask, sent: GetHistory, *, page: str, left: int | None) -> tuple[bytes, str, int | None]:
    """Read and write the next points: bytes without brackets, the token of what comes after, how many may still come."""
    wanted = PIECE if left is None else min(PIECE, left)
    found = ask.house.logging.history(RunId(sent.run_id), sent.metric_key, limit=wanted, page=page)
    return _written(sent.metric_key, found.items), found.next, None if left is None else left - len(found.items)


def _written(key: str, points: Sequence[Point]) -> bytes:
    if all(isfinite(value) for _, _, value in points):
        rows = [HistoryPoint(key, value, at, step) for at, step, value in points]
    else:
        rows = [HistoryPoint(key, told_value(value), at, step) for at, step, value in points]
    return encode(rows)[1:-1]


def _packs(ask: Ask) -> bool:
    """Tell whether packing helps: the client takes it, and is on another machine."""
    client = ask.scope.get("client")
    return "gzip" in ask.header("accept-encoding") and not (client and is_loopback(client[0]))


def bulk(ask: Ask, sent: BulkHistory) -> RunPoints:
    """Read a metric's series in several runs, run by run."""
    if not sent.run_id:
        raise ProtocolError(INVALID, "GetMetricHistoryBulk request must specify at least one run_id.")
    _not_over(len(sent.run_id), "GetMetricHistoryBulk request cannot specify more than")
    checks.page_size(sent.max_results, most=2**31 - 1)
    left, found = min(sent.max_results, BULK_POINTS), list[RunPoint]()
    for run in sorted(set(sent.run_id)):
        if left > len(found):
            points = ask.house.meta.points.history(RunId(run), sent.metric_key, limit=left - len(found))
            found += _of_run(run, sent.metric_key, points=points)
    return RunPoints(tuple(found))


def interval(ask: Ask, sent: BulkInterval) -> RunPoints:
    """Read a metric's series in several runs, thinned out; first, last, least and greatest stay."""
    if not sent.run_ids:
        raise ProtocolError(INVALID, "Missing value for required parameter 'run_ids'.")
    _not_over(len(sent.run_ids), "GetMetricHistoryBulkInterval request must specify at most")
    if not 1 <= sent.max_results <= SAMPLED:
        raise ProtocolError(INVALID, f"max_results must be between 1 and {SAMPLED}.")
    start, end = sent.start_step, sent.end_step
    if (start is None) != (end is None):
        raise ProtocolError(INVALID, "If either start step or end step are specified, both must be specified.")
    if start is not None and end is not None and start > end:
        raise ProtocolError(
            INVALID, f"end_step must be greater than start_step. Found start_step={start} and end_step={end}."
        )
    runs = [RunId(run) for run in sent.run_ids]
    series = ask.house.logging.sampled(runs, [sent.metric_key], count=sent.max_results, start_step=start, end_step=end)
    return RunPoints(tuple(point for one in series for point in _of_run(one.run, one.key, points=one.points)))


def _not_over(given: int, said: str) -> None:
    if given > BULK_RUNS:
        raise ProtocolError(INVALID, f"{said} {BULK_RUNS} run_ids. Received {given} run_ids.")


def _of_run(run: str, key: str, *, points: Sequence[Point]) -> list[RunPoint]:
    return [RunPoint(key, told_value(value), at, step, run) for at, step, value in points]


_AT = "/api/2.0/mlflow/metrics"
ROWS: tuple[Handled, ...] = (
    streams("GET", f"{_AT}/get-history", act=history),
    calls("GET", f"{_AT}/get-history-bulk", act=bulk, takes=BulkHistory, slow=True),
    calls("GET", f"{_AT}/get-history-bulk-interval", act=interval, takes=BulkInterval, slow=True),
)
