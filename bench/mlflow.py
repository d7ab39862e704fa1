"""MLflow's own client on MLflow's server and on Kedge: the same process drives both alternately, in one run.

python bench/mlflow.py [PIECE ...]        about two minutes; needs the clients' environments: python -m tests.mlflow.peers

Beside them a server that only answers canned bytes shows what the client itself costs: nothing can be faster than that.
"""

import http.client
import json
import os
import platform
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.mlflow.peers import find

RUNS, POINTS = 10_000, 100_000
# how often in a row, and how many rounds: a round goes over all servers
PIECES = {"log_metric": (50, 5), "log_batch": (3, 5), "run_whole": (10, 5), "search": (1, 3), "history": (1, 3)}
LIMITS = {"log_metric": 5, "log_batch": 5, "run_whole": 5, "search": 50, "history": 5}
SAID = {
    "log_metric": "log_metric, one point",
    "log_batch": "log_batch, 1,000 points",
    "run_whole": "a run: create, 5 params, 5 metrics, end",
    "search": f"search {RUNS:,} runs, metric filter and order, top 100",
    "history": f"history of {POINTS:,} points",
}
CLIENT = Path(__file__).parent / "peers" / "mlflow_client.py"


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def ask(url, body=None) -> bytes:
    """Send one request; give the bytes of the answer."""
    data = None if body is None else json.dumps(body).encode()
    wanted = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(wanted, timeout=600) as answer:
        return answer.read()


def started(stack, words, url, log) -> tuple[subprocess.Popen, float]:
    """Start a server; give its process and the seconds until its first healthy answer."""
    begun = time.perf_counter()
    server = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
    stack.callback(stop, server)
    while True:
        try:
            ask(f"{url}/health")
            return server, time.perf_counter() - begun
        except OSError:
            if server.poll() is not None:
                raise SystemExit(f"{words} ended with {server.returncode}") from None
            time.sleep(0.02)


def stop(server) -> None:
    """End a server and all that it started."""
    if server.poll() is not None:
        return
    root = psutil.Process(server.pid)
    for one in (root, *root.children(recursive=True)):
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
    server.wait()


def memory(server) -> tuple[int, int]:
    """Sum the memory of a server's processes that is theirs alone plus their share of what they share."""
    family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    return sum(one.memory_full_info().pss for one in family), len(family)


def fill_mlflow(database, points) -> dict:
    """Write the runs to search and the series to read straight into MLflow's tables: its server makes 30 runs a second."""
    base = int(time.time() * 1000)
    with sqlite3.connect(database) as db:
        run = [f"{one:032x}" for one in range(RUNS)]
        numbered = list(enumerate(run))
        db.executemany(
            "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, "
            "end_time, source_version, lifecycle_stage, artifact_uri, experiment_id) "
            "VALUES (?, ?, 'UNKNOWN', '', '', 'ann', 'FINISHED', ?, ?, '', 'active', ?, 0)",
            ((one, f"run {at}", base + at, base + at + 1, f"mlflow-artifacts:/0/{one}/artifacts") for at, one in numbered),
        )
        values = [(f"m{key}", value_of(at, key), base + at, one) for at, one in enumerate(run) for key in range(5)]
        for table in ("metrics", "latest_metrics"):
            db.executemany(
                f"INSERT INTO {table} (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, 0, 0, ?)",
                values,
            )
        params = ((f"p{key}", str(at % (key + 2)), one) for at, one in enumerate(run) for key in range(5))
        db.executemany("INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)", params)
        series = (("long", at / points, base + at, at, run[0]) for at in range(points))
        columns = "(key, value, timestamp, step, is_nan, run_uuid)"
        db.executemany(f"INSERT INTO metrics {columns} VALUES (?, ?, ?, ?, 0, ?)", series)
    return {"experiment": "0", "run": run[0], "points": points}


def value_of(at, key) -> float:
    """Make a number that looks like chance, the same on every server."""
    return ((at * 2654435761 + key * 40503) % 100_003) / 100_003


def fill_kedge(port, points) -> dict:
    """Log the same through Kedge's own protocol door."""
    door, base = http.client.HTTPConnection("127.0.0.1", port, timeout=60), int(time.time() * 1000)

    def send(path, body) -> dict:
        door.request("POST", f"/api/2.0/mlflow/{path}", json.dumps(body), {"content-type": "application/json"})
        answer = door.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {said.decode()}")
        return json.loads(said)

    experiment = send("experiments/create", {"name": "bench"})["experiment_id"]
    first = ""
    for at in range(RUNS):
        tags = [{"key": "mlflow.runName", "value": f"run {at}"}]
        made = send("runs/create", {"experiment_id": experiment, "start_time": base + at, "tags": tags})
        run = made["run"]["info"]["run_id"]
        first = first or run
        metrics = [{"key": f"m{key}", "value": value_of(at, key), "timestamp": base + at} for key in range(5)]
        params = [{"key": f"p{key}", "value": str(at % (key + 2))} for key in range(5)]
        send("runs/log-batch", {"run_id": run, "metrics": metrics, "params": params})
    for start in range(0, points, 1000):
        steps = range(start, min(start + 1000, points))
        metrics = [{"key": "long", "value": at / points, "timestamp": base + at, "step": at} for at in steps]
        send("runs/log-batch", {"run_id": first, "metrics": metrics})
    door.close()
    return {"experiment": experiment, "run": first, "points": points}


