"""What every metadata store does, aggregate by aggregate."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

import msgspec
import pytest
from tests.contract import metastore as a

from kedge.domain.ids import DatasetName, Digest, ModelName, digest_of
from kedge.domain.monitoring import Window
from kedge.domain.registry import servable_of
from kedge.domain.serving import ParityRecord
from kedge.domain.tracking import Metric, RunStatus
from kedge.errors import AliasConflict, Conflict, NotFound, RevisionConflict
from kedge.ports import MetaStore
from kedge.storage.sql import SqlStore

MODEL = a.MODEL


def test_is_a_metadata_store(store: SqlStore) -> None:
    checked: MetaStore = store
    assert checked.events.list() == []


# datasets


def test_dataset_versions_come_back_by_number_digest_and_newest(store: SqlStore) -> None:
    first, second = a.dataset(1), a.dataset(2)
    store.datasets.add(first, a.event("one"))
    store.datasets.add(second, a.event("two"))
    store.datasets.add(a.dataset(1, "planes"), a.event("planes"))
    name = DatasetName("flights")
    assert store.datasets.find(name) == second
    assert store.datasets.find(name, 1) == first
    assert store.datasets.find(name, 9) is None
    assert store.datasets.find(DatasetName("nothing")) is None
    assert store.datasets.find_digest(first.digest) == first
    assert store.datasets.find_digest(Digest("0" * 64)) is None
    assert store.datasets.list(name) == [first, second]
    assert store.datasets.names() == ["flights", "planes"]


def test_a_dataset_number_is_given_once(store: SqlStore) -> None:
    store.datasets.add(a.dataset(1), a.event("one"))
    other = msgspec.structs.replace(a.dataset(1), digest=digest_of("other"))
    with pytest.raises(Conflict, match="first"):
        store.datasets.add(other, a.event("other"))
    assert store.datasets.find(DatasetName("flights")) == a.dataset(1)
    assert store.events.find(a.event("other").key) is None


def test_content_that_comes_back_is_found_at_its_newest_number(store: SqlStore) -> None:
    for number in (1, 2):
        version = msgspec.structs.replace(a.dataset(number), digest=digest_of("same"))
        store.datasets.add(version, a.event(number))
    found = store.datasets.find_digest(digest_of("same"))
    assert found is not None
    assert found.number == 2


def test_the_newest_validation_report_counts(store: SqlStore) -> None:
    digest = a.dataset().digest
    assert store.datasets.find_report(digest) is None
    store.datasets.add_report(a.report(digest), a.event("valid"))
    store.datasets.add_report(a.report(digest, passed=False), a.event("stricter"))
    assert store.datasets.find_report(digest) == a.report(digest, passed=False)


# runs


def test_a_run_comes_back_whole(store: SqlStore) -> None:
    store.runs.put(a.run(), a.event("run"))
    assert store.runs.get(a.run().id) == a.run()
    with pytest.raises(NotFound, match="nothing"):
        store.runs.get(a.RunId("nothing"))


def test_putting_a_run_again_replaces_what_it_names_and_keeps_what_its_job_logged(store: SqlStore) -> None:
    first = a.run(status=RunStatus.RUNNING, metrics={})
    store.runs.put(first, a.event("started"))
    curve = [Metric(key="brier", value=0.9 - at / 10, at=at, step=at) for at in range(5)]
    store.runs.log(first.id, metrics=curve, params={"leaves": "31"}, tags={"host": "here"})
    done = a.run(params={"depth": "4"}, metrics={"brier": 0.2}, tags={"by": "me"}, artifacts={}, ended_at=a.NOW)
    store.runs.put(done, a.event("finished"))
    whole = {"params": {"depth": "4", "leaves": "31", "rate": "0.1"}, "tags": {"by": "me", "host": "here"}}
    assert store.runs.get(done.id) == msgspec.structs.replace(done, **whole)
    assert store.runs.list("Default") == [store.runs.get(done.id)]
    assert [value for _, _, value in store.points.history(done.id, "brier", limit=9)][-1] == 0.2


def test_a_run_may_have_neither_params_nor_metrics(store: SqlStore) -> None:
    store.runs.put(a.run(params={}, metrics={}), a.event("run"))
    assert store.runs.list("Default") == [a.run(params={}, metrics={})]


def test_only_a_finished_run_is_found_by_its_content(store: SqlStore) -> None:
    key = a.run().content_key
    for status in (RunStatus.RUNNING, RunStatus.FAILED):
        store.runs.put(a.run(status=status), a.event(status.value))
        assert store.runs.find_key(key) is None
    store.runs.put(a.run(), a.event("finished"))
    assert store.runs.find_key(key) == a.run()


def test_two_finished_runs_of_one_content_are_a_conflict(store: SqlStore) -> None:
    store.runs.put(a.run(), a.event("finished"))
    with pytest.raises(Conflict):
        store.runs.put(a.run(id=a.RunId("another")), a.event("again"))
    assert store.runs.list("Default") == [a.run()]


def test_runs_are_listed_newest_first(store: SqlStore) -> None:
    runs = [a.run(str(day), started_at=a.NOW + timedelta(days=day)) for day in range(5)]
    for run in runs[2:] + runs[:2]:
        store.runs.put(run, a.event(run.id))
    assert store.runs.list("Default", limit=3) == runs[:1:-1]
    assert store.runs.list("other") == []


def test_measured_numbers_come_back_even_if_they_are_none(store: SqlStore) -> None:
    metrics = {"nan": math.nan, "inf": math.inf, "minus": -math.inf, "tiny": 5e-324, "third": 1 / 3}
    store.runs.put(a.run(metrics=metrics), a.event("run"))
    found = store.runs.get(a.run().id).metrics
    assert math.isnan(found.pop("nan"))
    assert found == {name: value for name, value in metrics.items() if name != "nan"}


def test_a_claim_holds_until_it_ends_or_is_released(store: SqlStore) -> None:
    key, later = digest_of("run"), a.NOW + timedelta(seconds=10)
    assert store.runs.claim(key, "me", now=a.NOW, seconds=10)
    assert store.runs.claim(key, "me", now=a.NOW, seconds=10)
    assert not store.runs.claim(key, "you", now=later - timedelta(microseconds=1), seconds=10)
    store.runs.release(key, "you")
    assert not store.runs.claim(key, "you", now=a.NOW, seconds=10)
    assert (store.runs.holder(key), store.runs.holder(digest_of("other"))) == (("me", later), None)
    assert store.runs.claim(key, "you", now=later, seconds=10)
    store.runs.release(key, "you")
    assert store.runs.claim(key, "me", now=a.NOW, seconds=10)
    assert store.runs.claim(digest_of("another"), "you", now=a.NOW, seconds=10)


# models


def test_model_versions_are_listed_newest_first(store: SqlStore) -> None:
    for number in (1, 2):
        store.models.add(a.version(number), a.event(number))
    store.models.add(a.version(1, "bikes"), a.event("bikes"))
    assert store.models.list(MODEL) == [a.version(2), a.version(1)]
    assert store.models.find(MODEL, 1) == a.version(1)
    assert store.models.find(MODEL, 3) is None
    assert store.models.names() == ["bikes", "flights"]
    with pytest.raises(Conflict):
        store.models.add(a.version(1), a.event("again"))


def test_what_serving_needs_is_written_once_and_goes_with_its_model(store: SqlStore) -> None:
    first, known = a.version(1), servable_of(a.version(1))
    store.models.add(first, a.event(1), servable=known)
    store.models.add(a.version(2), a.event(2))
    assert store.models.servable(MODEL, 1) == known
    assert store.models.servable(MODEL, 2) is None
    assert store.models.servable(MODEL, 3) is None
    parity = ParityRecord(
        form="onnx", digest=None, rows=3, difference=math.inf, tolerance=1e-12, libraries={"onnx": "1"}, made_at=a.NOW
    )
    later = msgspec.structs.replace(servable_of(a.version(2)), parity=parity, required=("hour",))
    store.models.make_servable(later, a.event("servable"))
    store.models.make_servable(servable_of(a.version(2)), a.event("servable again"))
    assert store.models.servable(MODEL, 2) == later
    assert [each.servable for each in store.registered.versions(MODEL)] == [later, known]
    assert store.events.find(a.event("servable").key) is not None
    assert store.events.find(a.event("servable again").key) is None


def test_an_alias_moves_only_from_where_it_was_read(store: SqlStore) -> None:
    assert store.models.alias(MODEL, "champion") is None
    store.models.move(a.move(1, None, 1), a.event("first"))
    stale = [a.move(2, None, 1), a.move(2, None, 2), a.move(2, 1, 1), a.move(2, 1, 3), a.move(2, 3, 2)]
    for at, wrong in enumerate(stale):
        with pytest.raises(AliasConflict) as caught:
            store.models.move(wrong, a.event("stale", at))
        assert (caught.value.expected, caught.value.found) == (wrong.previous, 1)
    assert store.models.alias(MODEL, "champion") == a.move(1, None, 1)
    store.models.move(a.move(2, 1, 2), a.event("second"))
    store.models.move(a.move(None, 2, 3), a.event("away"))
    assert store.models.alias(MODEL, "champion") == a.move(None, 2, 3)


def test_moves_of_all_aliases_are_listed_as_they_happened(store: SqlStore) -> None:
    moves = [a.move(1, None, 1), a.move(1, None, 1, alias="staging"), a.move(2, 1, 2), a.move(2, 1, 2, alias="staging")]
    for at, move in enumerate(moves):
        store.models.move(move, a.event(at))
    assert store.models.moves(MODEL) == moves
    assert store.models.moves(ModelName("bikes")) == []


# deployments


def test_deployments_follow_one_another(store: SqlStore) -> None:
    assert store.deployments.find(MODEL) is None
    first, second = a.deployment(1), a.deployment(2, challenger=2, share=0.05, salt="s")
    store.deployments.put(first, a.event(1))
    store.deployments.put(second, a.event(2))
    assert store.deployments.find(MODEL) == second
    assert store.deployments.find(MODEL, 1) == first
    assert store.deployments.find(MODEL, 7) is None
    assert store.deployments.list(MODEL) == [first, second]
    assert store.deployments.names() == [MODEL]


@pytest.mark.parametrize(("there", "revision", "expected"), [(0, 2, 1), (0, 0, -1), (2, 2, 1), (2, 4, 3)])
def test_a_deployment_follows_only_the_newest(store: SqlStore, there: int, revision: int, expected: int) -> None:
    for number in range(1, there + 1):
        store.deployments.put(a.deployment(number), a.event(number))
    with pytest.raises(RevisionConflict) as caught:
        store.deployments.put(a.deployment(revision), a.event("stale"))
    assert (caught.value.expected, caught.value.found) == (expected, there)
    assert len(store.deployments.list(MODEL)) == there


def test_looks_are_listed_oldest_first(store: SqlStore) -> None:
    looks = [a.look("w2"), a.look("w1"), a.look("w3")]
    for look in looks:
        store.deployments.add_look(look, a.event(look.window))
    assert store.deployments.looks(MODEL) == looks
    shorter = {looks[0].window: msgspec.structs.replace(looks[0], reason="forgotten")}
    assert store.deployments.change_looks(MODEL, lambda look: shorter.get(look.window, look)) == 1
    assert store.deployments.looks(MODEL) == [*shorter.values(), *looks[1:]]
    with pytest.raises(Conflict):
        store.deployments.add_look(a.look("w1"), a.event("again"))


# watches


def test_a_window_comes_back_with_its_alerts_and_the_state_after_it(store: SqlStore) -> None:
    assert store.watches.state(MODEL) is None
    first, second = a.health(0), a.health(1, a.alert("x", 1), a.alert("y", 1))
    store.watches.put(first, b"\x00one", event=a.event(1))
    store.watches.put(second, b"two", event=a.event(2))
    assert store.watches.find(MODEL, first.window.id) == first
    assert store.watches.find(MODEL, "never") is None
    assert store.watches.list(MODEL) == [first, second]
    assert store.watches.list(MODEL, limit=1) == [second]
    assert store.watches.list(MODEL, before=second.window) == [first]
    assert store.watches.list(MODEL, before=first.window) == []
    assert store.watches.state(MODEL) == b"two"
    assert store.watches.alerts(MODEL) == [a.alert("x", 1), a.alert("y", 1)]


def test_a_window_measured_late_does_not_set_the_monitors_back(store: SqlStore) -> None:
    store.watches.put(a.health(5), b"newest", event=a.event(5))
    store.watches.put(a.health(3), b"older", event=a.event(3))
    assert store.watches.state(MODEL) == b"newest"
    assert store.watches.list(MODEL) == [a.health(3), a.health(5)]
    assert store.watches.newest() == {MODEL: a.health(5).window.id}
    assert store.watches.windows(MODEL) == [a.health(3).window, a.health(5).window]
    assert store.watches.windows(MODEL, limit=1) == [a.health(5).window]


def test_a_window_is_measured_once(store: SqlStore) -> None:
    store.watches.put(a.health(0), b"one", event=a.event(1))
    with pytest.raises(Conflict):
        store.watches.put(a.health(0, a.alert("x")), b"two", event=a.event(2))
    assert store.watches.state(MODEL) == b"one"
    assert store.watches.alerts(MODEL) == []


def test_an_alert_is_raised_once_per_model_and_key(store: SqlStore) -> None:
    store.watches.raise_alert(a.alert("x", 0), a.event(1))
    store.watches.raise_alert(a.alert("x", 9), a.event(2))
    store.watches.put(a.health(1, a.alert("x", 1), a.alert("y", 1)), b"", event=a.event(3))
    store.watches.raise_alert(a.alert("x", 0, "bikes"), a.event(4))
    assert store.watches.alerts(MODEL) == [a.alert("y", 1), a.alert("x", 0)]
    assert store.watches.alerts(MODEL, limit=1) == [a.alert("y", 1)]
    assert store.watches.alerts(ModelName("bikes")) == [a.alert("x", 0, "bikes")]


def test_what_is_not_a_number_does_not_make_a_window_unreadable(store: SqlStore) -> None:
    health = a.health(evidence={"data": math.nan, "prediction": math.inf})
    store.watches.put(health, b"", event=a.event(1))
    found = store.watches.find(MODEL, health.window.id)
    assert found is not None
    assert math.isnan(found.evidence["data"])
    assert found.evidence["prediction"] == math.inf
    assert found.step == health.step
    assert found.window == health.window


# ledgers


def test_ledger_entries_come_back_in_order(store: SqlStore) -> None:
    entries = [a.entry(1), a.entry(2, interval=math.inf), a.entry(3, last_gain=0.5)]
    assert store.ledgers.last(MODEL) is None
    for entry in entries:
        store.ledgers.put(entry, a.event(entry.step))
    assert store.ledgers.list(MODEL) == entries
    assert store.ledgers.last(MODEL) == entries[2]
    assert store.ledgers.find(MODEL, "window-2") == entries[1]
    assert store.ledgers.find(MODEL, "window-9") is None
    with pytest.raises(Conflict):
        store.ledgers.put(a.entry(2), a.event("again"))


# triggers


def test_triggers_wait_until_they_are_taken_and_are_asked_once(store: SqlStore) -> None:
    for number in (1, 2, 3):
        assert store.triggers.put(a.trigger(number), a.event(number))
    assert not store.triggers.put(a.trigger(1), a.event(1))
    assert store.triggers.waiting(MODEL) == [a.trigger(1), a.trigger(2), a.trigger(3)]
    store.triggers.take(MODEL, [a.trigger(1).key, a.trigger(3).key], at=a.NOW)
    store.triggers.take(MODEL, [a.trigger(1).key], at=a.NOW + timedelta(days=1))
    assert store.triggers.waiting(MODEL) == [a.trigger(2)]
    assert store.triggers.list(MODEL, limit=2) == [a.trigger(3, taken_at=a.NOW), a.trigger(2)]
    assert store.triggers.list(ModelName("bikes")) == []


# notes


def test_notes_hold_bytes_under_a_name(store: SqlStore) -> None:
    assert store.notes.get("progress") is None
    store.notes.put("progress", b"\x00\xff1")
    store.notes.put("other", b"")
    store.notes.put("progress", b"2")
    assert (store.notes.get("progress"), store.notes.get("other")) == (b"2", b"")


# all


def test_a_write_happens_once_per_key(store: SqlStore) -> None:
    for _ in range(2):
        store.datasets.add(a.dataset(), a.event("dataset"))
        store.datasets.add_report(a.report(a.dataset().digest), a.event("report"))
        store.runs.put(a.run(), a.event("run"))
        store.models.add(a.version(), a.event("model"))
        store.models.move(a.move(1, None, 1), a.event("move"))
        store.deployments.put(a.deployment(), a.event("deployment"))
        store.deployments.add_look(a.look("w"), a.event("look"))
        store.watches.put(a.health(), b"state", event=a.event("window"))
        store.watches.raise_alert(a.alert("x"), a.event("alert"))
        store.ledgers.put(a.entry(1), a.event("entry"))
    assert [serial for serial, _ in store.events.list()] == list(range(10, 0, -1))


def test_the_first_write_of_a_key_is_the_one_that_counts(store: SqlStore) -> None:
    store.runs.put(a.run(), a.event("same"))
    store.runs.put(a.run(metrics={}, error="late"), a.event("same"))
    store.watches.put(a.health(0), b"one", event=a.event("window"))
    store.watches.put(a.health(1, a.alert("x")), b"two", event=a.event("window"))
    assert store.runs.get(a.run().id) == a.run()
    assert store.watches.list(MODEL) == [a.health(0)]
    assert store.watches.state(MODEL) == b"one"
    assert store.watches.alerts(MODEL) == []


def test_times_keep_their_microseconds_and_their_instant(store: SqlStore) -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    at = datetime(1931, 12, 31, 23, 59, 59, 999999, tzinfo=east)
    store.models.move(a.move(1, None, 1, moved_at=at), a.event("move"))
    found = store.models.alias(MODEL, "champion")
    assert found is not None
    assert found.moved_at == at
    assert found.moved_at.utcoffset() == timedelta(0)


def test_a_time_without_a_zone_is_refused(store: SqlStore) -> None:
    naive = a.NOW.replace(tzinfo=None)
    with pytest.raises(Exception, match="no zone"):
        store.models.move(a.move(1, None, 1, moved_at=naive), a.event("move"))
    assert store.events.list() == []


def test_names_are_never_read_as_sql(store: SqlStore) -> None:
    name = ModelName("x'; DROP TABLE events; -- %s :key \" ü")
    store.models.add(a.version(1, name), a.event("bad", subject=name))
    store.notes.put(name, b"1")
    assert store.models.names() == [name]
    assert store.notes.get(name) == b"1"
    assert [found.subject for _, found in store.events.list(subject=name)] == [name]


def test_windows_of_two_models_do_not_mix(store: SqlStore) -> None:
    store.watches.put(a.health(0), b"one", event=a.event(1))
    store.watches.put(a.health(0, model="bikes"), b"two", event=a.event(2))
    assert store.watches.state(MODEL) == b"one"
    assert store.watches.list(ModelName("bikes")) == [a.health(0, model="bikes")]
    assert Window(a.NOW, a.NOW).id == "2013-03-01T12:00/2013-03-01T12:00"
