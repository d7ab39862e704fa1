"""The client's own part: addresses, columns to tensors, trying again."""

import http.client
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from kedge.client.inference import InferenceClient
from kedge.errors import ConfigError, DeadlineExceeded, KedgeError, ModelRefused, Overloaded, RequestInvalid


class Wire:
    """A connection that gives prepared answers, and raises the prepared errors."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.sent, self.closed = list(answers), [], 0

    def request(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> None:
        self.sent.append((method, path, body, headers))
        if isinstance(self.answers[0], BaseException):
            raise self.answers.pop(0)

    def getresponse(self) -> "Wire":
        self.status, self.body, *headers = self.answers.pop(0)
        self.headers = headers[0] if headers else {}
        return self

    def getheader(self, name: str, default: str) -> str:
        return self.headers.get(name, default)

    def read(self) -> bytes:
        return self.body

    def close(self) -> None:
        self.closed += 1


def client_of(*answers: Any, **more: Any) -> tuple[InferenceClient, Wire, list[float]]:
    pauses: list[float] = []
    client = InferenceClient("http://127.0.0.1:1/at/", pause=pauses.append, **more)
    client._connection = wire = Wire(*answers)  # type: ignore[assignment]
    return client, wire, pauses


def answered(**more: Any) -> tuple[int, bytes]:
    outputs = [{"name": "late", "datatype": "FP64", "shape": [1], "data": [0.5]}]
    return 200, msgspec.json.encode({"id": "r", "outputs": outputs, "parameters": {"revision": 4}} | more)


def sent(columns: dict[str, Any], **more: Any) -> Any:
    client, wire, _ = client_of(answered())
    client.infer("a model", columns, id="r", **more)
    method, path, body, _ = wire.sent[0]
    assert (method, path) == ("POST", "/at/v2/models/a%20model/infer")
    return msgspec.json.decode(body)


@pytest.mark.parametrize(
    ("values", "datatype", "data"),
    [
        ([True, None], "BOOL", [True, None]),
        ([1, None], "INT64", [1, None]),
        ([1, 2.5], "FP64", [1, 2.5]),
        ([float("nan"), 2.5], "FP64", [None, 2.5]),
        ([None], "FP64", [None]),
        (["a", None], "BYTES", ["a", None]),
        ([datetime(2013, 1, 1, tzinfo=UTC)], "BYTES", ["2013-01-01T00:00:00+00:00"]),
    ],
)
def test_columns_become_tensors(values: list[Any], datatype: str, data: list[Any]) -> None:
    body = sent({"x": values}, parameters={"at": "2013-01-01T00:00:00Z"})
    assert body["inputs"] == [{"name": "x", "datatype": datatype, "shape": [len(values)], "data": data}]
    assert body["id"] == "r"
    assert body["parameters"] == {"at": "2013-01-01T00:00:00Z"}


@pytest.mark.parametrize("values", [["a", 1], [b"x"], [True, 1.5], [float("inf")], [1, float("-inf")]])
def test_what_cannot_travel_is_told_before_it_is_sent(values: list[Any]) -> None:
    client, wire, _ = client_of()
    with pytest.raises(RequestInvalid, match="input 'x'"):
        client.infer("m", {"x": values})
    assert wire.sent == []


def test_an_answer_tells_its_name_in_the_log() -> None:
    client, _, _ = client_of(answered(parameters={"revision": 4, "request": "r~1", "logged": False}))
    answer = client.infer("m", {"x": [1]}, id="r")
    assert (answer.request, answer.revision, answer.logged) == ("r~1", 4, False)
    assert answer.prediction_ids() == ["r~1.0"]


def test_a_lost_connection_is_tried_again_with_the_same_request() -> None:
    errors = [ConnectionRefusedError(), http.client.RemoteDisconnected(), http.client.IncompleteRead(b""), BrokenPipeError()]
    client, wire, pauses = client_of(*errors, answered())
    client.infer("m", {"x": [1]})
    assert len({body for _, _, body, _ in wire.sent}) == 1
    assert len(wire.sent) == 5
    assert pauses == [0.05, 0.1, 0.2, 0.4]


def test_trying_again_has_an_end_and_a_timeout_is_not_tried_again() -> None:
    client, wire, pauses = client_of(*[ConnectionResetError("reset")] * 9)
    with pytest.raises(KedgeError, match=r"no answer from .*reset; is it running"):
        client.infer("m", {"x": [1]})
    assert len(wire.sent) == len(pauses) + 1 == 7
    client, wire, _ = client_of(TimeoutError("timed out"))
    with pytest.raises(KedgeError, match="timed out"):
        client.infer("m", {"x": [1]})
    assert len(wire.sent) == wire.closed == 1


@pytest.mark.parametrize(
    ("status", "body", "error", "says"),
    [
        (400, b'{"error":"bad"}', RequestInvalid, "bad"),
        (422, b'{"error":"no"}', ModelRefused, "no"),
        (502, b"<html>", KedgeError, "<html>"),
        (500, b"[]", KedgeError, "HTTP 500"),
        (503, b"[]", Overloaded, "HTTP 503"),
        (504, b'{"error":"late"}', DeadlineExceeded, "late"),
    ],
)
def test_errors_are_those_of_kedge(status: int, body: bytes, error: type[KedgeError], says: str) -> None:
    client, _, _ = client_of((status, body))
    with pytest.raises(error, match=says) as caught:
        client.infer("m", {"x": [1]})
    assert type(caught.value) is error


@pytest.mark.parametrize(("headers", "seconds"), [({"Retry-After": "7"}, 7), ({}, 1), ({"Retry-After": "Sun, 22"}, 1)])
def test_a_busy_data_plane_says_when_to_ask_again(headers: dict[str, str], seconds: int) -> None:
    client, wire, pauses = client_of((503, b'{"error":"too many wait"}', headers))
    with pytest.raises(Overloaded, match="too many wait") as caught:
        client.infer("m", {"x": [1]})
    assert (caught.value.seconds, len(wire.sent), pauses) == (seconds, 1, [])


def test_addresses_and_tokens() -> None:
    for url in ("127.0.0.1:8500", "ftp://x", "http://"):
        with pytest.raises(ConfigError, match="write http"):
            InferenceClient(url)
    client, wire, _ = client_of((200, b'{"revision":null}'), token="t")
    assert client.refresh("m") is None
    assert wire.sent[0][3]["Authorization"] == "Bearer t"
    client.close()
    assert isinstance(InferenceClient("https://example.org")._connection, http.client.HTTPSConnection)
