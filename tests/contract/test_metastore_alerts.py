"""Alerts in the metadata store: lives, the outbox, deliveries, mutes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from threading import Barrier, Thread

import msgspec
import pytest
from tests.contract import metastore as a

from kedge.domain.alert_life import AlertMove, AlertState, acknowledged, resolved
from kedge.domain.alerting import Alert, AlertKind, alert_id
from kedge.domain.channels import AlertDelivery, DeliveryState, Mute, delivery_id
from kedge.domain.ids import ModelName
from kedge.errors import Conflict, NotFound, RequestInvalid
from kedge.storage.sql import SqlStore, open_store

RISK = alert_id(a.MODEL, AlertKind.RISK, subject="")
BY = {"actor": "person:ann", "reason": "known"}


@pytest.fixture
def store(store_url: str) -> Iterator[SqlStore]:
    opened = open_store(store_url)
    yield opened
    opened.close()


def delivery(serial: int, notice: str, channel: str = "ops") -> AlertDelivery:
    return AlertDelivery(
        id=delivery_id(notice, channel),
        serial=serial,
        alert=RISK,
        episode=1,
        channel=channel,
        move=AlertMove.RAISED,
        next_at=a.NOW,
    )


def test_a_window_writes_its_alerts_lives_and_what_is_to_be_told(store: SqlStore) -> None:
    store.watches.put(a.health(0, a.alert("x")), b"", event=a.event(1))
    store.watches.put(a.health(0, a.alert("x")), b"", event=a.event(1))
    (life,) = store.alerts.list()
    ((serial, notice),) = store.alerts.notices()
    assert (life.id, life.state, life.count) == (RISK, AlertState.FIRING, 1)
    assert (notice.move, notice.life.newest) == (AlertMove.RAISED, a.alert("x"))
    assert store.alerts.notice(serial) == notice


def test_alerts_are_found_by_how_their_ids_begin(store: SqlStore) -> None:
    store.watches.put(a.health(0, a.alert("x")), b"", event=a.event(1))
    assert [life.id for life in store.alerts.list(begins=RISK[:3])] == [RISK]
    assert store.alerts.list(begins="_") == store.alerts.list(begins=f"{RISK}0") == []


def test_what_is_raised_again_adds_to_the_one_alert(store: SqlStore) -> None:
    for day in range(3):
        store.watches.raise_alert(a.alert(f"x{day}", day), a.event(day))
        store.watches.raise_alert(a.alert(f"x{day}", day), a.event(f"again {day}"))
    (life,) = store.alerts.list()
    assert (life.count, life.revision, life.newest.key) == (3, 3, "x2")
    assert len(store.alerts.notices()) == 1


def test_windows_say_what_still_holds_and_what_is_calm(store: SqlStore) -> None:
    store.watches.put(a.health(0, a.alert("x"), standing=(RISK,)), b"", event=a.event(0))
    store.watches.put(a.health(1, standing=(RISK,)), b"", event=a.event(1))
    assert (store.alerts.get(RISK).count, store.alerts.get(RISK).calm) == (2, 0)
    store.watches.put(a.health(2), b"", event=a.event(2))
    store.watches.put(a.health(3, labels=0), b"", event=a.event(3))
    life = store.alerts.get(RISK)
    assert (life.count, life.calm) == (2, 1), "a window without labels shows nothing of the loss"
    store.watches.put(a.health(4, model="bikes"), b"", event=a.event(4))
    assert store.alerts.get(RISK) == life


def test_what_a_person_resolved_and_still_holds_opens_again(store: SqlStore) -> None:
    store.watches.put(a.health(0, a.alert("x"), standing=(RISK,)), b"", event=a.event(0))
    over, notice = resolved(store.alerts.get(RISK), at=a.NOW, **BY)
    store.alerts.put(over, a.event("resolved"), notice=notice)
    assert store.alerts.list(resolved=False) == []
    store.watches.put(a.health(1, standing=(RISK,)), b"", event=a.event(1))
    assert [life.episode for life in store.alerts.list(resolved=False)] == [2]
    assert [one.move for _, one in store.alerts.notices()] == [AlertMove.RAISED, AlertMove.RESOLVED, AlertMove.REOPENED]


def test_of_two_who_act_at_once_one_is_told(store: SqlStore) -> None:
    store.watches.raise_alert(a.alert("x"), a.event(1))
    known = store.alerts.get(RISK)
    first, _ = acknowledged(known, at=a.NOW, **BY)
    second, notice = resolved(known, at=a.NOW, **BY)
    store.alerts.put(first, a.event("first"))
    with pytest.raises(Conflict, match="read it again"):
        store.alerts.put(second, a.event("second"), notice=notice)
    assert store.alerts.get(RISK).state is AlertState.ACKNOWLEDGED
    assert store.events.find(a.event("second").key) is None
    assert len(store.alerts.notices()) == 1


def test_alerts_are_listed_by_model_the_one_seen_last_first(store: SqlStore) -> None:
    store.watches.raise_alert(a.alert("x", 1), a.event(1))
    store.watches.raise_alert(a.alert("y", 5, "bikes"), a.event(2))
    drift = msgspec.structs.replace(a.alert("z", 3), kind=AlertKind.DATA_DRIFT)
    store.watches.raise_alert(drift, a.event(3))
    assert [life.newest.key for life in store.alerts.list()] == ["y", "z", "x"]
    assert [life.newest.key for life in store.alerts.list(model=a.MODEL, limit=1)] == ["z"]
    with pytest.raises(NotFound, match="kedge alerts list"):
        store.alerts.get("nothing")


def test_a_notice_becomes_deliveries_once(store: SqlStore) -> None:
    store.watches.raise_alert(a.alert("x"), a.event(1))
    ((serial, notice),) = store.alerts.notices()
    made = [delivery(serial, notice.id), delivery(serial, notice.id, "log")]
    store.alerts.spread([serial], made)
    store.alerts.spread([serial], [delivery(serial, "other")])
    assert store.alerts.notices() == []
    assert [one.channel for one in store.alerts.waiting()] == ["log", "ops"]
    assert {one.id for one in store.alerts.deliveries(RISK)} == {one.id for one in made}


def test_a_delivery_belongs_to_one_sender_until_its_time_is_up(store: SqlStore) -> None:
    store.watches.raise_alert(a.alert("x"), a.event(1))
    ((serial, notice),) = store.alerts.notices()
    one = delivery(serial, notice.id)
    store.alerts.spread([serial], [one])
    taken = store.alerts.take(one, "a", now=a.NOW, seconds=60)
    assert taken is not None
    assert (taken.attempts, taken.first_at) == (1, a.NOW)
    assert store.alerts.take(one, "b", now=a.NOW, seconds=60) is None
    later = a.NOW + timedelta(minutes=2)
    again = store.alerts.take(one, "b", now=later, seconds=60)
    assert again is not None
    assert (again.attempts, again.first_at) == (2, a.NOW)
    store.alerts.end(msgspec.structs.replace(taken, state=DeliveryState.FAILED, answer="late"))
    assert store.alerts.deliveries(RISK)[0].state is DeliveryState.WAITING, "it is another's now"
    store.alerts.end(msgspec.structs.replace(again, state=DeliveryState.SENT, answer="200"))
    (ended,) = store.alerts.deliveries(RISK)
    assert (ended.state, ended.answer, ended.owner) == (DeliveryState.SENT, "200", "")
    assert store.alerts.take(one, "c", now=later, seconds=60) is None
    assert store.alerts.waiting() == []


def test_the_end_of_one_delivery_is_written_as_the_next_is_taken(store: SqlStore) -> None:
    for number in range(2):
        alert = msgspec.structs.replace(a.alert(f"x{number}"), subject=f"n{number}")
        store.watches.raise_alert(alert, a.event(number))
    notices = store.alerts.notices()
    first, second = (delivery(serial, notice.id) for serial, notice in notices)
    store.alerts.spread([serial for serial, _ in notices], [first, second])
    taken = store.alerts.take(first, "a", now=a.NOW, seconds=60)
    assert taken is not None
    ended = msgspec.structs.replace(taken, state=DeliveryState.SENT, answer="200")
    assert store.alerts.take(second, "a", now=a.NOW, seconds=60, ended=ended) is not None
    states = {one.id: (one.state, one.owner) for one in store.alerts.deliveries(RISK)}
    assert states == {first.id: (DeliveryState.SENT, ""), second.id: (DeliveryState.WAITING, "a")}


def test_of_many_who_take_a_delivery_at_once_one_has_it(shared_url: str) -> None:
    store = open_store(shared_url)
    store.watches.raise_alert(a.alert("x"), a.event(1))
    ((serial, notice),) = store.alerts.notices()
    one = delivery(serial, notice.id)
    store.alerts.spread([serial], [one])
    found, barrier = [], Barrier(8)

    def take(owner: str) -> None:
        barrier.wait()
        found.append(store.alerts.take(one, owner, now=a.NOW, seconds=60))

    threads = [Thread(target=take, args=(f"o{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken is not None for taken in found) == 1
    store.close()


def test_counts_are_of_what_is_open_and_of_deliveries_by_state(store: SqlStore) -> None:
    store.watches.raise_alert(a.alert("x"), a.event(1))
    ((serial, notice),) = store.alerts.notices()
    store.alerts.spread([serial], [delivery(serial, notice.id), delivery(serial, notice.id, "log")])
    counts = store.alerts.counts()
    assert counts.open == {(a.MODEL, "risk", "critical", "firing"): 1}
    assert counts.deliveries == {("ops", "waiting"): 1, ("log", "waiting"): 1}
    over, told = resolved(store.alerts.get(RISK), at=a.NOW, **BY)
    store.alerts.put(over, a.event(2), notice=told)
    assert store.alerts.counts().open == {}


def test_a_mute_is_written_replaced_and_ended(store: SqlStore) -> None:
    mute = Mute(model=a.MODEL, until=a.NOW + timedelta(hours=1), actor="person:ann", reason="new disks", at=a.NOW)
    store.alerts.mute(mute, a.event(1))
    longer = msgspec.structs.replace(mute, until=a.NOW + timedelta(hours=2))
    store.alerts.mute(longer, a.event(2))
    assert store.alerts.mutes() == [longer]
    store.alerts.unmute(a.MODEL, a.event(3))
    assert store.alerts.mutes() == []
    with pytest.raises(NotFound, match="not muted"):
        store.alerts.unmute(ModelName("bikes"), a.event(4))
    assert store.events.find(a.event(4).key) is None


def test_an_alert_that_a_raise_cannot_write_leaves_nothing(store: SqlStore) -> None:
    with pytest.raises(RequestInvalid, match="without a zone"):
        store.watches.raise_alert(
            Alert(key="k", model=a.MODEL, kind=AlertKind.RISK, message="m", raised_at=a.NOW.replace(tzinfo=None)), a.event(1)
        )
    assert (store.alerts.list(), store.alerts.notices(), store.events.list()) == ([], [], [])
