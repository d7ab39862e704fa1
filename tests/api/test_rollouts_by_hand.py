"""Rollouts by hand over HTTP and on the command line: each verb names who and why; a refusal says what would be right."""

import json
import re

import pytest
from litestar.testing import TestClient
from tests.ui.filled import FilledHouse, fortnight
from tests.ui.seed import DAY, START, Year
from typer.testing import CliRunner

from kedge.cli.main import application as command_line
from kedge.domain.monitoring import PredictionBatch
from kedge.domain.records import encode_batch
from kedge.domain.rollout import RolloutRules, Strategy
from kedge.records import open_records
from kedge.registry.room import Registry
from kedge.rollout.hand import ByHand
from kedge.rollout.room import Rollout
from kedge.server.application import application
from kedge.server.routes.rollout_pages import _changes
from kedge.settings import settings
from kedge.storage.journal import FileJournal

WHY = {"reason": "storm forecast"}


def with_rollout(house):
    """Give a filled house the real room, over its own store."""
    meta = house.meta
    registry = Registry(models=meta.models, blobs=house.blobs, tables=None, evaluation=None, clock=house.clock)
    parts = {"deployments": meta.deployments, "registry": registry}
    house.rollout = Rollout(**parts, watches=meta.watches, clock=house.clock)
    house.by_hand = ByHand(catalog=house.catalog, **parts, rollout=house.rollout)
    return house


@pytest.fixture
def house():
    return with_rollout(FilledHouse(fortnight()))


@pytest.fixture
def client(house):
    with TestClient(application(house), base_url="http://127.0.0.1:8400") as opened:
        yield opened


def send(client, verb, status=200, **body):
    answer = client.post(f"/api/v1/models/flights/{verb}", json=WHY | body)
    assert answer.status_code == status, answer.text
    return answer.json()["deployment" if status == 200 else "error"]


def test_a_trial_is_deployed_paused_resumed_and_aborted(client, house):
    send(client, "abort")
    rules = {"strategy": "canary", "steps": ["50%", "100%"], "approve": ["50%"]}
    made = send(client, "deploy", version=2, rules=rules)
    assert (made["challenger"], made["share"], made["waiting"], made["rules"]["steps"]) == (2, 0, "50%", ["50%", "100%"])
    assert send(client, "approve")["share"] == 0.5
    assert send(client, "pause")["paused_at"]
    assert send(client, "resume", revision=made["revision"], status=409)["code"] == "revision_conflict"
    assert send(client, "resume")["paused_at"] is None
    assert send(client, "abort")["challenger"] is None
    events = house.meta.events.list(subject="flights", limit=6)
    assert [event.kind.value for _, event in reversed(events)] == [
        "rollout_started",
        "alert_raised",
        "rollout_approved",
        "rollout_paused",
        "rollout_resumed",
        "model_rolled_back",
    ]
    assert {event.actor for _, event in events} == {"person:local", "policy:rollout"}
    assert "person:local lets version 2 pass, 50%: storm forecast" in [event.message for _, event in events]


def test_what_cannot_be_done_says_what_would_be_right(client):
    assert "on trial already" in send(client, "deploy", 409, version=2)["message"]
    assert "waits for nobody" in send(client, "approve", 409)["message"]
    assert send(client, "deploy", 404, version=99)["code"] == "not_found"
    assert "steps must rise" in send(client, "deploy", 400, version=1, rules={"steps": ["5%"]})["message"]
    assert "reason" in send(client, "pause", 400, reason=" ")["message"]
    assert send(client, "pause", 400, why="x")["code"] == "request_invalid"


def test_the_same_key_again_acts_once(client, house):
    key = {"Idempotency-Key": "k1"}
    first, again = (client.post("/api/v1/models/flights/pause", json=WHY, headers=key).json() for _ in range(2))
    assert first == again
    assert house.meta.deployments.find("flights").revision == first["deployment"]["revision"]


