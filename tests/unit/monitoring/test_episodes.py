"""When an episode is over: for the detectors that would tell of it anew, and for the alert that tells of it, alike."""

from datetime import timedelta

import msgspec
import pytest
from tests.unit.monitoring.test_business_metrics import selling, serve
from tests.unit.monitoring.world import SPEC, World, frame

from kedge.domain.alerting import AlertKind
from kedge.domain.channels import AlertRules, calm_windows
from kedge.domain.monitoring import COMING, MonitoringRules
from kedge.domain.worth import BusinessRules, MissedWhen, Per
from kedge.monitoring.telling.episodes import Episodes, Silence, silence_declared
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


def told(counts, *, window: timedelta = HOUR, silence: Silence | None = None, **more) -> list[int]:
    """Give the numbers of the windows in which a silence is told."""
    silence = silence or Silence()
    rules = {"first": 3 * DAY, **more}
    return [place for place, count in enumerate(counts) if silence.heard(count, window=window, **rules)]


def office(weeks: int, *, rows: int = 5) -> list[int]:
    """Hours from a Monday on: asked from nine to six on working days."""
    return [rows if 9 <= hour % 24 < 18 and hour // 24 % 7 < 5 else 0 for hour in range(168 * weeks)]


@pytest.mark.parametrize("first_day", range(7))
def test_nights_and_weekends_wake_nobody_whatever_day_it_begins(first_day: int) -> None:
    assert told(office(9)[24 * first_day :]) == []
    assert told([int(hour % 24 == 3) for hour in range(168 * 4)]) == []  # once a day
    working_days = [5 * (day % 7 < 5) for day in range(first_day, 63)]
    assert told(working_days, window=DAY) == []


def test_a_silence_is_told_once_when_it_is_twice_as_long_as_usual() -> None:
    usual = office(4)
    last = max(place for place, count in enumerate(usual) if count)
    weekend = 2 * 24 + 15
    assert told([*usual, *[0] * 400]) == [last + 2 * weekend + 1]
    again = [*usual, *[0] * 336, *office(1), *[0] * 400]
    assert len(told(again)) == 2


def test_what_never_was_silent_is_told_of_at_the_first_empty_window_once_a_week_is_known() -> None:
    assert told([9] * 168 + [0] * 5) == [168]
    assert told([9] * 100 + [0] * 200) == [100 + 72]  # before, after three days
    assert told([0] * 300 + [9] + [0] * 200) == [301 + 72]  # nothing is silent before it came
    assert told([9] * 168 + [0, 0, 9], least=1) == [169]
    assert told([9] * 7 + [0], window=DAY) == [7]
    assert told([9, 0], window=7 * DAY) == [1]


def test_one_outage_teaches_nothing_and_two_do() -> None:
    whole, outage = [9] * 168, [9] * 68 + [0] * 100
    assert told([*whole, *outage, *whole, *outage]) == [168 + 68, 3 * 168 + 68]
    assert told([*outage, *outage, *outage]) == [68 + 72]  # more than three days in the first week
    forgotten = [*outage, *outage, *whole * 9, *outage]
    assert told(forgotten)[-1] == 11 * 168 + 68


def test_what_is_declared_is_held_plainly() -> None:
    assert told([9] * 30 + [0] * 9, declared=6 * HOUR) == [35]
    assert told(office(3), declared=6 * HOUR)[0] == 18 + 5
    assert told([9, 0], declared=HOUR, least=1) == [1]


def test_predictions_and_labels_may_be_declared_each() -> None:
    each = MonitoringRules(silence={"labels": "30d"})
    assert [silence_declared(each, what) for what in COMING] == [None, 30 * DAY]
    both = MonitoringRules(silence="2h")
    assert [silence_declared(both, what) for what in COMING] == [2 * HOUR] * 2
    assert silence_declared(MonitoringRules(), "labels") is None


def test_a_silence_from_before_this_rule_is_taken_up() -> None:
    old = msgspec.msgpack.encode({"came": True, "quiet": 2, "longest": 14, "told": False})
    taken = msgspec.msgpack.decode(old, type=Silence)
    assert told([0] * 200, silence=taken) == [72 - 2]


@pytest.mark.parametrize(("calm", "days_told"), [("", [1]), ("2d", [1, 5])])
def test_what_comes_back_after_its_alert_could_resolve_is_told_again(calm: str, days_told: list[int]) -> None:
    world = selling(sold=SOLD)
    world.spec = msgspec.structs.replace(world.spec, alerts=AlertRules(calm=calm))
    days = []
    for day in range(6):
        serve(world, day, good=0.2 if day in (1, 5) else 1.0)
        days += [day for alert in world.measure(day).alerts if alert.kind is AlertKind.BUSINESS]
    assert days == days_told


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
