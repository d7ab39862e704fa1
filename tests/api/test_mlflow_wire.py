"""The MLflow protocol's bytes: what is taken, what is refused and in whose words, what comes back."""

import gzip
import json

import pytest
from litestar.testing import TestClient

from kedge.app import open_house
from kedge.config import bare_project, settings
from kedge.server.application import application

AT = "/api/2.0/mlflow"


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    folder = tmp_path_factory.mktemp("house")
    opened = open_house(settings(folder, store=str(folder / "store")), bare_project(folder), writer="test")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def client(house):
    with TestClient(application(house), base_url="http://127.0.0.1:8400") as opened:
        yield opened


@pytest.fixture
def run(client):
    return client.post(f"{AT}/runs/create", json={"experiment_id": "0", "start_time": 5}).json()["run"]["info"]["run_id"]


def post(client, path, body):
    text = body if isinstance(body, str) else json.dumps(body)
    return client.post(f"{AT}/{path}", content=text, headers={"content-type": "application/json"})


def told(answer):
    return answer.status_code, answer.json()["error_code"], answer.json()["message"]


def data(client, run):
    return client.get(f"{AT}/runs/get", params={"run_id": run}).json()["run"]["data"]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("runs/log-metric", {"key": "a", "value": 1, "timestamp": 1}, "Missing value for required parameter 'run_id'."),
        ("runs/log-metric", {"run_id": "", "key": "a"}, "Missing value for required parameter 'run_id'."),
        ("runs/log-metric", {"run_id": "x", "key": "a", "timestamp": 1}, "Missing value for required parameter 'value'."),
        (
            "runs/log-metric",
            {"run_id": "x", "key": "a", "value": "abc", "timestamp": 1},
            "Invalid value \"abc\" for parameter 'value' supplied:  Hint: Value was of type 'str'.",
        ),
        (
            "runs/log-metric",
            {"run_id": "x", "key": "a", "value": 1, "timestamp": "soon"},
            "Invalid value \"soon\" for parameter 'timestamp' supplied:  Hint: Value was of type 'str'.",
        ),
        (
            "runs/log-metric",
            {"run_id": "x", "key": 5, "value": 1, "timestamp": 1},
            "Invalid value 5 for parameter 'key' supplied:  Hint: Value was of type 'int'.",
        ),
        (
            "runs/log-batch",
            {"run_id": "x", "metrics": [{"key": "a", "value": "abc", "timestamp": 1}]},
            "Invalid value \"abc\" for parameter 'metrics[0].value' supplied:  Hint: Value was of type 'str'.",
        ),
        (
            "runs/log-batch",
            {"run_id": "x", "metrics": [{"key": "a", "value": 1, "timestamp": "x"}]},
            "Invalid value \"x\" for parameter 'metrics[0].timestamp' supplied:  Hint: Value was of type 'str'.",
        ),
        ("runs/log-batch", {"run_id": "x", "metrics": [{"key": "a", "value": 1}]}, "parameter 'metrics[0].timestamp'."),
        ("runs/log-batch", {"run_id": "x", "params": [{"value": "1"}]}, "parameter 'params[0].key'."),
        ("runs/log-batch", {"run_id": "x", "tags": {"key": "a"}}, "Hint: Value was of type 'dict'."),
        ("runs/log-batch", {"run_id": "x", "metrics": ["a"]}, "for parameter 'metrics[0]' supplied"),
        ("runs/create", {"start_time": 2**70}, "for parameter 'start_time' supplied"),
        ("runs/create", {"start_time": 2**62}, "no such time"),
        ("runs/create", {"experiment_id": "none"}, "Experiment ID must be a valid integer."),
        ("runs/update", {"run_id": "x", "status": "DONE"}, "it is one of RUNNING, SCHEDULED, FINISHED, FAILED, KILLED"),
        ("runs/search", {"experiment_ids": ["0"], "max_results": 50001}, "max_results"),
        ("runs/search", {"experiment_ids": ["0"], "max_results": 0}, "max_results"),
        ("logged-models/search", {"experiment_ids": []}, "Missing value for required parameter 'experiment_ids'."),
        ("runs/search", {"experiment_ids": ["0"], "page_token": "garbage"}, ""),
        ("experiments/create", {"name": "n" * 501}, "'name' exceeds the maximum length of 500 characters"),
        ("experiments/create", {"name": "x", "artifact_location": "s3://b"}, "artifact_location is not taken"),
        ("experiments/create", {}, "Missing value for required parameter 'name'."),
    ],
)
def test_what_does_not_fit_is_refused_in_mlflows_words(client, path, body, said):
    status, code, message = told(post(client, path, body))
    assert (status, code) == (400, "INVALID_PARAMETER_VALUE")
    assert said in message


