"""Many writers at once: threads of one process, and processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from tests.contract import metastore as a
from tests.contract.test_metastore_events import broken_at

from kedge.domain.ids import digest_of
from kedge.errors import AliasConflict, Conflict, RevisionConflict
from kedge.storage.blobs.index import ChunkPlace, Recipe
from kedge.storage.sql import SqlStore, open_store

THREADS = 50
PROCESSES = 4

# Each prints how many of its writes won.
PROMOTER = """
import sys
from kedge.errors import AliasConflict
from kedge.storage.sql import open_store
from tests.contract import metastore as a
url, me = sys.argv[1:]
store = open_store(url)
won = 0
for serial in range(1, 21):
    try:
        store.models.move(a.move(serial, serial - 1 or None, serial), a.event("move", me, serial))
        won += 1
    except AliasConflict:
        pass
    store.events.append(a.event("mine", me, serial))
    while store.models.alias(a.MODEL, "champion").serial < serial:
        pass
print(won)
"""

ADDER = """
import sys
from kedge.domain.ids import digest_of
from kedge.storage.sql import open_store
from kedge.storage.blobs.index import ChunkPlace, Recipe
url, me = sys.argv[1:]
store = open_store(url)
for blob in range(20):
    chunks = [digest_of(at) for at in range(blob, blob + 30)]
    if int(me) % 2:
        chunks.reverse()
    store.chunks.add({c: ChunkPlace(me, 0, 1) for c in chunks}, {digest_of("blob", blob): Recipe(30, tuple(chunks))})
print(store.chunks.totals().chunks)
"""


@pytest.fixture
def shared(shared_url: str) -> Iterator[SqlStore]:
    opened = open_store(shared_url)
    yield opened
    opened.close()


def race(work: Callable[[int], None], lost: type[Exception]) -> list[int]:
    """Let all threads work at the same moment; give the numbers of those that did not raise `lost`."""
    barrier = Barrier(THREADS)

    def run(number: int) -> bool:
        barrier.wait()
        try:
            work(number)
        except lost:
            return False
        return True

    with ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(run, range(1, THREADS + 1)))
    return [number for number, won in enumerate(results, start=1) if won]


def test_of_fifty_promotions_one_wins(store: SqlStore) -> None:
    store.models.move(a.move(1, None, 1), a.event("first"))
    winners = race(lambda n: store.models.move(a.move(n, 1, 2), a.event("race", n)), AliasConflict)
    assert len(winners) == 1
    found = store.models.alias(a.MODEL, "champion")
    assert found == a.move(winners[0], 1, 2)
    assert [serial for serial, _ in store.events.list()] == [2, 1]


def test_of_fifty_deployments_one_wins(store: SqlStore) -> None:
    winners = race(lambda n: store.deployments.put(a.deployment(1, champion=n), a.event("race", n)), RevisionConflict)
    assert [deployment.champion for deployment in store.deployments.list(a.MODEL)] == winners
    assert len(winners) == 1


def test_of_fifty_claims_one_wins(store: SqlStore) -> None:
    won: list[int] = []

    def claim(number: int) -> None:
        if store.runs.claim(digest_of("run"), f"owner {number}", now=a.NOW, seconds=60):
            won.append(number)

    race(claim, Conflict)
    assert len(won) == 1


def test_fifty_writers_of_one_key_write_once(store: SqlStore) -> None:
    race(lambda n: store.runs.put(a.run(metrics={"n": float(n)}), a.event("same")), Conflict)
    race(lambda n: store.watches.put(a.health(0), bytes([n]), event=a.event("window")), Conflict)
    assert len(store.events.list()) == 2
    assert len(store.runs.list("Default")) == 1


def test_serials_have_no_gap_under_many_writers(store: SqlStore) -> None:
    race(lambda n: [store.events.append(a.event(n, at)) for at in range(4)] and None, Conflict)
    assert [serial for serial, _, _ in store.events.chain()] == list(range(1, 4 * THREADS + 1))
    assert broken_at(store) is None


def test_reads_and_writes_of_threads_do_not_mix(store: SqlStore) -> None:
    """Each run's metrics are written in pieces; a reader must see all of one state."""

    def work(number: int) -> None:
        if number % 5 == 0:
            metrics = {f"m{at}": float(number) for at in range(20)}
            store.runs.put(a.run(metrics=metrics), a.event(number))
        else:
            assert len({*store.runs.get(a.run().id).metrics.values()}) == 1

    store.runs.put(a.run(metrics={"m0": 0.0}), a.event("first"))
    assert len(race(work, Conflict)) == THREADS


def test_processes_promote_one_after_another(shared: SqlStore, shared_url: str) -> None:
    assert sum(int(out) for out in outputs(PROMOTER, shared_url)) == 20
    assert [move.number for move in shared.models.moves(a.MODEL)] == list(range(1, 21))
    assert len([*shared.events.chain()]) == 20 + 20 * PROCESSES
    assert broken_at(shared) is None


def test_processes_add_the_same_chunks(shared_url: str) -> None:
    assert len(outputs(ADDER, shared_url)) == PROCESSES  # none has opened it before: all four race to make the tables
    store = open_store(shared_url)
    assert store.chunks.totals() == (20, 49, 49)
    for blob in range(20):
        recipe = store.chunks.find_blob(digest_of("blob", blob))
        assert recipe is not None
        assert set(store.chunks.find_many(recipe.chunks)) == {digest_of(at) for at in range(blob, blob + 30)}
    store.close()


def test_a_chunk_keeps_the_place_that_won(store: SqlStore) -> None:
    chunk = digest_of("chunk")
    race(
        lambda n: store.chunks.add({chunk: ChunkPlace(f"pack {n}", n, 1)}, {digest_of(n): Recipe(1, (chunk,))}),
        Conflict,
    )
    place = store.chunks.find_many([chunk])[chunk]
    assert place == ChunkPlace(f"pack {place.offset}", place.offset, 1)
    assert store.chunks.totals() == (THREADS, 1, 1)


def outputs(script: str, url: str) -> list[str]:
    """Run the script in several processes at once; give what each printed."""
    children = [a.child(script, url, str(number)) for number in range(PROCESSES)]
    printed = [child.communicate(timeout=60)[0] for child in children]
    assert [child.returncode for child in children] == [0] * PROCESSES
    return printed
