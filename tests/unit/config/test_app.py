"""The composition root does what the project file says."""

from pathlib import Path

import msgspec
import pytest

from kedge.adapters.notify import LogNotifier, SilentNotifier
from kedge.app import open_house
from kedge.config import Settings
from kedge.domain.ids import ModelName
from kedge.domain.monitoring import MonitoringRules
from kedge.domain.project import DataRules, ProjectSpec

SPEC = ProjectSpec(name=ModelName("delay"), data=DataRules(source="rows.csv", time="at", label="late"))


@pytest.mark.parametrize(("alerts", "kind"), [(("log",), LogNotifier), ((), SilentNotifier)])
def test_alerts_go_where_the_project_says(tmp_path: Path, alerts: tuple[str, ...], kind: type) -> None:
    spec = msgspec.structs.replace(SPEC, monitoring=MonitoringRules(alerts=alerts))
    house = open_house(Settings(project=tmp_path, store=str(tmp_path / "store")), spec, writer="test")
    try:
        assert isinstance(house.notifier, kind)
    finally:
        house.close()
