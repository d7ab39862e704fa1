"""The table of runs in a served Kedge: 10,000 runs over 1,000 distinct columns. Target: each page under 100 ms, served.

    python bench/runs_table.py                    10,000 runs, 500 metrics and 500 params, 100 of them in each run
    python bench/runs_table.py 2000 --each 40     another size

The store is filled with the rows that so many logged runs leave; then `kedge up` serves it in a process of its own, and
one client asks for each page over HTTP, one request after another. Printed: the median of the repeats in milliseconds,
the size of the page, the peak and the present memory of the server. Below stands the load of the machine while it ran.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from urllib.parse import urlencode

import psutil

from kedge.domain.ids import ExperimentId
from kedge.records import open_records
from kedge.settings import Settings
from kedge.storage.sql import dialect
from kedge.storage.sql.connections import Connections
from kedge.storage.sql.hot import Hot

KEYS, BEGAN, REPEATS = 500, 1_700_000_000_000_000, 15
CHUNK = 500  # runs written at a time
WIDE = [*(f"metrics.m{n:03}" for n in range(0, 500, 25)), *(f"params.p{n:03}" for n in range(0, 500, 25))]


def main() -> None:
    """Fill, serve, ask, print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("runs", nargs="?", type=int, default=10_000)
    words.add_argument("--each", type=int, default=100, help="metrics and params of one run, half of each")
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        records = open_records(Settings(project=Path(folder), store=folder))
        home = records.logging.create_experiment("bench").id
        records.close()
        fill(next(Path(folder).rglob("*.db")), home, runs=given.runs, each=given.each)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "kedge", "up", folder, "--store", folder, "--port", str(port)]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder)
        try:
            wait_for(port)
            measure(port, home, pid=server.pid)
        finally:
            server.terminate()
            server.wait(20)


def fill(path: Path, experiment: ExperimentId, *, runs: int, each: int) -> None:
    """Write the rows that so many logged runs leave."""
    dice = random.Random(7)
    hot = Hot(Connections(dialect.open_engine(f"sqlite:///{path}")))
    for first in range(0, runs, CHUNK):
        ids = [(f"{dice.getrandbits(128):032x}", n) for n in range(first, min(first + CHUNK, runs))]
        metrics = [(id, key) for id, _ in ids for key in dice.sample(range(KEYS), each // 2)]
        params = [(id, key) for id, _ in ids for key in dice.sample(range(KEYS), each // 2)]
        with hot.writing() as session:
            session.many(
                "INSERT INTO runs (id, experiment, name, user_name, status, lifecycle, started_at, ended_at, body)"
                " VALUES (?, ?, ?, 'me', 'finished', 'active', ?, ?, '{}')",
                [(id, experiment, f"run {n}", BEGAN + n * 1_000_000, BEGAN + n * 1_000_000 + 500_000) for id, n in ids],
            )
            session.many(
                "INSERT INTO series (run, key, experiment, at, step, value) VALUES (?, ?, ?, ?, 0, ?)",
                [(id, f"m{key:03}", experiment, BEGAN // 1000, dice.random()) for id, key in metrics],
            )
            session.many(
                "INSERT INTO run_params (run, key, value) VALUES (?, ?, ?)",
                [(id, f"p{key:03}", str(dice.randrange(10))) for id, key in params],
            )
            for kind, letter in (("metric", "m"), ("param", "p")):
                session.many(
                    "INSERT INTO run_keys (experiment, subject, key) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    [(experiment, kind, f"{letter}{key:03}") for key in range(KEYS)],
                )
    hot.close()


def wait_for(port: int) -> None:
    """Wait until the server answers, a minute at most."""
    for _ in range(600):
        try:
            ask(HTTPConnection("127.0.0.1", port, timeout=5), "/api/v1/health")
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not answer within a minute")


def ask(connection: HTTPConnection, path: str) -> bytes:
    """Ask for a page. OSError where nobody answers, SystemExit for an error."""
    connection.request("GET", path, headers={"accept": "text/html,application/json"})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status} {body[:300]!r}")
    return body


def pages(connection: HTTPConnection, home: str) -> Iterator[tuple[str, str]]:
    """Name the pages to ask for, and their addresses."""
    table = f"/experiments/{home}"

    def address(**asked: object) -> str:
        return f"{table}?{urlencode(asked, doseq=True)}"

    yield "first page", table
    yield "first page, 40 columns", address(column=WIDE)
    yield "sorted by a metric", address(order="metrics.m250 ASC")
    yield "filtered by a metric", address(q="metrics.m250 < 0.5")
    yield "filtered by a param, sorted by a metric", address(q="params.p250 = '3'", order="metrics.m250 DESC")
    yield "filtered by a part of a name", address(q="run 77")
    token = ""
    for _ in range(9):
        asked = urlencode({"experiment": home, "limit": 1000, "page": token, "column": "metrics.m000"})
        token = json.loads(ask(connection, f"/api/v1/runs?{asked}"))["next"] or token
    yield "deep page (behind 9,000 runs)", address(page=token)
    yield "columns of the picker", f"{table}/columns?look=m25"
    yield "experiments", "/experiments"
    found = json.loads(ask(connection, f"/api/v1/runs?{urlencode({'experiment': home, 'limit': 10})}"))["rows"]
    yield "one run", f"/runs/{found[0]['id']}"
    yield "ten runs compared", f"/compare?{urlencode({'run': [run['id'] for run in found]}, doseq=True)}"


def measure(port: int, home: str, *, pid: int) -> None:
    """Ask for each page and print what it took."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    print(f"{'':<42}{'median ms':>10}{'most ms':>10}{'kB':>8}")
    for name, path in list(pages(connection, home)):
        ask(connection, path)
        times, body = [], b""
        for _ in range(REPEATS):
            began = time.perf_counter()
            body = ask(connection, path)
            times.append((time.perf_counter() - began) * 1e3)
        print(f"{name:<42}{median(times):>10.1f}{max(times):>10.1f}{len(body) / 1e3:>8.0f}", flush=True)
    process = psutil.Process(pid)
    peak = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(
        f"server: {process.memory_full_info().pss / 1e6:.0f} MB (PSS) now, {int(peak.split()[1]) / 1e3:.0f} MB at its peak"
    )
    print(f"machine: {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
