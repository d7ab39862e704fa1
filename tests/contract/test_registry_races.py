"""Fifty promoters at once, and kill -9 between two moves: one wins each serial, and the history has no gap and no double."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from tests.contract import metastore as a
from tests.contract.test_metastore_events import broken_at
from tests.unit.registry.shelves import Shelves, open_catalog

from kedge.registry.catalog import Offered
from kedge.storage.sql import SqlStore, open_store

PROCESSES = 5  # of ten threads each

# Ten threads with connections of their own promote, all on the serial that they read; each win is printed.
PROMOTERS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from kedge.errors import AliasConflict, AliasMoved
from kedge.storage.sql import open_store
from tests.unit.registry.shelves import Shelves, open_catalog
url, me = sys.argv[1:]
sys.stdin.readline()

def promote(thread):
    store = open_store(url)
    catalog, won = open_catalog(store, Shelves()), []
    while (serial := len(catalog.alias_moves("m"))) < 20:
        number = serial % 3 + 1
        try:
            catalog.set_alias("m", "champion", number=number, actor=f"person:{me}-{thread}", serial=serial)
            won.append(serial + 1)
        except (AliasConflict, AliasMoved):
            pass
    store.close()
    return won

with ThreadPoolExecutor(10) as pool:
    print(*(serial for won in pool.map(promote, range(10)) for serial in won), flush=True)
"""

# Moves the alias and a stage one after the other, for ever, and says each serial once it is acknowledged.
MOVER = """
import sys
from kedge.storage.sql import open_store
from tests.unit.registry.shelves import Shelves, open_catalog
store = open_store(sys.argv[1])
catalog = open_catalog(store, Shelves())
while True:
    at = len(catalog.alias_moves("m"))
    move = catalog.set_alias("m", "champion", number=at % 3 + 1, actor="person:ada", serial=at)
    catalog.move_stage("m", move.number, stage="Production", actor="person:ada", archive=True)
    print(move.serial, flush=True)
"""


def shelved(url: str) -> SqlStore:
    store = open_store(url)
    catalog = open_catalog(store, Shelves())
    catalog.create("m", actor="person:ada")
    for _ in range(3):
        catalog.register("m", Offered(source="runs:/r/model"), actor="person:ada")
    return store


def test_of_fifty_promoters_one_wins_each_serial(shared_url: str) -> None:
    store = shelved(shared_url)
    children = [started(shared_url, str(me)) for me in range(PROCESSES)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    won = [int(word) for child in children for word in child.communicate(timeout=120)[0].split()]
    assert sorted(won) == [*range(1, 21)]
    require_history(store, 20)
    store.close()


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.07])
def test_a_killed_mover_loses_no_acknowledged_move(shared_url: str, delay: float) -> None:
    store = shelved(shared_url)
    acknowledged = 0
    for _ in range(2):
        with a.child(MOVER, shared_url) as child:
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(3)]
            time.sleep(delay)
            os.kill(child.pid, signal.SIGKILL)
            lines += child.stdout.readlines()
        acknowledged = max(int(line) for line in lines if line.endswith("\n"))
        require_history(store, acknowledged)
        catalog = open_catalog(store, Shelves())
        live = [each.number for each in catalog.versions("m") if each.stage.value == "Production"]
        assert len(live) == 1
    store.close()


def started(url: str, me: str):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", PROMOTERS, url, me], env=environment, **pipes)


def require_history(store: SqlStore, least: int) -> None:
    """Check that the moves are one line without gap or double, each with its event, in an unbroken chain."""
    catalog = open_catalog(store, Shelves())
    moves = catalog.alias_moves("m")
    assert len(moves) >= least
    assert [move.serial for move in moves] == [*range(1, len(moves) + 1)]
    assert [move.previous for move in moves] == [None, *(move.number for move in moves[:-1])]
    stages = store.registered.stage_moves("m")
    assert [move.serial for move in stages] == [*range(1, len(stages) + 1)]
    told = [event for _, event in store.events.list(limit=100_000) if event.kind.value == "alias_moved"]
    assert len(told) == len(moves)
    assert broken_at(store) is None
