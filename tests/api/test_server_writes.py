"""Writes: ground truth, and releases by hand, with names, reasons, revisions and idempotency keys."""

import re
from datetime import UTC, datetime

import pytest
from litestar.testing import TestClient
from tests.ui.filled import FilledHouse, fortnight

from kedge.server.application import application

BASE = "http://127.0.0.1:8400"
REASON = "storm forecast for the weekend"


@pytest.fixture
def house():
    return FilledHouse(fortnight())


@pytest.fixture
def client(house):
    with TestClient(application(house), base_url=BASE) as opened:
        yield opened


def test_ground_truth_is_recorded_with_the_time_it_became_known(client, house):
    body = {
        "predictions": ["flights-2013-03-01T11.0", "flights-2013-03-01T11.1"],
        "values": [1, 0],
        "known_at": "2013-03-03T02:00:00+02:00",
    }
    answer = client.post("/api/v1/ground-truth", json=body)
    assert answer.status_code == 202
    assert (answer.json()["recorded"], answer.json()["looked_up"]) == (2, False)
    (batch,) = house.truths
    assert batch.values == [1.0, 0.0]
    assert batch.known_at == datetime(2013, 3, 3, tzinfo=UTC)


def test_ground_truth_without_a_time_is_known_now(client, house):
    client.post("/api/v1/ground-truth", json={"predictions": ["a.0"], "values": [1]})
    assert house.truths[0].known_at == house.clock.now()


@pytest.mark.parametrize(
    "body",
    [
        {"predictions": ["a.0"], "values": []},
        {"predictions": ["no row"], "values": [1]},
        {"predictions": ["a.0"], "values": [1], "known_at": "2013-03-03T00:00:00"},
        {"predictions": ["a.0"], "values": ["late"]},
        {"predictions": ["a.0"], "values": [1e999]},
        {"predictions": "a.0", "values": [1]},
        {"predictions": ["a.0"], "values": [1], "labels": []},
        {"values": [1]},
        {"predictions": [], "values": []},
        {"predictions": ["a.0"], "entities": ["a"], "times": ["2013-03-03T00:00:00Z"], "values": [1]},
        {"entities": ["a"], "times": [], "values": [1]},
        {"entities": ["a"], "times": ["2013-03-03T00:00:00"], "values": [1]},
        {"entities": ["a"], "times": ["2013-03-03T00:00:00Z"], "values": [1], "within": "soon"},
        {"entities": ["a", "b"], "times": ["2013-03-03T00:00:00Z"] * 2, "values": [1]},
        [],
        None,
    ],
)
def test_ground_truth_that_does_not_fit_is_refused_whole(client, house, body):
    import json

    answer = client.post("/api/v1/ground-truth", content=json.dumps(body), headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "request_invalid"
    assert not house.truths


def test_promote_names_who_and_why(client, house):
    answer = client.post("/api/v1/models/flights/promote", json={"version": 2, "reason": f"  {REASON}  ", "revision": 2})
    assert answer.status_code == 200
    assert answer.json()["deployment"]["champion"] == 2
    served = house.meta.deployments.find("flights")
    assert (served.champion, served.actor, served.reason) == (2, "person:local", REASON)


@pytest.mark.parametrize(
    ("model", "body", "status", "code"),
    [
        ("flights", {"version": 99, "reason": REASON}, 404, "not_found"),
        ("none", {"version": 1, "reason": REASON}, 404, "not_found"),
        ("flights", {"version": 2, "reason": "  "}, 400, "request_invalid"),
        ("flights", {"version": 2, "reason": "x" * 301}, 400, "request_invalid"),
        ("flights", {"version": 2}, 400, "request_invalid"),
        ("flights", {"version": 2, "reason": REASON, "revision": 1}, 409, "revision_conflict"),
    ],
)
def test_a_promotion_that_does_not_fit_changes_nothing(client, house, model, body, status, code):
    answer = client.post(f"/api/v1/models/{model}/promote", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert house.meta.deployments.find("flights").revision == 2


def test_the_same_key_acts_once(client, house):
    key = {"idempotency-key": "k-1"}
    body = {"version": 2, "reason": REASON}
    first = client.post("/api/v1/models/flights/promote", json=body, headers=key)
    again = client.post("/api/v1/models/flights/promote", json=body, headers=key)
    assert first.json() == again.json()
    assert house.meta.deployments.find("flights").revision == 3
    other = client.post("/api/v1/models/flights/promote", json={**body, "version": 1}, headers=key)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "conflict")


def test_a_key_whose_process_died_after_acting_finds_what_was_done(client, house):
    body, key = {"reason": REASON}, {"idempotency-key": "k-2"}
    kept = house.meta.notes.put
    calls = []

    def dies(name, value):
        calls.append(name)
        if len(calls) == 2:
            raise RuntimeError("killed")
        kept(name, value)

    house.meta.notes.put = dies
    with TestClient(application(house), base_url=BASE, raise_server_exceptions=False) as killed:
        assert killed.post("/api/v1/models/flights/roll-back", json=body, headers=key).status_code == 500
    house.meta.notes.put = kept
    assert house.meta.deployments.find("flights").revision == 3
    again = client.post("/api/v1/models/flights/roll-back", json=body, headers=key)
    assert again.status_code == 200
    assert again.json()["deployment"]["revision"] == 3
    assert house.meta.deployments.find("flights").revision == 3


def test_roll_back_without_a_trial_is_a_conflict(client):
    assert client.post("/api/v1/models/flights/roll-back", json={"reason": REASON}).status_code == 200
    answer = client.post("/api/v1/models/flights/roll-back", json={"reason": REASON})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")


def opened(client, path):
    page = client.get(path, headers={"accept": "text/html"}).text
    return {name: re.search(rf'name="{name}" value="([^"]*)"', page)[1] for name in ("token", "revision")} | {"page": page}


def test_the_form_promotes_whom_it_names(client, house):
    form = opened(client, "/models/flights/promote?version=2")
    assert "All traffic moves from v1 to v2 at once" in form.pop("page")
    sent = {**form, "version": "2", "name": "flights v2", "reason": REASON}
    done = client.post("/models/flights/promote", data=sent, follow_redirects=False)
    assert (done.status_code, done.headers["location"]) == (303, "/models/flights")
    assert house.meta.deployments.find("flights").champion == 2


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"name": "flights v1"}, 422),
        ({"revision": "1"}, 409),
        ({"reason": " "}, 409),
        ({"token": "forged"}, 403),
        ({"token": ""}, 403),
    ],
)
def test_the_form_refuses_haste_and_forgery(client, house, change, status):
    form = opened(client, "/models/flights/promote?version=2")
    form.pop("page")
    sent = {**form, "version": "2", "name": "flights v2", "reason": REASON, **change}
    answer = client.post("/models/flights/promote", data=sent, headers={"accept": "text/html"}, follow_redirects=False)
    assert answer.status_code == status
    assert house.meta.deployments.find("flights").revision == 2


def test_a_form_without_its_cookie_is_refused(client, house):
    form = opened(client, "/models/flights/roll-back")
    form.pop("page")
    client.cookies.clear()
    sent = {**form, "name": "flights v2", "reason": REASON}
    assert client.post("/models/flights/roll-back", data=sent, follow_redirects=False).status_code == 403
    assert house.meta.deployments.find("flights").revision == 2
