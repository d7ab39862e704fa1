"""Do drift alarms keep their declared rate, and how soon do they come? Twenty features, run length 1,000, peers beside.

    python bench/alarms.py [--runs 50] [--moving-runs 20] [--peer-runs 2] [--processes 1] [--only TEXT]

A quarter of an hour at the defaults. Each run draws its reference anew; its number is its seed. Kedge's windows go
through `monitoring.drift.window.look`, as in the loop; a second family (the model's answers, which never move) shares the
run length, as in the loop. A *delay* is counted from 1 for the first window that moved; a stream that alarms before it
moved is counted as a false alarm. Peers: Evidently 0.7's rule for columns, asked as it asks (checked here against the
package itself), and river's ADWIN on each feature, fed row by row.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from statistics import NormalDist, median
from typing import NamedTuple

import numpy as np
import polars as pl
from alarm_streams import BEFORE, STREAMS, Columns

from kedge.domain.ids import ModelName
from kedge.domain.monitoring import ANSWERS, Profile, Window
from kedge.monitoring.drift.kept import DriftState
from kedge.monitoring.drift.normal import normal_of
from kedge.monitoring.drift.reference import Reference, take_columns
from kedge.monitoring.drift.window import look, watched
from kedge.monitoring.served import Gathered

ROOT = Path(__file__).parents[1]
RUN_LENGTH, ROWS = 1000.0, 1000
MOST_DELAY = 150
MODEL = ModelName("bench")
PEERS = {"evidently": ["evidently==0.7.23", "pandas<3"], "river": ["river==0.26.1"]}
DELAYS = {
    "3 of 20 move by .2 sd": 1,
    "3 of 20 move by .5 sd": 1,
    "3 of 20 move by .1 sd": 5,
    "3 of 20 move to .5 sd over 100 windows": 12,
    "3 of 20 spread by 1.25": 2,
}
"""What is to be reached at a reference of 50,000 rows, in windows."""


class Task(NamedTuple):
    """One run: a stream, the rows of its reference, how many windows of how many rows, the seed; who watches."""

    stream: str
    reference: int
    windows: int
    rows: int
    seed: int
    who: str = "kedge"
    first: bool = False  # end with the first alarm


def main() -> None:
    """Print the tables, with the limits and the machine."""
    read = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    read.add_argument("--runs", type=int, default=50)
    read.add_argument("--moving-runs", type=int, default=20)
    read.add_argument("--peer-runs", type=int, default=2)
    read.add_argument("--processes", type=int, default=1)
    read.add_argument("--only", default="", help="rate, size, shape, long, delay, update or check")
    asked = read.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, numpy {np.__version__}")
    print(f"20 features, run length {RUN_LENGTH:,.0f} windows shared with the answers; --runs {asked.runs}\n")
    # never forked: Polars has threads here, whose locks a copy would wait for
    with ProcessPoolExecutor(asked.processes, mp_context=get_context("spawn")) as pool:
        for name, part in PARTS.items():
            if asked.only in name:
                part(asked, pool)


# ---- who watches ----


def reference_of(columns: Columns, answers: np.ndarray, *, tolerance: float | str = "auto") -> Reference:
    """Take a reference, its blocks of time being windows of 1,000 rows."""
    frame, own = pl.DataFrame(columns, strict=False), pl.DataFrame({ANSWERS: answers})
    frame = frame.with_columns(pl.col(pl.Float64).fill_nan(None))
    learnt = take_columns(frame, frame.columns, blockings=[np.arange(len(frame)) // ROWS], tolerance=tolerance)
    of_answers = take_columns(own, [ANSWERS], blockings=[np.arange(len(own)) // ROWS], tolerance=tolerance)
    return Reference(
        version=1,
        profile=Profile(columns=learnt.profiles, rows=len(frame)),
        tolerances=learnt.tolerances | of_answers.tolerances,
        answers=of_answers.profiles[0],
        blocks=learnt.blocks | of_answers.blocks,
    )


def kedge(task: Task) -> list[int]:
    """Watch a stream as the loop does; give the windows that alarm."""
    stream, random = STREAMS[task.stream], np.random.default_rng(task.seed)
    answers = np.random.default_rng(task.seed + 10**6)  # the features of a seed are the same for each who watches
    watch = watched(reference_of(stream.reference(random, task.reference), answers.random(task.reference)))
    state, heard = DriftState(), []
    for number in range(1, task.windows + 1):
        columns = stream.window(random, task.rows, number)
        count = len(next(iter(columns.values())))
        seen = look(
            watch,
            state,
            window=day(number),
            number=number,
            parts=[Gathered(count, columns)],
            outputs=answers.random(count).tolist(),
            run_length=RUN_LENGTH,
        )
        if seen.alarmed("data") or seen.alarmed("prediction"):
            heard.append(number)
        if heard and task.first:
            break
    return heard


def day(number: int) -> Window:
    """Give the day of a window."""
    start = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number)
    return Window(start, start + timedelta(days=1))


def evidently(task: Task) -> list[int]:
    """Ask each column by Evidently's rule; a window alarms where any column is said to drift."""
    stream, random = STREAMS[task.stream], np.random.default_rng(task.seed)
    known = {name: evidently_rule(values) for name, values in stream.reference(random, task.reference).items()}
    alarmed = (
        number
        for number in range(1, task.windows + 1)
        if any(known[name](values) for name, values in stream.window(random, task.rows, number).items())
    )
    return list(islice(alarmed, 1 if task.first else None))


