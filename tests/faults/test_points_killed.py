"""kill -9 of a process that logs, at any moment: what was acknowledged is readable, and nothing is there by half."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time

import pytest
from tests.contract import metastore as a
from tests.contract.conftest import shared_url  # noqa: F401  # the stores that processes can share
from tests.contract.test_metastore_events import broken_at

from kedge.domain.ids import DEFAULT_EXPERIMENT, RunId
from kedge.domain.tracking import RunStatus
from kedge.storage.sql import SqlStore, dialect, open_store

THREADS, KEYS = 4, 7

# Threads log batches to runs of their own and print a line after each acknowledgement: RUN BATCH.
LOGGER = """
import os, sys, threading
from datetime import UTC, datetime
from kedge.adapters.clock import SystemClock
from kedge.domain.ids import DEFAULT_EXPERIMENT, RunId
from kedge.domain.tracking import Metric, RunStatus
from kedge.storage.sql import open_store
from kedge.tracking.logging import Logging
url, life, threads, keys = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
logging = Logging(meta=open_store(url), clock=SystemClock())

def work(me):
    for life_run in range(10_000):
        run = RunId(f"{life}-{me}-{life_run}")
        logging.create_run(DEFAULT_EXPERIMENT, name="n", tags={"a": "1"}, params={"p": "1"}, run=run)
        for batch in range(20):
            metrics = [Metric(key=f"k{key}", value=batch / 7, at=batch, step=batch) for key in range(keys)]
            logging.log(run, metrics=metrics, params={f"p{batch}": "1"}, tags={"batch": str(batch)})
            os.write(1, f"{run} {batch}\\n".encode())
        logging.update_run(run, status=RunStatus.FINISHED, ended_at=datetime.now(UTC))
        os.write(1, f"{run} 20\\n".encode())

for me in range(threads):
    threading.Thread(target=work, args=(me,)).start()
"""


@pytest.mark.parametrize("seed", range(4))
def test_what_was_acknowledged_is_readable_after_a_kill(shared_url: str, seed: int) -> None:  # noqa: F811
    chance = random.Random(seed)
    acknowledged: dict[str, int] = {}
    open_store(shared_url).close()
    for life in range(3):
        acknowledged |= log_and_kill(shared_url, f"{seed}-{life}", chance.random() * 0.3)
        require_whole(shared_url, acknowledged)
    assert len(acknowledged) >= THREADS


def log_and_kill(url: str, life: str, delay: float) -> dict[str, int]:
    """Let a process log, kill it a while after its first lines; give the last batch that it said of each run."""
    with a.child(LOGGER, url, life, str(THREADS), str(KEYS)) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(3)]
        time.sleep(delay)
        os.kill(child.pid, signal.SIGKILL)
        lines += child.stdout.readlines()
    assert child.returncode == -signal.SIGKILL
    said: dict[str, int] = {}
    for line in lines:
        if line.endswith("\n"):
            run, batch = line.split()
            said[run] = max(int(batch), said.get(run, -1))
    return said


def require_whole(url: str, acknowledged: dict[str, int]) -> None:
    """Check every run there is: all batches that were acknowledged, at most one more, each with all its parts."""
    store = open_store(url)
    with store._connections.writing() as connection:
        dialect.lock_chain(connection)  # PostgreSQL may still be at the dead process's last COMMIT
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as file:
            assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        file.close()
    with store._hot.reading() as session:
        runs = [row[0] for row in session.rows("SELECT id FROM runs WHERE experiment = ?", DEFAULT_EXPERIMENT)]
    assert set(acknowledged) <= set(runs)
    for run in runs:
        require_run(store, RunId(run), acknowledged.get(run, -1))
    assert broken_at(store) is None
    store.close()


def require_run(store: SqlStore, run: RunId, said: int) -> None:
    detail = store.runs.detail(run)
    batches = int(detail.run.tags.get("batch", "-1")) + 1
    assert min(said, 19) + 1 <= batches <= min(said, 19) + 2
    assert detail.run.params == {"p": "1"} | {f"p{batch}": "1" for batch in range(batches)}
    assert {one.key for one in detail.latest} == ({f"k{key}" for key in range(KEYS)} if batches else set())
    for one in detail.latest:
        assert (one.step, one.value) == (batches - 1, (batches - 1) / 7)
        history = store.points.history(run, one.key, limit=100)
        assert history == [(batch, batch, batch / 7) for batch in range(batches)]
    if said == 20:
        assert detail.run.status is RunStatus.FINISHED
        assert detail.run.ended_at is not None
