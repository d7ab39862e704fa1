"""The data plane's HTTP contract: the Open Inference Protocol v2, its errors, the log behind each answer."""

import msgspec
import pytest
from tests.unit.serving.fakes import MODEL, NOW, NUMBERS, NUMERIC, Around, body_of, tensor

from kedge.domain.rollout import Strategy, takes_challenger
from kedge.errors import ModelRefused

INFER = "/v2/models/flights/infer"


def test_an_answer_echoes_the_id_and_says_who_answered() -> None:
    around = Around().deployed(3)
    answer = around.infer(body_of(2, id="flights-2013-03-01T11"))
    assert answer.status == 200
    assert answer.json == {
        "model_name": "flights",
        "model_version": "3",
        "id": "flights-2013-03-01T11",
        "parameters": {"revision": 1},
        "outputs": [
            {"name": "late", "datatype": "FP64", "shape": [2], "data": [0.3, 0.3]},
            {"name": "version", "datatype": "INT64", "shape": [2], "data": [3, 3]},
        ],
    }


def test_the_log_holds_what_was_served_before_the_answer_leaves() -> None:
    around = Around().deployed(3)
    around.infer(body_of(2))
    (batch,) = around.logged()
    assert (batch.request, batch.model, batch.at, batch.revision, batch.service) == ("r1", MODEL, NOW, 1, "delay")
    assert batch.entities == ["F0", "F1"]
    assert batch.features == {
        "distance": [100.5, 101.5],
        "hour": [0, 1],
        "carrier": ["AA", "AA"],
        "night": [False, False],
        "planes__age": [2.0, 2.0],
    }
    assert batch.inputs == {"tailnum": ["N0", "N1"], "note": ["x", "x"]}  # what it takes to look the rest up again
    assert batch.as_of == {"planes": [NOW, NOW]}
    assert (batch.versions, batch.outputs, batch.batches) == ([3, 3], [0.3, 0.3], [(3, [0, 1])])
    assert set(batch.seconds) == {"queue", "features", "predict"}


def test_an_absent_id_is_generated() -> None:
    around = Around().deployed()
    body = body_of(1)
    del body["id"]
    answer = around.infer(body)
    assert answer.json["id"] == "id-1"
    assert [batch.request for batch in around.logged()] == ["id-1"]


def test_a_request_sent_again_counts_once() -> None:
    around = Around().deployed()
    first, second = around.infer(body_of(2)), around.infer(body_of(2))
    assert first.body == second.body
    assert len(around.logged()) == 1
    assert b'kedge_repeated_requests_total{model="flights"} 1' in around.call("GET", "/metrics").body


def test_an_id_with_another_body_is_another_request() -> None:
    around = Around().deployed()
    around.infer(body_of(2))
    other = around.infer(body_of(3))
    assert other.json["id"] == "r1"
    told = other.json["parameters"]["request"]
    assert told.startswith("r1~")
    assert [batch.request for batch in around.logged()] == ["r1", told]
    assert around.infer(body_of(3)).body == other.body
    assert len(around.logged()) == 2


def test_outputs_are_those_asked_for() -> None:
    around = Around().deployed()
    answer = around.infer(body_of(2, outputs=[{"name": "prediction_id"}, {"name": "late"}]))
    assert [(each["name"], each["datatype"]) for each in answer.json["outputs"]] == [
        ("prediction_id", "BYTES"),
        ("late", "FP64"),
    ]
    assert answer.output("prediction_id") == ["r1.0", "r1.1"]
    refused = around.infer(body_of(2, outputs=[{"name": "lat"}]))
    assert refused.status == 400
    assert "unknown output lat; there are late, version, prediction_id" in refused.json["error"]


def test_a_canary_is_sticky_and_a_row_says_its_version() -> None:
    around = Around().deployed(1, 2, share=0.5, salt="s")
    answer = around.infer(body_of(40))
    deployment = around.deployments.rows[-1]
    assert answer.output("version") == [2 if takes_challenger(deployment, f"F{row}") else 1 for row in range(40)]
    assert answer.output("late") == [number / 10 for number in answer.output("version")]
    assert answer.json["model_version"] == "1"
    assert sorted(version for version, _ in around.logged()[0].batches) == [1, 2]


def test_a_shadow_answers_nothing_and_is_logged() -> None:
    around = Around().deployed(1, 2, share=1.0, strategy=Strategy.SHADOW)
    assert around.infer(body_of(2)).output("version") == [1, 1]
    answer, copy = around.logged()
    assert (answer.shadow, answer.variant) == ({}, "")
    assert (copy.shadow, copy.variant, copy.request) == ({2: [0.2, 0.2]}, "shadow", answer.request)


