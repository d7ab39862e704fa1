"""Which alerts are one, how bad they are, and where they are explained."""

from datetime import UTC, datetime

import pytest

from kedge.domain.alerting import Alert, AlertKind, AlertSeverity, alert_id, severity_of
from kedge.domain.ids import ModelName

MODEL = ModelName("flights")
AT = datetime(2026, 3, 1, tzinfo=UTC)


def alert(kind: AlertKind, subject: str = "", **more: object) -> Alert:
    return Alert(key=subject, model=MODEL, kind=kind, message="m", raised_at=AT, subject=subject, **more)  # type: ignore[arg-type]


def test_every_kind_has_a_severity_and_what_harms_people_is_critical() -> None:
    by = {severity: {kind for kind in AlertKind if severity_of(kind) is severity} for severity in AlertSeverity}
    assert by[AlertSeverity.CRITICAL] == {AlertKind.RISK, AlertKind.FAIRNESS, AlertKind.OPERATIONS, AlertKind.SILENCE}
    assert by[AlertSeverity.INFO] == {AlertKind.ROLLOUT_WAITS}
    assert [one.rank for one in (AlertSeverity.INFO, AlertSeverity.WARNING, AlertSeverity.CRITICAL)] == [0, 1, 2]


def test_an_alert_may_be_worse_than_its_kind() -> None:
    assert alert(AlertKind.COST).severity is AlertSeverity.WARNING
    assert alert(AlertKind.COST, graded=AlertSeverity.CRITICAL).severity is AlertSeverity.CRITICAL


def test_many_features_are_one_alert_and_two_versions_are_two() -> None:
    assert alert(AlertKind.DATA_DRIFT, "wind").id == alert(AlertKind.DATA_DRIFT, "wind, rain").id
    assert alert(AlertKind.RISK, "version 1").id != alert(AlertKind.RISK, "version 2").id
    assert alert(AlertKind.RISK).id != alert(AlertKind.BUSINESS).id
    assert alert_id(ModelName("other"), AlertKind.RISK, subject="") != alert(AlertKind.RISK).id


@pytest.mark.parametrize("kind", AlertKind)
def test_an_alert_links_to_its_page(kind: AlertKind) -> None:
    one = alert(kind, "a subject / with ? marks")
    assert one.link == f"/monitoring/alerts/{one.id}"
    assert one.id.isalnum()
