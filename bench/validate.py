"""Validation: 1,000,000 rows of 20 columns, beside the same verdict written by hand and beside Pandera, by turns.

By hand, twice: as one Polars expression that counts the rows which break each rule (what people write), and as one that only
asks for minima, maxima, numbers of nulls and sets (the cheapest verdict there is). Then a table larger than the memory that
it may take: `python bench/validate.py --large ROWS` streams a file of that many rows and prints the greatest memory.
`--broken` has a rule that does not hold: rows are counted and named.
Prints figure, limit and ratio; medians of several rounds.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

os.environ.setdefault("PYTHONWARNINGS", "ignore")
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src")]

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402

from kedge.data import expect  # noqa: E402
from kedge.data.quality.validation import Table, judge  # noqa: E402
from kedge.domain.data import Expectation  # noqa: E402
from kedge.domain.ids import DatasetName, Digest  # noqa: E402

ROWS, ROUNDS = 1_000_000, 15
FLOATS, INTS, WORDS = [f"f{n}" for n in range(9)], [f"i{n}" for n in range(5)], [f"s{n}" for n in range(4)]
KNOWN = [f"cat_{n}" for n in range(8)]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def table(rows: int, *, seed: int = 0, first: int = 0) -> pl.DataFrame:
    """Make a table: a shuffled key, nine floats, five integers, four columns of eight words, a flag."""
    rng = np.random.default_rng(seed)
    key = np.arange(first, first + rows)
    rng.shuffle(key)
    columns: dict[str, object] = {"id": key}
    columns |= {name: rng.normal(size=rows) for name in FLOATS}
    columns |= {name: rng.integers(0, 1000, rows) for name in INTS}
    words = pl.Series(KNOWN)
    columns |= {name: words.gather(rng.integers(0, len(KNOWN), rows)) for name in WORDS}
    return pl.DataFrame(columns | {"b": rng.random(rows) < 0.5})


def rules() -> list[Expectation]:
    """Expect types, values, ranges, sets and one unique key."""
    kinds = {"id": "integer", "b": "boolean"} | dict.fromkeys(FLOATS, "float") | dict.fromkeys(INTS, "integer")
    kinds |= dict.fromkeys(WORDS, "string")
    found = [expect.type_of(name, kind) for name, kind in kinds.items()]
    found += [expect.not_null(name) for name in kinds]
    found += [expect.between(name, at_least=-10, at_most=10) for name in FLOATS]
    found += [expect.between(name, at_least=0, at_most=999) for name in INTS]
    found += [expect.one_of(name, KNOWN) for name in WORDS]
    return [*found, expect.unique("id")]


def kedge(rows: pl.LazyFrame) -> bool:
    """Validate with Kedge, as a frame in memory is."""
    asked = Table(frame=rows, dataset=DatasetName("t"), version=Digest(""), now=NOW, engine="in-memory")
    return judge(asked, rules()).report.passed


def streaming(rows: pl.LazyFrame) -> bool:
    """Validate with Kedge, as a version or a file is."""
    asked = Table(frame=rows, dataset=DatasetName("t"), version=Digest(""), now=NOW)
    return judge(asked, rules()).report.passed


def masks(rows: pl.LazyFrame) -> bool:
    """Count the rows that break each rule, in one expression, as people write it."""
    schema = rows.collect_schema()
    assert all(schema[name] == pl.Float64 for name in FLOATS)
    asked = [pl.col(name).is_null().sum().alias(f"null {name}") for name in schema]
    asked += [(~pl.col(name).is_between(-10, 10)).sum().alias(f"range {name}") for name in FLOATS]
    asked += [(~pl.col(name).is_between(0, 999)).sum().alias(f"range {name}") for name in INTS]
    asked += [(~pl.col(name).is_in(KNOWN)).sum().alias(f"set {name}") for name in WORDS]
    asked += [(pl.len() - pl.col("id").n_unique()).alias("unique")]
    return not any(rows.select(asked).collect().row(0))


def figures(rows: pl.LazyFrame) -> bool:
    """Ask only for what the verdict needs: the cheapest expression there is."""
    schema = rows.collect_schema()
    asked = [pl.col(name).null_count().alias(f"null {name}") for name in schema]
    asked += [pl.col(name).min().alias(f"min {name}") for name in (*FLOATS, *INTS)]
    asked += [pl.col(name).max().alias(f"max {name}") for name in (*FLOATS, *INTS)]
    asked += [pl.col(name).unique().implode().alias(f"set {name}") for name in WORDS]
    asked += [pl.col("id").n_unique().alias("unique"), pl.len().alias("rows")]
    found = rows.select(asked).collect().row(0, named=True)
    good = not any(found[f"null {name}"] for name in schema) and found["unique"] == found["rows"]
    good &= all(found[f"min {name}"] >= -10 and found[f"max {name}"] <= 10 for name in FLOATS)
    good &= all(found[f"min {name}"] >= 0 and found[f"max {name}"] <= 999 for name in INTS)
    return good and all(set(found[f"set {name}"]) <= set(KNOWN) for name in WORDS)


def pandera() -> Callable[[pl.LazyFrame], bool] | None:
    """Make the same with Pandera; None where it is not installed."""
    try:
        import pandera.polars as pa
    except ImportError:
        return None
    columns = {"id": pa.Column(int, unique=True), "b": pa.Column(bool)}
    columns |= {name: pa.Column(float, pa.Check.in_range(-10, 10)) for name in FLOATS}
    columns |= {name: pa.Column(int, pa.Check.in_range(0, 999)) for name in INTS}
    columns |= {name: pa.Column(str, pa.Check.isin(KNOWN)) for name in WORDS}
    schema = pa.DataFrameSchema(columns)
    return lambda rows: schema.validate(rows.collect(), lazy=True) is not None


def by_turns(work: dict[str, Callable[[pl.LazyFrame], bool]], rows: pl.LazyFrame) -> dict[str, list[float]]:
    """Time each in turn, round by round, so that what else the machine does falls on all."""
    took: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(ROUNDS + 2):
        for name, call in work.items():
            began = time.perf_counter()
            if not call(rows):
                raise SystemExit(f"{name}: the table does not hold, and it does")
            if turn >= 2:
                took[name].append(time.perf_counter() - began)
    return took


def large(rows: int, *, broken: bool) -> None:
    """Write a file of many rows in pieces, and validate it in a process that reports its own greatest memory."""
    with tempfile.TemporaryDirectory() as folder:
        path, piece = Path(folder) / "large.parquet", 1_000_000
        import pyarrow.parquet as pq

        writer = None
        for first in range(0, rows, piece):
            part = table(min(piece, rows - first), seed=first, first=first).to_arrow(compat_level=pl.CompatLevel.oldest())
            writer = writer or pq.ParquetWriter(path, part.schema, compression="zstd")
            writer.write_table(part)
        assert writer is not None
        writer.close()
        more = ["--broken"] if broken else []
        subprocess.run([sys.executable, __file__, "--file", str(path), *more], check=True)


def most_memory() -> float:
    """Give the greatest memory of this process in MiB (ru_maxrss would also count what its parent had)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def streamed(path: Path, *, broken: bool) -> None:
    """Validate a file, in this process; print the greatest memory that it took."""
    import pyarrow.parquet as pq

    before = most_memory()
    began = time.perf_counter()
    asked = Table(frame=pl.scan_parquet(path), dataset=DatasetName("t"), version=Digest(""), now=NOW)
    more = [expect.between("i0", at_least=0, at_most=998)] if broken else []
    report = judge(asked, [*rules(), *more]).report
    took = time.perf_counter() - began
    most = most_memory()
    rows = pq.read_metadata(path).num_rows
    memory = rows * (8 * 15 + 16 * 4 + 1 / 8) / 2**20
    print(f"{rows:,} rows of 20 columns, {path.stat().st_size / 2**20:,.0f} MiB of Parquet, {memory:,.0f} MiB as a frame")
    print(f"valid: {report.passed}; {took:.1f} s; greatest memory {most:,.0f} MiB, {before:,.0f} MiB of it imports")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--large", type=int, default=0)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--broken", action="store_true")
    given = parser.parse_args()
    if given.file:
        streamed(given.file, broken=given.broken)
        return
    if given.large:
        large(given.large, broken=given.broken)
        return
    rows = table(ROWS).lazy()
    work = {"kedge": kedge, "kedge, streaming": streaming, "by hand, masks": masks, "by hand, figures": figures}
    peer = pandera()
    if peer is not None:
        work["pandera"] = peer
    took = {name: statistics.median(times) for name, times in by_turns(work, rows).items()}
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Polars {pl.__version__}; {ROUNDS} rounds")
    for name, seconds in took.items():
        print(f"{name:<18}{seconds * 1000:8.1f} ms   kedge is {took['kedge'] / seconds:5.2f} of it")
    checks = [("by hand, masks", 1.5), ("pandera", 1.0)]
    for name, limit in checks:
        if name in took:
            ratio = took["kedge"] / took[name]
            print(f"against {name}: {ratio:.2f}, limit {limit}: {'ok' if ratio <= limit else 'OVER'}")
    if peer is None:
        print("pandera is not installed: nothing to hold against (pip install 'kedge[pandera]')")


if __name__ == "__main__":
    main()
