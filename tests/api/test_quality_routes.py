"""Model quality through its doors: the commands and the API of a small project that was played, whose concept moves."""

import json

import msgspec
import pytest
from litestar.testing import TestClient
from tests.loop.small import opened, played, write
from tests.ui.filled import FilledHouse, year
from typer.testing import CliRunner

from kedge.cli.main import application as commands
from kedge.domain.causes import Causes
from kedge.domain.monitoring import Health
from kedge.domain.quality import Banded, HeldOutQuality
from kedge.server.application import application
from kedge.server.reading.quality import QualityPage
from kedge.storage.sql.watches import SqlWatches

BASE = "http://127.0.0.1:8400"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = write(tmp_path_factory.mktemp("quality") / "small")
    played(made)
    return made


def run(*words: str):
    return CliRunner().invoke(commands([*words]), [*words])


def test_the_last_windows_are_shown(folder) -> None:
    said = run("monitor", "show", "--project", str(folder), "--last", "5")
    assert said.exit_code == 0, said.output
    assert "the last 5 windows" in said.output
    assert "of the truths have arrived" in said.output
    assert "was off by" in said.output
    assert ", 28 days" in said.output
    assert " ±0." in said.output
    told = json.loads(run("monitor", "show", "--project", str(folder), "--last", "5", "--json").output)
    assert len(told["windows"]) == 5
    newest = msgspec.convert(told["windows"][-1], Health)
    assert newest.quality.known["log_loss"].low is not None
    assert newest.quality.cohorts[-1].rows == 60


def test_a_window_is_explained(folder) -> None:
    said = run("monitor", "explain", "--project", str(folder))
    assert said.exit_code == 0, said.output
    assert "labelled answers from" in said.output
    found = msgspec.json.decode(
        run("monitor", "explain", "--project", str(folder), "--json", "--windows", "10").output, type=Causes
    )
    assert {one.column for one in found.features} == {"a", "b", "site"}
    refused = run("monitor", "explain", "--project", str(folder), "--window", "2031")
    assert "was not measured" in str(refused.exception)


def test_a_store_without_windows_says_what_to_do(tmp_path) -> None:
    folder = write(tmp_path / "small")
    house, _ = opened(folder)
    house.close()
    assert "kedge watch" in str(run("monitor", "show", "--project", str(folder)).exception)


def test_the_api_tells_series_cohorts_and_causes(folder) -> None:
    house, _ = opened(folder)
    try:
        with TestClient(application(house), base_url=BASE) as client:
            page = msgspec.json.decode(client.get("/api/v1/models/small/quality").content, type=QualityPage)
            assert len(page.points) == page.windows == len(page.series[0].known)
            assert {"log_loss", "roc_auc", "calibration_error"} <= {one.metric for one in page.series}
            labelled = [one for one in page.points if one.labels]
            assert labelled[0].arrived == 1.0
            assert page.cohorts[3].labels == 60
            assert page.cohorts[3].estimates
            assert page.checks
            assert page.calibration.bins
            assert len(client.get("/api/v1/models/small/quality?windows=3").json()["points"]) == 3
            one = msgspec.json.decode(client.get("/api/v1/models/small/health").content, type=Health)
            assert one.window.id == page.points[-1].window
            named = client.get("/api/v1/models/small/health", params={"window": page.points[0].window})
            assert msgspec.json.decode(named.content, type=Health).window.id == page.points[0].window
            assert client.get("/api/v1/models/small/health?window=never").status_code == 404
            assert client.get("/api/v1/models/nobody/quality").status_code == 404
    finally:
        house.close()


def test_windows_from_before_quality_are_told_without_it() -> None:
    with TestClient(application(FilledHouse(year())), base_url=BASE) as client:
        page = msgspec.json.decode(client.get("/api/v1/models/flights/quality").content, type=QualityPage)
    assert page.points
    assert page.series, "the newest windows have it"
    assert all(len(one.known) == len(page.points) and one.known[0] is None for one in page.series), "gaps, no zeros"


def test_the_hold_out_stands_beside_all_rows(folder, monkeypatch) -> None:
    held = HeldOutQuality(rows=7, recent_rows=1234, days=9, recent={"log_loss": Banded(0.7, 0.6, 0.8)})
    newest = msgspec.convert(
        json.loads(run("monitor", "show", "--project", str(folder), "--last", "1", "--json").output)["windows"][-1], Health
    )
    shown = msgspec.structs.replace(newest, quality=msgspec.structs.replace(newest.quality, held_out=held))
    monkeypatch.setattr(SqlWatches, "list", lambda self, model, limit: [shown])
    said = run("monitor", "show", "--project", str(folder)).output
    assert "hold-out, served at random: 1,234 labelled rows of 9 days, 7 of them new" in " ".join(said.split())
    assert "0.7 (0.6 to 0.8)" in said
    house, _ = opened(folder)
    try:
        with TestClient(application(house), base_url=BASE) as client:
            page = msgspec.json.decode(client.get("/api/v1/models/small/quality").content, type=QualityPage)
    finally:
        house.close()
    assert page.held_out == held


def test_replayed_samples_are_shown_and_hold(folder) -> None:
    said = run("monitor", "skew", "--project", str(folder), "--last", "60")
    assert said.exit_code == 0, said.output
    assert "replayed samples" in said.output
    told = json.loads(run("monitor", "skew", "--project", str(folder), "--last", "60", "--json").output)["windows"]
    replayed = [one["skew"] for one in told if one["skew"] is not None]
    assert sum(one["answers"] for one in replayed) >= 300
    assert all(one["changed"] == 0 for one in replayed)
