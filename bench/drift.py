"""Drift reports and mergeable profiles, beside Evidently, NannyML and whylogs, by turns; and their verdicts beside ours.

Each peer lives in an environment of its own under `.peers/`, made at the first run (Evidently 0.7.23 needs pandas below 3,
NannyML 0.13.1 a package that it does not name, whylogs 1.6.4 numpy below 2). Imports count on no side; profiling the
reference counts on ours. `--large ROWS` compares two files of that many rows, streamed, and prints the greatest memory.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "bench" / "peers")]

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402
from drift_frames import columns  # noqa: E402

from kedge.domain.comparing import FrameComparison  # noqa: E402
from kedge.monitoring.comparing.comparison import ComparedSide, compare_sides  # noqa: E402
from kedge.monitoring.comparing.rules import wished  # noqa: E402
from kedge.monitoring.drift.profile import merge  # noqa: E402
from kedge.monitoring.drift.profiling import profile_like, take_profile  # noqa: E402

PEERS = {
    "evidently": ["evidently==0.7.23", "pandas<3", "pyarrow"],
    "nannyml": ["nannyml==0.13.1", "statsmodels", "pyarrow"],
    "whylogs": ["whylogs==1.6.4", "numpy<2", "pandas", "pyarrow"],
}
ROWS, PROFILED, TURNS = 50_000, 1_000_000, 7
BESIDE_PEERS = 3
MERGE_LIMIT, WINDOW_LIMIT = 0.005, 0.005


def peer(name: str, rows: int) -> dict:
    """Run a peer's side in its own environment, which is made if it is not there."""
    place = ROOT / ".peers" / name
    python = place / "bin" / "python"
    if not python.exists():
        print(f"making {place}", flush=True)
        venv.create(place, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PEERS[name]], check=True)
    script = ROOT / "bench" / "peers" / f"drift_{name}.py"
    done = subprocess.run(
        [python, script, "speed", str(rows)], check=True, capture_output=True, text=True, cwd=script.parent
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def report(reference: pl.DataFrame, current: pl.DataFrame, *, rules: str, chunk_rows: int | None = None) -> FrameComparison:
    """Make a drift report of two frames."""
    wishes = wished(rules, tests=None, test=None, thresholds=None, threshold=None, bins=None)
    sides = [ComparedSide(name, rows, len(rows)) for name, rows in (("reference", reference), ("current", current))]
    return compare_sides(sides[0], sides[1], wishes=wishes, chunk_rows=chunk_rows)


def seconds(work: object, turns: int = TURNS) -> float:
    """Time some work: the median of several turns, after one that does not count."""
    took = []
    for turn in range(turns + 1):
        began = time.perf_counter()
        work()  # type: ignore[operator]
        if turn:
            took.append(time.perf_counter() - began)
    return statistics.median(took)


def line(what: str, ours: list[float], theirs: list[float], *, share: float) -> bool:
    """Print the median of the turns beside a peer's and its limit, a share of it, and the turns' own shares."""
    mine, other = statistics.median(ours), statistics.median(theirs)
    reached = mine <= share * other
    each = sorted(peer / own for own, peer in zip(ours, theirs, strict=True))
    print(
        f"{what:<52} {mine * 1000:7.1f} ms   peer {other * 1000:9.1f} ms   1/{other / mine:.1f} (turns: 1/{each[0]:.1f} to"
        f" 1/{each[-1]:.1f})   limit 1/{1 / share:g}: {'ok' if reached else 'OVER'}"
    )
    return reached


def reports() -> list[bool]:
    """Hold drift reports of 50,000 rows against the peers', in speed and in verdicts."""
    reference, current = (pl.DataFrame(columns(ROWS, seed=seed, shift=shift)) for seed, shift in ((0, 0.0), (1, 0.2)))
    took: dict[str, list[float]] = {"evidently": [], "kedge": [], "nannyml": [], "preset": [], "calculate": [], "both": []}
    for _ in range(BESIDE_PEERS):
        for rules in ("evidently", "kedge"):
            took[rules].append(seconds(lambda rules=rules: report(reference, current, rules=rules)))
        preset = peer("evidently", ROWS)
        took["preset"].append(preset["seconds"])
        chunked = peer("nannyml", ROWS)
        took["calculate"].append(chunked["seconds"])
        took["both"].append(chunked["fit"] + chunked["seconds"])
        took["nannyml"].append(seconds(lambda: report(reference, current, rules="nannyml", chunk_rows=ROWS // 10), 3))
    met = [
        line("report, Evidently's rules, against its preset", took["evidently"], took["preset"], share=1 / 100),
        line("report, Kedge's rules, against the same", took["kedge"], took["preset"], share=1 / 100),
        line("report, Kedge's rules, against NannyML's calculate", took["kedge"], took["calculate"], share=1 / 4),
        line("report by the rules of NannyML, both its steps", took["nannyml"], took["both"], share=1.0),
    ]
    return met + verdicts(reference, current, evidently=preset["moved"], nannyml=chunked["columns"])


def verdicts(reference: pl.DataFrame, current: pl.DataFrame, *, evidently: dict, nannyml: dict) -> list[bool]:
    """Compare verdicts column by column, and NannyML's distances and limits too."""
    ours = {one.name: one.moved for one in report(reference, current, rules="evidently").columns}
    same = sum(ours[name] == moved for name, moved in evidently.items())
    print(f"verdicts as Evidently's: {same} of {len(ours)} ({sum(evidently.values())} moved)")
    chunked = {one.name: one for one in report(reference, current, rules="nannyml", chunk_rows=ROWS // 10).columns}
    alike = sum(chunked[name].moved == alarmed for name, (_, _, alarmed) in nannyml.items())
    apart = max(
        max(abs(chunked[name].measures[0].value - value), abs((chunked[name].measures[0].threshold or 0.0) - limit))
        for name, (value, limit, _) in nannyml.items()
    )
    moved = sum(alarmed for _, _, alarmed in nannyml.values())
    print(f"verdicts as NannyML's: {alike} of {len(chunked)} ({moved} moved), numbers within {apart:.1e}")
    return [same == len(ours) == len(evidently), alike == len(chunked) == len(nannyml)]


def profiles() -> list[bool]:
    """Hold mergeable profiles of 1,000,000 rows against whylogs'."""
    table = pl.DataFrame(columns(PROFILED, seed=0))
    ours, theirs = [], []
    for _ in range(BESIDE_PEERS):
        ours.append(seconds(lambda: take_profile(table), 5))
        told = peer("whylogs", PROFILED)
        theirs.append(told["seconds"])
    met = [line("profile of 1,000,000 x 25, reference taken", ours, theirs, share=1 / 100)]
    whole = take_profile(table)
    merged = seconds(lambda: merge(whole, whole), 51)
    print(f"merge of two: {merged * 1000:.2f} ms, limit {MERGE_LIMIT * 1000:g} ms (whylogs {told['merge'] * 1000:.1f} ms)")
    window = table.head(1000)
    counted = seconds(lambda: profile_like(whole, window), 51)
    print(f"a window of 1,000 rows counted: {counted * 1000:.2f} ms, limit {WINDOW_LIMIT * 1000:g} ms")
    return [*met, merged <= MERGE_LIMIT, counted <= WINDOW_LIMIT]


def large(rows: int) -> None:
    """Write two files of many rows in pieces, and compare and profile them in a process that tells its greatest memory."""
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("reference.parquet", "current.parquet")]
        for seed, path in enumerate(paths):
            writer, piece = None, 500_000
            for first in range(0, rows, piece):
                part = pl.DataFrame(columns(min(piece, rows - first), seed=1000 * seed + first)).to_arrow()
                writer = writer or pq.ParquetWriter(path, part.schema, compression="zstd")
                writer.write_table(part)
            assert writer is not None
            writer.close()
        for work in ("compare", "profile"):
            subprocess.run([sys.executable, __file__, "--file", work, *map(str, paths)], check=True)


def streamed(work: str, paths: list[str]) -> None:
    """Compare or profile two files in this process; print time and greatest memory."""
    import kedge

    kedge.monitoring.compare(pl.DataFrame({"a": [1.0, 2]}), pl.DataFrame({"a": [1.0, 2]}))  # imports
    before, began = most_memory(), time.perf_counter()
    if work == "compare":
        found = kedge.monitoring.compare(*paths)
        said = f"{found.rows_reference:,} rows against {found.rows_current:,}, measured on {found.measured_reference:,}"
    else:
        reference = take_profile(pl.scan_parquet(paths[0]))
        said = (
            f"{merge(reference, profile_like(reference, pl.scan_parquet(paths[1]))).rows:,} rows in two profiles, added up"
        )
    took = time.perf_counter() - began
    print(f"{work}: {said}; {took:.1f} s; greatest memory {most_memory():,.0f} MiB, {before:,.0f} MiB of it imports")


def most_memory() -> float:
    """Give the greatest memory of this process in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(one.split()[1]) / 1024 for one in lines if one.startswith("VmHWM"))


def main() -> None:
    """Measure, and print; exit with 1 where a limit is not kept."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--large", type=int, default=0)
    parser.add_argument("--file", nargs=3)
    given = parser.parse_args()
    if given.file:
        streamed(given.file[0], given.file[1:])
        return
    if given.large:
        large(given.large)
        return
    load = os.getloadavg()[0]
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {load:.1f}; "
        f"Python {platform.python_version()}, numpy {np.__version__}, Polars {pl.__version__}"
    )
    met = [*reports(), *profiles()]
    print(f"{sum(met)} of {len(met)} limits kept")
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
