"""Erasing: the rows are gone from every version and from the store; what is left is as it was; the event tells no row."""

import msgspec
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.unit.data.kept import ADA, Kept

from kedge.domain.artifacts import RunFile
from kedge.domain.events import EventKind
from kedge.errors import Conflict, NotFound, RequestInvalid

PEOPLE = pl.DataFrame({"id": [1, 2, 3], "name": ["Ada", "Bob", "Carlotta"], "age": [36, 41, 29]})
ASKED = {"reason": "request 17", **ADA}


@pytest.fixture
def kept():
    return Kept()


@pytest.fixture
def room(kept):
    return kept.room()


@pytest.fixture
def history(room):
    """Five versions: Carlotta is in the first part of the first three, left out of the fourth, back in the fifth."""
    others = pl.DataFrame({"id": [11, 12, 13], "name": ["Xi", "Yu", "Zed"], "age": [1, 2, 3]})
    room.commit(pl.concat([PEOPLE, others]), "people", key="id", **ADA)
    room.append(pl.DataFrame({"id": [4], "name": ["Dan"], "age": [50]}), "people", **ADA)
    room.commit(room.read(room.find("people")).with_columns(age=pl.col("age") + (pl.col("id") == 1)), "people", **ADA)
    room.delete("people", keys=[3], **ADA)
    room.append(pl.DataFrame({"id": [3, 5], "name": ["Carlotta", "Eve"], "age": [30, 20]}), "people", **ADA)
    return [room.read(version) for version in room.versions("people")]


def test_rows_are_gone_from_every_version_and_from_the_store(room, kept, history):
    before = room.versions("people")
    done = room.erase("people", keys=[3], **ASKED)
    assert (done.dataset, done.rows, done.versions, done.held_by) == ("people", 2, (1, 2, 3, 4, 5), ())
    assert done.freed > 0
    assert not kept.holds("Carlotta")
    after = room.versions("people")
    for old, new, rows in zip(before, after, history, strict=True):
        assert (new.number, new.digest, new.erased_at is not None) == (old.number, old.digest, True)
        left = rows.filter(pl.col("id") != 3)
        assert_frame_equal(room.read(new), left)
        assert new.rows == len(left)
    assert room.find("people").rows == 7


def test_the_event_tells_who_why_and_how_many_and_nothing_of_the_rows(room, kept, history):
    room.erase("people", where="name = 'Carlotta'", **ASKED)
    (_, event), *_ = kept.store.events.list(subject="people")
    assert (event.kind, event.actor) == (EventKind.DATA_ERASED, "person:ada")
    assert event.message == "2 rows erased from 5 versions of 'people': request 17"
    assert event.facts == {"rows": 2, "versions": 5, "reason": "request 17"}
    for _, body, _ in kept.store.events.chain():
        assert b"Carlotta" not in body


def test_only_versions_that_held_the_rows_change(room, history):
    done = room.erase("people", where=pl.col("name") == "Eve", **ASKED)
    assert (done.rows, done.versions) == (1, (5,))
    assert [version.erased_at is None for version in room.versions("people")] == [True] * 4 + [False]


def test_nothing_to_erase_changes_nothing(room, kept, history):
    stored = kept.stored()
    done = room.erase("people", keys=[99], **ASKED)
    assert (done.rows, done.versions, done.freed) == (0, (), 0)
    assert kept.stored() == stored
    assert kept.store.events.list(subject="people")[0][1].kind is EventKind.DATASET_COMMITTED


def test_a_table_may_be_erased_whole_and_goes_on(room, kept, history):
    room.erase("people", where=pl.lit(value=True), **ASKED)
    assert [version.rows for version in room.versions("people")] == [0] * 5
    assert room.read(room.find("people")).schema == PEOPLE.schema
    version = room.append(PEOPLE.head(1), "people", **ADA)
    assert (version.number, version.rows) == (6, 1)


