"""What logging costs in the store itself, beside the limits that sqlite3 alone sets on this machine.

    python bench/store.py            all figures, about half a minute
    python bench/store.py URL        the same on a store of your own, say postgresql://HOST/DATABASE (it stays filled)

Each figure is the median of its repeats. The limits are plain statements on a WAL file with synchronous=NORMAL: the
same rows, one transaction each, no lookup, no check, no latest value.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from statistics import median

from kedge.domain.ids import DEFAULT_EXPERIMENT, RunId
from kedge.domain.tracking import Metric, RunStatus
from kedge.records import Records, open_records
from kedge.settings import Settings

POINTS, REPEATS = 100_000, 200


def main() -> None:
    """Print the table, and the figures as JSON where --json is given."""
    with tempfile.TemporaryDirectory() as folder:
        urls = [word for word in sys.argv[1:] if not word.startswith("--")]
        records = open_records(Settings(project=Path(folder), store=urls[0] if urls else folder))
        ours = measure_store(records)
        records.close()
        limits = measure_sqlite(Path(folder) / "raw.db")
    if "--json" in sys.argv:
        print(json.dumps({"kedge": ours, "sqlite3": limits}, indent=1))
        return
    print(f"{'median':<44}{'kedge':>12}{'sqlite3':>12}")
    for name, seconds in ours.items():
        limit = f"{limits[name] * 1e3:.3f} ms" if name in limits else ""
        print(f"{name:<44}{seconds * 1e3:>9.3f} ms{limit:>12}")


def measure_store(records: Records) -> dict[str, float]:
    """Measure the room `Logging` on a SQLite file."""
    logging, ids = records.logging, count()
    found = {}

    def run() -> RunId:
        return logging.create_run(DEFAULT_EXPERIMENT, name="bench", tags={"a": "b", "c": "d"}).id

    found["create a run with two tags"] = timed(run)
    one = run()
    logging.log(one, metrics=[Metric(key="loss", value=1.0, at=0)])
    found["append 1 point"] = timed(lambda: logging.log(one, metrics=[point(next(ids))]))
    found["append 1000 points of one key"] = timed(
        lambda: logging.log(one, metrics=[point(next(ids)) for _ in range(1000)]), 30
    )

    def wide() -> None:
        logging.log(run(), metrics=[Metric(key=f"m{at}", value=float(at), at=at) for at in range(1000)])

    found["append 1000 points of 1000 new keys"] = timed(wide, 20)
    found["log 1 param"] = timed(lambda: logging.log(one, params={f"p{next(ids)}": "1"}))
    found["log 100 params"] = timed(lambda: logging.log(run(), params={f"p{at}": "1" for at in range(100)}), 50)
    found["set 1 tag"] = timed(lambda: logging.log(one, tags={"k": str(next(ids))}))
    full = run()
    logging.log(
        full, metrics=[Metric(key=f"m{at}", value=1.0, at=0) for at in range(5)], params={f"p{at}": "1" for at in range(5)}
    )
    found["read a run of 5 params and 5 metrics"] = timed(lambda: logging.get_run(full))
    found["create, log 5 and 5, end"] = timed(lambda: whole(records, run()))
    long = run()
    for start in range(0, POINTS, 10_000):
        logging.log(long, metrics=[point(at) for at in range(start, start + 10_000)])
    found[f"read {POINTS:,} points"] = timed(lambda: logging.history(long, "loss", limit=POINTS), 5)
    found[f"read {POINTS:,} points, 25,000 a page"] = timed(lambda: paged(records, long), 5)
    found[f"thin {POINTS:,} points to 300"] = timed(lambda: logging.sampled([long], ["loss"]), 5)
    return found


def measure_sqlite(path: Path) -> dict[str, float]:
    """Measure plain statements."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(
        "CREATE TABLE p (series INTEGER, at INTEGER, step INTEGER, value REAL, nan INTEGER,"
        " PRIMARY KEY (series, at, step, value, nan)) STRICT, WITHOUT ROWID"
    )
    connection.execute("CREATE TABLE r (id INTEGER PRIMARY KEY, name TEXT, body TEXT) STRICT")
    ids, insert = count(), "INSERT INTO p VALUES (?, ?, ?, ?, ?)"

    def append(many: int) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(insert, [(1, at, at, 0.5, 0) for at in (next(ids) for _ in range(many))])
        connection.execute("COMMIT")

    found = {"append 1 point": timed(lambda: append(1)), "append 1000 points of one key": timed(lambda: append(1000), 30)}
    found["create a run with two tags"] = timed(lambda: connection.execute("INSERT INTO r (name, body) VALUES ('a', 'b')"))
    append(POINTS - next(ids))
    found[f"read {POINTS:,} points"] = timed(
        lambda: connection.execute("SELECT at, step, value FROM p WHERE series = 1 LIMIT ?", (POINTS,)).fetchall(), 5
    )
    connection.close()
    return found


def whole(records: Records, run: RunId) -> None:
    """Live a small run's life."""
    five = range(5)
    records.logging.log(
        run, params={f"p{at}": "1" for at in five}, metrics=[Metric(key=f"m{at}", value=1.0, at=0) for at in five]
    )
    records.logging.update_run(run, status=RunStatus.FINISHED)


def paged(records: Records, run: RunId) -> None:
    """Read a series as a client with pages does."""
    page = records.logging.history(run, "loss", limit=25_000)
    while page.next:
        page = records.logging.history(run, "loss", limit=25_000, page=page.next)


def point(at: int) -> Metric:
    """Make a point."""
    return Metric(key="loss", value=at / 7, at=1_700_000_000_000 + at, step=at)


def timed(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Give the median time of some work, in seconds."""
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return median(spent)


if __name__ == "__main__":
    main()
