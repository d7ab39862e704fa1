"""Asking for a training over HTTP: by a person, by a signed message; the right, the reason, and once."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from litestar.testing import TestClient
from tests.ui.filled import FilledHouse, fortnight

from kedge.security.webhooks import sign
from kedge.server.application import application

BASE = "http://127.0.0.1:8400"
SECRET = "a secret of some length"
BODY = b'{"ref": "refs/heads/main"}'


@pytest.fixture
def house(monkeypatch):
    monkeypatch.setenv("KEDGE_WEBHOOK_NEW_DATA", SECRET)
    made = FilledHouse(fortnight())
    retraining = msgspec.structs.replace(made.spec.retraining, triggers=("webhook:new-data",))
    made.spec = msgspec.structs.replace(made.spec, retraining=retraining)
    return made


@pytest.fixture
def client(house):
    with TestClient(application(house), base_url=BASE) as opened:
        yield opened


def hook(client, *, name="new-data", body=BODY, **headers):
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return client.post(f"/api/v1/hooks/{name}", content=body, headers={"content-type": "application/json", **named})


def test_a_person_asks_and_the_same_key_asks_once(client, house):
    for taken in (True, False):
        answer = client.post(
            "/api/v1/models/flights/retrain", json={"reason": "a new airport"}, headers={"Idempotency-Key": "k"}
        )
        assert (answer.status_code, answer.json()) == (202, {"taken": taken})
    (trigger,) = client.get("/api/v1/models/flights/triggers").json()
    assert (trigger["kind"], trigger["reason"], trigger["actor"]) == (
        "person",
        "asked for by hand: a new airport",
        "person:local",
    )
    assert trigger["taken_at"] is None
    assert [one.key for one in house.meta.triggers.waiting("flights")] == [trigger["key"]]


def test_without_a_reason_or_for_another_model_nothing_is_asked(client, house):
    assert client.post("/api/v1/models/flights/retrain", json={"reason": ""}).status_code == 400
    answer = client.post("/api/v1/models/bikes/retrain", json={"reason": "a new station"})
    assert answer.status_code == 404
    assert "the project is 'flights'" in answer.json()["error"]["message"]
    assert house.meta.triggers.list("flights") == []


def test_a_signed_message_asks_once(client, house):
    signed = sign(BODY, SECRET, at=house.clock.now())
    assert hook(client, Kedge_Signature=signed).json() == {"taken": True}
    assert hook(client, Kedge_Signature=signed).json() == {"taken": False}, "it was replayed"
    (trigger,) = house.meta.triggers.list("flights")
    assert (trigger.kind, trigger.actor) == ("webhook", "webhook:new-data")


def test_one_that_signs_as_github_does_is_understood(client):
    import hashlib
    import hmac

    code = hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()
    assert hook(client, X_Hub_Signature_256=f"sha256={code}").json() == {"taken": True}
    assert hook(client, X_Hub_Signature_256=f"sha256={code[:-1]}0").status_code == 401


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda good, at: {}, "it is not signed"),
        (lambda good, at: {"Kedge_Signature": good[:-2]}, "does not fit"),
        (lambda good, at: {"Kedge_Signature": "t=,v1="}, "does not fit"),
        (lambda good, at: {"Kedge_Signature": "v1"}, "does not fit"),
        (lambda good, at: {"Kedge_Signature": sign(BODY, "another", at=at)}, "does not fit"),
        (lambda good, at: {"Kedge_Signature": sign(b"{}", SECRET, at=at)}, "does not fit"),
        (lambda good, at: {"Kedge_Signature": sign(BODY, SECRET, at=at - timedelta(minutes=6))}, "five minutes"),
        (lambda good, at: {"Kedge_Signature": sign(BODY, SECRET, at=at + timedelta(minutes=6))}, "five minutes"),
    ],
)
def test_what_is_not_signed_right_is_refused(client, house, spoil, said):
    at = house.clock.now()
    answer = hook(client, **spoil(sign(BODY, SECRET, at=at), at))
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "signature_invalid"
    assert said in answer.json()["error"]["message"]
    assert house.meta.triggers.list("flights") == []


def test_a_hook_that_is_not_declared_or_has_no_secret_is_not_there(client, house, monkeypatch):
    signed = sign(BODY, SECRET, at=datetime.now(UTC))
    assert hook(client, name="other", Kedge_Signature=signed).status_code == 401
    monkeypatch.delenv("KEDGE_WEBHOOK_NEW_DATA")
    assert hook(client, Kedge_Signature=signed).status_code == 401
