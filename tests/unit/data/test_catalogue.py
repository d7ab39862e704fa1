"""The catalogue: described by several at once, found, fresh or stale, and never showing what is personal."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from tests.unit.data.memory import Clock

from kedge.data.catalogue import Catalogue, freshness_of
from kedge.data.references import checked_tag
from kedge.domain.catalogue import EntryChange, FreshState, NoteChange
from kedge.domain.data import (
    Breach,
    Column,
    ColumnNote,
    ColumnSummary,
    ColumnType,
    Dataset,
    DatasetKind,
    DatasetVersion,
    Expectation,
    Frequency,
    Rule,
    Schema,
    Severity,
    TableProfile,
    ValidationReport,
)
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import DatasetName, Digest, digest_of
from kedge.errors import Conflict, NotFound, RequestInvalid, SearchInvalid
from kedge.ports import MetaStore
from kedge.storage.blobs.memory import MemoryBlobs
from kedge.storage.sql import open_store

NAME = DatasetName("people")
AT = datetime(2013, 3, 1, tzinfo=UTC)
ADA = "person:ada"
SECRET = "ann@example.org"


def version(number: int, name: DatasetName = NAME) -> DatasetVersion:
    columns = (
        Column(name="id", type=ColumnType.INTEGER),
        Column(name="email", type=ColumnType.STRING, categories=(SECRET,)),
        Column(name="age", type=ColumnType.FLOAT),
    )
    return DatasetVersion(
        dataset=name,
        number=number,
        digest=digest_of(name, number),
        schema=Schema(columns),
        parts=(),
        rows=10 * number,
        order="",
        created_at=AT - timedelta(days=10 - number),
        message=f"load {number}",
    )


def event(*parts: object) -> Event:
    return Event(
        key=digest_of("test", *parts), kind=EventKind.DATASET_COMMITTED, at=AT, subject=NAME, actor=ADA, message="m"
    )


def add(meta: MetaStore, number: int, name: DatasetName = NAME) -> DatasetVersion:
    made = version(number, name)
    meta.datasets.add(made, msgspec.structs.replace(event("add", name, number), subject=name))
    return made


@pytest.fixture
def meta() -> Iterator[MetaStore]:
    store = open_store("sqlite://")
    add(store, 1)
    add(store, 2)
    yield store
    store.close()


@pytest.fixture
def room(meta: MetaStore) -> Catalogue:
    return Catalogue(meta=meta, blobs=MemoryBlobs(), clock=Clock(AT))


def test_a_change_leaves_what_it_does_not_name(room: Catalogue) -> None:
    room.describe("people", EntryChange(owner=" ada  lovelace ", tags=("gold", "gold", " ")), actor=ADA)
    after = room.describe(
        "people",
        EntryChange(
            description="Who rides.\r\nAll of them.",
            columns=(NoteChange(name="age", meaning="years", unit="a"), NoteChange(name="email", personal=True)),
        ),
        actor=ADA,
    )
    assert (after.owner, after.tags, after.description) == ("ada lovelace", ("gold",), "Who rides.\nAll of them.")
    assert after.columns == (ColumnNote(name="email", personal=True), ColumnNote(name="age", meaning="years", unit="a"))
    again = room.describe("people", EntryChange(columns=(NoteChange(name="email", personal=False),)), actor=ADA)
    assert [note.name for note in again.columns] == ["age"]


def test_a_column_that_only_older_versions_have_can_be_personal(room: Catalogue, meta: MetaStore) -> None:
    newest = msgspec.structs.replace(version(3), schema=Schema((Column(name="id", type=ColumnType.INTEGER),)))
    meta.datasets.add(newest, event("add", NAME, 3))
    room.describe("people", EntryChange(columns=(NoteChange(name="email", personal=True),)), actor=ADA)
    email = next(one for one in room.columns(room.get("people").entry, version(2)) if one.name == "email")
    assert (email.note.personal, email.categories) == (True, ())


def test_an_event_says_who_described_what(room: Catalogue, meta: MetaStore) -> None:
    change = EntryChange(owner="ada", columns=tuple(NoteChange(name=name, meaning="x") for name in ("id", "age")))
    room.describe("people", change, actor=ADA)
    room.describe("people", change, actor=ADA)  # nothing new: no event
    found = [one for _, one in meta.events.list(subject=NAME) if one.kind is EventKind.DATASET_DESCRIBED]
    assert [one.message for one in found] == ["'people' was described: owner, column id, column age"]
    assert found[0].actor == ADA


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (EntryChange(fresh_within="soon"), "fresh_within: 'soon' is not a duration"),
        (EntryChange(owner="x" * 301), "300 are the most"),
        (EntryChange(description="x" * 10_001), "10,000 are the most"),
        (EntryChange(tags=tuple(map(str, range(51)))), "51 tags"),
        (EntryChange(columns=(NoteChange(name="emial"),)), "did you mean 'email'"),
        (EntryChange(columns=(NoteChange(name="zzz"),)), "it has id, email, age"),
    ],
)
def test_what_cannot_be_said_is_refused(room: Catalogue, change: EntryChange, says: str) -> None:
    with pytest.raises(RequestInvalid, match=says):
        room.describe("people", change, actor=ADA)


def test_an_unknown_dataset_is_told_with_the_nearest(room: Catalogue) -> None:
    with pytest.raises(NotFound, match="did you mean 'people'"):
        room.describe("poeple", EntryChange(owner="x"), actor=ADA)
    with pytest.raises(NotFound, match="kedge data list"):
        room.get("zzzz")


def test_two_who_describe_at_once_both_count(room: Catalogue, meta: MetaStore, monkeypatch: pytest.MonkeyPatch) -> None:
    write, others = meta.datasets.describe, iter(["description of another", "and again"])

    def interrupted(dataset: Dataset, told: Event, *, before: Dataset | None = None) -> None:
        if (text := next(others, None)) is not None:
            now = meta.datasets.entry(NAME)
            assert now is not None
            write(msgspec.structs.replace(now, description=text), event(text))
        write(dataset, told, before=before)

    monkeypatch.setattr(meta.datasets, "describe", interrupted)
    after = room.describe("people", EntryChange(owner="ada"), actor=ADA)
    assert (after.owner, after.description) == ("ada", "and again")
    others = iter(str(number) for number in range(9))
    with pytest.raises(Conflict, match="again and again"):
        room.describe("people", EntryChange(owner="bob"), actor=ADA)


def profiled(meta: MetaStore, made: DatasetVersion) -> None:
    summary = ColumnSummary(name="email", type=ColumnType.STRING, distinct=9, top=(Frequency(SECRET, 3),))
    meta.datasets.add_profile(
        TableProfile(dataset=made.dataset, version=made.digest, rows=10, columns=(summary,), created_at=AT)
    )


def test_a_column_that_becomes_personal_is_forgotten_everywhere(room: Catalogue, meta: MetaStore) -> None:
    for number in (1, 2):
        profiled(meta, version(number))
    report = ValidationReport(
        dataset=NAME,
        version=version(2).digest,
        passed=False,
        rows=20,
        breaches=(
            Breach(
                expectation=Expectation(rule=Rule.UNIQUE, column="email"),
                rows=1,
                examples=(f"id 3: '{SECRET}'",),
                message=f"column 'email' (id 3: '{SECRET}')",
            ),
        ),
    )
    meta.datasets.add_report(report, event("report"))
    assert SECRET in str(room.profile(version(2))) + str(room.columns(room.get("people").entry, version(2)))
    entry = room.describe("people", EntryChange(columns=(NoteChange(name="email", personal=True),)), actor=ADA)
    shown = (room.profile(version(1)), room.report(version(2)), room.columns(entry, version(2)), room.quality("people"))
    assert SECRET not in str(shown)
    assert all(SECRET not in str(meta.datasets.find_profile(version(number).digest)) for number in (1, 2))


def test_freshness(room: Catalogue) -> None:
    one = room.get("people")
    assert room.freshness(one).state is FreshState.UNSTATED
    assert freshness_of(one.entry, None, now=AT).state is FreshState.EMPTY
    room.describe("people", EntryChange(fresh_within="9d"), actor=ADA)
    fresh = room.freshness(room.get("people"))
    assert (fresh.state, fresh.age_seconds, fresh.due_at) == (FreshState.FRESH, 8 * 86400, AT + timedelta(days=1))
    room.describe("people", EntryChange(fresh_within="7d"), actor=ADA)
    assert room.freshness(room.get("people")).state is FreshState.STALE


def test_a_search_goes_page_by_page_and_sees_every_change(room: Catalogue, meta: MetaStore) -> None:
    for number in range(7):
        add(meta, 1, DatasetName(f"rides{number}"))
    seen, page = [], ""
    while True:
        found = room.search("load", limit=3, page=page)
        seen += [str(one.shelved.name) for one in found.found]
        assert (found.total, found.all) == (8, 8)
        page = found.next
        if not page:
            break
    assert sorted(seen) == ["people", *(f"rides{number}" for number in range(7))]
    assert len(set(seen)) == 8
    assert room.search("ada").total == 0
    room.describe("people", EntryChange(owner="ada"), actor=ADA)
    assert [hit.field for hit in room.search("ada").found[0].hits] == ["owner"]
    room.tag("people", "gold", reference="1", actor=ADA)
    assert room.search("gold").total == 1
    room.tag("people", "gold", reference=None, actor=ADA)
    assert room.search("gold").total == 0
    add(meta, 1, DatasetName("late"))
    assert room.search("late").total == 1
    assert room.search("pepole").near == "people"
    with pytest.raises(SearchInvalid):
        room.search("load", page="nonsense")


def test_marks_of_a_search(room: Catalogue, meta: MetaStore) -> None:
    add(meta, 1, DatasetName("rides"))
    room.describe(
        "people",
        EntryChange(owner="a", description="b", fresh_within="1d", columns=(NoteChange(name="email", personal=True),)),
        actor=ADA,
    )
    refused = ValidationReport(dataset=NAME, version=version(2).digest, passed=False, rows=1)
    meta.datasets.add_report(refused, event("refused"))
    for mark in ("stale", "personal", "refused"):
        assert [str(one.shelved.name) for one in room.search(f"is:{mark}").found] == ["people"]
    for mark in ("undescribed", "unowned"):
        assert [str(one.shelved.name) for one in room.search(f"is:{mark}").found] == ["rides"]
    assert room.search("is:table").total == 2
    assert room.search("is:files").total == room.search("is:fresh").total == 0


def test_tags_of_versions(room: Catalogue) -> None:
    made = room.tag("people", "gold", reference="v1", actor=ADA)
    assert made is not None
    assert room.version("people", "gold").number == 1
    assert room.tag("people", "gold", reference="", actor=ADA) == room.version("people")
    assert room.tag("people", "gold", reference=None, actor=ADA) is None
    assert room.get("people").tags == {}
    with pytest.raises(NotFound, match="no tag 'gold'"):
        room.tag("people", "gold", reference=None, actor=ADA)
    for tag in ("v7", "12", "a b", "", "-x", "x" * 101):
        with pytest.raises(RequestInvalid):
            checked_tag(tag)


def test_quality_is_counted_by_severity(room: Catalogue, meta: MetaStore) -> None:
    breaches = tuple(
        Breach(expectation=Expectation(rule=Rule.NOT_NULL, column="id", severity=severity), rows=1, examples=(), message="m")
        for severity in Severity
    )
    for number, passed in ((1, True), (2, False)):
        made = version(number)
        report = ValidationReport(
            dataset=NAME, version=made.digest, passed=passed, rows=made.rows, breaches=() if passed else breaches
        )
        meta.datasets.add_report(report, event("report", number))
    first, second = room.quality("people")
    assert (first.number, first.passed, first.errors) == (1, True, 0)
    assert (second.number, second.errors, second.warnings) == (2, 1, 2)


def test_versions_come_newest_first_a_page_at_a_time(room: Catalogue, meta: MetaStore) -> None:
    add(meta, 3)
    assert [one.number for one in room.versions("people", limit=2)] == [3, 2]
    assert [one.number for one in room.versions("people", before=2)] == [1]
    assert room.version("people", Digest(version(2).digest[:8])).number == 2


def test_a_dataset_of_files_is_one(meta: MetaStore, room: Catalogue) -> None:
    files = msgspec.structs.replace(
        version(1, DatasetName("raw")), kind=DatasetKind.FILES, schema=Schema(()), files=2, tree=Digest("t")
    )
    meta.datasets.add(files, event("files"))
    assert room.columns(room.get("raw").entry, files) == ()
    assert room.search("is:files").total == 1
    with pytest.raises(RequestInvalid, match="no columns"):
        room.describe("raw", EntryChange(columns=(NoteChange(name="a"),)), actor=ADA)
