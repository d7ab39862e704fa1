"""The HTTP door, called as an ASGI application: paths, methods, content types, errors, headers."""

import gzip
import json
import zlib
from typing import Any

import numpy as np
import pytest
from tests.unit.serving.doors import EchoHost, flights, tensor
from tests.unit.serving.fakes import Response, call

from kedge.security.access import Right, needed
from kedge.serving.door.application import HttpDoor
from kedge.serving.door.paths import _FIXED, OPEN, place_of

INFER = "/v2/models/flights/infer"


@pytest.fixture
def host() -> EchoHost:
    return EchoHost()


def post(host: EchoHost, path: str, body: Any, **more: Any) -> Response:
    return call(HttpDoor(host, version="9", body_limit=10_000), "POST", path, body, **more)


def get(host: EchoHost, path: str, **more: Any) -> Response:
    return call(HttpDoor(host, version="9"), "GET", path, **more)


def test_the_server_tells_what_it_is(host: EchoHost) -> None:
    assert get(host, "/v2").json == {"name": "kedge", "version": "9", "extensions": ["binary_tensor_data"]}
    assert get(host, "/v2/health/live").json == {"live": True}
    for path in ("/v2/health/ready", "/v2/health/ready/", "/ping", "/health"):
        assert get(host, path).json == {"ready": True}
    assert get(host, "/v1/models").json == {"models": ["flights", "echo"]}
    metadata = get(host, "/v2/models/flights").json
    assert metadata["versions"] == ["1", "2"]
    assert metadata["inputs"][0] == {"name": "distance", "datatype": "FP64", "shape": [-1]}
    assert get(host, "/v2/models/flights/versions/2").json == metadata
    for path in ("/v2/models/flights/ready", "/v2/models/flights/versions/2/ready"):
        assert get(host, path).json == {"name": "flights", "ready": True}
    assert call(HttpDoor(host), "HEAD", "/v2").status == 200
    assert get(host, "/metrics").headers[b"content-type"] == b"text/plain"
    openly = get(host, "/metrics", headers={"accept": "application/openmetrics-text"})
    assert openly.headers[b"content-type"] == b"application/openmetrics-text"


def test_what_is_not_ready_says_so(host: EchoHost) -> None:
    host.is_ready = False
    for path in ("/v2/health/ready", "/v2/models/flights/ready"):
        answer = get(host, path)
        assert (answer.status, answer.headers[b"retry-after"]) == (503, b"1")
        assert "is not ready to answer yet" in answer.json["error"]
    assert get(host, "/v2/health/live").status == 200


def test_an_answer_echoes_its_id_in_body_and_header(host: EchoHost) -> None:
    answer = post(host, INFER, flights(id="r1"))
    assert answer.json == {
        "model_name": "flights",
        "model_version": "1",
        "id": "r1",
        "parameters": {},
        "outputs": [
            {"name": "late", "datatype": "FP64", "shape": [2], "data": [0.1, 0.2]},
            {"name": "version", "datatype": "INT64", "shape": [2], "data": [1, 1]},
            {"name": "prediction_id", "datatype": "BYTES", "shape": [2], "data": ["r1.0", "r1.1"]},
        ],
    }
    assert answer.headers[b"x-request-id"] == b"r1"
    assert json.loads(host.asked[-1].body or b"") == flights(id="r1")
    assert post(host, INFER, flights()).json["id"] == "made"
    assert host.asked[-1].body is None
    for id in ("a\r\nset-cookie: x", "é", "a\x00"):
        answer = post(host, INFER, flights(id=id))
        assert answer.json["id"] == id
        assert b"x-request-id" not in answer.headers


def test_a_version_and_outputs_can_be_asked_for(host: EchoHost) -> None:
    answer = post(host, "/v2/models/flights/versions/2/infer", flights(outputs=[{"name": "late"}]))
    assert (answer.json["model_version"], [o["name"] for o in answer.json["outputs"]]) == ("2", ["late"])
    assert post(host, INFER, flights(outputs=[{"name": "x"}])).status == 400


