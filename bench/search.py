"""What a search costs in the store itself, against the number of runs.

    python bench/search.py [RUNS ...]        1,000, 10,000 and 100,000 runs where none are named; about a minute

Each run has 5 params, 5 metrics and 4 tags. `find` gives the ids of the page, `read` all that was logged in its runs; both
are medians. The same through MLflow's client, with MLflow beside it, is in bench/mlflow.py.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from kedge.domain.finding import Query
from kedge.domain.ids import ExperimentId
from kedge.records import Records, open_records
from kedge.settings import Settings
from kedge.storage.sql import dialect
from kedge.storage.sql.connections import Connections
from kedge.storage.sql.hot import Hot
from kedge.tracking.search import runs_query

SIZES, REPEATS = (1_000, 10_000, 100_000), 15
BEGAN = 1_767_225_600_000_000
SEARCHES = {
    "newest 100": ("", [], 100, False),
    "metric filter, order by it, top 100": ("metrics.m0 > 0.5", ["metrics.m0 DESC"], 100, False),
    "metric filter, order by another, top 100": ("metrics.m0 > 0.5", ["metrics.m1"], 100, False),
    "the same, and how many match": ("metrics.m0 > 0.5", ["metrics.m1"], 100, True),
    "metric and param filter, metric order": ("metrics.m0 > 0.5 AND params.p0 = '3'", ["metrics.m1"], 100, False),
    "nothing matches": ("metrics.m0 > 5", ["metrics.m1"], 100, False),
    "param LIKE, param order": ("params.p0 LIKE '%3%'", ["params.p1 DESC"], 100, False),
}


def main() -> None:
    """Print the table, and the figures as JSON where --json is given."""
    sizes = [int(word.replace(",", "")) for word in sys.argv[1:] if word != "--json"] or SIZES
    figures = {size: measured(size) for size in sizes}
    if "--json" in sys.argv:
        print(json.dumps(figures, indent=1))
        return
    print(f"{'ms: find + read':<44}" + "".join(f"{size:>18,}" for size in sizes))
    for name in SEARCHES:
        cells = [f"{figures[size][name]['find']:.1f} + {figures[size][name]['read']:.1f}" for size in sizes]
        print(f"{name:<44}" + "".join(f"{cell:>18}" for cell in cells))


def measured(runs: int) -> dict[str, dict[str, float]]:
    """Fill a store of its own and search it."""
    with tempfile.TemporaryDirectory() as folder:
        records = open_records(Settings(project=Path(folder), store=folder))
        experiment = records.logging.create_experiment("bench").id
        fill(next(Path(folder).rglob("*.db")), experiment, runs=runs)
        found = {name: search(records, experiment, what=what) for name, what in SEARCHES.items()}
        records.close()
    return found


def fill(path: Path, experiment: ExperimentId, *, runs: int) -> None:
    """Write the rows that so many logged runs leave."""
    dice = random.Random(runs)
    hot = Hot(Connections(dialect.open_engine(f"sqlite:///{path}")))
    ids = [f"{dice.getrandbits(128):032x}" for _ in range(runs)]
    with hot.writing() as session:
        session.many(
            "INSERT INTO runs (id, experiment, name, user_name, status, lifecycle, started_at, ended_at, body)"
            " VALUES (?, ?, ?, 'me', 'finished', 'active', ?, ?, '{}')",
            [(id, experiment, f"run {n}", BEGAN + n * 1000, BEGAN + n * 1000 + 500) for n, id in enumerate(ids)],
        )
        session.many(
            "INSERT INTO run_params (run, key, value) VALUES (?, ?, ?)",
            [(id, f"p{k}", str(dice.randrange(10))) for id in ids for k in range(5)],
        )
        session.many(
            "INSERT INTO run_tags (run, key, value) VALUES (?, ?, ?)",
            [(id, f"mlflow.{key}", "train.py") for id in ids for key in ("runName", "source.name", "source.type", "user")],
        )
        session.many(
            "INSERT INTO series (run, key, experiment, at, step, value) VALUES (?, ?, ?, ?, 0, ?)",
            [(id, f"m{k}", experiment, BEGAN // 1000, dice.random()) for id in ids for k in range(5)],
        )
    hot.close()


def search(records: Records, experiment: ExperimentId, *, what: tuple[str, list[str], int, bool]) -> dict[str, float]:
    """Time one search: the median of its repeats, in milliseconds."""
    text, order, limit, counted = what
    finding, reading = [], []
    for _ in range(REPEATS):
        began = time.perf_counter()
        query: Query = runs_query(text, order=order, limit=limit, experiments=[experiment], counted=counted)
        page = records.logging.find_runs(query)
        finding.append(time.perf_counter() - began)
        began = time.perf_counter()
        records.meta.runs.details(page.items)
        reading.append(time.perf_counter() - began)
    return {"find": round(median(finding) * 1e3, 2), "read": round(median(reading) * 1e3, 2)}


if __name__ == "__main__":
    main()