def evidently_rule(reference: np.ndarray) -> Callable[[np.ndarray], bool]:
    """Give Evidently's default verdict on a numeric column of more than five values: up to 1,000 rows of reference by
    Kolmogorov and Smirnov (p < .05), above by Wasserstein's distance over the reference's standard deviation (>= .1)."""
    from scipy.stats import ks_2samp, wasserstein_distance

    if reference.size <= 1000:
        return lambda values: bool(ks_2samp(reference, values).pvalue < 0.05)
    spread, known = max(float(np.std(reference)), 0.001), np.sort(reference)
    return lambda values: bool(wasserstein_distance(known, values) / spread >= 0.1)


def river(tasks: list[Task]) -> list[list[int]]:
    """Let river's ADWIN watch; nothing where its environment cannot be made."""
    python = python_of("river")
    if python is None:
        return []
    jobs = [[task.stream, task.reference, task.windows, task.rows, task.seed, task.first] for task in tasks]
    return [json.loads(line) for line in said_by(python, "alarms_river.py", jobs)]


def said_by(python: str, script: str, jobs: list[list[object]]) -> list[str]:
    """Let a peer's script answer jobs, a line each."""
    path = ROOT / "bench" / "peers" / script
    done = subprocess.run([python, path], input=json.dumps(jobs), capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def python_of(peer: str) -> str | None:
    """Find a peer's Python under .peers/, or make its environment; None where it cannot be made."""
    home = ROOT / ".peers" / peer
    python = home / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PEERS[peer]])
    able = subprocess.run([python, "-c", f"import {peer}"], capture_output=True).returncode == 0
    return str(python) if able else None


def played(pool: ProcessPoolExecutor, tasks: Iterable[Task]) -> list[list[int]]:
    """Play runs; give the windows that alarmed in each."""
    tasks = list(tasks)
    if tasks and tasks[0].who == "river":
        return river(tasks)
    return list(pool.map({"kedge": kedge, "evidently": evidently}[tasks[0].who] if tasks else kedge, tasks))


def runs(stream: str, reference: int, *, windows: int, count: int, rows: int = ROWS, **more) -> list[Task]:
    """List the runs of a row of a table. The seed is the run's number."""
    return [Task(stream, reference, windows, rows, seed, **more) for seed in range(count)]


# ---- the tables ----