@pytest.mark.parametrize("body", ["{", "[]", "5", '"{"', '{"a": "\\ud800"}', "\xff", '{"a":' * 5000])
def test_a_body_that_is_no_object_is_a_bad_request(client, body):
    assert told(post(client, "runs/create", body))[:2] == (400, "BAD_REQUEST")


def test_what_protobufs_json_allows_is_taken(client, run):
    lines = [
        f'{{"run_uuid": "{run}", "key": "text", "value": "0.5", "timestamp": "12", "step": "3"}}',
        f'{{"run_id": "{run}", "key": "bare", "value": NaN, "timestamp": 12, "step": null, "unknown": 1}}',
        f'{{"run_id": "{run}", "key": "top", "value": "Infinity", "timestamp": 12.0}}',
        f'{{"run_id": "{run}", "key": "low", "value": -Infinity, "timestamp": 12}}',
        json.dumps(json.dumps({"run_id": run, "key": "twice", "value": 2, "timestamp": 12})),
    ]
    for line in lines:
        assert post(client, "runs/log-metric", line).json() == {}
    found = {one["key"]: (one["value"], one["timestamp"], one["step"]) for one in data(client, run)["metrics"]}
    assert found == {
        "text": (0.5, 12, 3),
        "bare": ("NaN", 12, 0),
        "top": ("Infinity", 12, 0),
        "low": ("-Infinity", 12, 0),
        "twice": (2.0, 12, 0),
    }


def test_lists_that_are_empty_are_left_out_and_numbers_are_numbers(client):
    made = post(client, "runs/create", {"experiment_id": "0", "start_time": "5"}).json()["run"]
    assert made["info"]["start_time"] == 5
    assert "end_time" not in made["info"]
    assert "metrics" not in made["data"]
    assert (made["inputs"], made["outputs"]) == ({}, {})
    assert made["info"]["artifact_uri"] == f"mlflow-artifacts:/0/{made['info']['run_id']}/artifacts"
    assert post(client, "runs/search", {"experiment_ids": ["5"]}).json() == {}


def test_a_batch_has_limits_and_is_written_whole_or_not_at_all(client, run):
    def points(count):
        return [{"key": "m", "value": one, "timestamp": one, "step": one} for one in range(count)]

    def labels(count):
        return [{"key": f"k{one}", "value": "v"} for one in range(count)]

    for body, said in (
        ({"metrics": points(1001)}, "at most 1000 metrics. Got 1001 metrics"),
        ({"params": labels(101)}, "at most 100 params. Got 101 params"),
        ({"tags": labels(101)}, "at most 100 tags. Got 101 tags"),
        ({"metrics": points(950), "tags": labels(60)}, "at most 1000 metrics, params, and tags. Got 1010"),
        ({"params": [*labels(1), *labels(1)]}, "Duplicate parameter keys have been submitted: ['k0']"),
        ({"metrics": [*points(3), {"key": "../m", "value": 1, "timestamp": 1}]}, "would resolve to '../m'"),
        ({"metrics": [*points(3), {"key": "m", "value": 1, "timestamp": -1}]}, "Timestamp must be a nonnegative long"),
        ({"tags": [{"key": "a$", "value": ""}]}, "Names may only contain alphanumerics"),
        ({"params": [{"key": "k" * 251, "value": ""}]}, "'Param key' exceeds the maximum length of 250 characters"),
    ):
        status, code, message = told(post(client, "runs/log-batch", {"run_id": run, **body}))
        assert (status, code) == (400, "INVALID_PARAMETER_VALUE")
        assert said in message
    assert "metrics" not in data(client, run)
    assert post(client, "runs/log-batch", {"run_id": run, "metrics": points(900), "params": labels(100)}).json() == {}
    assert post(client, "runs/log-batch", {"run_id": run, "metrics": points(900), "params": labels(100)}).json() == {}
    assert len(data(client, run)["params"]) == 100