def test_an_infinity_is_answered_in_binary_alone(host: EchoHost) -> None:
    data = np.array([1.0, np.inf, -np.inf, np.nan])
    one = {"name": "x", "datatype": "FP64", "shape": [4], "parameters": {"binary_data_size": 32}}
    for binary, status in ((False, 400), (True, 200)):
        head = json.dumps({"inputs": [one], "parameters": {"binary_data_output": binary}}).encode()
        headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
        answer = post(host, "/v2/models/echo/infer", head + data.tobytes(), headers=headers)
        assert answer.status == status
        assert answer.body.endswith(data.tobytes()) if binary else "JSON cannot say" in answer.json["error"]


def test_binary_goes_in_and_out(host: EchoHost) -> None:
    data = np.arange(6, dtype=np.float32).reshape(2, 3)
    one = {"name": "x", "datatype": "FP32", "shape": [2, 3], "parameters": {"binary_data_size": 24}}
    head = json.dumps({"inputs": [one], "parameters": {"binary_data_output": True}, "id": "b"}).encode()
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
    answer = post(host, "/v2/models/echo/infer", head + data.tobytes(), headers=headers)
    length = int(answer.headers[b"inference-header-content-length"])
    assert answer.headers[b"content-type"] == b"application/octet-stream"
    assert answer.headers[b"x-request-id"] == b"b"
    assert json.loads(answer.body[:length])["outputs"] == [one]
    assert answer.body[length:] == data.tobytes()
    for header, status in (("x", 400), ("-1", 400), ("9" * 30, 400), ("999999", 400)):
        headers["inference-header-content-length"] = header
        assert post(host, "/v2/models/echo/infer", head, headers=headers).status == status


def test_rows_are_answered_in_rows(host: EchoHost) -> None:
    rows = [{"distance": 100, "carrier": "AA"}, {"distance": None, "carrier": "UA"}]
    answer = post(host, "/v1/models/flights:predict", {"rows": rows, "id": "p"})
    assert answer.json == {
        "model": "flights",
        "version": "1",
        "id": "p",
        "rows": [
            {"late": 0.1, "version": 1, "prediction_id": "p.0"},
            {"late": None, "version": 1, "prediction_id": "p.1"},
        ],
    }
    again = post(host, "/v1/models/flights/versions/2:predict", {"instances": rows})
    assert (again.json, host.asked[-1].version) == ({"predictions": [0.1, None]}, 2)
    assert post(host, "/v1/models/flights:predict", {"rows": [{"distance": "x", "carrier": "AA"}]}).json == {
        "error": "input 'distance' (FP64): element [0] is text; expected a number or null"
    }


def test_invocations_go_to_the_only_model(host: EchoHost) -> None:
    body = {"dataframe_split": {"columns": ["carrier", "distance"], "data": [["AA", 100]]}}
    assert "several models are served here: flights, echo; name one" in post(host, "/invocations", body).json["error"]
    host.names = ("flights",)
    assert post(host, "/invocations", body).json == {"predictions": [0.1]}
    text = post(host, "/invocations", b"distance,carrier\n100,AA\n", headers={"content-type": "text/csv; charset=utf-8"})
    assert text.json == {"predictions": [0.1]}
    assert post(host, "/invocations", b"a", headers={"content-type": "text/plain"}).status == 415
    assert post(host, "/invocations", {"rows": []}).status == 200
    host.names = ()
    assert post(host, "/invocations", body).json == {"error": "no model is deployed here yet"}


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", INFER, 405, b"POST"),
        ("DELETE", "/v2/models/flights", 405, b"GET"),
        ("POST", "/v2", 405, b"GET"),
        ("PUT", "/invocations", 405, b"POST"),
        ("GET", "/v1/models/flights:predict", 405, b"POST"),
        ("GET", "/v2/models/flights/refresh", 405, b"POST"),
        ("GET", "/nowhere", 404, None),
        ("GET", "/", 404, None),
        ("GET", "/v2/models", 404, None),
        ("POST", "/v1/models/flights:explain", 404, None),
        ("GET", "/v2/models/flights/versions/x", 404, None),
        ("GET", "/v2/models/flights/versions/9", 404, None),
        ("GET", "/v2/models/other", 404, None),
        ("POST", "/v2/models/other/infer", 404, None),
        ("POST", "/v2/models/flights/versions/٣/infer", 404, None),
    ],
)
def test_paths_and_methods_that_are_not_there(
    host: EchoHost, method: str, path: str, status: int, allow: bytes | None
) -> None:
    answer = call(HttpDoor(host), method, path, flights())
    assert (answer.status, answer.headers.get(b"allow")) == (status, allow)
    assert list(answer.json) == ["error"]