def rate(asked: argparse.Namespace, pool: ProcessPoolExecutor) -> None:
    """Nothing moves: which share of windows alarms, and what tolerance that takes."""
    print("nothing moves, 200 windows of 1,000 rows        share that alarms; to reach: <= 1 in 1,000")
    for size in (1_000, 3_000, 10_000, 50_000):
        print(f"  reference of {size:,} rows: {granted(size)}")
        for who, count in (("kedge", asked.runs), ("evidently", asked.peer_runs), ("river", asked.peer_runs)):
            heard = played(pool, runs("nothing moves", size, windows=200, count=count, who=who))
            print(f"    {who:<12} {shared(heard, 200)}")
    print(flush=True)


def granted(rows: int) -> str:
    """Say what a reference of so many rows has to grant, as the code says it."""
    random = np.random.default_rng(0)
    normal = normal_of(reference_of(STREAMS["nothing moves"].reference(random, rows), random.random(rows)))
    (rank, *_), *_ = (column.streams for column in normal.columns)
    deviations = math.sqrt(2) * NormalDist().inv_cdf(0.5 + rank.margin)
    unknown = f"; {normal.notes[-1].split(': ')[-1]}" if normal.notes else ""
    return (
        f"tolerance {rank.tolerance:.3f} + error {rank.error:.4f} of a rank; a normal feature must move by more than "
        f"{deviations:.2f} sd{unknown}"
    )


def shared(heard: list[list[int]], windows: int) -> str:
    """Say which share of windows alarmed."""
    if not heard:
        return "not here"
    total, of, ringing = sum(map(len, heard)), len(heard) * windows, sum(map(bool, heard))
    return f"{total / of:8.2%}  ({total:,} of {of:,}; {ringing} of {len(heard)} runs)"


def size(asked: argparse.Namespace, pool: ProcessPoolExecutor) -> None:
    """Nothing moves, in windows of other sizes."""
    print("nothing moves, windows of other sizes, reference of 10,000 rows")
    for rows, windows in ((50, 400), (10_000, 60)):
        heard = played(pool, runs("nothing moves", 10_000, windows=windows, count=quarter(asked), rows=rows))
        print(f"    {f'{windows} windows of {rows:,} rows':<52} {shared(heard, windows)}")
    name = "windows of 10 to 4,000 rows, some empty"
    print(f"    {'200 ' + name:<52} {shared(played(pool, runs(name, 10_000, windows=200, count=quarter(asked))), 200)}")
    heard = played(pool, runs("nothing moves", 30, windows=200, count=quarter(asked)))
    print(f"    {'200 windows of 1,000 rows, reference of 30 rows':<52} {shared(heard, 200)}\n", flush=True)


