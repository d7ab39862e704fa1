"""The life of an alert: what comes, what people do, what time does."""

from datetime import UTC, datetime, timedelta

import pytest

from kedge.domain.alert_life import (
    KEDGE,
    AlertLife,
    AlertMove,
    AlertState,
    EscalationRules,
    acknowledged,
    looked,
    passed,
    raised,
    reopened,
    resolved,
    snoozed,
)
from kedge.domain.alerting import Alert, AlertKind, AlertSeverity
from kedge.domain.ids import ModelName
from kedge.errors import Conflict, RequestInvalid

AT = datetime(2026, 3, 1, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
BY = {"actor": "person:ann", "reason": "known"}


def alert(day: int = 0, kind: AlertKind = AlertKind.DATA_DRIFT, **more: object) -> Alert:
    values = {"key": f"{kind}/{day}", "message": f"day {day}", "raised_at": AT + day * DAY, "subject": "wind"} | more
    return Alert(model=ModelName("flights"), kind=kind, **values)  # type: ignore[arg-type]


def fired(**more: object) -> AlertLife:
    return raised(None, alert(**more))[0]  # type: ignore[arg-type]


def test_the_first_alert_opens_a_life_and_is_told() -> None:
    life, notice = raised(None, alert())
    assert notice is not None
    assert (life.state, life.severity, life.count, life.revision) == (AlertState.FIRING, AlertSeverity.WARNING, 1, 1)
    assert (notice.move, notice.reason, notice.life.acts) == (AlertMove.RAISED, "day 0", ())
    assert [act.move for act in life.acts] == [AlertMove.RAISED]


def test_the_same_condition_adds_to_its_count_and_is_not_told_again() -> None:
    life, notice = raised(fired(), alert(3, subject="wind, rain"))
    assert notice is None
    assert (life.count, life.seen_at, life.opened_at, life.newest.subject) == (2, AT + 3 * DAY, AT, "wind, rain")
    assert (life.calm, life.revision, len(life.acts)) == (0, 2, 1)


def test_what_got_worse_is_told_again_even_to_who_has_it_in_hand() -> None:
    held, _ = acknowledged(fired(), at=AT, **BY)
    life, notice = raised(held, alert(1, graded=AlertSeverity.CRITICAL))
    assert notice is not None
    assert (life.state, life.severity, notice.move) == (AlertState.FIRING, AlertSeverity.CRITICAL, AlertMove.ESCALATED)
    assert raised(life, alert(2))[1] is None


def test_an_acknowledged_alert_stays_quiet_and_the_act_is_kept() -> None:
    life, notice = acknowledged(fired(), at=AT + HOUR, **BY)
    assert notice is not None
    assert (life.state, notice.actor, notice.reason) == (AlertState.ACKNOWLEDGED, "person:ann", "known")
    assert (life.acts[-1].move, life.acts[-1].at, life.acts[-1].actor) == (AlertMove.ACKNOWLEDGED, AT + HOUR, "person:ann")
    assert passed(life, AT + 99 * DAY, rules=EscalationRules(escalate=1, remind=1)) == (life, None)


def test_a_snooze_ends_at_its_time_and_fires_again() -> None:
    life, notice = snoozed(fired(), at=AT, until=AT + DAY, **BY)
    assert (life.state, life.until, notice) == (AlertState.SNOOZED, AT + DAY, None)
    assert passed(life, AT + DAY - HOUR, rules=EscalationRules(remind=1)) == (life, None)
    woken, told = passed(life, AT + DAY, rules=EscalationRules())
    assert told is not None
    assert (woken.state, woken.until, told.move) == (AlertState.FIRING, None, AlertMove.WOKEN)
    with pytest.raises(RequestInvalid, match="is past"):
        snoozed(fired(), at=AT, until=AT, **BY)


def test_calm_windows_resolve_it_and_one_that_shows_it_begins_the_count_again() -> None:
    life, rules = fired(), EscalationRules(calm=3)
    for day in range(1, 3):
        life, _ = looked(life, at=AT + day * DAY, holds=False)
    assert passed(life, AT + 2 * DAY, rules=rules) == (life, None)
    life, told = looked(life, at=AT + 3 * DAY, holds=True)
    assert (life.calm, life.count, life.seen_at, told) == (0, 2, AT + 3 * DAY, None)
    for day in range(4, 7):
        life, _ = looked(life, at=AT + day * DAY, holds=False)
    over, notice = passed(life, AT + 7 * DAY, rules=rules)
    assert notice is not None
    assert (over.state, over.acts[-1].actor, notice.move) == (AlertState.RESOLVED, KEDGE, AlertMove.RESOLVED)
    assert "3 windows in a row" in over.acts[-1].reason
    assert looked(over, at=AT + 8 * DAY, holds=True) == (over, None), "a new alert opens it, a window alone does not"


def test_it_comes_back_as_another_episode() -> None:
    over, _ = resolved(fired(), at=AT + DAY, **BY)
    life, notice = raised(over, alert(9))
    assert notice is not None
    assert (life.state, life.episode, life.count, life.opened_at) == (AlertState.FIRING, 2, 1, AT + 9 * DAY)
    assert (notice.move, notice.life.episode) == (AlertMove.REOPENED, 2)


def test_what_a_person_resolved_and_still_holds_is_open_again_but_not_a_silence() -> None:
    over, _ = resolved(fired(), at=AT + HOUR, **BY)
    life, notice = looked(over, at=AT + DAY, holds=True)
    assert notice is not None
    assert (life.state, notice.move) == (AlertState.FIRING, AlertMove.REOPENED)
    assert looked(over, at=AT + DAY, holds=False) == (over, None)
    silent, _ = resolved(fired(kind=AlertKind.SILENCE, subject="labels"), at=AT + HOUR, **BY)
    assert looked(silent, at=AT + DAY, holds=True) == (silent, None)


def test_what_was_done_once_is_not_over_because_windows_are_calm() -> None:
    life = fired(kind=AlertKind.TRAINING_FAILED)
    assert looked(life, at=AT + DAY, holds=False) == (life, None)
    assert passed(life, AT + DAY, rules=EscalationRules(calm=0)) == (life, None)


def test_what_nobody_acknowledges_goes_up_a_severity_and_a_channel_each_time() -> None:
    rules = EscalationRules(escalate=3600, levels=2)
    life = fired()
    assert passed(life, AT + HOUR / 2, rules=rules) == (life, None)
    up, notice = passed(life, AT + HOUR, rules=rules)
    assert notice is not None
    assert (up.level, up.severity, notice.move) == (1, AlertSeverity.CRITICAL, AlertMove.ESCALATED)
    assert passed(up, AT + HOUR, rules=rules) == (up, None)
    top, _ = passed(up, AT + 2 * HOUR, rules=rules)
    assert (top.level, top.severity) == (2, AlertSeverity.CRITICAL)
    assert passed(top, AT + 9 * HOUR, rules=rules) == (top, None)


def test_what_fires_is_told_again_each_time_the_reminder_is_due() -> None:
    rules = EscalationRules(remind=3600)
    life, notice = passed(fired(), AT + HOUR, rules=rules)
    assert notice is not None
    assert (notice.move, life.told_at) == (AlertMove.REMINDED, AT + HOUR)
    assert passed(life, AT + 1.5 * HOUR, rules=rules) == (life, None)
    assert passed(life, AT + 2 * HOUR, rules=rules)[1] is not None


def test_a_resolved_alert_takes_no_act_but_to_be_opened_again() -> None:
    over, _ = resolved(fired(), at=AT, **BY)
    for act in (acknowledged, resolved):
        with pytest.raises(Conflict, match="is resolved"):
            act(over, at=AT, **BY)
    with pytest.raises(Conflict, match="is resolved"):
        snoozed(over, at=AT, until=AT + DAY, **BY)
    life, notice = reopened(over, at=AT + DAY, **BY)
    assert notice is not None
    assert (life.state, life.episode, notice.actor) == (AlertState.FIRING, 2, "person:ann")
    with pytest.raises(Conflict, match="not resolved"):
        reopened(life, at=AT, **BY)


def test_a_trial_that_waits_again_is_told_again() -> None:
    life, notice = raised(fired(kind=AlertKind.ROLLOUT_WAITS, subject="flights@3"), alert(1, AlertKind.ROLLOUT_WAITS))
    assert notice is not None
    assert (life.episode, notice.move) == (2, AlertMove.REOPENED)


def test_acts_are_kept_up_to_a_bound() -> None:
    life = fired()
    for _ in range(150):
        life, _ = resolved(life, at=AT, **BY)
        life, _ = reopened(life, at=AT, **BY)
    assert len(life.acts) == 200
    assert life.episode == 151
