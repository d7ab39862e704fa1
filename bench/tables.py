"""A table of 1,000,000 rows x 20 columns: what each change costs in time and in bytes that the store grows by.

The limits are those of the design: appending, deleting or editing 1 % stores at most 2 % of the table.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

import kedge

ROWS = 1_000_000
MOST = 0.02


def table() -> pl.DataFrame:
    random = np.random.default_rng(0)
    columns: dict[str, object] = {"id": np.arange(ROWS)}
    columns |= {f"f{i}": random.normal(size=ROWS) for i in range(9)}
    columns |= {f"i{i}": random.integers(0, 10 ** (i + 1), ROWS) for i in range(5)}
    columns |= {f"s{i}": random.choice([f"v{k}" for k in range(10 * (i + 1))], ROWS) for i in range(4)}
    return pl.DataFrame(columns | {"b": random.random(ROWS) < 0.5})


def packed() -> int:
    return sum(path.stat().st_size for path in Path(".kedge/packs").rglob("*") if path.is_file())


def main() -> int:
    os.chdir(tempfile.mkdtemp())
    whole, failed = table(), []
    more = whole.sample(ROWS // 100, seed=1).with_columns(id=pl.int_range(ROWS, ROWS + ROWS // 100))
    held = first = 0

    def timed(name: str, work: Callable[[], object], *, limit: float | None = None) -> None:
        nonlocal held, first
        start = time.perf_counter()
        work()
        seconds, now = time.perf_counter() - start, packed()
        first = first or now
        share, held = (now - held) / first, now
        print(f"{name:40} {seconds:7.2f} s  {share:8.2%} of the table stored" + (f" (limit {limit:.0%})" if limit else ""))
        if limit is not None and share > limit:
            failed.append(name)

    timed("commit", lambda: kedge.data.commit(whole, "t", key="id"))
    timed("commit again, nothing changed", lambda: kedge.data.commit(whole, "t"), limit=MOST)
    timed("append 1 %", lambda: kedge.data.append(more, "t"), limit=MOST)
    timed("delete 1 % all over", lambda: kedge.data.delete("t", where=pl.col("id") % 100 == 7), limit=MOST)
    some = pl.col("id") % 100 == 8
    edited = kedge.data.read("t").with_columns(f0=pl.when(some).then(0.0).otherwise("f0"))
    timed("commit with 1 % of the rows edited", lambda: kedge.data.commit(edited, "t"), limit=MOST)
    timed("read the newest", lambda: kedge.data.read("t"))
    timed("read the first", lambda: kedge.data.read("t@v1"))
    timed("read two columns, some rows", lambda: kedge.data.read("t", columns=["id", "f0"], where="s0 = 'v1'"))
    timed("diff of first and newest", lambda: kedge.data.diff("t@v1", "t"))
    timed("erase one row from all versions", lambda: kedge.data.erase("t", keys=[12345], reason="measured"))
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    print("too much: " + ", ".join(failed) if failed else "within the limits")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
