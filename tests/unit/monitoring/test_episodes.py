"""When an episode is over: for the detectors that would tell of it anew, and for the alert that tells of it, alike."""

from datetime import timedelta

import msgspec
import pytest
from tests.unit.monitoring.test_business_metrics import selling, serve
from tests.unit.monitoring.world import SPEC, World, frame

from kedge.domain.alerting import AlertKind
from kedge.domain.channels import AlertRules, calm_windows
from kedge.domain.worth import BusinessRules, MissedWhen, Per
from kedge.monitoring.telling.episodes import Episodes, Silence
from kedge.monitoring.telling.messenger import aging_of

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SOLD = BusinessRules(value="truth", per=Per.DAY, target=30.0, alarm=MissedWhen.PLAIN)


@pytest.mark.parametrize(
    ("calm", "window", "windows"),
    [
        ("", DAY, 7),
        ("", 7 * DAY, 7),
        ("", 6 * HOUR, 7),
        ("", HOUR, 24),
        ("", timedelta(minutes=7), 206),
        ("36h", DAY, 2),
        ("1h", DAY, 1),
        ("2h", HOUR, 2),
    ],
)
def test_the_calm_is_as_declared_or_seven_windows_and_a_day_at_least(calm, window, windows) -> None:
    rules = AlertRules(calm=calm)
    assert calm_windows(rules, window) == windows
    assert aging_of(rules, window).calm == windows


def test_an_alarm_within_the_quiet_windows_is_the_same_episode_and_after_them_another() -> None:
    episodes = Episodes(quiet=3)
    assert episodes.begins(AlertKind.RISK, 1)
    assert not episodes.begins(AlertKind.RISK, 4)
    assert episodes.begins(AlertKind.RISK, 8)
    assert episodes.begins(AlertKind.RISK, 8, subject="another")
    assert not episodes.goes_on(AlertKind.RISK, 12)
    assert episodes.begins(AlertKind.RISK, 12)


def test_a_new_champion_begins_anew_but_not_what_is_of_the_service() -> None:
    episodes = Episodes()
    assert episodes.begins(AlertKind.DATA_DRIFT, 1)
    assert episodes.begins(AlertKind.SILENCE, 1, subject="fewer labels")
    episodes.forget()
    assert episodes.begins(AlertKind.DATA_DRIFT, 2)
    assert not episodes.begins(AlertKind.SILENCE, 2, subject="fewer labels")


def test_a_silence_is_told_once_and_the_longest_so_far_is_normal() -> None:
    silence = Silence()
    assert [silence.heard(count) for count in (0, 5, 0, 0, 5, 0, 0, 0, 0)] == [
        False, False, True, False, False, False, False, True, False
    ]  # fmt: skip


@pytest.mark.parametrize(("calm", "told"), [("", [1]), ("2d", [1, 5])])
def test_what_comes_back_after_its_alert_could_resolve_is_told_again(calm: str, told: list[int]) -> None:
    world = selling(sold=SOLD)
    world.spec = msgspec.structs.replace(world.spec, alerts=AlertRules(calm=calm))
    days = []
    for day in range(6):
        serve(world, day, good=0.2 if day in (1, 5) else 1.0)
        days += [day for alert in world.measure(day).alerts if alert.kind is AlertKind.BUSINESS]
    assert days == told


@pytest.mark.parametrize(("calm", "same"), [("", True), ("2d", False), ("30d", True)])
def test_since_when_a_column_moved_begins_anew_where_its_alert_does(calm: str, same: bool) -> None:
    world = World()
    world.spec = msgspec.structs.replace(SPEC, alerts=AlertRules(calm=calm))
    world.release(1)
    world.references().take(world.spec, world.registry.versions[1], frame())
    since = []
    for day in range(6):
        away = day in (0, 5)
        world.serve(day, rows=100, columns=(lambda found: found | {"x": [0.05] * 100}) if away else None)
        (x,) = (one for one in world.measure(day).drift if one.column == "x")
        assert x.alarm is away
        since += [x.since] if away else []
    assert (since[0] == since[1]) is same
