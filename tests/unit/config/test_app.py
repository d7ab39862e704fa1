"""The composition root does what the project file says."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from kedge.app import open_house, rehearse
from kedge.config import Settings
from kedge.domain.features import FeatureService, FeatureView
from kedge.domain.ids import ModelName
from kedge.domain.monitoring import MonitoringRules
from kedge.domain.project import DataRules, ProjectSpec
from kedge.features import room
from kedge.replay.clock import SetClock

SPEC = ProjectSpec(name=ModelName("delay"), data=DataRules(source="rows.csv", time="at", label="late"))


@pytest.mark.parametrize(
    ("alerts", "kinds"),
    [
        (("log",), {"log": "LogChannel"}),
        ((), {}),
        (("slack:https://hooks.example/x",), {"slack-5629de": "DocumentChannel"}),
    ],
)
def test_alerts_go_where_the_project_says(tmp_path: Path, alerts: tuple[str, ...], kinds: dict[str, str]) -> None:
    spec = msgspec.structs.replace(SPEC, monitoring=MonitoringRules(alerts=alerts))
    house = open_house(Settings(project=tmp_path, store=str(tmp_path / "store")), spec, writer="test")
    try:
        assert {name: type(channel).__name__ for name, channel in house.channels.items()} == kinds
    finally:
        house.close()


def test_a_house_and_its_twins_hold_each_source_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rows.csv").write_text("at,shop,late\n2020-01-01T00:00:00Z,a,0\n2020-01-02T00:00:00Z,a,1\n")
    (tmp_path / "shops.csv").write_text("since,shop,size\n2019-01-01T00:00:00Z,a,3\n")
    view = FeatureView(name="shop", entity="shop", source="shops.csv", time="since", features=("size",))
    service, arranged, arrange = FeatureService(name="delay", views=(view,)), [], room._arranged
    monkeypatch.setattr(room, "_arranged", lambda *given: arranged.append(given) or arrange(*given))
    house = open_house(Settings(project=tmp_path, store=str(tmp_path / "store")), SPEC, writer="test")
    try:
        twins = [rehearse(house, SPEC, clock=SetClock(datetime(2020, 1, 3, tzinfo=UTC))) for _ in range(2)]
        rows = house.data.rows(SPEC)
        joined = [one.features.joined(service, rows, time="at") for one in (house, *twins)]
        assert all(twin.data.rows(SPEC) is rows for twin in twins)
        assert [frame["shop__size"].to_list() for frame in joined] == [[3, 3]] * 3
        assert len(arranged) == 1
        for twin in twins:
            twin.meta.close()
    finally:
        house.close()