def test_a_challenger_that_fails_harms_nobody() -> None:
    around = Around().deployed(1, 2, share=1.0, salt="s")
    around.evaluation.answers[2] = ValueError("no")
    assert around.infer(body_of(2)).output("version") == [1, 1]
    assert set(around.logged()[0].errors) == {0, 1}
    assert (
        b'kedge_row_errors_total{model="flights",version="2",variant="challenger"} 2' in around.call("GET", "/metrics").body
    )


@pytest.mark.parametrize("answer", [ValueError("NaN is not for me"), ModelRefused("bad file"), float("nan")])
def test_422_when_the_model_refuses(answer: object) -> None:
    around = Around().deployed()
    around.evaluation.answers[1] = answer
    refused = around.infer(body_of(1))
    assert refused.status == 422
    assert around.logged() == []


def test_422_when_the_feature_service_fails() -> None:
    around = Around().deployed()
    around.reader.error = KeyError("hour")
    assert around.infer(body_of(1)).status == 422


def test_500_only_for_our_own_faults_with_an_id() -> None:
    around = Around().deployed()
    around.reader.error = OSError("disk")
    failed = around.infer(body_of(1))
    assert failed.status == 500
    assert "its log names it" in failed.json["error"]
    assert "disk" not in failed.json["error"]


def test_503_when_nothing_is_deployed() -> None:
    around = Around()
    for answer in (
        around.infer(body_of(1)),
        around.call("GET", "/v2/health/ready"),
        around.call("GET", "/v2/models/flights"),
    ):
        assert answer.status == 503
        assert answer.headers[b"retry-after"] == b"1"
    assert around.call("GET", "/v2/health/live").json == {"live": True}


def test_metadata_and_health() -> None:
    around = Around().deployed(1, 2, share=0.1)
    assert around.call("GET", "/v2").json == {"name": "kedge", "version": "9", "extensions": ["binary_tensor_data"]}
    assert around.call("GET", "/v2/health/ready").json == {"ready": True}
    told = around.call("GET", "/v2/models/flights").json
    assert told["versions"] == ["1", "2"]
    assert told["inputs"][0] == {"name": "tailnum", "datatype": "BYTES", "shape": [-1]}
    assert {each["name"]: each["datatype"] for each in told["inputs"]} == {
        "tailnum": "BYTES",
        "distance": "FP64",
        "hour": "INT64",
        "carrier": "BYTES",
        "night": "BOOL",
        "note": "BYTES",
        "flight_id": "BYTES",
    }
    assert told["outputs"][0] == {"name": "late", "datatype": "FP64", "shape": [-1]}
    assert around.call("GET", "/v2/models/flights/versions/2/ready").json == {"name": "flights", "ready": True}
    assert around.call("GET", "/v2/models/flights/versions/9/ready").status == 404


def test_a_version_asked_for_by_number_is_outside_the_split_while_another_is_on_trial() -> None:
    around = Around().deployed(1, 2, share=0.5)
    answer = around.call("POST", "/v2/models/flights/versions/2/infer", body_of(3))
    assert answer.output("version") == [2, 2, 2]
    assert answer.json["parameters"] == {"revision": 1, "logged": False}
    assert around.logged() == []
    around.deployed(2)
    assert around.call("POST", "/v2/models/flights/versions/2/infer", body_of(3)).json["parameters"] == {"revision": 2}
    assert len(around.logged()) == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v3", 404),
        ("GET", "/v2/models", 404),
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/flights/nothing", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("POST", "/v2/models/flights/versions/9/infer", 404),
        ("POST", "/v2/models/flights/versions/x/infer", 404),
        ("GET", INFER, 405),
        ("DELETE", "/v2/models/flights", 405),
        ("POST", "/v2/health/live", 405),
        ("GET", "/v2/models/flights/refresh", 405),
        ("HEAD", "/v2/health/live", 200),
        ("GET", "/v2/models/flights/", 200),
    ],
)
def test_paths_and_methods(method: str, path: str, status: int) -> None:
    answer = Around().deployed().call(method, path, body_of(1))
    assert answer.status == status
    if status != 200:
        assert set(answer.json) == {"error"}
    if status == 405:
        assert answer.headers[b"allow"] in (b"GET", b"POST")


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
    ],
)
def test_415(headers: dict[str, str]) -> None:
    assert Around().deployed().infer(body_of(1), headers=headers).status == 415


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", ""])
def test_json_by_any_of_its_names_and_by_none(kind: str) -> None:
    assert Around().deployed().infer(body_of(1), headers={"content-type": kind}).status == 200


def test_413_by_the_length_told_and_by_the_bytes_sent() -> None:
    around = Around().deployed()
    assert around.infer(b"{}", headers={"content-length": str(16 * 2**20 + 1)}).status == 413
    parts = [{"type": "http.request", "body": b" " * 2**20, "more_body": True} for _ in range(17)]
    assert around.infer(b"", messages=parts).status == 413


