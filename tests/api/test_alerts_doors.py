"""Alerts by every door: the API, the pages with their forms, and the commands say and do the same."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from litestar.testing import TestClient
from tests.ui.filled import FilledHouse, fortnight
from typer.testing import CliRunner

from kedge.cli import alerts
from kedge.domain.alert_life import AlertState
from kedge.domain.alerting import Alert, AlertKind
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import ModelName, digest_of
from kedge.errors import KedgeError, NotTold
from kedge.server.application import application
from kedge.server.reading import alerting
from kedge.storage.sql import open_store

WHY = {"reason": "I look into it"}
HOSTILE = "<img src=x onerror=alert(1)> [/bold]"


def fire(
    meta,
    kind=AlertKind.TRAINING_FAILED,
    *,
    subject="training_failed",
    at=datetime(2013, 3, 14, tzinfo=UTC),
    model="flights",
) -> str:
    alert = Alert(
        key=f"{kind}/{subject}/{at}",
        model=ModelName(model),
        kind=kind,
        message=f"it failed {HOSTILE}",
        raised_at=at,
        subject=subject,
    )
    event = Event(key=digest_of(alert.key), kind=EventKind.ALERT_RAISED, at=at, subject=model, actor="kedge", message="m")
    meta.watches.raise_alert(alert, event)
    return alert.id


@pytest.fixture
def house():
    return FilledHouse(fortnight())


@pytest.fixture
def client(house):
    with TestClient(application(house), base_url="http://127.0.0.1:8400") as opened:
        yield opened


def test_an_alert_goes_through_its_life_over_the_api(client, house):
    id = fire(house.meta)
    whole = client.get(f"/api/v1/alerts/{id}").json()
    assert (whole["alert"]["state"], whole["alert"]["newest"]["kind"]) == ("firing", "training_failed")
    assert "stays live" in whole["did"]
    for verb, state in (("acknowledge", "acknowledged"), ("resolve", "resolved"), ("reopen", "firing")):
        answer = client.post(f"/api/v1/alerts/{id}/{verb}", json=WHY)
        assert (answer.status_code, answer.json()["state"]) == (200, state)
        assert answer.json()["acts"][-1]["reason"] == WHY["reason"]
    answer = client.post(f"/api/v1/alerts/{id}/snooze", json=WHY | {"lasts": "4h"})
    until = datetime.fromisoformat(answer.json()["until"])
    assert until == house.clock.now() + timedelta(hours=4)
    kinds = [event.kind for _, event in house.meta.events.list(subject="flights", limit=4)]
    assert kinds == [
        EventKind.ALERT_SNOOZED,
        EventKind.ALERT_REOPENED,
        EventKind.ALERT_RESOLVED,
        EventKind.ALERT_ACKNOWLEDGED,
    ]


def test_the_list_has_what_is_open_worst_first(client, house):
    fire(house.meta)
    risk = fire(house.meta, AlertKind.RISK, subject="version 9")
    page = client.get("/api/v1/alerting").json()
    severities = [one["severity"] for one in page["open"]]
    assert severities == sorted(severities, key=["critical", "warning", "info"].index)
    client.post(f"/api/v1/alerts/{risk}/resolve", json=WHY)
    resolved = client.get("/api/v1/alerting").json()["resolved"]
    assert resolved[0]["newest"]["subject"] == "version 9"


def test_an_open_alert_is_listed_however_many_were_seen_since(client, house, monkeypatch):
    old = fire(house.meta, at=datetime(2013, 3, 1, tzinfo=UTC))
    late = fire(house.meta, AlertKind.BUSINESS, subject="late", at=datetime(2013, 3, 20, tzinfo=UTC))
    client.post(f"/api/v1/alerts/{late}/resolve", json=WHY)
    monkeypatch.setattr(alerting, "_NEWEST", 1)
    page = client.get("/api/v1/alerting").json()
    assert old in [one["id"] for one in page["open"]]
    assert [one["id"] for one in page["resolved"]] == [late]


def test_an_alert_leads_to_the_pages_of_its_own_model(client, house):
    id = fire(house.meta, AlertKind.DATA_DRIFT, subject="", model="a & b")
    whole = client.get(f"/api/v1/alerts/{id}").json()
    assert dict(whole["explained"]) == {
        "Drift by feature": "/monitoring?model=a+%26+b#drift",
        "What happened to the model": "/events?subject=a+%26+b",
    }
    risk = client.get(f"/api/v1/alerts/{fire(house.meta, AlertKind.RISK, model='a & b')}").json()
    assert dict(risk["explained"])["The model and its loss"] == "/models/a%20%26%20b"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("acknowledge", {"reason": ""}, 400),
        ("acknowledge", {}, 400),
        ("snooze", WHY, 400),
        ("snooze", WHY | {"lasts": "soon"}, 400),
        ("snooze", WHY | {"lasts": "4h", "until": "2099-01-01T00:00:00Z"}, 400),
        ("snooze", WHY | {"until": "2001-01-01T00:00:00Z"}, 400),
        ("snooze", WHY | {"until": "2099-01-01T00:00:00"}, 400),
        ("snooze", WHY | {"lasts": "99999999w"}, 400),
        ("reopen", WHY, 409),
        ("explode", WHY, 405),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(client, house, path, body, status):
    id = fire(house.meta)
    before = house.meta.alerts.get(id)
    answer = client.post(f"/api/v1/alerts/{id}/{path}", json=body)
    assert answer.status_code in (status, 404), answer.text
    assert answer.json()["error"]["message"]
    assert house.meta.alerts.get(id) == before


def test_what_is_not_there_is_said(client):
    assert client.get("/api/v1/alerts/none").status_code == 404
    assert client.post("/api/v1/alerts/none/resolve", json=WHY).status_code == 404
    assert client.get("/monitoring/alerts/none").status_code == 404
    assert client.post("/api/v1/alert-channels/none/test", json={}).status_code == 404
    assert client.get("/monitoring/channels/none/test").status_code == 404
    assert client.delete("/api/v1/models/flights/mute").status_code == 404


def test_an_act_under_a_key_happens_once(client, house):
    id = fire(house.meta)
    headers = {"Idempotency-Key": "k1"}
    first = client.post(f"/api/v1/alerts/{id}/resolve", json=WHY, headers=headers)
    again = client.post(f"/api/v1/alerts/{id}/resolve", json=WHY, headers=headers)
    assert first.json() == again.json()
    assert client.post(f"/api/v1/alerts/{id}/resolve", json=WHY).status_code == 409


def test_a_model_is_muted_and_told_of_again(client, house):
    muted = client.put("/api/v1/models/flights/mute", json=WHY | {"lasts": "2h"})
    assert muted.status_code == 200
    assert client.get("/api/v1/alerting").json()["mutes"][0]["model"] == "flights"
    assert client.delete("/api/v1/models/flights/mute").status_code == 204
    assert client.get("/api/v1/alerting").json()["mutes"] == []


def test_a_channel_is_tried_and_its_answer_shown(client, house):
    tried = client.post("/api/v1/alert-channels/ops/test", json={}).json()
    assert tried == {"channel": "ops", "taken": True, "answer": "200 ok"}
    house.channel.fault = NotTold("ops.example answered 503")
    assert client.post("/api/v1/alert-channels/ops/test", json={}).json()["taken"] is False
    token = re.search(r'name="token" value="([^"]+)"', client.get("/monitoring/channels/ops/test").text)
    page = client.post("/monitoring/channels/ops/test", data={"token": token[1]})
    assert "did not take the test message" in page.text
    assert "answered 503" in page.text
    assert client.post("/monitoring/channels/ops/test", data={"token": "wrong"}).status_code == 403


def test_the_pages_explain_the_alert_and_escape_what_it_says(client, house):
    id = fire(house.meta)
    for path in ("/monitoring/alerts", f"/monitoring/alerts/{id}", "/monitoring"):
        page = client.get(path)
        assert page.status_code == 200
        assert "<img src=x" not in page.text
    page = client.get(f"/monitoring/alerts/{id}").text
    for said in ("Acknowledge", "Snooze", "Resolve", "What is live stays live", "Its life", "Who was told", "warning"):
        assert said in page


@pytest.mark.parametrize(
    ("verb", "more", "state"),
    [
        ("acknowledge", {}, AlertState.ACKNOWLEDGED),
        ("snooze", {"lasts": "1d"}, AlertState.SNOOZED),
        ("resolve", {}, AlertState.RESOLVED),
    ],
)
def test_a_form_does_what_it_says_and_only_with_its_token(client, house, verb, more, state):
    id = fire(house.meta)
    path = f"/monitoring/alerts/{id}/{verb}"
    form = client.get(path)
    token = re.search(r'name="token" value="([^"]+)"', form.text)[1]
    assert client.post(path, data=WHY | more | {"token": "x"}).status_code == 403
    assert house.meta.alerts.get(id).state is AlertState.FIRING
    assert client.post(path, data={"reason": "", "token": token} | more).status_code == 409
    done = client.post(path, data=WHY | more | {"token": token}, follow_redirects=False)
    assert (done.status_code, done.headers["location"]) == (303, f"/monitoring/alerts/{id}")
    assert house.meta.alerts.get(id).state is state
    assert client.get(f"/monitoring/alerts/{id}/explode").status_code == 404


def test_who_misspells_a_model_is_not_told_that_it_is_muted(client, house):
    refused = client.put("/api/v1/models/fligths/mute", json=WHY | {"lasts": "2h"})
    assert refused.status_code == 404
    assert "there is no model 'fligths' to mute; there are: flights" in refused.json()["error"]["message"]
    assert client.get("/api/v1/alerting").json()["mutes"] == []


def test_each_model_with_alerts_can_be_muted_from_the_page(client, house):
    page = client.get("/monitoring/alerts").text
    for model in {life["model"] for life in client.get("/api/v1/alerting").json()["open"]}:
        assert f'href="/monitoring/mutes/{model}"' in page


def test_a_model_is_muted_by_its_form(client, house):
    token = re.search(r'name="token" value="([^"]+)"', client.get("/monitoring/mutes/flights").text)[1]
    sent = client.post("/monitoring/mutes/flights", data=WHY | {"lasts": "1h", "token": token}, follow_redirects=False)
    assert sent.status_code == 303
    assert "are muted until" in client.get("/monitoring/alerts").text


# ---- the commands ----

PROJECT = """
[project]
name = "flights"
[data]
source = "rows.csv"
time = "at"
label = "late"
[monitoring]
alerts = ["log", "down"]
[alerts.down]
kind = "webhook"
url = "http://127.0.0.1:9/"
allow_private = true
timeout = "1s"
"""


@pytest.fixture
def typed(tmp_path: Path):
    (tmp_path / "kedge.toml").write_text(PROJECT)
    (tmp_path / "rows.csv").write_text("at,late\n")
    url = f"sqlite:///{tmp_path / 'kedge.db'}"
    store = open_store(url)
    now = datetime.now(UTC)
    risk = fire(store, AlertKind.RISK, subject="version 1", at=now - timedelta(hours=1))
    fire(store, at=now)
    store.close()
    app = typer.Typer(rich_markup_mode=None)
    app.add_typer(alerts.nouns, name="alerts")

    def typed(*words: str):
        return CliRunner().invoke(app, ["alerts", *words, "--project", str(tmp_path), "--store", url])

    typed.risk = risk
    return typed


def test_the_commands_list_show_and_act(typed) -> None:
    listed = json.loads(typed("list", "--json").stdout)
    assert [one["newest"]["kind"] for one in listed] == ["training_failed", "risk"]
    assert "critical" in typed("list").stdout
    begun = typed.risk[:6]
    assert "it failed <img" in typed("show", begun).stdout
    held = typed("ack", begun, "--reason", "I look into it")
    assert held.stdout == f"{typed.risk}  risk of flights is acknowledged\n"
    snoozed = json.loads(typed("snooze", begun, "--for", "2d", "--reason", "known", "--json").stdout)
    assert snoozed["state"] == "snoozed"
    assert "is resolved" in typed("resolve", begun, "--reason", "repaired").stdout
    assert [one["id"] for one in json.loads(typed("list", "--json").stdout)] != [typed.risk]
    assert "is firing" in typed("reopen", begun, "--reason", "it is not").stdout
    shown = json.loads(typed("show", typed.risk, "--json").stdout)
    assert [act["move"] for act in shown["alert"]["acts"]] == ["raised", "acknowledged", "snoozed", "resolved", "reopened"]


def test_the_commands_mute_and_try_channels(typed) -> None:
    assert "is muted until" in typed("mute", "--for", "1h", "--reason", "new disks").stdout
    assert typed("mute", "--end", "--reason", "done").stdout == "flights is not muted any more\n"
    tried = typed("test")
    assert tried.exit_code == 3
    assert "log  taken: written to the log" in tried.stdout
    assert "down  not taken: 127.0.0.1" in tried.stdout
    assert typed("test", "log").exit_code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "none"), "there is no alert"),
        (("ack", "", "--reason", "why not"), "there is no alert"),
        (("test", "pigeon"), "there is no channel 'pigeon'"),
        (("mute", "--for", "soon", "--reason", "why not"), "--for"),
        (("mute", "--end", "--reason", "why not"), "not muted"),
    ],
)
def test_what_the_commands_cannot_do_is_said(typed, words, said) -> None:
    result = typed(*words)
    assert isinstance(result.exception, KedgeError)
    assert said in str(result.exception)
