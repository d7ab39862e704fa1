"""Any servable version of the store goes through a rollout: no project, no loop, registered from a file by hand."""

import asyncio
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from litestar.testing import TestClient
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

import kedge
from kedge.app import open_house
from kedge.cli.main import application
from kedge.config import bare_project, settings
from kedge.controller import Controller
from kedge.server.application import application as served
from kedge.serving.host import host_of
from kedge.serving.wire.questions import InferRequest, Tensor


@pytest.fixture
def typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")

    def asked(*words):
        told = CliRunner().invoke(application(list(words)), list(words))
        assert told.exit_code == 0, (words, told.output, told.exception)
        return told.output

    return asked


def test_an_answer_of_a_model_registered_by_hand_is_answered_for(typed, tmp_path):
    rows = np.random.default_rng(1).normal(size=(60, 2))
    model = HistGradientBoostingClassifier(max_iter=3).fit(rows, rows[:, 0] > 0)
    kedge.register_model(model, "hours", example=rows)
    typed("deploy", "hours@1", "--reason", "the first")
    house = open_house(settings(tmp_path), bare_project(tmp_path), writer="serve")
    host = host_of(house)

    async def ask():
        return await host.ask(InferRequest(model="hours", id="r", inputs=[Tensor("all", "FP64", rows[:1].shape, rows[:1])]))

    asyncio.run(ask())
    house.close()
    told = json.loads(typed("why", "r.0", "--replay", "--json"))
    assert {link["title"]: link["verified"] for link in told["links"]} == {
        "answer": True,
        "route": True,
        "features": True,
        "model version": True,
        "registration": None,
        "gate verdict": None,
        "approver": True,
    }
    assert (told["replay"]["equal"], told["links"][2]["summary"]) == (True, "2 values, all brought by the request.")


def test_columns_that_only_the_new_version_reads_are_named(typed):
    rows = pl.DataFrame(np.random.default_rng(1).normal(size=(60, 3)), schema=["a", "b", "c"])
    late = (rows["a"] > 0).to_numpy()
    for columns in ("ab", "ab", "abc"):
        table = rows.select(list(columns))
        kedge.register_model(HistGradientBoostingClassifier(max_iter=3).fit(table.to_numpy(), late), "wide", example=table)
    typed("deploy", "wide@1", "--reason", "the first")
    assert "reads" not in typed("deploy", "wide@2", "--reason", "the same columns")
    told = typed("deploy", "wide@3", "--reason", "one more column")
    assert "v3 also reads c: on requests without them it fails, and v1 answers" in told


def test_an_answer_of_named_arrays_says_why_it_cannot_be_computed_again(typed, tmp_path):
    rows = np.random.default_rng(1).normal(size=(60, 2))
    model = LogisticRegression().fit(rows, np.arange(60) % 3)
    kedge.register_model(model, "classes", example=rows)
    typed("deploy", "classes@1", "--reason", "the first")
    house = open_house(settings(tmp_path), bare_project(tmp_path), writer="serve")
    host, signature = host_of(house), house.registry.servable("classes", 1).tensors
    inputs = [Tensor(spec.name, spec.datatype, (1,), rows[0, :1]) for spec in signature.inputs]

    async def ask():
        return await host.ask(InferRequest(model="classes", id="r", inputs=inputs))

    asyncio.run(ask())
    house.close()
    words = ["why", "r.0", "--replay"]
    told = CliRunner().invoke(application(words), words)
    assert told.exit_code == 3
    assert "this answer cannot be computed again: its signature says of no output that it is watched" in told.output
    assert "model version" in told.output, "the walk is printed first"
    again = CliRunner().invoke(application([*words, "--json"]), [*words, "--json"])
    assert "cannot be computed again" in json.loads(again.output)["replay"]["error"]


