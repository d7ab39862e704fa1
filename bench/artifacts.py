"""A large artifact up and down through Kedge's proxy and through MLflow's, by one client on one machine, in one run.

python bench/artifacts.py [MIB]        1024 if left out; needs the clients' environments: python -m tests.mlflow.peers

Kedge has hashed, cut and synced the file when it answers; MLflow has copied it, unsynced. Limits: hash + cut + write + sync
of the same bytes in one process, and a plain read of them. Memory is that of all processes of a server while it works.
"""

import http.client
import json
import os
import platform
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.mlflow import ask, free_port, started
from tests.mlflow.peers import find

from kedge.records import open_records
from kedge.settings import Settings

PIECE, ROUNDS, MEMORY_MB = 1 << 20, 3, 150


class Watch:
    """Samples the memory of a server's processes while something is done with it."""

    def __init__(self, server) -> None:
        self._root, self.peak, self._over = psutil.Process(server.pid), 0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.05):
            used = 0
            for one in (self._root, *self._root.children(recursive=True)):
                try:
                    used += one.memory_full_info().uss
                except psutil.NoSuchProcess:
                    continue
            self.peak = max(self.peak, used)


def up(port, place, path) -> float:
    """Send a file; give the seconds it took."""
    start = time.perf_counter()
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=600, blocksize=PIECE)
    with path.open("rb") as body:
        headers = {"content-length": str(path.stat().st_size), "content-type": "application/octet-stream"}
        line.request("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{place}", body, headers)
        answer = line.getresponse()
        told = answer.read()
    line.close()
    if answer.status != 200:
        raise SystemExit(f"the upload was answered with {answer.status}: {told[:300]!r}")
    return time.perf_counter() - start


def down(port, place, size) -> float:
    """Fetch a file; give the seconds it took."""
    start = time.perf_counter()
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    line.request("GET", f"/api/2.0/mlflow-artifacts/artifacts/{place}")
    answer, got, buffer = line.getresponse(), 0, bytearray(PIECE)
    while count := answer.readinto(buffer):
        got += count
    line.close()
    if (answer.status, got) != (200, size):
        raise SystemExit(f"the download was answered with {answer.status} and {got} of {size} bytes")
    return time.perf_counter() - start


def limits(folder, path) -> tuple[float, float]:
    """Put the same bytes into a store without a server, and read them back."""
    records = open_records(Settings(project=folder, store=str(folder / "alone")))
    experiment = records.logging.create_experiment("limits").id
    run = records.logging.create_run(experiment, name="limits", user="bench").id
    start = time.perf_counter()
    with path.open("rb") as source:
        file = records.artifacts.put(run, "f", pieces=iter(lambda: source.read(PIECE), b""))
    put = time.perf_counter() - start
    start = time.perf_counter()
    got = sum(len(piece) for piece in records.artifacts.read(file))
    read = time.perf_counter() - start
    records.close()
    if got != path.stat().st_size:
        raise SystemExit("the store gave back another number of bytes")
    return put, read


def fresh(path, mib) -> None:
    """Write a file of random bytes."""
    with path.open("wb") as out:
        for _ in range(mib):
            out.write(os.urandom(1 << 20))


def main() -> None:
    """Measure, and print each figure beside its limit."""
    mib = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
    peer = find("new")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log = stack.enter_context((folder / "log").open("wb"))
        ports, servers, rows = {"Kedge": free_port(), "MLflow": free_port()}, {}, {}
        (folder / "house").mkdir()
        words = [sys.executable, "-m", "kedge", "up", str(folder / "house"), "--port", str(ports["Kedge"])]
        servers["Kedge"], _ = started(stack, words, f"http://127.0.0.1:{ports['Kedge']}", log)
        if peer is not None:
            words = [str(peer), "-m", "mlflow", "server", "--port", str(ports["MLflow"]), "--workers", "1"]
            words += [
                "--backend-store-uri",
                f"sqlite:///{folder}/mlflow.db",
                "--artifacts-destination",
                str(folder / "files"),
            ]
            servers["MLflow"], _ = started(stack, words, f"http://127.0.0.1:{ports['MLflow']}", log)
        else:
            print("MLflow: no environment to compare with; make it with: python -m tests.mlflow.peers")
        places = {}
        for name in servers:
            api = f"http://127.0.0.1:{ports[name]}/api/2.0/mlflow"
            experiment = json.loads(ask(f"{api}/experiments/create", {"name": "bench"}))["experiment_id"]
            made = json.loads(ask(f"{api}/runs/create", {"experiment_id": experiment, "start_time": 1}))
            places[name] = f"{experiment}/{made['run']['info']['run_id']}/artifacts/large.bin"
        path = folder / "large.bin"
        for turn in range(ROUNDS):
            fresh(path, mib)
            for name, server in servers.items():
                with Watch(server) as watch:
                    sent = up(ports[name], places[name], path)
                    got = down(ports[name], places[name], mib << 20)
                rows.setdefault(name, []).append((sent, got, watch.peak))
            if turn == 0:
                again = up(ports["Kedge"], places["Kedge"], path)
                alone = limits(folder, path)
    print(
        f"machine: {os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.1f}; {mib} MiB, best of {ROUNDS}"
    )
    for name, taken in rows.items():
        sent, got, peak = min(one[0] for one in taken), min(one[1] for one in taken), max(one[2] for one in taken)
        told = f"limit {MEMORY_MB} MB {'ok' if peak / 1e6 <= MEMORY_MB else 'OVER'}" if name == "Kedge" else ""
        print(
            f"{name:8} up {sent:6.2f} s ({mib / sent:6.0f} MiB/s)  down {got:6.2f} s ({mib / got:6.0f} MiB/s)  "
            f"memory at most {peak / 1e6:5.0f} MB {told}"
        )
    print(f"Kedge    up again, known bytes: {again:6.2f} s ({mib / again:6.0f} MiB/s)")
    into, out = alone
    print(f"limits   store alone: in {into:.2f} s ({mib / into:.0f} MiB/s)  out {out:.2f} s ({mib / out:.0f} MiB/s)")


if __name__ == "__main__":
    main()
