"""kill -9 while writing: all that was acknowledged is there, and nothing is there by half."""

from __future__ import annotations

import os
import signal
import time

import pytest
from tests.contract import metastore as a
from tests.contract.test_metastore_events import broken_at

from kedge.storage.sql import dialect, open_store

# Writes windows one after another, each with alerts and state, and prints a line after each acknowledgement.
WRITER = """
import sys
from kedge.storage.sql import open_store
from tests.contract import metastore as a
url, start = sys.argv[1], int(sys.argv[2])
store = open_store(url)
for day in range(start, 100_000):
    alerts = [a.alert(f"{day}-{at}", day) for at in range(5)]
    store.watches.put(a.health(day, *alerts), str(day).encode(), event=a.event(day, edges=(a.edge(f"r{day}", "d"),)))
    print(day, flush=True)
"""


@pytest.mark.parametrize("delay", [0.0, 0.013, 0.05])
def test_a_killed_writer_loses_nothing_acknowledged(shared_url: str, delay: float) -> None:
    acknowledged = -1
    for _ in range(2):
        acknowledged = write_and_kill(shared_url, acknowledged + 1, delay)
        written = require_whole(shared_url, acknowledged)
        acknowledged = written - 1


def test_a_writer_killed_inside_a_transaction_leaves_nothing_of_it(shared_url: str) -> None:
    script = (
        "import os, signal\nfrom kedge.storage.sql import dialect\nold = dialect.insert_new\n"
        "def insert_new(connection, table, *, rows):\n"
        "    if table.name == 'alerts' and rows[0]['key'] == '2-0': os.kill(os.getpid(), signal.SIGKILL)\n"
        "    old(connection, table, rows=rows)\n"
        "dialect.insert_new = insert_new\n"
    )
    with a.child(script + WRITER, shared_url, "0") as child:
        assert child.communicate(timeout=30)[0] == "0\n1\n"
    assert child.returncode == -signal.SIGKILL
    assert require_whole(shared_url, 1) == 2


def write_and_kill(url: str, start: int, delay: float) -> int:
    """Let a process write from window `start` on, kill it soon after its first lines, give the last window it said."""
    with a.child(WRITER, url, str(start)) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(3)]
        time.sleep(delay)
        os.kill(child.pid, signal.SIGKILL)
        lines += child.stdout.readlines()
    whole = [int(line) for line in lines if line.endswith("\n")]
    assert whole == list(range(start, whole[-1] + 1))
    return whole[-1]


def require_whole(url: str, acknowledged: int) -> int:
    """Check that all acknowledged windows are there, at most one more, and each whole; give their number."""
    store = open_store(url)
    with store._connections.writing() as connection:
        dialect.lock_chain(connection)  # PostgreSQL may still be at the dead process's last COMMIT
    windows = store.watches.list(a.MODEL, limit=100_000)
    assert len(windows) - 1 in (acknowledged, acknowledged + 1)
    assert store.watches.state(a.MODEL) == str(len(windows) - 1).encode()
    assert len(store.watches.alerts(a.MODEL, limit=500_000)) == 5 * len(windows)
    assert len([*store.events.chain()]) == len(windows)
    assert broken_at(store) is None
    store.close()
    return len(windows)
