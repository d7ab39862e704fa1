"""The catalogue, tags, profiles, and what an erasure leaves of versions."""

from __future__ import annotations

import msgspec
import pytest
from tests.contract import metastore as a

from kedge.data.references import resolve
from kedge.domain.data import ColumnNote, Dataset, DatasetVersion, TableProfile
from kedge.domain.ids import DatasetName
from kedge.domain.lineage import Node, NodeKind
from kedge.errors import Conflict, NotFound
from kedge.storage.sql import SqlStore

NAME = DatasetName("flights")


def added(store: SqlStore, number: int) -> DatasetVersion:
    version = a.dataset(number)
    store.datasets.add(version, a.event("added", number))
    return version


def test_a_first_version_makes_the_entry(store: SqlStore) -> None:
    version = added(store, 1)
    entry = store.datasets.entry(version.dataset)
    assert entry == Dataset(name=version.dataset, kind=version.kind, created_at=version.created_at)
    described = msgspec.structs.replace(entry, owner="mo", columns=(ColumnNote(name="tail", personal=True),))
    store.datasets.describe(described, a.event("described"))
    added(store, 2)
    assert store.datasets.entries() == [described]
    assert described.personal() == {"tail"}


def test_tags_move_and_go(store: SqlStore) -> None:
    for number in (1, 2):
        added(store, number)
    store.datasets.tag(NAME, "good", number=1, event=a.event("t1"))
    store.datasets.tag(NAME, "good", number=2, event=a.event("t2"))
    assert store.datasets.tags(NAME) == {"good": 2}
    assert resolve(store.datasets, "flights@good").number == 2
    with pytest.raises(NotFound, match="no version 7"):
        store.datasets.tag(NAME, "bad", number=7, event=a.event("t3"))
    store.datasets.tag(NAME, "good", number=None, event=a.event("t4"))
    assert store.datasets.tags(NAME) == {}


def test_versions_are_dropped_with_what_was_found_in_them(store: SqlStore) -> None:
    first, second = added(store, 1), added(store, 2)
    for version in (first, second):
        store.datasets.add_profile(
            TableProfile(dataset=NAME, version=version.digest, rows=1, columns=(), created_at=version.created_at)
        )
    store.datasets.tag(NAME, "old", number=1, event=a.event("t"))
    store.datasets.drop(NAME, [1], event=a.event("d"))
    assert [version.number for version in store.datasets.list(NAME)] == [2]
    assert store.datasets.tags(NAME) == {}
    assert store.datasets.find_profile(first.digest) is None
    assert store.datasets.find_profile(second.digest) is not None


def test_an_erasure_keeps_the_name_of_a_version(store: SqlStore) -> None:
    first = added(store, 1)
    less = msgspec.structs.replace(first, rows=first.rows - 1, erased_at=first.created_at)
    store.datasets.amend([less], a.event("e"))
    assert store.datasets.find(NAME, 1) == less
    assert store.datasets.find_digest(first.digest) == less


@pytest.mark.parametrize("reference", ["flights", "flights@2", "flights@v2"])
def test_a_version_is_named_in_several_ways(store: SqlStore, reference: str) -> None:
    versions = [added(store, number) for number in (1, 2)]
    assert resolve(store.datasets, reference) == versions[1]
    assert resolve(store.datasets, f"flights@{versions[0].digest[:8]}") == versions[0]


@pytest.mark.parametrize(
    ("reference", "says"),
    [("flihgts", "did you mean 'flights'"), ("weather", "kedge data list"), ("flights@9", "'9'"), ("flights@nope", "v1")],
)
def test_what_is_not_there_is_said(store: SqlStore, reference: str, says: str) -> None:
    added(store, 1)
    with pytest.raises(NotFound, match=says):
        resolve(store.datasets, reference)


def test_an_entry_is_written_only_over_the_one_that_was_read(store: SqlStore) -> None:
    version = added(store, 1)
    entry = store.datasets.entry(version.dataset)
    assert entry is not None
    mine = msgspec.structs.replace(entry, owner="mo")
    store.datasets.describe(mine, a.event("mine"), before=entry)
    with pytest.raises(Conflict, match="someone described"):
        store.datasets.describe(msgspec.structs.replace(entry, owner="al"), a.event("theirs"), before=entry)
    assert store.datasets.entry(NAME) == mine


def test_the_whole_catalogue_is_read_at_once(store: SqlStore) -> None:
    versions = [added(store, number) for number in (1, 2, 10)]
    other = a.dataset(1, "weather")
    store.datasets.add(other, a.event("added weather"))
    assert store.datasets.newest() == {NAME: versions[2], other.dataset: other}
    store.datasets.tag(NAME, "good", number=2, event=a.event("tag"))
    assert store.datasets.all_tags() == {NAME: {"good": 2}}


def test_versions_are_listed_a_page_at_a_time(store: SqlStore) -> None:
    for number in (1, 2, 3, 4):
        added(store, number)
    assert [version.number for version in store.datasets.list(NAME)] == [1, 2, 3, 4]
    assert [version.number for version in store.datasets.list(NAME, limit=2)] == [3, 4]
    assert [version.number for version in store.datasets.list(NAME, before=3, limit=1)] == [2]


def test_uses_of_many_nodes_come_newest_first(store: SqlStore) -> None:
    for number in range(3):
        store.events.append(a.event("use", number, edges=(a.edge(f"run{number}", f"digest{number % 2}"),)))
    nodes = [Node(NodeKind.DATASET_VERSION, f"digest{number}") for number in range(2000)]
    assert [edge.made.id for edge in store.events.uses_of(nodes, limit=9)] == ["run2", "run1", "run0"]
    assert [edge.made.id for edge in store.events.uses_of(nodes, limit=2)] == ["run2", "run1"]
    assert store.events.uses_of([], limit=9) == []