def test_a_caller_who_leaves_gets_no_answer() -> None:
    around = Around().deployed()
    gone = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    assert around.infer(b"", messages=gone).status == 0


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"hour": None}, "missing input hour"),
        ({"extra": tensor("extra", "FP64", [1.0, 2.0])}, "unknown input extra"),
        ({"again": tensor("hour", "INT64", [1, 2])}, "input given twice: hour"),
        ({"again": tensor("hour", "INT64", [1, 2]), "carrier": None}, "input given twice: hour"),
        ({"hour": tensor("hour", "INT64", [1])}, "differ in their rows"),
        ({"hour": tensor("hour", "INT64", [1, 2], [3])}, "asks for 3 values, data has 2"),
        ({"hour": tensor("hour", "INT64", [1, 2], [2, 2])}, "asks for 4 values"),
        ({"hour": tensor("hour", "INT64", [1, 2, 3, 4], [2, 2])}, "a column has shape [rows]"),
        ({"hour": tensor("hour", "INT64", [1, 2], [1, 1, 2])}, "has 3 axes"),
        ({"hour": tensor("hour", "INT64", [1, 2], [-2])}, "shape"),
        ({"hour": tensor("hour", "INT64", [1, 2], [2**40, 2**40])}, "asks for"),
        ({"hour": tensor("hour", "INT64", [[1, 2]], [2])}, "nested 2 deep"),
        ({"hour": tensor("hour", "INT64", [1, 2.5])}, "element [1]"),
        ({"hour": tensor("hour", "INT64", [1, 2**70])}, "element [1] is out of range"),
        ({"hour": tensor("hour", "UINT64", [1, -1])}, "element [1] is out of range"),
        ({"hour": tensor("hour", "INT8", [1, 128])}, "element [1] is out of range"),
        ({"hour": tensor("hour", "FP64", [1.0, 2.5])}, "row 1: 2.5 is not a whole number"),
        ({"hour": tensor("hour", "BYTES", ["1", "2"])}, "send INT64"),
        ({"hour": tensor("hour", "FLOAT", [1, 2])}, "datatype 'FLOAT' is not one of"),
        ({"distance": tensor("distance", "FP64", ["a", 1])}, "element [0] is text"),
        ({"distance": tensor("distance", "FP32", [1e39, 1])}, "FP32"),
        ({"distance": tensor("distance", "BOOL", [True, False])}, "send FP64"),
        ({"carrier": tensor("carrier", "INT64", [1, 2])}, "send BYTES"),
        ({"night": tensor("night", "INT64", [0, 1])}, "send BOOL"),
        ({"night": tensor("night", "BOOL", [0, 1])}, "expected true or false"),
        ({"parameters": {"at": "2013-03-01T11:00:00Z"}}, "'at' is for replays only"),
        ({"id": "x" * 201}, "length"),
        ({"id": 7}, "str"),
    ],
)
def test_400_says_what_is_wrong_where(more: dict[str, object], says: str) -> None:
    around = Around().deployed()
    answer = around.infer(body_of(2, **more))
    assert answer.status == 400, answer.body
    assert says in answer.json["error"]
    assert around.logged() == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"inputs":' + b"[" * 100_000, b'{"inputs":[]}'])
def test_400_for_what_is_no_request(body: bytes) -> None:
    assert Around().deployed().infer(body).status == 400


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "1e999"])
def test_400_for_what_is_no_finite_number(number: str) -> None:
    body = msgspec.json.encode(body_of(1)).replace(b"100.5", number.encode())
    assert Around().deployed().infer(body).status == 400


def test_missing_values_may_be_null_or_the_nan_that_python_writes() -> None:
    around = Around().deployed()
    body = msgspec.json.encode(body_of(1)).replace(b"100.5", b"NaN")
    assert around.infer(body).status == 200
    empty = {"hour": tensor("hour", "FP64", [None]), "carrier": tensor("carrier", "FP64", [None])}
    assert around.infer(body_of(1, id="r2", **empty)).status == 200
    assert [batch.features["distance"] for batch in around.logged()] == [[None], [100.5]]
    assert [batch.features["carrier"] for batch in around.logged()] == [["AA"], [None]]


def test_a_column_may_be_nested_and_of_a_narrower_type() -> None:
    around = Around().deployed()
    more = {
        "hour": tensor("hour", "FP32", [[3.0], [None]], [2, 1]),
        "distance": tensor("distance", "UINT8", [3, None], [2, 1]),
        "tailnum": tensor("tailnum", "INT64", [7, 8]),
    }
    assert around.infer(body_of(2, **more)).status == 200
    (batch,) = around.logged()
    assert batch.features["hour"] == [3, None]
    assert batch.features["distance"] == [3.0, None]
    assert isinstance(batch.features["distance"][0], float)