def test_a_model_registered_by_hand_is_deployed_tried_promoted_and_called_back(typed):
    rng = np.random.default_rng(1)
    rows = pl.DataFrame({"x": rng.normal(size=60), "y": rng.normal(size=60)})
    truth = (rows["x"] > 0).cast(pl.Int64).to_numpy()
    for strength in (1.0, 2.0):
        model = LogisticRegression(C=strength).fit(rows.to_numpy(), truth)
        kedge.register_model(model, "hours", example=rows.head(5))
    assert typed("deploy", "hours@1") == "hours v1 is champion and answers everything\n"
    gone = CliRunner().invoke(application(["deploy", "hours@7"]), ["deploy", "hours@7"])
    assert "there is no version 7 of a model 'hours' here" in str(gone.exception)
    started = typed("deploy", "hours@2", "--strategy", "canary", "--steps", "20%,100%", "--approve", "promote")
    assert started == "hours v1 is champion; v2 is on trial (canary) with 20% of traffic\n"
    look = json.loads(typed("deploy", "watch", "--once", "--json"))
    assert (look["model"], look["move"], "no traffic" in look["reason"]) == ("hours", "hold", True)
    lines = typed("deploy", "looks", "hours").splitlines()
    assert lines[0] == "hours: 1 look"
    assert lines[1].endswith("hours v2 step 1 (20%)  hold")
    assert [len(lines), lines[3].startswith("    version 2 at step 1 of 2")] == [4, True]
    assert "nobody looks at it now" in typed("deploy", "status", "hours")
    house = open_house(settings(Path(), store=".kedge"), bare_project(Path()), writer="test")
    killed = Controller(house, owner="host:7:ab")
    killed.tick()  # and it never stops: its lease ends by itself
    told = typed("deploy", "status", "hours")
    assert "looked at by host:7:ab; if that was killed, looks go on at " in told
    assert json.loads(typed("deploy", "status", "hours", "--json"))["looker"]["owner"] == "host:7:ab"
    assert typed("deploy", "watch", "--once", "--json") == "", "another process looks"
    killed.stop()
    house.close()
    assert typed("deploy", "promote", "hours", "--reason", "I looked") == "hours v2 is champion and answers everything\n"
    assert typed("deploy", "roll-back", "hours", "--reason", "complaints") == "hours v1 is champion and answers everything\n"
    typed("deploy", "hours@2", "--strategy", "all-at-once")
    assert json.loads(typed("deploy", "status", "hours", "--json"))["deployment"]["champion"] == 2
    house = open_house(settings(Path(), store=".kedge"), bare_project(Path()), writer="test")
    with TestClient(served(house), base_url="http://127.0.0.1:8400") as client:
        body = {"version": 1, "reason": "the night was bad"}
        promoted = client.post("/api/v1/models/hours/promote", json=body)
        assert promoted.json()["deployment"]["champion"] == 1, promoted.text
        assert client.post("/api/v1/models/hours/promote", json=body | {"version": 9}).status_code == 404
    house.close()


def test_the_doctor_looks_at_every_deployed_model_and_finds_what_is_lacking(typed, tmp_path):
    rows = np.random.default_rng(1).normal(size=(60, 2))
    model = HistGradientBoostingClassifier(max_iter=3).fit(rows, rows[:, 0] > 0)
    for name in ("early", "late", "late", "idle"):
        kedge.register_model(model, name, example=rows[:5])
    for version in ("early@1", "late@1", "late@2"):
        typed("deploy", version, "--reason", "first")
    told = typed("doctor")
    assert "model    early: 1 version, v1 is deployed\nmodel    late: 2 versions, v1 is deployed, v2 is on trial\n" in told
    assert "opens, 3 model versions" in told
    found = json.loads(typed("doctor", "--json"))["models"]
    assert [(one["model"], one["champion"], one["challenger"], one["faults"]) for one in found] == [
        ("early", 1, None, []),
        ("late", 1, 2, []),
    ]
    for pack in (tmp_path / ".kedge").rglob("*.pack"):
        pack.unlink()
    broken = CliRunner().invoke(application(["doctor"]), ["doctor"])
    assert broken.exit_code == 3
    lines = [line for line in broken.output.splitlines() if line.startswith("model ")]
    assert ["v1 cannot be read: " in line for line in lines] == [True, True]
    assert "v2 cannot be read: " in lines[1]