def canned(url, names, pieces) -> dict:
    """Collect the answers that the client needs from a server that only replays them."""
    api = f"{url}/api/2.0/mlflow"
    made = ask(f"{api}/runs/create", {"experiment_id": "0", "start_time": 1})
    run = json.loads(made)["run"]["info"]["run_id"]
    wanted = {
        "experiment_ids": [names["experiment"]],
        "filter": "metrics.m0 > 0.5",
        "order_by": ["metrics.m0 DESC"],
        "max_results": 100,
    }
    found = ask(f"{api}/runs/search", wanted) if "search" in pieces else b"{}"
    return {
        "/api/2.0/mlflow/runs/create": made,
        "/api/2.0/mlflow/runs/get": ask(f"{api}/runs/get?run_id={run}"),
        "/api/2.0/mlflow/runs/update": ask(f"{api}/runs/update", {"run_id": run, "status": "FINISHED", "end_time": 2}),
        "/api/2.0/mlflow/runs/search": found,
        "/api/2.0/mlflow/metrics/get-history": ask(f"{api}/metrics/get-history?run_id={names['run']}&metric_key=long"),
    }


def replay(answers, port) -> None:
    """Serve canned answers, in a thread of this process."""
    import uvicorn

    async def app(scope, receive, send) -> None:
        while scope["type"] == "http" and (await receive()).get("more_body"):
            pass
        body = answers.get(scope["path"], b"{}")
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", lifespan="off"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.01)


def main() -> None:
    """Measure, and print each figure beside its limit."""
    pieces = {name: PIECES[name] for name in sys.argv[1:] or PIECES}
    peer = find("new")
    if peer is None:
        print("MLflow: no environment to compare with; make it with: python -m tests.mlflow.peers")
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whoever ends this ends the servers
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ports = {name: free_port() for name in ("mlflow", "kedge", "null")}
        urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        log = stack.enter_context((folder / "log").open("wb"))
        (folder / "house").mkdir()
        words = [sys.executable, "-m", "kedge", "up", str(folder / "house"), "--port", str(ports["kedge"])]
        kedge, first = started(stack, words, urls["kedge"], log)
        stop(kedge)
        kedge, again = started(stack, words, urls["kedge"], log)
        names = {"Kedge": {"url": urls["kedge"], **fill_kedge(ports["kedge"], POINTS)}}
        words = [str(peer), "-m", "mlflow", "server", "--port", str(ports["mlflow"]), "--workers", "1"]
        words += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
        mlflow, theirs = started(stack, words, urls["mlflow"], log)
        names["MLflow"] = {"url": urls["mlflow"], **fill_mlflow(folder / "mlflow.db", POINTS)}
        replay(canned(urls["kedge"], names["Kedge"], pieces), ports["null"])
        names["floor"] = {**names["Kedge"], "url": urls["null"]}
        asked = json.dumps({"servers": names, "pieces": pieces})
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MLFLOW"))}
        plain["MLFLOW_ENABLE_ASYNC_LOGGING"] = "false"
        done = subprocess.run([peer, CLIENT, asked], check=True, stdout=subprocess.PIPE, env=plain)
        taken = json.loads(done.stdout.splitlines()[-1])  # the client says things of its own before
        used, _ = memory(kedge)
        theirs_used, processes = memory(mlflow)
    load = os.getloadavg()[0]
    print(f"machine: {os.cpu_count()} cores, {platform.machine()}, load {load:.1f}; one MLflow client drives both servers")
    for piece, seconds in taken.items():
        ratio, reachable = seconds["MLflow"] / seconds["Kedge"], seconds["MLflow"] / seconds["floor"]
        print(
            f"{SAID[piece]:54} MLflow {seconds['MLflow'] * 1000:8.2f} ms  Kedge {seconds['Kedge'] * 1000:8.2f} ms  "
            f"client alone {seconds['floor'] * 1000:8.2f} ms  1/{ratio:<6.1f} limit 1/{LIMITS[piece]:<3} "
            f"{'ok' if ratio >= LIMITS[piece] else f'OVER (reachable 1/{reachable:.1f})'}"
        )
    print(f"start to first healthy answer: MLflow {theirs:.1f} s, Kedge {first:.2f} s, again {again:.2f} s, limit 1 s")
    print(f"memory: MLflow {theirs_used >> 20} MB in {processes} processes, Kedge {used >> 20} MB in one, limit 150 MB")


if __name__ == "__main__":
    main()