@pytest.fixture
def kedge(tmp_path, monkeypatch):
    """Run `kedge deploy ...` in a folder without a project, over the store of the written year's first two weeks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    records = open_records(settings(tmp_path, store=str(tmp_path / ".kedge"), server=""))
    Year(records.meta).write(START + 14 * DAY)
    records.close()

    def asked(*words, code=0):
        given = ["deploy", *words]
        told = CliRunner().invoke(command_line(given), given)
        assert told.exit_code == code, (words, told.output, told.exception)
        return told.exception if code else told.output

    asked.folder = tmp_path
    return asked


def kedge_revision(kedge):
    return json.loads(kedge("status", "flights", "--json"))["deployment"]["revision"]


def answered(request, revision):
    """One request to a shadow, as the data plane logs it: the two versions decide otherwise on every other one."""
    batch = PredictionBatch(
        request=request,
        model="flights",
        at=START,
        revision=revision,
        service="",
        entities=[],
        versions=[1],
        features={"x": [0.1]},
        as_of={},
        outputs=[0.2],
        batches=[],
        shadow={2: [0.2 if int(request[1:]) % 2 else 0.8]},
        seconds={"predict": 0.01},
    )
    return encode_batch(batch)


def test_the_command_line_deploys_a_version_and_follows_it(kedge):
    started = kedge("flights@2", "--strategy", "canary", "--steps", "10%,100%", "--approve", "yes", "--reason", "better")
    assert started == "flights v1 is champion; v2 is on trial (canary) with 10% of traffic\n"
    assert "step 1 of 2" in kedge("status", "flights")
    assert "paused" in kedge("pause", "flights", "--reason", "storm")
    assert "paused" not in kedge("resume", "flights", "--reason", "it has passed")
    deployment = json.loads(kedge("status", "flights", "--json"))["deployment"]
    assert (deployment["rules"]["approve"], deployment["rules"]["steps"]) == (True, ["10%", "100%"])
    assert kedge("abort", "flights", "--reason", "not now") == "flights v1 is champion and answers everything\n"
    kedge("flights@2", "--strategy", Strategy.ALL_AT_ONCE.value)
    assert kedge("roll-back", "flights", "--reason", "worse") == "flights v1 is champion and answers everything\n"
    assert "0 looks" in kedge("looks", "flights")
    kedge("flights@2", "--strategy", "shadow")
    journal = FileJournal(kedge.folder / ".kedge" / "predictions", "test")
    for number in range(30):
        journal.append(answered(f"r{number}", revision=kedge_revision(kedge)))
    journal.close()
    look = json.loads(kedge("watch", "--once", "--json"))
    assert (look["live"], look["comparison"]["pairs"], look["comparison"]["disagreed"]) == (True, 30, 15)
    assert "1 look" in kedge("looks", "flights")
    assert "hold: version 2 at step 1 of 1 (shadow) shows no harm" in kedge("status", "flights")
    assert kedge("status").splitlines()[0] == kedge("status", "flights").splitlines()[0], "every deployed model"
    assert [one["deployment"]["model"] for one in json.loads(kedge("status", "--json"))] == ["flights"]
    assert "flights: 1 look" in kedge("looks")
    assert "names no version" in str(kedge("start", "flights", code=1))
    assert "nothing is deployed" in str(kedge("status", "hours", code=1))


def test_the_page_and_its_json_show_what_is_on_trial_and_whom_it_waits_for(client, house):
    send(client, "abort")
    ended = client.get("/api/v1/models/flights/rollout").json()
    assert (ended["running"], ended["verdict"]["say"]) == (False, "Nothing is on trial; v1 answers everything.")
    send(client, "deploy", version=2, rules={"strategy": "shadow"})
    shadow = client.get("/api/v1/models/flights/rollout").json()["verdict"]["say"]
    assert shadow.startswith("v2 is on trial with a copy of the traffic")
    send(client, "abort", reason="now another way")
    send(client, "deploy", version=2, rules={"strategy": "blue-green", "approve": True, "hold": "2d"})
    shown = client.get("/api/v1/models/flights/rollout").json()
    assert (shown["running"], shown["waiting"], shown["challenger"]) == (True, "100%", 2)
    assert shown["verdict"]["say"] == "v2 waits for a person to let it go on to 100% of the traffic."
    assert [(step["name"], step["word"]) for step in shown["steps"]] == [
        ("100%", "waits for a person"),
        ("champion", "not yet"),
    ]
    page = client.get("/models/flights/rollout").text
    assert "/models/flights/trial/approve" in page
    form = client.get("/models/flights/trial/approve").text
    token = form.partition('name="token" value="')[2].partition('"')[0]
    revision = form.partition('name="revision" value="')[2].partition('"')[0]
    sent = {"token": token, "revision": revision, "reason": "I looked at it"}
    done = client.post("/models/flights/trial/approve", data=sent, follow_redirects=False)
    assert (done.status_code, done.headers["location"]) == (303, "/models/flights/rollout")
    deployment = house.meta.deployments.find("flights")
    assert (deployment.share, deployment.actor, deployment.reason) == (1.0, "person:local", "I looked at it")
    assert client.post("/models/flights/trial/approve", data=sent).status_code == 409
    assert client.get("/models/flights/trial/explode").status_code == 404


def test_the_form_deploys_by_the_rules_that_it_was_given(client, house):
    form = client.get("/models/flights/deploy?version=1").text
    assert "The trial of v2 ends" in form
    token = form.partition('name="token" value="')[2].partition('"')[0]
    send(client, "promote", version=2)
    revision = str(house.meta.deployments.find("flights").revision)
    sent = {"token": token, "revision": revision, "version": "1", "strategy": "canary", "steps": "10%, 100%"}
    sent |= {"hold": "2d", "bake": "", "approve": "1", "reason": "once more"}
    assert re.findall(r"<option.*?>(.*?)</option>", form) == [one.value for one in Strategy]
    wrong = client.post("/models/flights/deploy", data=sent | {"strategy": "hope"})
    assert (wrong.status_code, "none of all-at-once, blue-green, canary, shadow" in wrong.text) == (409, True)
    done = client.post("/models/flights/deploy", data=sent, follow_redirects=False)
    assert done.status_code == 303, done.text
    made = house.meta.deployments.find("flights")
    assert (made.challenger, made.share, made.rules.steps, made.rules.approve) == (1, 0.1, ("10%", "100%"), True)


def test_a_box_that_is_left_as_it_was_keeps_the_steps_that_wait_for_a_person():
    form = {"strategy": "canary", "steps": "5%, 100%", "approve": "1"}
    assert _changes(form, RolloutRules(approve=("5%", "promote"))).approve is None
    assert _changes(form, RolloutRules()).approve is True
    assert _changes({**form, "approve": ""}, RolloutRules(approve=("5%",))).approve is False