def test_rows_that_came_back_can_be_erased_again(room, kept):
    room.commit(PEOPLE, "people", **ADA)
    for _ in range(2):
        room.erase("people", where="id = 3", **ASKED)
        assert not kept.holds("Carlotta")
        room.commit(PEOPLE, "people", **ADA)
        assert kept.holds("Carlotta")
    assert [version.rows for version in room.versions("people")] == [2, 2, 3]


def test_a_column_that_a_part_lacks_is_null_there(room):
    room.commit(PEOPLE.drop("age"), "people", key="id", **ADA)
    room.append(pl.DataFrame({"id": [7], "name": ["Gus"], "age": [1]}), "people", widen=True, **ADA)
    assert room.erase("people", where="age IS NULL", **ASKED).rows == 3


def test_who_holds_the_same_bytes_keeps_them_and_is_named(room, kept):
    version = room.commit(PEOPLE, "people", **ADA)
    room.commit(PEOPLE, "copy", **ADA)
    file = RunFile(path="people.parquet", digest=version.parts[0].digest, size=1, modified_at=kept.clock.now())
    kept.store.files.put("run1", file)
    done = room.erase("people", where="id = 3", **ASKED)
    assert done.held_by == ("copy", "files of runs")
    assert_frame_equal(room.read(room.find("copy")), PEOPLE)
    room.erase("copy", where="id = 3", **ASKED)
    assert kept.blobs.has(version.parts[0].digest)
    assert_frame_equal(room.read(room.find("people")), room.read(room.find("copy")))


@pytest.mark.parametrize("stop", ["amend", "remove", "after remove"])
def test_an_erasure_that_dies_is_ended_by_the_next(room, kept, history, stop, monkeypatch):
    class Died(BaseException):
        pass

    def die(*_, **__):
        raise Died

    with monkeypatch.context() as patch:
        if stop == "amend":
            patch.setattr(type(kept.store.datasets), "amend", die)
        elif stop == "remove":
            patch.setattr(kept.blobs, "remove", die)
        else:
            real, notes = kept.store.notes.put, []
            patch.setattr(
                type(kept.store.notes), "put", lambda _, name, value: die() if notes else notes.append(real(name, value))
            )
        with pytest.raises(Died):
            room.erase("people", keys=[3], **ASKED)
    assert kept.holds("Carlotta") or stop == "after remove"
    if stop == "amend":
        room.erase("people", keys=[3], **ASKED)
    else:
        assert kept.room().finish_erasures() >= 0
    assert not kept.holds("Carlotta")
    assert msgspec.json.decode(kept.store.notes.get("erasing")) == {}
    for version, rows in zip(room.versions("people"), history, strict=True):
        assert_frame_equal(room.read(version), rows.filter(pl.col("id") != 3))
    assert room.finish_erasures() == 0


def test_who_looked_a_version_up_before_an_erasure_reads_what_is_left(room, kept):
    before = room.commit(PEOPLE, "people", key="id", **ADA)
    lazy = room.scan(before)
    kept.room().erase("people", keys=[3], **ASKED)
    assert room.read(before)["id"].to_list() == [1, 2]
    assert room.diff(before, before).same
    with pytest.raises(Conflict, match="erased while it was read"):
        lazy.collect()
    kept.blobs._kept.clear()
    for lost in (
        lambda: room.read(before),
        lambda: room.diff(before, before),
        lambda: room.scan(room.find("people")).collect(),
    ):
        with pytest.raises(NotFound, match="no blob"):
            lost()


def test_what_cannot_be_erased_is_said(room):
    with pytest.raises(NotFound, match="there is no dataset 'people'"):
        room.erase("people", keys=[1], **ASKED)
    room.commit(PEOPLE, "people", key="id", **ADA)
    with pytest.raises(RequestInvalid, match="say why"):
        room.erase("people", keys=[1], reason=" ", **ADA)
    with pytest.raises(RequestInvalid, match="say which rows"):
        room.erase("people", **ASKED)
    with pytest.raises(RequestInvalid, match="say which rows"):
        room.erase("people", where="id = 1", keys=[1], **ASKED)
