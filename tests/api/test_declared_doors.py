"""Fairness, business metrics and operations through their doors: the API and `kedge monitor`, from the same figures."""

import json

import pytest
from litestar.testing import TestClient
from tests.unit.monitoring.world import DAY, MODEL, SPEC, START, World, with_rules
from typer.testing import CliRunner

from kedge.app import open_house
from kedge.cli.main import application
from kedge.config import bare_project, settings
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import digest_of
from kedge.domain.operations import OperationsRules
from kedge.domain.worth import BusinessRules
from kedge.server.application import application as control_plane

BASE = "http://127.0.0.1:8400"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Make a folder whose store has three measured windows of a small world."""
    monkeypatch.chdir(tmp_path)
    rules = {
        "groups": ("carrier",),
        "fairness": {"demographic_parity": 0.2},
        "business": {"late": BusinessRules(value="truth", target=0.1), "odd": BusinessRules(value="weight")},
        "operations": OperationsRules(p99="50ms"),
    }
    world = World(spec=with_rules(SPEC, **rules))
    world.release(1)
    house = opened(tmp_path)
    for day in range(3):
        world.serve(day, rows=20)
        world.tell(day, rows=20, known=START + (day + 1) * DAY)
        health = world.measure(day)
        event = Event(
            key=digest_of("test", day), kind=EventKind.WINDOW_MEASURED, at=START, subject=MODEL, actor="kedge", message=""
        )
        house.meta.watches.put(health, b"", event=event)
    house.close()
    return tmp_path


def opened(folder):
    return open_house(settings(folder, store=str(folder / ".kedge")), bare_project(folder), writer="test")


def kedge(*words: str) -> str:
    given = ["monitor", *words]
    told = CliRunner().invoke(application(given), given, env={"COLUMNS": "200"})
    assert told.exit_code == 0, (told.output, told.exception)
    return told.output


def test_the_api_and_the_command_tell_the_same(folder) -> None:
    house = opened(folder)
    with TestClient(control_plane(house), base_url=BASE) as client:
        for kind in ("fairness", "business", "operations"):
            given = client.get(f"/api/v1/models/{MODEL}/{kind}?windows=2").json()
            assert [each["end"] for each in given["windows"]] == ["2013-03-03T00:00:00Z", "2013-03-04T00:00:00Z"]
            assert given["windows"][-1][kind]
            assert json.loads(kedge(kind, MODEL, "--windows", "2", "--json"))["windows"] == given["windows"]
        for kind in ("fairness", "business", "operations", "quality", "health", "monitoring", "windows", "retraining"):
            none = client.get(f"/api/v1/models/none/{kind}")
            assert none.status_code == 404
            assert "there is no model 'none'; there" in none.text
        assert client.get(f"/api/v1/models/{MODEL}/business?windows=0").status_code == 400
    house.close()


def test_tables_name_groups_gaps_metrics_and_objectives(folder) -> None:
    fairness = kedge("fairness", MODEL)
    assert "carrier = AA" in fairness
    assert "demographic_parity by carrier" in fairness
    business = kedge("business", MODEL)
    assert "late" in business
    assert "odd: weight: not in the prediction log" in business
    told = kedge("operations", MODEL)
    assert "72 requests" not in told
    assert "24 requests, 480 rows" in told
    assert "50 ms" in told


@pytest.mark.parametrize("verb", ["show", "explain", "skew", "fairness", "business", "operations"])
def test_every_command_takes_a_model_and_names_one_there_is_not(folder, verb) -> None:
    given = ["monitor", verb, "nope", "--project", str(folder)]
    told = CliRunner().invoke(application(given), given)
    assert "there is no model 'nope'; there" in str(told.exception)
    if verb != "explain":  # these windows are of no registered version, whose answers could be explained
        assert json.loads(kedge(verb, MODEL, "--project", str(folder), "--json"))["model"] == MODEL
