"""The prediction log: what its writer takes a second, what one record costs, what compaction does with it.

Limit: the same bytes given to the operating system in as many writes, with a checksum and nothing else. No peer keeps a
log that loses no row; SQLite with a row each is printed beside it, as what people write themselves. Requests are few and
come again, so that their arrays are as fresh in the caches as those that a model has just read and written.
Prints figure, limit and machine; medians of several rounds, the ways alternating.
"""

import json
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4
from zlib import crc32

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import numpy as np  # noqa: E402

from kedge.domain.monitoring import Matrix, PredictionBatch  # noqa: E402
from kedge.domain.predictions import PredictionRules  # noqa: E402
from kedge.domain.records import encode_batch  # noqa: E402
from kedge.serving.log import PredictionLog  # noqa: E402
from kedge.storage.log_folder import LogFolder  # noqa: E402
from kedge.storage.prediction_rows import PredictionRows  # noqa: E402

ROUNDS = 5
COLUMNS = 20
NAMES = tuple(f"feature_{place:02d}" for place in range(COLUMNS))
NEEDED = 200_000
FRESH = 200


def batches(count: int, rows: int) -> list[PredictionBatch]:
    """Make requests as the data plane answers them: a matrix of features, an array of answers."""
    random = np.random.default_rng(7)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        PredictionBatch(
            request=uuid4().hex,
            model="flights",
            at=at,
            revision=3,
            service="delay",
            entities=[],
            versions=[3] * rows,
            features={},
            matrix=Matrix(NAMES, random.random((rows, COLUMNS))),
            as_of={},
            outputs=random.random(rows),
            batches=[(3, [*range(rows)])],
            seconds={"parse": 1e-5, "predict": 1e-4, "log": 1e-6},
            roles={3: "champion"},
        )
        for _ in range(count)
    ]


def written(folder: Path, made: list[PredictionBatch], group: int) -> float:
    """Log requests, so many in a write; give the seconds."""
    log = PredictionLog(LogFolder(folder, PredictionRows(), rules=PredictionRules()).journal("bench"))
    log.start()  # syncs in the background, as when serving
    groups = [made[start : start + group] for start in range(0, len(made), group)]
    began = time.perf_counter()
    for some in groups:
        log.append_all(some)
    took = time.perf_counter() - began
    log.stop()
    return took


def raw(folder: Path, made: list[PredictionBatch], group: int) -> float:
    """Write the same bytes with a checksum each, and nothing else."""
    payloads = [encode_batch(batch) for batch in made]
    groups = [payloads[start : start + group] for start in range(0, len(payloads), group)]
    folder.mkdir()
    descriptor = os.open(folder / "raw", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    began = time.perf_counter()
    for some in groups:
        for payload in some:
            crc32(payload)
        os.write(descriptor, b"".join(some))
    took = time.perf_counter() - began
    os.close(descriptor)
    return took


def sqlite(folder: Path, made: list[PredictionBatch], group: int) -> float:
    """Insert the same rows into SQLite, WAL, a transaction for each write."""
    folder.mkdir()
    store = sqlite3.connect(folder / "log.db", isolation_level=None)
    store.execute("PRAGMA journal_mode=WAL")
    store.execute("PRAGMA synchronous=NORMAL")
    store.execute(f"CREATE TABLE log (id, at, version, output, {', '.join(NAMES)})")
    insert = f"INSERT INTO log VALUES ({', '.join('?' * (4 + COLUMNS))})"
    groups = [made[start : start + group] for start in range(0, len(made), group)]
    began = time.perf_counter()
    for some in groups:
        store.execute("BEGIN")
        for batch in some:
            rows = zip(batch.outputs.tolist(), batch.matrix.values.tolist(), strict=True)
            store.executemany(
                insert, [(f"{batch.request}.{row}", 0, 3, out, *values) for row, (out, values) in enumerate(rows)]
            )
        store.execute("COMMIT")
    took = time.perf_counter() - began
    store.close()
    return took


Way = Callable[[Path, list[PredictionBatch], int], float]
WAYS: dict[str, Way] = {
    "kedge": written,
    "bytes alone": raw,
    "sqlite": sqlite,
}


def rates(rows: int, count: int, group: int) -> dict[str, float]:
    """Measure rows a second of each way, alternating."""
    made = batches(FRESH, rows) * (count // FRESH)
    took: dict[str, list[float]] = {name: [] for name in WAYS}
    for number in range(ROUNDS):
        for name, way in WAYS.items():
            with tempfile.TemporaryDirectory(dir=ROOT) as folder:
                took[name].append(way(Path(folder) / str(number), made, group))
    return {name: rows * count / statistics.median(each) for name, each in took.items()}


def one_record() -> tuple[float, float]:
    """Measure microseconds of one append of one row, and of its write alone."""
    made = batches(FRESH, 1) * (20_000 // FRESH)
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        whole = statistics.median(written(Path(folder) / f"k{n}", made, 1) for n in range(ROUNDS)) / len(made)
        write = statistics.median(raw(Path(folder) / f"r{n}", made, 1) for n in range(ROUNDS)) / len(made)
    return whole * 1e6, write * 1e6


def compaction() -> tuple[float, float]:
    """Measure rows a second that become Parquet, and its bytes as a share of the segments'."""
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        kept = LogFolder(Path(folder) / "log", PredictionRows(), rules=PredictionRules())
        journal = kept.journal("bench")
        journal.append_all([encode_batch(batch) for batch in batches(2000, 50)])
        journal.close()
        began = time.perf_counter()
        done = kept.archive.compact()
        return 100_000 / (time.perf_counter() - began), done.stored_bytes / done.bytes


def main() -> None:
    """Print what was measured; --json as JSON."""
    found = {
        "batches of 50 rows": rates(50, 4000, 1),
        "single rows, 50 in a write": rates(1, 50_000, 50),
        "single rows, one in a write": rates(1, 20_000, 1),
    }
    whole, write = one_record()
    speed, share = compaction()
    told = {
        "rows_per_second": found,
        "append_us": whole,
        "write_us": write,
        "compacted_rows_per_second": speed,
        "share": share,
    }
    if "--json" in sys.argv:
        print(json.dumps(told))
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; {COLUMNS} features a row")
    for name, each in found.items():
        needed = "" if "one in" in name else f"; needed {NEEDED:,}: {'reached' if each['kedge'] >= NEEDED else 'MISSED'}"
        print(
            f"{name}: {each['kedge']:,.0f} rows/s, bytes alone {each['bytes alone']:,.0f}"
            f" ({each['kedge'] / each['bytes alone']:.2f}), SQLite {each['sqlite']:,.0f}{needed}"
        )
    print(
        f"append of one record: {whole:.1f} us, {write:.1f} of them for the write and a checksum: {whole - write:.1f} beyond"
    )
    print(f"compaction: {speed:,.0f} rows/s, into {share:.2f} of the segments' bytes (random numbers do not compress)")


if __name__ == "__main__":
    main()
