"""Brings records to a control plane over its native API, on one kept connection of the standard library.

refused by the network, silent too long, not an answer of Kedge's,
5xx, 401, 403, 408, 415, 421, 425, 429; a run that 404 or 405 does not begin    Unreachable: it is tried again later
any other error of Kedge's                                                 refused for good, with the server's words
"""

import http.client
import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

import msgspec

from kedge.domain.ids import RunId
from kedge.domain.told import DataTold, FileTold, ModelTold, PointsTold, PointTold, RunBegan, RunEnded, Told, WordsTold
from kedge.domain.tracking import DatasetInput
from kedge.errors import ConfigError, KedgeError, ModelRefused, NotFound, RequestInvalid, Unreachable

PACKED, JSON = "application/msgpack", "application/json"
POINTS_AT_ONCE = 20_000
_RUNS = "/api/v1/runs"
_KINDS: dict[int, type[KedgeError]] = {400: RequestInvalid, 404: NotFound, 422: ModelRefused}
_LATER = {401, 403, 408, 415, 421, 425, 429}  # 415: an address below or beside the API's, where nothing takes records
_encoder = msgspec.msgpack.Encoder()


class RemoteDelivery:
    """A connection to one control plane. Not for several threads at once."""

    def __init__(self, url: str, *, token: str = "", timeout: float = 10.0) -> None:
        parts = check_address(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._url, self._root = url, parts.path.rstrip("/")
        self._connection = kind(parts.hostname or "", parts.port, timeout=timeout)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def close(self) -> None:
        """Close the connection; a later call opens another."""
        self._connection.close()

    def deliver(self, records: Sequence[Told], files: Path) -> None:
        """Bring records in their order; what follows one another of one run is one request."""
        for (kind, run), told in groupby(records, key=lambda record: (_kind(record), record.run)):
            if kind is PointsTold:
                for body in _bodies(told):
                    self.call("POST", f"{place_of(run)}/log", body=body)
            else:
                for record in told:
                    self._one(record, files)

    def call(self, method: str, path: str, *, body: object = None) -> Any:
        """Ask once, and read the answer. Raises Unreachable; RequestInvalid or NotFound with the server's words."""
        data = None if body is None else _encoder.encode(body)
        headers = {**self._headers, "Accept": PACKED} | ({"Content-Type": PACKED} if data is not None else {})
        return self._exchange(method, path, data=data, headers=headers)

    def ask(self, method: str, path: str, *, body: object = None) -> Any:
        """Ask once in JSON, which every route takes. Raises as `call` does; ModelRefused with the server's words."""
        data = None if body is None else msgspec.json.encode(body)
        headers = {**self._headers, "Accept": JSON} | ({"Content-Type": JSON} if data is not None else {})
        return self._exchange(method, path, data=data, headers=headers)

    def _one(self, told: Told, files: Path) -> None:
        match told:
            case RunBegan():
                self.call("POST", f"{place_of(told.run)}/begin", body=told)
            case RunEnded(run=run):
                self.call("POST", f"{place_of(run)}/end", body=told)
            case DataTold(run=run, datasets=datasets):
                self.call("POST", f"{place_of(run)}/log", body={"datasets": datasets})
            case ModelTold(run=run):
                self.call("POST", f"{place_of(run)}/models", body=told)
            case FileTold():
                self._send_file(told, files / told.kept)

    def _send_file(self, told: FileTold, kept: Path) -> None:
        owner = place_of(told.run) if told.model is None else f"/api/v1/logged-models/{quote(told.model, safe='')}"
        try:
            file = kept.open("rb")
        except FileNotFoundError:
            raise NotFound(f"the spool has lost its copy of {told.path!r}") from None
        except OSError as error:
            raise Unreachable(f"the spool's copy of {told.path!r} cannot be read: {error}") from error
        with file:
            size = os.fstat(file.fileno()).st_size
            headers = {**self._headers, "Content-Type": "application/octet-stream", "Content-Length": str(size)}
            self._exchange("PUT", f"{owner}/artifacts/{quote(told.path)}", data=file, headers=headers)

    def _exchange(self, method: str, path: str, *, data: Any, headers: dict[str, str]) -> Any:
        try:
            status, kind, answer = self._answered(method, path, data=data, headers=headers)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unreachable(f"no answer from {self._url}: {error or type(error).__name__}") from error
        if 200 <= status < 300:
            return _decoded(answer, kind)
        words = _words(answer)
        if words is None or status >= 500 or status in _LATER or (status in (404, 405) and path.endswith("/begin")):
            self._connection.close()
            raise Unreachable(f"{self._url} answers {status}: {words or 'not in the way of a Kedge control plane'}")
        raise _KINDS.get(status, KedgeError)(f"{words} (HTTP {status} from {self._url})")

    def _answered(self, method: str, path: str, *, data: Any, headers: dict[str, str]) -> tuple[int, str, bytes]:
        """Send and read. A kept connection may have been closed by the server while nothing was said: then once more."""
        was_kept = self._connection.sock is not None
        try:
            self._connection.request(method, self._root + path, body=data, headers=headers)
            response = self._connection.getresponse()
        except ConnectionError:
            self._connection.close()
            if not was_kept:
                raise
            if data is not None and not isinstance(data, bytes):
                data.seek(0)
            self._connection.request(method, self._root + path, body=data, headers=headers)
            response = self._connection.getresponse()
        return response.status, response.getheader("Content-Type", ""), response.read()


class LogBody(msgspec.Struct, omit_defaults=True):
    """One request's worth of a run: points, params, tags, datasets."""

    points: list[PointTold] = []
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    datasets: list[DatasetInput] = []


def _bodies(records: Iterator[Told]) -> Iterator[LogBody]:
    body = LogBody()
    for record in records:
        if isinstance(record, PointsTold):
            body.points += record.points
        elif isinstance(record, WordsTold):
            body.params |= record.params
            body.tags |= record.tags
        if len(body.points) >= POINTS_AT_ONCE:
            yield body
            body = LogBody()
    if body.points or body.params or body.tags:
        yield body


def _kind(record: Told) -> type:
    """Name what may go in one request: points, params and tags."""
    return PointsTold if isinstance(record, WordsTold) else type(record)


def place_of(run: RunId) -> str:
    """Give the address of a run."""
    return f"{_RUNS}/{quote(run, safe='')}"


def check_address(url: str) -> SplitResult:
    """Take a control plane's address apart. Raises ConfigError where it is none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or not _has_port(parts):
        raise ConfigError("KEDGE_URL, or `url=`, is not a control plane's address; write http://HOST:PORT")
    return parts


def _has_port(parts: SplitResult) -> bool:
    """Tell whether the port, where one is written, is a port."""
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False


def _decoded(answer: bytes, kind: str) -> Any:
    if not answer:
        return None
    try:
        return msgspec.msgpack.decode(answer) if kind.startswith(PACKED) else msgspec.json.decode(answer)
    except msgspec.DecodeError as error:
        raise Unreachable(f"an answer that is not Kedge's: {answer[:80]!r}") from error


def _words(answer: bytes) -> str | None:
    """Read what an error says; None where it is none of Kedge's."""
    try:
        return str(msgspec.json.decode(answer)["error"]["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return None