@pytest.mark.parametrize(
    ("fault", "status", "headers"),
    [
        ("refused", 422, {}),
        ("overloaded", 503, {b"retry-after": b"3"}),
        ("nothing", 503, {b"retry-after": b"1"}),
        ("late", 504, {}),
    ],
)
def test_errors_of_the_engine_have_their_status(
    host: EchoHost, fault: str, status: int, headers: dict[bytes, bytes]
) -> None:
    answer = post(host, INFER, flights(parameters={"raise": fault}))
    assert answer.status == status
    assert headers.items() <= answer.headers.items()
    assert host.refusals == [("flights", status)]


@pytest.mark.parametrize("fault", ["broken", "fault"])
def test_our_own_fault_has_an_incident_and_tells_nothing(
    host: EchoHost, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = post(host, INFER, flights(parameters={"raise": fault}))
    assert answer.status == 500
    assert "secret" not in answer.json["error"]
    incident = answer.json["error"].rpartition(" ")[2]
    assert incident in caplog.text
    assert "secret" in caplog.text


def test_bodies_have_a_limit_and_a_content_type(host: EchoHost) -> None:
    assert post(host, INFER, b" " * 10_001).status == 413
    closing = post(host, INFER, b"{}", headers={"content-length": "99999999"})
    assert (closing.status, closing.headers[b"connection"]) == (413, b"close")
    parts = [{"type": "http.request", "body": b" " * 6000, "more_body": True}] * 3
    assert post(host, INFER, b"", messages=list(parts)).status == 413
    good = json.dumps(flights()).encode()
    halves = [{"type": "http.request", "body": good[:9], "more_body": True}, {"type": "http.request", "body": good[9:]}]
    assert post(host, INFER, b"", messages=halves).status == 200
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/octet-stream"):
        assert post(host, INFER, flights(), headers={"content-type": kind}).status == 415
    said = post(host, "/v1/models/flights:predict", b"{}", headers={"content-type": "application/x-www-form-urlencoded"})
    assert said.json["error"].endswith("with curl add -H 'Content-Type: application/json'")
    for kind in ("", "Application/JSON; charset=utf-8"):
        assert post(host, INFER, flights(), headers={"content-type": kind}).status == 200
    binary = {"inference-header-content-length": "2", "content-type": "text/plain"}
    assert post(host, INFER, b"{}", headers=binary).status == 415


def test_packed_bodies_are_unpacked_no_further_than_the_limit(host: EchoHost) -> None:
    good = json.dumps(flights()).encode()
    for name, packed in (("gzip", gzip.compress(good)), ("deflate", zlib.compress(good)), ("identity", good)):
        assert post(host, INFER, packed, headers={"content-encoding": name}).status == 200
    bomb = gzip.compress(b" " * 9_000_000)
    assert len(bomb) < 10_000
    assert post(host, INFER, bomb, headers={"content-encoding": "gzip"}).status == 413
    unknown = post(host, INFER, good, headers={"content-encoding": "br"})
    assert (unknown.status, unknown.headers[b"accept-encoding"]) == (415, b"gzip, deflate")
    for spoilt in (good, gzip.compress(good)[:-9], gzip.compress(good) * 2, b""):
        assert post(host, INFER, spoilt, headers={"content-encoding": "gzip"}).status == 400


def test_a_caller_that_is_gone_gets_nothing(host: EchoHost) -> None:
    begun = {"type": "http.request", "body": b"{", "more_body": True}
    for messages in ([{"type": "http.disconnect"}], [begun, {"type": "http.disconnect"}]):
        assert post(host, INFER, b"", messages=messages).status == 0


def test_a_token_is_asked_for_but_by_the_health_routes(host: EchoHost) -> None:
    door = HttpDoor(host, token="t")
    for path in _FIXED:
        opened = needed("GET", path) is Right.OPEN
        assert opened == (path in OPEN)
        assert opened == (call(door, "GET", path).status == 200)
    for given in ("", "Bearer u", "Basic t"):
        answer = call(door, "GET", "/v2/models/flights", headers={"authorization": given})
        assert (answer.status, answer.headers[b"www-authenticate"]) == (401, b"Bearer")
    assert call(door, "GET", "/v2/models/flights", headers={"authorization": "Bearer t"}).status == 200
    assert call(door, "POST", INFER, flights(), headers={"authorization": "Bearer t"}).status == 200


def test_every_path_that_infers_needs_the_right_to_write() -> None:
    for path in (
        "/v2/models/m/infer",
        "/v2/models/m/versions/1/infer",
        "/v1/models/m:predict",
        "/v1/models/m/versions/1:predict",
    ):
        assert place_of(path).infers
        assert needed("POST", path) is Right.WRITE
    assert place_of("/invocations").infers
    assert needed("POST", "/invocations") is Right.WRITE
    assert needed("POST", "/v2/models/m/refresh") is Right.ADMIN


def test_a_name_may_hold_a_slash() -> None:
    assert place_of("/v2/models/a%2Fb/versions/3/infer")[2:] == ("a/b", 3)
    assert place_of("/v1/models/a%2Fb:c:predict")[2:] == ("a/b:c", None)


def test_only_this_machine_asks_for_a_refresh(host: EchoHost) -> None:
    assert post(host, "/v2/models/flights/refresh", b"").json == {"name": "flights", "revision": 7}
    assert post(host, "/v2/models/other/refresh", b"").status == 404
    for client in (("203.0.113.1", 1), None):
        assert post(host, "/v2/models/flights/refresh", b"", client=client).status == 403
    host.is_ready = False
    assert "the one before still is: its bytes" in post(host, "/v2/models/flights/refresh", b"").json["error"]


def test_what_a_caller_may_say_of_its_answer(host: EchoHost) -> None:
    headers = {"kedge-timeout": "0.5", "kedge-variant": "challenger", "kedge-entity": "N14é"}
    assert post(host, INFER, flights(), headers=headers).status == 200
    asked = host.asked[-1]
    assert (asked.variant, asked.entity) == ("challenger", "N14é")
    assert asked.deadline is not None
    assert post(host, INFER, flights(parameters={"timeout": 500_000})).status == 200
    assert host.asked[-1].deadline is not None
    assert post(host, INFER, flights(parameters={"timeout": 0})).status == 200
    assert host.asked[-1].deadline is None
    for name, value in (("timeout", "0"), ("timeout", "x"), ("timeout", "nan"), ("timeout", "-1"), ("variant", "third")):
        answer = post(host, INFER, flights(), headers={f"kedge-{name}": value})
        assert answer.status == 400
        assert f"Kedge-{name.capitalize()}" in answer.json["error"]
    for timeout in (-1, "1", 1.5, True):
        assert "microseconds" in post(host, INFER, flights(parameters={"timeout": timeout})).json["error"]


def test_an_error_may_quote_what_no_json_can_hold(host: EchoHost) -> None:
    answer = post(host, INFER, {"inputs": [tensor("\x00é", "FP65", [1])]})
    assert "datatype 'FP65'" in answer.json["error"]
    answer = post(host, INFER, b'{"inputs": [{"name": "\\ud800", "shape": [1], "datatype": "FP64", "data": ["x", NaN]}]}')
    assert answer.status == 400
