"""The messenger: what is due is done, each message goes where the project says, in order, and none is lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy
from sqlalchemy import Connection, Engine

from kedge.domain.alert_life import AlertMove, AlertState, looked
from kedge.domain.alerting import Alert, AlertKind, AlertSeverity
from kedge.domain.channels import AlertDelivery, AlertRules, ChannelKind, ChannelRules, DeliveryState, Message
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import ModelName, digest_of
from kedge.errors import ConfigError, Conflict, NotFound, NotTold, RequestInvalid, StoreBroken
from kedge.monitoring.telling.desk import AlertDesk
from kedge.monitoring.telling.messenger import LEASE, Messenger, quiet_until, retry_after
from kedge.storage.sql import open_store

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
MODEL = ModelName("flights")
HOUR = timedelta(hours=1)
WEBHOOK = ChannelRules(kind=ChannelKind.WEBHOOK, url="https://ops.example")
SLACK = ChannelRules(kind=ChannelKind.SLACK, url="https://slack.example")
PAGER = ChannelRules(kind=ChannelKind.PAGERDUTY, secret_env="KEY")
BY = {"actor": "person:ann", "reason": "known"}


class Receiver:
    """A channel that keeps what it is sent, and fails while it is told to."""

    def __init__(self) -> None:
        self.got: list[Message] = []
        self.fault: Exception | None = None

    def send(self, message: Message) -> str:
        if self.fault is not None:
            raise self.fault
        self.got.append(message)
        return "200 ok"

    @property
    def moves(self) -> list[AlertMove]:
        return [message.notice.move for message in self.got]


class Telling:
    """A store, channels, a clock, and one messenger (or several) over them."""

    def __init__(self, *, first: dict[str, ChannelRules] | None = None, **rules: object) -> None:
        self.meta, self.time = open_store("sqlite://"), START
        self.first = {"ops": WEBHOOK} if first is None else first
        self.rules = AlertRules(**rules)  # type: ignore[arg-type]
        self.receivers = {name: Receiver() for name in {**self.rules.channels, **self.first}}
        self.desk = AlertDesk(
            alerts=self.meta.alerts,
            models=self.meta.models.names,
            channels=lambda: self.receivers,
            clock=self,
            project=MODEL,
        )
        self.messenger = self.another("one")

    def now(self) -> datetime:
        return self.time

    def another(self, owner: str) -> Messenger:
        return Messenger(
            alerts=self.meta.alerts,
            runs=self.meta.runs,
            models=self.meta.models,
            deployments=self.meta.deployments,
            notes=self.meta.notes,
            first=self.first,
            rules=self.rules,
            channels=lambda: self.receivers,
            window="1d",
            project="flights",
            clock=self,
            owner=owner,
        )

    def fire(self, kind: AlertKind = AlertKind.DATA_DRIFT, subject: str = "wind", **more: object) -> str:
        key = f"{kind.value}/{subject}/{self.time.isoformat()}"
        alert = Alert(key=key, model=MODEL, kind=kind, message="it moved", raised_at=self.time, subject=subject, **more)  # type: ignore[arg-type]
        event = Event(
            key=digest_of(key), kind=EventKind.ALERT_RAISED, at=self.time, subject=MODEL, actor="kedge", message="m"
        )
        self.meta.watches.raise_alert(alert, event)
        return alert.id

    def tick(self, after: timedelta = timedelta()) -> list[DeliveryState]:
        self.time += after
        return [one.state for one in self.messenger.tick()]

    @property
    def ops(self) -> Receiver:
        return self.receivers["ops"]


def test_an_alert_is_told_once_by_each_channel_under_a_stable_id() -> None:
    telling = Telling(first={"ops": WEBHOOK, "chat": SLACK}, url="https://kedge.example/")
    id = telling.fire()
    assert telling.tick() == [DeliveryState.SENT] * 2
    assert telling.tick() == telling.tick(HOUR) == []
    (message,) = telling.ops.got
    assert (message.url, message.project) == (f"https://kedge.example/monitoring/alerts/{id}", "flights")
    (other,) = telling.receivers["chat"].got
    assert other.id != message.id
    telling.fire()
    assert telling.tick() == [], "the same condition is counted, not told"
    assert telling.meta.alerts.get(id).count == 2


def test_windows_that_come_late_resolve_by_their_own_time_at_the_window_that_is_enough() -> None:
    telling = Telling(calm="2d")
    id = telling.fire()
    for day in (1, 2, 3):
        life = telling.meta.alerts.get(id)
        if life.open:
            calmer, _ = looked(life, at=START + day * 24 * HOUR, holds=False)
            event = Event(
                key=digest_of(id, day), kind=EventKind.ALERT_REMINDED, at=START, subject=MODEL, actor="kedge", message="m"
            )
            telling.meta.alerts.put(calmer, event)
        telling.time = START + 1000 * HOUR
        telling.messenger.calm_down(MODEL, at=START + day * 24 * HOUR)
    over = telling.meta.alerts.get(id)
    assert over.state is AlertState.RESOLVED
    assert (over.acts[-1].at, over.acts[-1].reason) == (START + 48 * HOUR, "2 windows in a row did not show it")


def test_severity_and_kinds_choose_the_channel() -> None:
    only = msgspec.structs.replace(WEBHOOK, severity=AlertSeverity.CRITICAL)
    cost = msgspec.structs.replace(WEBHOOK, kinds=(AlertKind.COST,))
    telling = Telling(first={"ops": WEBHOOK, "critical": only, "cost": cost})
    telling.fire()
    telling.fire(AlertKind.RISK, "version 1")
    telling.fire(AlertKind.COST, "month")
    telling.tick()
    kinds = {name: [one.notice.life.kind for one in receiver.got] for name, receiver in telling.receivers.items()}
    assert kinds["ops"] == [AlertKind.DATA_DRIFT, AlertKind.RISK, AlertKind.COST]
    assert (kinds["critical"], kinds["cost"]) == ([AlertKind.RISK], [AlertKind.COST])


def test_a_receiver_that_is_down_is_tried_again_later_and_later_under_the_same_id() -> None:
    telling = Telling()
    id = telling.fire()
    telling.ops.fault = NotTold("503, password=hunter2")
    assert telling.tick() == [DeliveryState.WAITING]
    assert telling.tick() == [], "not before its time"
    assert telling.tick(timedelta(seconds=7)) == [DeliveryState.WAITING]
    (waiting,) = telling.meta.alerts.waiting()
    assert (waiting.attempts, "hunter2" in waiting.answer, waiting.answer[:3]) == (2, False, "503")
    telling.ops.fault = None
    assert telling.tick(timedelta(seconds=13)) == [DeliveryState.SENT]
    assert [message.id for message in telling.ops.got] == [waiting.id]
    assert telling.meta.alerts.deliveries(id)[0].answer == "200 ok"


def test_it_gives_up_after_a_day_and_at_once_where_the_answer_is_final() -> None:
    telling = Telling()
    telling.fire()
    telling.ops.fault = NotTold("503")
    telling.tick()
    assert telling.tick(timedelta(hours=23)) == [DeliveryState.WAITING]
    assert telling.tick(2 * HOUR) == [DeliveryState.FAILED]
    telling.fire(AlertKind.RISK, "version 1")
    telling.ops.fault = NotTold("400 invalid", final=True)
    assert telling.tick() == [DeliveryState.FAILED]
    assert telling.meta.alerts.counts().deliveries == {("ops", "failed"): 2}


def test_a_message_that_cannot_be_written_holds_no_other_channel_up() -> None:
    telling = Telling(first={"bad": WEBHOOK, "ops": WEBHOOK})
    telling.fire()
    telling.receivers["bad"].fault = RuntimeError("a bug")
    assert sorted(state.value for state in telling.tick()) == ["sent", "waiting"]
    assert telling.meta.alerts.waiting()[0].answer == "RuntimeError: a bug"


def test_a_secret_that_is_missing_is_said_and_tried_again() -> None:
    telling = Telling()
    telling.fire()
    telling.ops.fault = ConfigError("the environment variable OPS is not set")
    telling.tick()
    assert "OPS is not set" in telling.meta.alerts.waiting()[0].answer
    telling.ops.fault = None
    assert telling.tick(HOUR) == [DeliveryState.SENT]


def test_a_resolve_never_overtakes_what_it_resolves() -> None:
    telling = Telling()
    id = telling.fire()
    telling.ops.fault = NotTold("503")
    telling.tick()
    telling.desk.resolve(id, **BY)
    telling.ops.fault = None
    assert telling.tick() == [], "the first one's time has not come"
    assert telling.tick(HOUR) == [DeliveryState.SENT] * 2
    assert telling.ops.moves == [AlertMove.RAISED, AlertMove.RESOLVED]


def test_who_was_told_that_it_began_is_told_how_it_ends() -> None:
    telling = Telling(
        first={"ops": WEBHOOK, "chat": SLACK, "quiet": msgspec.structs.replace(SLACK, kinds=(AlertKind.COST,))}
    )
    id = telling.fire()
    telling.tick()
    telling.desk.acknowledge(id, **BY)
    telling.tick()
    telling.desk.resolve(id, **BY)
    telling.tick()
    assert telling.ops.moves == [AlertMove.RAISED, AlertMove.ACKNOWLEDGED, AlertMove.RESOLVED]
    assert telling.receivers["chat"].moves == [AlertMove.RAISED, AlertMove.RESOLVED], "a chat need not know who reads it"
    assert telling.receivers["quiet"].moves == []


def test_what_nobody_acknowledges_goes_to_the_next_channel() -> None:
    telling = Telling(channels={"pager": PAGER, "boss": SLACK}, escalate_after="1h", escalate_to=("pager", "boss"))
    id = telling.fire()
    telling.tick()
    telling.tick(HOUR)
    assert telling.ops.moves == [AlertMove.RAISED, AlertMove.ESCALATED]
    assert telling.receivers["pager"].moves == [AlertMove.ESCALATED]
    telling.tick(HOUR)
    assert telling.receivers["boss"].moves == [AlertMove.ESCALATED]
    assert telling.meta.alerts.get(id).severity is AlertSeverity.CRITICAL
    telling.tick(9 * HOUR)
    telling.desk.resolve(id, **BY)
    telling.tick()
    moves = [AlertMove.ESCALATED, AlertMove.ESCALATED, AlertMove.RESOLVED]
    assert telling.receivers["pager"].moves == moves
    kinds = [event.kind for _, event in telling.meta.events.list(subject=MODEL)]
    assert kinds == [EventKind.ALERT_RESOLVED, EventKind.ALERT_ESCALATED, EventKind.ALERT_ESCALATED, EventKind.ALERT_RAISED]


def test_an_acknowledged_alert_does_not_escalate() -> None:
    telling = Telling(channels={"pager": PAGER}, escalate_after="1h", escalate_to=("pager",), remind="1h")
    telling.desk.acknowledge(telling.fire(), **BY)
    telling.tick(9 * HOUR)
    assert telling.receivers["pager"].got == []


def test_what_fires_is_told_again_each_day() -> None:
    telling = Telling(remind="1d")
    telling.fire()
    for _ in range(3):
        telling.tick(24 * HOUR)
    assert telling.ops.moves == [AlertMove.RAISED, *[AlertMove.REMINDED] * 3]


def test_a_mute_holds_what_it_covers_and_drops_what_is_over_by_its_end() -> None:
    telling = Telling()
    telling.desk.mute(MODEL, until=START + 4 * HOUR, **BY)
    over, still = telling.fire(AlertKind.RISK, "version 1"), telling.fire()
    telling.tick(HOUR)
    telling.desk.resolve(over, **BY)
    assert telling.tick(HOUR) == []
    states = telling.tick(3 * HOUR)
    assert sorted(state.value for state in states) == ["dropped", "dropped", "sent"]
    assert [message.notice.life.id for message in telling.ops.got] == [still]
    answers = {one.answer for one in telling.meta.alerts.deliveries(over)}
    assert answers == {"it was resolved before it could be told", "this channel was not told that it began"}


def test_a_mute_that_a_person_ends_lets_the_next_alert_through() -> None:
    telling = Telling()
    telling.desk.mute(MODEL, until=START + 4 * HOUR, **BY)
    telling.desk.unmute(MODEL, **BY)
    telling.fire()
    assert telling.tick() == [DeliveryState.SENT]
    with pytest.raises(NotFound, match="not muted"):
        telling.desk.unmute(MODEL, **BY)
    with pytest.raises(RequestInvalid, match="is past"):
        telling.desk.mute(MODEL, until=START, **BY)


def test_quiet_hours_hold_what_is_not_critical_until_the_morning() -> None:
    telling = Telling(quiet_hours="22:00-07:00")
    telling.time = START.replace(hour=23)
    telling.fire()
    telling.fire(AlertKind.RISK, "version 1")
    assert telling.tick() == [DeliveryState.SENT]
    assert telling.tick(HOUR) == []
    telling.time = START.replace(day=3, hour=7)
    assert telling.tick() == [DeliveryState.SENT]
    assert [message.notice.life.kind for message in telling.ops.got] == [AlertKind.RISK, AlertKind.DATA_DRIFT]


@pytest.mark.parametrize(
    ("text", "hour", "ends"),
    [
        ("22:00-07:00", 23, 31),
        ("22:00-07:00", 3, 7),
        ("22:00-07:00", 12, 12),
        ("12:00-14:00", 13, 14),
        ("12:00-14:00", 14, 14),
    ],
)
def test_quiet_hours_end(text: str, hour: int, ends: int) -> None:
    day = START.replace(hour=0)
    assert quiet_until(text, day + hour * HOUR) == day + ends * HOUR


def test_a_training_that_failed_is_over_when_a_version_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    telling = Telling()
    id = telling.fire(AlertKind.TRAINING_FAILED, "training_failed")
    telling.tick()
    newest = type("Version", (), {"number": 7, "registered_at": START + HOUR})()
    monkeypatch.setattr(telling.meta.models, "list", lambda model: [newest])
    telling.tick(2 * HOUR)
    life = telling.meta.alerts.get(id)
    assert (life.state, life.acts[-1].reason) == (AlertState.RESOLVED, "version 7 was registered since")
    assert telling.ops.moves == [AlertMove.RAISED, AlertMove.RESOLVED]


def test_what_waited_for_a_person_is_over_when_it_does_not_wait_any_more() -> None:
    telling = Telling()
    id = telling.fire(AlertKind.ROLLOUT_WAITS, "flights@2")
    telling.tick()
    assert telling.meta.alerts.get(id).acts[-1].reason == "it was decided"


def test_a_budget_is_told_of_until_its_period_is_over() -> None:
    telling = Telling()
    telling.time = START = datetime(2026, 12, 20, 12, tzinfo=UTC)
    month, week = (telling.fire(AlertKind.COST, f"all of {limit}") for limit in ("cpu_hours", "runs_per_week"))
    for at, still in ((START + timedelta(days=6), [True, True]), (START + timedelta(days=7), [True, False])):
        telling.time = at
        telling.tick()
        assert [telling.meta.alerts.get(id).open for id in (month, week)] == still
    telling.time = datetime(2027, 1, 1, tzinfo=UTC)
    telling.tick()
    assert telling.meta.alerts.get(month).acts[-1].reason == "another period of the budget has begun"


def test_an_unwatched_champion_is_told_of_until_another_is_champion(monkeypatch: pytest.MonkeyPatch) -> None:
    telling = Telling()
    ids = [telling.fire(AlertKind.UNWATCHED, subject) for subject in ("version 1", "the loop")]
    served = type("Deployment", (), {"champion": 1, "challenger": None, "waiting": ""})()
    monkeypatch.setattr(telling.meta.deployments, "find", lambda model: served)
    telling.tick(HOUR)
    assert [telling.meta.alerts.get(id).open for id in ids] == [True, True]
    served.champion = 2
    telling.tick(HOUR)
    assert [telling.meta.alerts.get(id).open for id in ids] == [False, True], "the loop says for itself that it goes on"
    assert telling.meta.alerts.get(ids[0]).acts[-1].reason == "version 2 is champion now"


def test_a_past_that_was_played_is_told_to_nobody() -> None:
    telling = Telling()
    telling.meta.notes.put(f"replay:{MODEL}", b"x")
    telling.time = START - timedelta(days=400)
    telling.fire()
    telling.time = START
    assert telling.tick() == []
    telling.fire(AlertKind.RISK, "version 1")
    assert telling.tick() == [DeliveryState.SENT]


def test_who_has_no_lease_sends_nothing() -> None:
    telling = Telling()
    telling.fire()
    assert telling.meta.runs.claim(LEASE, "another", now=START, seconds=60)
    assert telling.tick() == []
    assert telling.tick(timedelta(seconds=1)) == [], "nor when it asks again"
    assert telling.tick(timedelta(seconds=61)) == [DeliveryState.SENT]


def test_a_delivery_costs_one_commit() -> None:
    telling = Telling()
    for number in range(20):
        telling.fire(AlertKind.BUSINESS, f"metric {number}")
    began: list[bool] = []

    def note(connection: Connection) -> None:
        began.append(bool(connection.get_execution_options().get("writes")))

    sqlalchemy.event.listen(Engine, "begin", note)
    try:
        assert telling.tick() == [DeliveryState.SENT] * 20
    finally:
        sqlalchemy.event.remove(Engine, "begin", note)
    assert sum(began) == 20 + 4, "the lease, the deliveries made, 20 taken, the last one ended, the lease given back"


def test_an_end_is_written_even_where_the_next_one_cannot_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    telling = Telling()
    first, _ = telling.fire(AlertKind.BUSINESS, "a"), telling.fire(AlertKind.BUSINESS, "b")
    take = telling.meta.alerts.take

    def broken(one: AlertDelivery, owner: str, **more: Any) -> AlertDelivery | None:
        if one.alert != first:
            raise StoreBroken("gone")
        return take(one, owner, **more)

    monkeypatch.setattr(telling.meta.alerts, "take", broken)
    with pytest.raises(StoreBroken):
        telling.tick()
    assert telling.meta.alerts.deliveries(first)[0].state is DeliveryState.SENT


def test_what_began_and_ended_between_two_ticks_is_told_in_order() -> None:
    telling = Telling(first={"ops": WEBHOOK, "chat": SLACK})
    telling.desk.resolve(telling.fire(), **BY)
    assert telling.tick() == [DeliveryState.SENT] * 4
    assert telling.ops.moves == telling.receivers["chat"].moves == [AlertMove.RAISED, AlertMove.RESOLVED]


def test_a_sender_that_is_slow_renews_its_lease_and_stops_where_another_has_it() -> None:
    telling = Telling()
    for number in range(3):
        telling.fire(AlertKind.BUSINESS, f"metric {number}")
    send = telling.ops.send

    def slowly(message: Message) -> str:
        telling.time += timedelta(seconds=61)
        assert telling.meta.runs.claim(LEASE, "another", now=telling.time, seconds=60)
        return send(message)

    telling.ops.send = slowly  # type: ignore[method-assign]
    assert telling.tick() == [DeliveryState.SENT]
    assert telling.meta.alerts.counts().deliveries == {("ops", "sent"): 1, ("ops", "waiting"): 2}


def test_a_delivery_of_a_process_that_died_is_sent_when_its_time_is_up() -> None:
    telling = Telling()
    telling.fire()
    telling.messenger._spread()
    (one,) = telling.meta.alerts.waiting()
    telling.meta.alerts.take(one, "dead", now=START, seconds=120)
    assert telling.tick() == []
    assert telling.tick(timedelta(seconds=121)) == [DeliveryState.SENT]
    assert [message.id for message in telling.ops.got] == [one.id]


def test_a_channel_that_is_no_longer_declared_drops_what_waits_for_it() -> None:
    telling = Telling()
    telling.fire()
    telling.messenger._spread()
    telling.receivers.clear()
    assert telling.tick() == [DeliveryState.DROPPED]


def test_where_there_is_no_channel_alerts_stand_in_the_history_alone() -> None:
    telling = Telling(first={})
    id = telling.fire()
    assert telling.tick() == []
    assert telling.meta.alerts.notices() == []
    assert telling.meta.alerts.get(id).state is AlertState.FIRING


def test_waits_between_attempts_double_up_to_a_bound_and_differ_by_delivery() -> None:
    waits = [retry_after("a", attempt).total_seconds() for attempt in range(1, 40)]
    assert 3.75 <= waits[0] <= 6.25
    assert all(675 <= wait <= 1125 for wait in waits[10:])
    assert len({retry_after(str(one), 3) for one in range(50)}) == 50
    assert retry_after("a", 3) == retry_after("a", 3)


def test_the_desk_tries_again_where_a_window_wrote_first(monkeypatch: pytest.MonkeyPatch) -> None:
    telling = Telling()
    id, put, left = telling.fire(), telling.meta.alerts.put, [3]

    def racing(*given: object, **more: object) -> None:
        if left[0]:
            left[0] -= 1
            raise Conflict("changed meanwhile")
        put(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(telling.meta.alerts, "put", racing)
    assert telling.desk.acknowledge(id, **BY).state is AlertState.ACKNOWLEDGED
    left[0] = 99
    with pytest.raises(Conflict):
        telling.desk.resolve(id, **BY)


def test_trying_a_channel_says_what_it_answered() -> None:
    telling = Telling()
    tried = telling.desk.test("ops")
    assert (tried.taken, tried.answer) == (True, "200 ok")
    assert telling.ops.moves == [AlertMove.TESTED]
    telling.ops.fault = NotTold("ops.example answered 403 token=abcdefgh")
    tried = telling.desk.test("ops")
    assert (tried.taken, tried.answer) == (False, "ops.example answered 403 token=***")
    assert telling.meta.alerts.list() == [], "a test is no alert"
    with pytest.raises(NotFound, match="there are: ops"):
        telling.desk.test("pager")