def test_long_values_are_cut_as_mlflow_cuts_them(client, run):
    post(client, "runs/log-parameter", {"run_id": run, "key": "p", "value": "x" * 6001})
    post(client, "runs/set-tag", {"run_id": run, "key": "t", "value": "y" * 8001})
    found = data(client, run)
    assert found["params"] == [{"key": "p", "value": "x" * 6000}]
    assert {"key": "t", "value": "y" * 8000} in found["tags"]


def test_a_param_never_changes(client, run):
    body = {"run_id": run, "key": "p", "value": "1"}
    assert post(client, "runs/log-parameter", body).json() == {}
    assert post(client, "runs/log-parameter", body).json() == {}
    status, code, message = told(post(client, "runs/log-parameter", {**body, "value": "2"}))
    assert (status, code) == (400, "INVALID_PARAMETER_VALUE")
    assert message.startswith("Changing param values is not allowed. Param with key='p' was already logged with value='1'")


def test_a_name_is_taken_once(client):
    assert "experiment_id" in post(client, "experiments/create", {"name": "once"}).json()
    status, code, message = told(post(client, "experiments/create", {"name": "once"}))
    assert (status, code) == (400, "RESOURCE_ALREADY_EXISTS")
    assert message.startswith("Experiment(name=once) already exists.")


def test_a_series_comes_whole_or_page_by_page(client, run):
    for start in range(0, 2500, 1000):
        steps = range(start, min(start + 1000, 2500))
        points = [{"key": "long", "value": one / 8, "timestamp": 1000 + one, "step": one} for one in steps]
        assert post(client, "runs/log-batch", {"run_id": run, "metrics": points}).json() == {}
    path, asked = f"{AT}/metrics/get-history", {"run_id": run, "metric_key": "long"}
    whole = client.get(path, params=asked).json()
    assert [(one["step"], one["value"], one["timestamp"]) for one in whole["metrics"]] == [
        (one, one / 8, 1000 + one) for one in range(2500)
    ]
    assert "next_page_token" not in whole
    seen, token = [], ""
    while True:
        page = client.get(path, params={**asked, "max_results": 999, **({"page_token": token} if token else {})}).json()
        seen += page["metrics"]
        token = page.get("next_page_token", "")
        if not token:
            break
    assert seen == whole["metrics"]
    for wrong in ({"page_token": "garbage"}, {"max_results": 0}, {"max_results": -1}, {"max_results": "x"}):
        assert told(client.get(path, params={**asked, **wrong}))[:2] == (400, "INVALID_PARAMETER_VALUE")
    assert told(client.get(path, params={"run_id": run}))[:2] == (400, "INVALID_PARAMETER_VALUE")
    assert told(client.get(path, params={**asked, "run_id": "none"}))[:2] == (404, "RESOURCE_DOES_NOT_EXIST")