@pytest.mark.parametrize("data", [[1.5, 2, 3.5, 4], [[1.5, 2], [3.5, 4]]])
def test_a_numeric_model_takes_one_matrix(data: list[object]) -> None:
    around = Around(service=NUMERIC, signature=NUMBERS, sticky="").deployed()
    assert around.infer({"id": "r", "inputs": [tensor("input", "FP64", data, [2, 2])]}).output("value") == [0.1, 0.1]
    (batch,) = around.logged()
    assert batch.features == {"a": [1.5, 3.5], "b": [2, 4]}
    assert [batch.entities, batch.entity(1)] == [[], "r.1"], "each row is its own"
    narrow = around.infer({"inputs": [tensor("input", "FP64", [1, 2, 3], [1, 3])]})
    assert narrow.status == 400
    assert "3 columns, not 2: a, b in this order" in narrow.json["error"]


def test_a_row_without_a_sticky_value_is_split_by_its_own_id() -> None:
    around = Around().deployed()
    around.infer(body_of(2, flight_id=tensor("flight_id", "BYTES", ["F0", None])))
    assert around.logged()[0].entities == ["F0", "r1.1"]


def test_a_replays_request_says_its_time() -> None:
    around = Around(replay_clock=True).deployed()
    assert around.infer(body_of(1, parameters={"at": "2013-03-01T06:00:00-05:00"})).status == 200
    assert around.logged()[0].at.isoformat() == "2013-03-01T11:00:00+00:00"
    for at in (None, "yesterday", 5, "2013-03-01T11:00:00"):
        assert around.infer(body_of(1, id=f"at {at}", parameters={"at": at})).status == 400


def test_a_full_disk_fails_no_prediction_and_is_told() -> None:
    around = Around().deployed()
    around.journal.full = True
    answer = around.infer(body_of(2))
    assert answer.status == 200
    assert answer.json["parameters"] == {"revision": 1, "logged": False}
    assert b"kedge_log_gap_rows_total 2" in around.call("GET", "/metrics").body
    around.journal.full = False
    again = around.infer(body_of(2))
    assert again.json["parameters"] == {"revision": 1}
    assert [(len(batch.versions), batch.missing) for batch in around.logged()] == [(0, 2), (2, 0)], "a gap, then the answer"


def test_refresh_loads_the_newest_revision_and_is_for_this_machine_only() -> None:
    around = Around().deployed(1)
    around.deployments.deploy(1, 2, share=0.1)
    refresh = "/v2/models/flights/refresh"
    assert around.call("POST", refresh, client=("10.0.0.9", 1)).status == 403
    assert around.call("POST", refresh, client=None).status == 403
    assert around.call("POST", refresh).json == {"name": "flights", "revision": 2}
    assert around.registry.verified == [1, 2]


def test_a_revision_that_cannot_be_loaded_leaves_the_one_before() -> None:
    around = Around().deployed(1)
    around.registry.broken.add(2)
    around.deployments.deploy(2)
    refused = around.call("POST", "/v2/models/flights/refresh")
    assert refused.status == 503
    assert "the one before still is" in refused.json["error"]
    assert around.infer(body_of(1)).output("version") == [1]
    text = around.call("GET", "/metrics").body.decode()
    assert 'kedge_revision{model="flights"} 1' in text
    assert 'kedge_revision_wanted{model="flights"} 2' in text
    assert 'kedge_load_failures_total{model="flights"} 1' in text


def test_a_token_is_asked_for_everywhere_but_at_health() -> None:
    around = Around(token="secret").deployed()
    assert around.infer(body_of(1)).status == 401
    assert around.call("GET", "/metrics", headers={"authorization": "Bearer wrong"}).status == 401
    assert around.call("GET", "/v2/health/ready").status == 200
    assert around.infer(body_of(1), headers={"authorization": "Bearer secret"}).status == 200


def test_metrics_count_requests_rows_and_stages() -> None:
    around = Around().deployed()
    around.infer(body_of(2))
    around.infer(b"{")
    text = around.call("GET", "/metrics").body.decode()
    served = 'model="flights",version="1",variant="champion"'
    assert f'kedge_requests_total{{{served},code="200"}} 1' in text
    assert 'kedge_requests_total{model="flights",version="",variant="",code="400"} 1' in text
    assert f"kedge_rows_total{{{served}}} 2" in text
    for stage in ("parse", "queue", "features", "predict", "serialize", "log", "total"):
        assert f'kedge_request_seconds_bucket{{{served},stage="{stage}",le="+Inf"}} 1' in text
    assert "kedge_log_lag_rows 2" in text
