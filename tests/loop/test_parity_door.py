"""Parity through its doors: the command, the window job, doctor and the model's page, on a project with one view."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from litestar.testing import TestClient
from tests.loop.small import write
from typer.testing import CliRunner

from kedge.app import open_house
from kedge.cli.main import application
from kedge.config import read_project, settings
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import RequestId, digest_of
from kedge.domain.monitoring import PredictionBatch
from kedge.domain.records import encode_batch
from kedge.domain.rollout import Deployment
from kedge.replay.clock import SetClock
from kedge.server.application import application as control_plane
from kedge.windows import closed_windows, watch_closed

FEATURES = """
from datetime import datetime, timedelta
import polars as pl
from kedge import FeatureService, FeatureView

def weather():
    return pl.DataFrame({"site": ["north"] * 48, "at": [datetime(2024, 1, 1) + timedelta(hours=h) for h in range(48)],
                         "wind": [float(h) for h in range(48)]})

view = FeatureView(name="weather", entity="site", source=weather, time="at", features=("wind",))
service = FeatureService(name="small", request=("a",), views=(view,))
"""
START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = write(tmp_path / "small")
    (made / "features.py").write_text(FEATURES)
    with (made / "kedge.toml").open("a") as file:
        file.write('[features]\nservice = "features.py:service"\n')
    return made


def house_of(folder: Path, *, days: int = 2):
    clock = SetClock(START + timedelta(days=days))
    return open_house(settings(folder), read_project(folder), writer="test", clock=clock)


def answer(folder: Path, hours: range, *, pushed: int | None = None) -> None:
    """Log one answer an hour as the data plane does; the online store is brought up to `pushed`, or to each hour."""
    house = house_of(folder)
    spec, service = house.spec, house.features.service(house.spec)
    for hour in hours:
        at = START + timedelta(hours=hour)
        house.features.materialize(spec, at if pushed is None else START + timedelta(hours=pushed))
        served = house.features.reader(service).read({"site": ["north"], "a": [1.0]}, at)
        batch = PredictionBatch(
            request=RequestId(f"h{hour}"),
            model=spec.name,
            at=at,
            revision=1,
            service=service.name,
            entities=["x"],
            versions=[1],
            features=served.features,
            as_of=served.as_of,
            outputs=[0.5],
            batches=[(1, [0])],
            inputs={"site": ["north"]},
        )
        house.predictions.append(encode_batch(batch))
    house.close()


def said(*words: str):
    return CliRunner().invoke(application(list(words)), list(words))


def test_the_command_tells_that_all_agrees_or_what_does_not(folder: Path) -> None:
    assert "parity   not checked yet" in said("doctor", str(folder)).output
    answer(folder, range(4, 8))
    told = said("features", "parity", str(folder))
    assert (told.exit_code, told.output) == (
        0,
        "all 4 values of 4 rows served from 2024-01-01 04:00 to 2024-01-01 07:00 are what the join gives\n",
    )
    answer(folder, range(8, 12), pushed=9)
    told = said("features", "parity", str(folder), "--json")
    report = msgspec.json.decode(told.output)
    assert told.exit_code == 3
    assert (report["rows"], report["mismatched"], report["columns"]) == (8, 3, ["weather__wind"])
    assert [(one["prediction"], one["served"], one["joined"]) for one in report["mismatches"]] == [
        ("h8.0", None, 8.0),
        ("h10.0", 9.0, 10.0),
        ("h11.0", 9.0, 11.0),
    ]
    shown = said("features", "parity", str(folder), "--since", "2024-01-01T10:00:00")
    assert "2 of 2 values" in shown.output
    assert "h10.0" in shown.output
    assert said("features", "parity", str(folder), "--limit", "0").exit_code == 2
    doctor = said("doctor", str(folder))
    assert doctor.exit_code == 3
    assert "2 of 2 values" in doctor.output


def deploy(house) -> None:
    deployment = Deployment(model=house.spec.name, revision=1, champion=1, since=START, actor="a", reason="r")
    event = Event(key=digest_of(1), kind=EventKind.MODEL_PROMOTED, at=START, subject=house.spec.name, actor="a", message="")
    house.meta.deployments.put(deployment, event)


def test_the_window_job_holds_what_it_measured_against_the_join(folder: Path, monkeypatch) -> None:
    answer(folder, range(20, 30), pushed=25)
    house = house_of(folder)
    deploy(house)
    watched = []
    monkeypatch.setattr("kedge.windows.watch", lambda house, spec, window: watched.append(window.id))
    assert len(list(closed_windows(house))) == 2
    assert [*watch_closed(house)] == watched
    report = house.parity.newest(house.spec.name)
    assert (report.rows, report.mismatched) == (10, 9)
    with TestClient(control_plane(house), base_url="http://127.0.0.1") as client:
        page = client.get("/models/small", headers={"accept": "text/html"}).text
        assert "9 of 10 values" in page
        assert client.get("/api/v1/models/small").json()["parity"]["mismatched"] == 9
        happened = client.get("/api/v1/loop").json()["happened"]
        assert [(one["kind"], one["state"]) for one in happened if one["kind"] == "parity_checked"] == [
            ("parity_checked", "watch")
        ]
    house.close()


def test_a_source_that_cannot_be_read_does_not_stop_the_window_job(folder: Path, monkeypatch) -> None:
    answer(folder, range(3))
    (folder / "features.py").write_text(FEATURES.replace("def weather():\n", "def weather():\n    raise OSError('away')\n"))
    house = house_of(folder, days=1)
    deploy(house)
    monkeypatch.setattr("kedge.windows.watch", lambda house, spec, window: None)
    assert len(watch_closed(house)) == 1
    (alert,) = house.meta.watches.alerts(house.spec.name)
    assert "away" in alert.message
    house.close()