def quarter(asked: argparse.Namespace) -> int:
    """Give the number of runs where fewer do."""
    return max(1, asked.runs // 4)


def shape(asked: argparse.Namespace, pool: ProcessPoolExecutor) -> None:
    """Nothing moves, in other data."""
    print("nothing moves, other data, 200 windows of 1,000 rows")
    for name in (
        "features that share half of their variance",
        "counts and stars, full of ties",
        "ten categorical, ten with missing values",
        "each day elsewhere by .1 sd",
        "all moved by just the tolerance",
    ):
        for reference in (10_000, 50_000):
            heard = played(pool, runs(name, reference, windows=200, count=quarter(asked)))
            print(f"    {name + f', reference {reference:,}':<62} {shared(heard, 200)}", flush=True)
    print()


def long(asked: argparse.Namespace, pool: ProcessPoolExecutor) -> None:
    """A season and a week, over 1,000 windows."""
    print('rhythms, 1,000 windows of 1,000 rows, tolerance "auto"        to reach: no alarm')
    for name in ("season of .0085 of a rank", "weekday pattern, .5 sd at the weekend"):
        for reference in (10_000, 50_000):
            for who, count in (("kedge", max(2, asked.runs // 10)), ("evidently", 1), ("river", 1)):
                heard = played(pool, runs(name, reference, windows=1000, count=count, who=who))
                print(f"    {name + f', reference {reference:,}':<56} {who:<10} {shared(heard, 1000)}", flush=True)
    print()


def delay(asked: argparse.Namespace, pool: ProcessPoolExecutor) -> None:
    """Something moves: after how many windows it is heard."""
    print(f"delay in windows, from 1, after {BEFORE} steady ones: median (worst; runs that alarmed too early, left out)")
    heads = ("kedge, 10,000", "50,000", "to reach", "evidently, 10,000", "ADWIN, 10,000")
    print(f"    {'':<52} {heads[0]:>16} {heads[1]:>16} {heads[2]:>9} {heads[3]:>20} {heads[4]:>20}")
    for name in (name for name in STREAMS if name.startswith("3 of 20")):
        cells = []
        for who, reference, count in (
            ("kedge", 10_000, asked.moving_runs),
            ("kedge", 50_000, asked.moving_runs),
            ("evidently", 10_000, asked.peer_runs * 2),
            ("river", 10_000, asked.peer_runs * 2),
        ):
            windows = BEFORE + (MOST_DELAY if "over" in name else 60)
            cells.append(delayed(played(pool, runs(name, reference, windows=windows, count=count, who=who, first=True))))
        limit = f"<= {DELAYS[name]}" if name in DELAYS else ""
        print(f"    {name:<52} {cells[0]:>16} {cells[1]:>16} {limit:>9} {cells[2]:>20} {cells[3]:>20}", flush=True)
    print()


def delayed(heard: list[list[int]]) -> str:
    """Say the delay: median and worst, and how many alarmed before anything moved."""
    if not heard:
        return "not here"
    fair = [run for run in heard if not run or run[0] > BEFORE]
    early = f", {len(heard) - len(fair)} early" if len(fair) < len(heard) else ""
    delays = sorted(run[0] - BEFORE if run else math.inf for run in fair)
    if not delays:
        return f"-{early}"
    middle, worst = (f"{value:g}" if value < math.inf else "never" for value in (median(delays), delays[-1]))
    return f"{middle} ({worst}{early})"


def update(asked: argparse.Namespace, pool: ProcessPoolExecutor) -> None:
    """What one window costs, from the records of the log to the evidence of each column."""
    from alarm_records import timed

    print("one window, from the log's records to the evidence, CPU ms, best and median of 50        to reach: <= 5")
    for words, best, middle in timed():
        print(f"    {words:<62} {best:6.2f} {middle:6.2f}")
    print(flush=True)


def check(asked: argparse.Namespace, pool: ProcessPoolExecutor) -> None:
    """Is Evidently's rule asked as Evidently asks it?"""
    python = python_of("evidently")
    if python is None:
        print("Evidently is not here: its rule is not checked")
        return
    names = [
        "nothing moves",
        "3 of 20 move by .1 sd",
        "3 of 20 move by .2 sd",
        "3 of 20 move by .5 sd",
        "3 of 20 spread by 1.25",
    ]
    jobs = [[name, reference, ROWS, BEFORE + 1, 7] for name in names for reference in (1_000, 10_000)]
    same = total = 0
    for (name, reference, rows, number, seed), line in zip(jobs, said_by(python, "alarms_evidently.py", jobs), strict=True):
        stream, random = STREAMS[name], np.random.default_rng(seed)
        known = {column: evidently_rule(values) for column, values in stream.reference(random, reference).items()}
        theirs = json.loads(line)
        for column, values in stream.window(random, rows, number).items():
            total += 1
            same += known[column](values) == theirs[column]
    print(f"Evidently's rule as asked here and by Evidently itself: {same} of {total} verdicts are the same\n", flush=True)


PARTS = {"check": check, "update": update, "delay": delay, "long": long, "rate": rate, "size": size, "shape": shape}

if __name__ == "__main__":
    began = time.perf_counter()
    main()
    print(f"{time.perf_counter() - began:,.0f} s, load {os.getloadavg()[0]:.1f}")
