"""The chain of events: gapless, in order, and broken by any change. And the edges that events bring."""

from __future__ import annotations

import hashlib
import itertools
import math

import msgspec
import pytest
from sqlalchemy import text
from tests.contract import metastore as a

from kedge.domain.events import Event, EventKind
from kedge.domain.ids import Digest
from kedge.domain.lineage import Edge, Node, NodeKind
from kedge.errors import Conflict, StoreBroken
from kedge.storage.sql import SqlStore, chain, events


def broken_at(store: SqlStore) -> int | None:
    """Verify the chain as an outsider would: by SHA-256 and what the walk gives, nothing else."""
    previous = ""
    for expected, (serial, body, found) in enumerate(store.events.chain(), start=1):
        if serial != expected or hashlib.sha256(previous.encode() + body).hexdigest() != found:
            return expected
        previous = found
    return None


def change(store: SqlStore, statement: str) -> None:
    with store.events._connections.engine.begin() as connection:
        connection.execute(text(statement))


def test_an_event_is_written_once_and_comes_back(store: SqlStore) -> None:
    event = a.event("x", edges=(a.edge("r", "d"),))
    assert store.events.append(event)
    assert not store.events.append(msgspec.structs.replace(event, message="Another time."))
    assert store.events.find(event.key) == event
    assert store.events.find(Digest("none")) is None


def test_events_are_paged_newest_first(store: SqlStore) -> None:
    written = [a.event(at, subject="even" if at % 2 == 0 else "odd") for at in range(1, 8)]
    for event in written:
        store.events.append(event)
    pages: list[tuple[int, Event]] = []
    before = None
    while page := store.events.list(before=before, limit=3):
        assert len(page) <= 3
        pages += page
        before = page[-1][0]
    assert pages == list(zip(range(7, 0, -1), reversed(written), strict=True))
    assert [serial for serial, _ in store.events.list(subject="even")] == [6, 4, 2]
    assert [serial for serial, _ in store.events.list(subject="even", before=6, limit=1)] == [4]
    assert store.events.list(subject="nobody") == []


@pytest.mark.parametrize("kind", EventKind)
def test_every_kind_of_event_can_be_kept(kind: EventKind) -> None:
    event = a.event(kind.value, kind=kind)
    assert msgspec.json.decode(chain.canonical(event), type=Event) == event


def test_the_chain_holds_over_pages(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for at in range(7):
        store.events.append(a.event(at))
    monkeypatch.setattr(events, "_page", events._page.limit(3))
    assert [serial for serial, _, _ in store.events.chain()] == [1, 2, 3, 4, 5, 6, 7]
    assert broken_at(store) is None


@pytest.mark.parametrize(
    ("statement", "at"),
    [
        ("UPDATE events SET body = REPLACE(body, 'happened', 'did not') WHERE serial = 3", 3),
        ("UPDATE events SET hash = 'f' || SUBSTR(hash, 2) WHERE serial = 5", 5),
        ("DELETE FROM events WHERE serial = 2", 2),
        ("UPDATE events SET serial = 9 WHERE serial = 4", 4),
    ],
)
def test_any_change_breaks_the_chain(store: SqlStore, statement: str, at: int) -> None:
    for number in range(6):
        store.events.append(a.event(number))
    assert broken_at(store) is None
    change(store, statement)
    assert broken_at(store) == at


def test_the_hash_is_over_canonical_bytes(store: SqlStore) -> None:
    event = a.event("x", facts={"b": 1, "a": 2})
    store.events.append(event)
    [(serial, body, found)] = store.events.chain()
    assert (serial, found) == (1, hashlib.sha256(body).hexdigest())
    assert body.startswith(b'{"actor":"policy:ledger","at":"2013-03-01T12:00:00Z","edges":[],"facts":{"a":2,"b":1},')


def test_a_refused_write_leaves_no_gap(store: SqlStore) -> None:
    store.models.add(a.version(1), a.event(1))
    with pytest.raises(Conflict):
        store.models.add(a.version(1), a.event(2))
    with pytest.raises(Conflict):
        store.models.move(a.move(1, 7, 8), a.event(3))
    store.models.add(a.version(2), a.event(4))
    assert [serial for serial, _ in store.events.list()] == [2, 1]
    assert broken_at(store) is None


def test_facts_that_are_no_numbers_become_null(store: SqlStore) -> None:
    store.events.append(a.event("x", facts={"loss": math.nan, "gain": math.inf, "rows": 2**53 + 1}))
    found = store.events.find(a.event("x").key)
    assert found is not None
    assert found.facts == {"loss": None, "gain": None, "rows": 2**53 + 1}
    assert broken_at(store) is None


def test_an_unreadable_event_is_named_as_such(store: SqlStore) -> None:
    store.events.append(a.event("x"))
    change(store, "UPDATE events SET body = '{}'")
    with pytest.raises(StoreBroken, match="backup"):
        store.events.list()


def test_edges_lead_both_ways(store: SqlStore) -> None:
    first = (a.edge("run1", "data2", "second"), a.edge("run1", "data1"))
    second = (a.edge("run2", "data1"), a.edge("run1", "data1"))
    store.runs.put(a.run("1"), a.event(1, edges=first))
    store.runs.put(a.run("2"), a.event(2, edges=second))
    assert store.events.sources(Node(NodeKind.RUN, "run1")) == list(first)
    assert store.events.uses(Node(NodeKind.DATASET_VERSION, "data1")) == [first[1], second[0]]
    assert store.events.sources(Node(NodeKind.DATASET_VERSION, "run1")) == []
    assert store.events.uses(Node(NodeKind.RUN, "data1")) == []


def test_edges_differ_by_each_of_their_parts(store: SqlStore) -> None:
    nodes = [Node(kind, name) for kind in (NodeKind.RUN, NodeKind.CODE) for name in ("x", "y")]
    edges = tuple(Edge(made, source, role) for made, source, role in itertools.product(nodes, nodes, ("a", "b")))
    store.events.append(a.event("x", edges=edges + edges))
    assert sorted(edge for node in nodes for edge in map(repr, store.events.sources(node))) == sorted(map(repr, edges))