def test_a_long_series_is_packed_for_another_machine(house, run, monkeypatch):
    points = [{"key": "far", "value": one, "timestamp": one, "step": one} for one in range(1000)]
    with TestClient(application(house, hosts=["*"]), base_url="http://kedge.example") as client:
        for start in range(0, 3000, 1000):
            moved = [{**one, "step": one["step"] + start} for one in points]
            post(client, "runs/log-batch", {"run_id": run, "metrics": moved})
        asked = {"run_id": run, "metric_key": "far"}
        with client.stream("GET", f"{AT}/metrics/get-history", params=asked, headers={"accept-encoding": "gzip"}) as answer:
            assert answer.headers["content-encoding"] == "gzip"
            body = b"".join(answer.iter_raw())
        assert len(json.loads(gzip.decompress(body))["metrics"]) == 3000
        plain = client.get(f"{AT}/metrics/get-history", params=asked, headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert len(plain.json()["metrics"]) == 3000


def test_series_of_several_runs_come_together(client, run):
    other = post(client, "runs/create", {"experiment_id": "0"}).json()["run"]["info"]["run_id"]
    for name, count in ((run, 300), (other, 5)):
        points = [{"key": "both", "value": one, "timestamp": one, "step": one} for one in range(count)]
        post(client, "runs/log-batch", {"run_id": name, "metrics": points})
    bulk = client.get(f"{AT}/metrics/get-history-bulk", params={"run_id": [run, other], "metric_key": "both"}).json()
    assert len(bulk["metrics"]) == 305
    few = client.get(
        "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval",
        params={"run_ids": [run, other], "metric_key": "both", "max_results": 20},
    ).json()["metrics"]
    assert [one["step"] for one in few if one["run_id"] == other] == [0, 1, 2, 3, 4]
    mine = [one["step"] for one in few if one["run_id"] == run]
    assert (mine[0], mine[-1]) == (0, 299)
    assert len(mine) <= 20
    path, asked = f"{AT}/metrics/get-history-bulk-interval", {"run_ids": [run], "metric_key": "both"}
    part = client.get(path, params={**asked, "start_step": 10, "end_step": 12}).json()["metrics"]
    assert [one["step"] for one in part] == [10, 11, 12]
    for wrong in ({"max_results": 2501}, {"start_step": 5}, {"start_step": 5, "end_step": 1}, {"run_ids": ["x"] * 101}):
        assert told(client.get(path, params={**asked, **wrong}))[:2] == (400, "INVALID_PARAMETER_VALUE")
    assert told(client.get(f"{AT}/metrics/get-history-bulk", params={"metric_key": "a"}))[1] == "INVALID_PARAMETER_VALUE"


def test_a_model_noted_the_old_way_is_in_the_runs_tag(client, run):
    model = {"artifact_path": "model", "flavors": {}, "utc_time_created": "now", "run_id": run}
    for _ in range(2):
        assert post(client, "runs/log-model", {"run_id": run, "model_json": json.dumps(model)}).json() == {}
    (tag,) = [one for one in data(client, run)["tags"] if one["key"] == "mlflow.log-model.history"]
    assert json.loads(tag["value"]) == [model]
    for wrong in ("{", "{}", "[]"):
        assert told(post(client, "runs/log-model", {"run_id": run, "model_json": wrong}))[1] == "INVALID_PARAMETER_VALUE"


def test_a_logged_model_lives_and_goes(client, run):
    made = post(client, "logged-models", {"experiment_id": "0", "source_run_id": run, "tags": [{"key": "a", "value": "1"}]})
    model = made.json()["model"]["info"]["model_id"]
    path = f"{AT}/logged-models/{model}"
    assert made.json()["model"]["info"]["status"] == "LOGGED_MODEL_PENDING"
    assert (
        client.patch(path, json={"status": "LOGGED_MODEL_READY"}).json()["model"]["info"]["status"] == "LOGGED_MODEL_READY"
    )
    assert client.patch(path, json={"status": 3}).json()["model"]["info"]["status"] == "LOGGED_MODEL_UPLOAD_FAILED"
    assert told(client.patch(path, json={"status": "DONE"}))[1] == "INVALID_PARAMETER_VALUE"
    assert client.patch(f"{path}/tags", json={"tags": [{"key": "b/c", "value": "2"}]}).json() == {}
    assert client.delete(f"{path}/tags/b/c").json() == {}
    assert told(client.delete(f"{path}/tags/b/c"))[:2] == (404, "RESOURCE_DOES_NOT_EXIST")
    assert client.post(f"{path}/params", json={"params": [{"key": "p", "value": "1"}]}).json() == {}
    assert client.get(path).json()["model"]["data"]["params"] == [{"key": "p", "value": "1"}]
    assert client.delete(path).json() == {}
    assert told(client.get(path))[:2] == (404, "RESOURCE_DOES_NOT_EXIST")
    assert client.get(path, params={"allow_deleted": "true"}).json()["model"]["info"]["model_id"] == model
    assert told(client.get(path, params={"allow_deleted": "perhaps"}))[1] == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize(
    ("method", "path", "asked", "said"),
    [
        ("GET", "runs/get", {"run_id": "none"}, "Run with id=none not found"),
        ("POST", "runs/set-tag", {"run_id": "none", "key": "a", "value": "b"}, "Run with id=none not found"),
        ("GET", "experiments/get", {"experiment_id": "999"}, "No Experiment with id=999 exists"),
        ("POST", "experiments/delete", {"experiment_id": "999"}, "No Experiment with id=999 exists"),
    ],
)
def test_what_is_missing_is_said_in_mlflows_words(client, method, path, asked, said):
    sent = {"params": asked} if method == "GET" else {"json": asked}
    answer = client.request(method, f"/api/2.0/mlflow/{path}", **sent)
    assert told(answer) == (404, "RESOURCE_DOES_NOT_EXIST", said)
