"""What the catalogue costs: its first page, a search, and both after something has changed, against how many datasets.

    python bench/catalogue.py [DATASETS ...] [--json]      1,000 and 10,000 where none are named; about a minute

Each dataset is a table of ten columns with two versions, an owner, a description of a sentence, two tags. Times are medians,
in a process that keeps running as the control plane does; `opened` is the first page of a process that has just begun.
"""

from __future__ import annotations

import json
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from kedge.domain.catalogue import EntryChange
from kedge.domain.data import Column, ColumnType, DatasetVersion, Part, Schema
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import DatasetName, digest_of
from kedge.records import Records, open_records
from kedge.settings import Settings

SIZES, REPEATS = (1_000, 10_000), 15
LIMITS = {  # ms, at 10,000 datasets
    "first page": 30,
    "a word that few have": 20,
    "two words": 150,
    "a word that all have, and an owner": 150,
    "first page after a change": 100,
}
AT = datetime(2026, 1, 1, tzinfo=UTC)
NOUNS = ("flights", "rides", "orders", "claims", "visits", "sensors", "prices", "users", "sessions", "refunds")
WORDS = ("daily", "hourly", "raw", "clean", "joined", "legacy", "partner", "store", "mobile", "web", "late", "early")
COLUMNS = ("id", "at", "amount", "currency", "origin", "dest", "delay", "carrier", "email", "late")


def main() -> None:
    """Print the table; exit with 1 where a limit is missed."""
    sizes = [int(word.replace(",", "")) for word in sys.argv[1:] if word != "--json"] or SIZES
    figures = {size: measured(size) for size in sizes}
    if "--json" in sys.argv:
        print(json.dumps(figures, indent=1))
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}")
    print(f"{'ms':<40}" + "".join(f"{size:>12,}" for size in sizes) + f"{'limit':>12}")
    missed = 0
    for name in next(iter(figures.values())):
        line = f"{name:<40}" + "".join(f"{figures[size][name]:>12.1f}" for size in sizes)
        limit = LIMITS.get(name)
        is_missed = limit is not None and figures.get(10_000, {}).get(name, 0) > limit
        missed += is_missed
        print(line + (f"{limit:>12}" if limit else "") + ("   MISSED" if is_missed else ""))
    raise SystemExit(bool(missed))


def measured(datasets: int) -> dict[str, float]:
    """Fill a store of its own, and ask it."""
    memory = Path("/dev/shm")  # filling waits for no disk then; reading is from memory anyway
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        where = Settings(project=Path(folder), store=folder)
        records = open_records(where)
        fill(records, datasets)
        records.close()
        records = open_records(where)
        room = records.catalogue
        found = {"opened, first page": timed(room.search, times=1)}
        found["first page"] = timed(room.search)
        found["a word that few have"] = timed(lambda: room.search(f"n{datasets // 2}"))
        found["two words"] = timed(lambda: room.search("hourly partner"))
        found["a word that all have, and an owner"] = timed(lambda: room.search("delay owner:ada"))
        found["first page after a change"] = after_a_change(records)
        records.close()
    return found


def timed(act: Callable[[], object], *, times: int = REPEATS) -> float:
    """Give the milliseconds that some work takes, the median of several times."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        taken.append(1000 * (time.perf_counter() - began))
    return median(taken)


def after_a_change(records: Records) -> float:
    """Describe one dataset, then time the next page."""
    taken, name = [], records.meta.datasets.names()[0]
    for turn in range(REPEATS):
        records.catalogue.describe(name, EntryChange(description=f"turn {turn}"), actor="person:ada")
        taken.append(timed(records.catalogue.search, times=1))
    return median(taken)


def fill(records: Records, datasets: int) -> None:
    """Make datasets, two versions of each, and say something of each."""
    source = random.Random(1)
    schema = Schema(tuple(Column(name=name, type=ColumnType.FLOAT) for name in COLUMNS))
    for number in range(datasets):
        name = DatasetName(f"{source.choice(NOUNS)}_{source.choice(WORDS)}_n{number}")
        for version in (1, 2):
            digest = digest_of(name, version)
            made = DatasetVersion(
                dataset=name,
                number=version,
                digest=digest,
                schema=schema,
                parts=(Part(digest=digest, rows=1000, bytes=50_000),),
                rows=1000,
                bytes=50_000,
                order="",
                created_at=AT,
                message=f"{source.choice(WORDS)} {source.choice(WORDS)}",
            )
            event = Event(
                key=digest_of("bench", name, version),
                kind=EventKind.DATASET_COMMITTED,
                at=AT,
                subject=name,
                actor="person:ada",
                message="bench",
            )
            records.meta.datasets.add(made, event)
        words = " ".join(source.choices(WORDS, k=8))
        change = EntryChange(
            owner=source.choice(("ada", "bob", "eve")), description=words, tags=(source.choice(WORDS), "gold")
        )
        records.catalogue.describe(name, change, actor="person:ada")


if __name__ == "__main__":
    main()
