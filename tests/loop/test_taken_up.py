"""A champion that a person registered and deployed under the project's name: the loop compares with it and watches it, or
says once what it lacks."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from tests.loop.small import DATA, opened, write

from kedge.app import House
from kedge.client.registering import _found
from kedge.domain.alerting import AlertKind
from kedge.domain.evaluation import Outcome
from kedge.domain.rollout import RuleChanges
from kedge.loop import turn
from kedge.monitoring.drift.reference import Reference
from kedge.replay.clock import SetClock
from kedge.windows import watch_closed

DAY = timedelta(days=1)
REGISTERED = datetime(2024, 1, 25, tzinfo=UTC)


def by_hand(house: House, columns: list[str]) -> None:
    """Register and deploy what a person has trained on the rows known by then."""
    rows = house.data.rows(house.spec).filter(pl.col("at") < REGISTERED - DAY, pl.col("b").is_not_nan())
    x = rows.select("a", "b").rename(dict(zip(("a", "b"), columns, strict=True)))
    found = _found(LogisticRegression().fit(x.to_pandas(), rows["bad"]), x.head(20), output="", tolerance=None)
    version = house.given.register(house.spec.name, found.files, actor="person:ann", description=None, tags={})
    who = {"actor": "person:ann", "reason": "better than nothing"}
    house.by_hand.deploy(house.spec, house.spec.name, number=version.number, changes=RuleChanges(), **who)


@pytest.fixture
def world(tmp_path: Path) -> tuple[House, SetClock]:
    house, clock = opened(write(tmp_path))
    clock.set(REGISTERED)
    yield house, clock
    house.close()


def reference(house: House) -> Reference | None:
    return house.references.find(house.spec.name, 1)


def told(house: House) -> list[str]:
    return [alert.message for alert in house.meta.watches.alerts(house.spec.name) if alert.kind is AlertKind.UNWATCHED]


def test_it_is_compared_with_and_watched(world: tuple[House, SetClock]) -> None:
    house, clock = world
    by_hand(house, ["a", "b"])
    clock.set(REGISTERED + 2 * DAY)
    assert {outcome.released for outcome in watch_closed(house).values()} == {None}
    newest = house.meta.watches.list(house.spec.name, limit=1)[0]
    assert (newest.champion, told(house)) == (1, [])
    assert not [note for note in newest.notes if "nothing is deployed" in note or "no reference" in note]
    assert [column.name for column in reference(house).profile.columns] == ["a", "b"]
    taught = house.references.at_gate(house.spec.name, 1)  # on the newest of the project's rows
    assert taught is not None
    assert taught.worth.keys() == {"a", "b"}
    clock.set(REGISTERED + 3 * DAY)
    early = turn(house, house.spec, house.retraining.by_hand(house.spec, "person:ann"))
    assert early.refused.outcome is Outcome.HELD, "no first model is released over it"
    assert "labels that champion 1 has not seen" in "; ".join(early.refused.reasons)
    clock.set(REGISTERED + 20 * DAY)
    later = turn(house, house.spec, house.retraining.by_hand(house.spec, "person:ann"))
    findings = {
        finding.check: finding.reason for finding in house.registry.get(house.spec.name, later.released).verdict.findings
    }
    assert "champion 1's" in findings["not worse than champion"]
    assert (house.meta.deployments.find(house.spec.name).champion, later.released) == (1, 2), "it is on trial"


def test_one_that_reads_other_columns_is_told_of_once(world: tuple[House, SetClock]) -> None:
    house, clock = world
    by_hand(house, ["left", "right"])
    for days in (2, 3):
        clock.set(REGISTERED + days * DAY)
        watch_closed(house)
    (message,) = told(house)
    assert "it reads columns that these rows lack: left, right" in message
    assert (house.meta.watches.list(house.spec.name, limit=1)[0].champion, reference(house)) == (1, None)
    done = turn(house, house.spec, house.retraining.by_hand(house.spec, "person:ann"))
    assert (done.released, done.refused.outcome) == (None, Outcome.HELD)
    assert any("champion 1 cannot be compared" in reason for reason in done.refused.reasons)


def test_one_that_cannot_answer_missing_values_is_told_of_once_and_its_drift_is_watched(tmp_path: Path) -> None:
    data = DATA.replace('"b": b', '"b": np.where(np.arange(len(day)) % 9, b, np.nan)')
    house, clock = opened(write(tmp_path, data=data))
    clock.set(REGISTERED)
    by_hand(house, ["a", "b"])
    for days in (2, 3):
        clock.set(REGISTERED + days * DAY)
        watch_closed(house)
    (message,) = told(house)
    assert "it cannot answer these rows: " in message
    assert "NaN" in message
    assert "What it loses cannot be measured" in message
    assert [column.name for column in reference(house).profile.columns] == ["a", "b"]
    house.close()
