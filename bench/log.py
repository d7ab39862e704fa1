"""Logging: what one `kedge.log` costs the training thread, how fast it drains, how fast a history is read back.

Beside MLflow's client against MLflow's server, where the tests' environment of it is there (python -m tests.mlflow.peers).
Prints figure, limit and ratio; medians of several rounds.
"""

import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.mlflow.peers import find  # noqa: E402

ROUNDS = 5
POINTS = 100_000

PEER = r"""
import json, statistics, sys, time
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
rounds, points = int(sys.argv[2]), int(sys.argv[3])
told = {}
with mlflow.start_run() as run:
    took = []
    for step in range(200):
        began = time.perf_counter()
        mlflow.log_metric("sync", step, step=step)
        took.append(time.perf_counter() - began)
    told["sync"] = statistics.median(took) * 1e6
    took = []
    for step in range(500):
        began = time.perf_counter()
        mlflow.log_metric("later", step, step=step, synchronous=False)
        took.append(time.perf_counter() - began)
    told["async"] = statistics.median(took) * 1e6
    mlflow.flush_async_logging()
    client, entities = mlflow.MlflowClient(), mlflow.entities
    for start in range(0, points, 1000):
        some = [entities.Metric("long", float(step), 1700000000000 + step, step) for step in range(start, start + 1000)]
        client.log_batch(run.info.run_id, metrics=some)
    took = []
    for _ in range(max(1, rounds // 2)):
        began = time.perf_counter()
        assert len(client.get_metric_history(run.info.run_id, "long")) == points
        took.append(time.perf_counter() - began)
    told["history"] = statistics.median(took)
print(json.dumps(told))
"""


def free_port() -> int:
    """Find a port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def serve(words: list[str], url: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start a server, and wait until it answers."""
    import http.client

    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    server = subprocess.Popen(words, cwd=folder, env=environment, stdout=-3, stderr=-3, start_new_session=True)
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            asking = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
            asking.request("GET", "/health")
            if asking.getresponse().status == 200:
                return server
        except OSError:
            time.sleep(0.1)
    stop(server)
    raise SystemExit(f"{words[0]} did not start")


def stop(server: subprocess.Popen[bytes]) -> None:
    """End a server and what it started."""
    os.killpg(server.pid, signal.SIGTERM)
    try:
        server.wait(timeout=15)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def calls(run: object, count: int) -> float:
    """Give the median of one call in microseconds, as the training thread sees it: in tens, for the clock's sake."""
    import kedge

    log, clock, took = kedge.log, time.perf_counter, []
    for group in range(count // 10):
        began = clock()
        for step in range(10):
            log(loss=0.5, step=group * 10 + step)
        took.append((clock() - began) / 10)
        if group % 10 == 9:
            time.sleep(0.002)  # a training does something between two logs
    return statistics.median(took) * 1e6


def drained(**where: str) -> tuple[float, float]:
    """Log many points as fast as a loop can; give points per second until all have arrived, and the run's history read."""
    import kedge

    with kedge.run("bench", system_metrics=False, wait_seconds=120, **where) as run:
        run.log(first=0.0)
        run.flush(60)
        began = time.perf_counter()
        for step in range(POINTS):
            run.log(long=float(step), step=step)
        if not run.flush(120):
            raise SystemExit("the points did not arrive")
        rate = POINTS / (time.perf_counter() - began)
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        found = kedge.history(run, "long")
        took.append(time.perf_counter() - began)
        if len(found.values) != POINTS:
            raise SystemExit(f"{len(found.values)} points came back, not {POINTS}")
    return rate, statistics.median(took)


def line(what: str, figure: str, *, limit: str, holds: bool) -> None:
    """Print a figure beside its limit."""
    print(f"{what:<58}{figure:>16}   limit {limit:<16} {'ok' if holds else 'OVER'}")


def peer(folder: Path, python: str) -> dict[str, float]:
    """Measure MLflow's client against MLflow's own server."""
    url = f"http://127.0.0.1:{free_port()}"
    (folder / "peer").mkdir()
    words = [python, "-m", "mlflow", "server", "--port", url.rpartition(":")[2], "--backend-store-uri", "sqlite:///peer.db"]
    server = serve(words, url, folder / "peer")
    try:
        asked = [python, "-c", PEER, url, str(ROUNDS), str(POINTS)]
        told: dict[str, float] = json.loads(
            subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split("\n")[-2]
        )
    finally:
        stop(server)
    return told


def main() -> None:
    """Measure and print."""
    import kedge

    print(f"machine: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}", end="")
    print(f", load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with kedge.run("bench", store=str(folder / "store"), system_metrics=False) as run:
            kedge.log(warm=1.0)
            run.flush(60)
            call = statistics.median(calls(run, 20_000) for _ in range(ROUNDS))
        line("kedge.log of one metric, training thread", f"{call:.2f} us", limit="2 us", holds=call <= 2)
        embedded = [drained(store=str(folder / "store")) for _ in range(3)]
        rate = statistics.median(rate for rate, _ in embedded)
        line("logged and drained, embedded", f"{rate:,.0f} /s", limit="100,000 /s", holds=rate >= 100_000)
        url = f"http://127.0.0.1:{free_port()}"
        (folder / "up").mkdir()
        server = serve([sys.executable, "-m", "kedge", "up", "--port", url.rpartition(":")[2]], url, folder / "up")
        try:
            over = [drained(url=url) for _ in range(3)]
        finally:
            stop(server)
        print(f"{'logged and drained, over HTTP':<58}{statistics.median(rate for rate, _ in over):>14,.0f} /s")
        history = statistics.median(took for _, took in over)
        print(f"{f'history of {POINTS:,} points, over HTTP':<58}{history * 1000:>13,.0f} ms")
        print(
            f"{f'history of {POINTS:,} points, embedded':<58}{statistics.median(t for _, t in embedded) * 1000:>13,.0f} ms"
        )
        python = find("new")
        if python is None:
            print("MLflow: no environment to compare with; make it with: python -m tests.mlflow.peers")
            return
        told = peer(folder, str(python))
        line(
            "MLflow log_metric, synchronous",
            f"{told['sync']:,.0f} us",
            limit=f"{told['sync'] / call:,.0f} x ours",
            holds=True,
        )
        line(
            "MLflow log_metric, asynchronous",
            f"{told['async']:,.0f} us",
            limit=f"{told['async'] / call:,.0f} x ours",
            holds=True,
        )
        ratio = told["history"] / history
        line(
            f"MLflow history of {POINTS:,} points ({told['history']:.2f} s) over ours",
            f"{ratio:,.0f} x",
            limit="50 x",
            holds=ratio >= 50,
        )


if __name__ == "__main__":
    main()
