"""Asks a data plane for answers over the Open Inference Protocol v2, on one kept connection of the standard library.

A connection that is refused or reset is tried again with the same request id, so that a request which was answered and
then lost on its way back counts once.
"""

import http.client
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from math import inf
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit
from uuid import uuid4

import msgspec

from kedge.domain.ids import ModelName, PredictionId, RequestId, prediction_id
from kedge.errors import ConfigError, DeadlineExceeded, KedgeError, ModelRefused, NotFound, Overloaded, RequestInvalid

_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # in all as long as a data plane takes to start again
_ERRORS: dict[int, type[KedgeError]] = {
    400: RequestInvalid,
    404: NotFound,
    413: RequestInvalid,
    415: RequestInvalid,
    422: ModelRefused,
    504: DeadlineExceeded,
}
_BUSY = 503


class Inference(msgspec.Struct, frozen=True, kw_only=True):
    """An answer: by output name one value for each row. `request` names it in the prediction log, where `logged`."""

    request: RequestId
    revision: int
    logged: bool
    outputs: dict[str, list[Any]]

    def prediction_ids(self) -> list[PredictionId]:
        """Name each row's prediction, for its ground truth and for `kedge why`."""
        rows = len(next(iter(self.outputs.values()), []))
        return [prediction_id(self.request, row) for row in range(rows)]


class InferenceClient:
    """A connection to one data plane. Not for several threads at once; keep one client for each."""

    def __init__(
        self, url: str, *, token: str | None = None, timeout: float = 30.0, pause: Callable[[float], None] = time.sleep
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{url!r} is not a data plane's address; write http://HOST:PORT")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.url, self._root, self._pause = url, parts.path.rstrip("/"), pause
        self._connection = kind(parts.hostname, parts.port, timeout=timeout)
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})

    def __enter__(self) -> Self:
        """Use the client in a with block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; a later call opens another."""
        self._connection.close()

    def infer(
        self,
        model: ModelName | str,
        columns: Mapping[str, Sequence[Any]],
        *,
        id: str | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> Inference:
        """Ask for one answer a row. None and NaN are missing values; times travel as ISO 8601.

        Raises RequestInvalid, NotFound, ModelRefused as the data plane says; Overloaded with the `seconds` to wait,
        DeadlineExceeded; KedgeError where it cannot answer.
        """
        body = {
            "id": id or uuid4().hex,
            "inputs": [_tensor(name, values) for name, values in columns.items()],
            "parameters": parameters or {},
        }
        answer = self._call("POST", f"/v2/models/{quote(model, safe='')}/infer", body=msgspec.json.encode(body))
        told = answer.get("parameters", {})
        return Inference(
            request=RequestId(told.get("request", answer["id"])),
            revision=told.get("revision", 0),
            logged=told.get("logged", True),
            outputs={output["name"]: output["data"] for output in answer["outputs"]},
        )

    def ready(self) -> bool:
        """Say whether the data plane has something to answer with; False too where nobody listens."""
        try:
            self._call("GET", "/v2/health/ready", pauses=())
        except KedgeError:
            return False
        return True

    def metadata(self, model: ModelName | str) -> dict[str, Any]:
        """Read what a model takes and gives."""
        return self._call("GET", f"/v2/models/{quote(model, safe='')}")

    def refresh(self, model: ModelName | str) -> int | None:
        """Have the newest revision loaded now, and give its number; None where nothing is deployed."""
        revision: int | None = self._call("POST", f"/v2/models/{quote(model, safe='')}/refresh", body=b"{}")["revision"]
        return revision

    def _call(
        self, method: str, path: str, *, body: bytes | None = None, pauses: Sequence[float] = _PAUSES
    ) -> dict[str, Any]:
        status, data, later = self._exchange(method, self._root + path, body=body, pauses=pauses)
        try:
            answer: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
        except msgspec.DecodeError:
            answer = {"error": data[:200].decode("utf-8", "replace")}
        told = f"{answer.get('error', '')} (HTTP {status} from {self.url})"
        if status == _BUSY:
            raise Overloaded(told, seconds=int(later) if later.isdecimal() else 1)
        if status != 200:
            raise _ERRORS.get(status, KedgeError)(told)
        return answer

    def _exchange(self, method: str, path: str, *, body: bytes | None, pauses: Sequence[float]) -> tuple[int, bytes, str]:
        """Send and read: status, body, Retry-After; again after each pause where the connection was refused or reset."""
        for pause in (*pauses, None):
            try:
                self._connection.request(method, path, body=body, headers=self._headers)
                response = self._connection.getresponse()
                return response.status, response.read(), response.getheader("Retry-After", "")
            except (ConnectionError, http.client.HTTPException) as error:
                # A server that was killed in the middle of its answer shows as an HTTPException (IncompleteRead).
                self._connection.close()
                if pause is None:
                    raise KedgeError(
                        f"no answer from {self.url}: {error or type(error).__name__}; is it running?"
                    ) from error
                self._pause(pause)
            except OSError as error:
                self._connection.close()
                raise KedgeError(f"no answer from {self.url}: {error}") from error
        raise AssertionError("unreachable")


def _tensor(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """Write a column as a tensor; the datatype is that of its values."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool} and kinds:
        datatype, data = "BOOL", values
    elif kinds <= {int} and kinds:
        datatype, data = "INT64", values
    elif kinds <= {int, float}:
        # NaN is written as null, which is how JSON says missing; an infinity would be too, and is refused instead.
        if any(value in (inf, -inf) for value in values):
            raise RequestInvalid(f"input {name!r}: an infinite value cannot travel; send a number, or None for missing")
        datatype, data = "FP64", values
    elif all(issubclass(kind, str | datetime) for kind in kinds):
        datatype, data = "BYTES", [value.isoformat() if isinstance(value, datetime) else value for value in values]
    else:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise RequestInvalid(f"input {name!r}: values of {names} cannot travel in one column")
    return {"name": name, "datatype": datatype, "shape": [len(values)], "data": data}
