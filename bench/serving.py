"""Serving, measured: Kedge beside MLServer, BentoML and a raw ASGI program, by wrk, in one run.

python bench/serving.py [--seconds 3] [--rounds 2] [--pairs 12] [--without mlserver bentoml]

One model (gradient boosting of 100 trees on 20 columns), one worker each, OMP_NUM_THREADS=1 for all. MLServer and BentoML
run in environments of their own under .peers/, made where they are missing. The servers are asked in turn, `--rounds`
times; a figure is the best of its rounds. What one client alone waits, and how many requests the log leaves, is compared
turn by turn, a second each, with the spread of the turns; what the log adds at the 99th percentile is found within one
process (`serving_lone.py`). `raw` is bench/peers/serving_raw.py: the same compiled model in a program with nothing else in
it. wrk is needed (apt-get install wrk) and shares the machine's cores with the server that it asks.
"""

import argparse
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
PEERS = {"mlserver": ["mlserver==1.7.1", "mlserver-sklearn==1.7.1"], "bentoml": ["bentoml==1.4.39", "scikit-learn"]}
INFER = "/v2/models/bench/infer"
WIDTH = 20


def python_of(name) -> str | None:
    """Find a peer's Python, or make its environment; None where it cannot be made."""
    home = ROOT / ".peers" / name
    python = home / "bin" / "python"
    if not (home / "made").exists():
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        if subprocess.run([python, "-m", "pip", "install", "-q", *PEERS[name]]).returncode:
            shutil.rmtree(home)
            return None
        (home / "made").touch()
    return str(python)


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def numbers(rows) -> list[list[float]]:
    """Make rows that look like chance, the same for every server."""
    return [[((row * 7919 + place * 104729) % 2003) / 500 - 2 for place in range(WIDTH)] for row in range(rows)]


class Server:
    """A server under test: how it is started, where it is asked, with which bodies."""

    def __init__(self, name, words, *, folder, port, path=INFER, more=None, cwd=None) -> None:
        self.name, self.words, self.folder, self.port, self.path = name, words, folder, port, path
        self.more, self.cwd, self.process, self.cold = more or {}, cwd, None, 0.0

    def body(self, kind) -> tuple[bytes, dict]:
        """Give a request's body and headers: `row`, `rows` or `binary` (both of 100)."""
        rows = numbers(1 if kind == "row" else 100)
        if self.name == "bentoml":
            return json.dumps({"rows": rows}).encode(), {"content-type": "application/json"}
        said = {"name": "x", "shape": [len(rows), WIDTH], "datatype": "FP64"}
        flat = [value for row in rows for value in row]
        if kind != "binary" or self.name == "mlserver":
            return json.dumps({"inputs": [said | {"data": flat}]}).encode(), {"content-type": "application/json"}
        data = struct.pack(f"<{len(flat)}d", *flat)
        head = {
            "inputs": [said | {"parameters": {"binary_data_size": len(data)}}],
            "parameters": {"binary_data_output": True},
        }
        written = json.dumps(head).encode()
        more = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(written))}
        return written + data, more

    def start(self) -> None:
        """Start it, and wait for its first answer to a row."""
        log = (self.folder / f"{self.name}.log").open("ab")
        env = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} | self.more
        begun = time.perf_counter()
        self.process = subprocess.Popen(self.words, stdout=log, stderr=log, env=env, cwd=self.cwd, start_new_session=True)
        while True:
            try:
                self.ask("row")
                break
            except OSError:
                if self.process.poll() is not None or time.perf_counter() - begun > 60:
                    raise SystemExit(f"{self.name} does not answer; see {log.name}") from None
                time.sleep(0.01)
        self.cold = time.perf_counter() - begun

    def ask(self, kind) -> bytes:
        """Ask once."""
        body, headers = self.body(kind)
        wanted = urllib.request.Request(f"http://127.0.0.1:{self.port}{self.path}", body, headers)
        with urllib.request.urlopen(wanted, timeout=60) as answer:
            return answer.read()

    def memory(self) -> float:
        """Tell the resident memory of its greatest process, in MiB."""
        root = psutil.Process(self.process.pid)
        return max(one.memory_info().rss for one in (root, *root.children(recursive=True))) / 2**20

    def stop(self) -> None:
        """End it with all that it started."""
        root = psutil.Process(self.process.pid)
        family = [root, *root.children(recursive=True)]
        self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        for one in family:
            try:
                one.kill()
            except psutil.NoSuchProcess:
                continue
        self.process.wait()

    def wrk(self, kind, clients, *, seconds) -> dict:
        """Ask it for some seconds: requests a second, latencies in us, and what failed."""
        body, headers = self.body(kind)
        sent, script = self.folder / f"{self.name}-{kind}.bin", self.folder / f"{self.name}-{kind}.lua"
        sent.write_bytes(body)
        lines = [f'local f = io.open("{sent}", "rb"); wrk.body = f:read("*a"); wrk.method = "POST"']
        script.write_text("\n".join([*lines, *(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())]))
        words = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--latency", "--timeout", "30s", "-s", str(script)]
        said = subprocess.run([*words, f"http://127.0.0.1:{self.port}{self.path}"], capture_output=True, text=True).stdout
        failed = sum(map(int, re.findall(r"(?:Non-2xx or 3xx responses:|connect|read|write|timeout) (\d+)", said)))
        failed += sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", said)))
        return {
            "rps": float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1]),
            "p50": _us(re.search(r"50%\s+([\d.]+\w+)", said)[1]),
            "p99": _us(re.search(r"99%\s+([\d.]+\w+)", said)[1]),
            "asked": int(re.search(r"(\d+) requests in", said)[1]),
            "failed": failed,
        }


def _us(text) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def servers(folder, *, without) -> list[Server]:
    """Make all servers that can be had here and are wanted, ready to be started."""
    project, me = str(folder / "project"), sys.executable
    path = {"PYTHONPATH": str(ROOT / "src")}
    ports = [free_port() for _ in range(7)]
    kedge = ["serve", project, "--port"]
    made = [
        Server("raw", [me, str(ROOT / "bench/peers/serving_raw.py"), project, str(ports[0])], folder=folder, port=ports[0]),
        Server("kedge", [me, "-m", "kedge", *kedge, str(ports[1])], folder=folder, port=ports[1], more=path),
        Server(
            "unlogged",
            [me, str(ROOT / "bench/peers/serving_unlogged.py"), *kedge, str(ports[2])],
            folder=folder,
            port=ports[2],
            more=path,
        ),
    ]
    if "mlserver" not in without and (python := python_of("mlserver")):
        home = folder / "mlserver"
        home.mkdir()
        settings = {
            "parallel_workers": 0,
            "http_port": ports[3],
            "grpc_port": ports[4],
            "metrics_port": ports[6],
            "debug": False,
        }
        (home / "settings.json").write_text(json.dumps(settings))
        model = {"name": "bench", "implementation": "mlserver_sklearn.SKLearnModel"}
        (home / "model-settings.json").write_text(json.dumps(model | {"parameters": {"uri": f"{project}/model.joblib"}}))
        words = [str(Path(python).parent / "mlserver"), "start", str(home)]
        made.append(Server("mlserver", words, folder=folder, port=ports[3]))
    if "bentoml" not in without and (python := python_of("bentoml")):
        words = [str(Path(python).parent / "bentoml"), "serve", "serving_bentoml:Bench", "--port", str(ports[5])]
        more = {"BENCH_MODEL": f"{project}/model.joblib", "BENTOML_DO_NOT_TRACK": "1"}
        made.append(
            Server("bentoml", words, folder=folder, port=ports[5], path="/predict", more=more, cwd=ROOT / "bench/peers")
        )
    return made


class Table:
    """The lines of the result, printed as they come."""

    def __init__(self) -> None:
        self.missed = 0

    def line(self, what, ours, other, *, said, limit, good) -> None:
        """Print one line: what, ours beside the other's, the ratio and its limit."""
        self.missed += not good
        print(f"{what:34} {ours:>12} {other:>22}   {said:>9}  {limit:<12} {'ok' if good else 'MISSED'}", flush=True)


def measure(running, *, seconds, rounds) -> dict:
    """Ask every server in turn, in every way; keep the best of the rounds."""
    best: dict = {}
    ways = [("row", 16), ("row", 64), ("rows", 16), ("binary", 16)]
    for kind, clients in ways:
        for _ in range(rounds):
            for server in running:
                found = server.wrk(kind, clients, seconds=seconds)
                kept = best.setdefault((server.name, kind, clients), found)
                kept["rps"] = max(kept["rps"], found["rps"])
                for name in ("p50", "p99"):
                    kept[name] = min(kept[name], found[name])
                kept["failed"] = max(kept["failed"], found["failed"])
    return best


def by_turns(running, clients, *, pairs) -> list[dict]:
    """Ask Kedge, with and without its log, and the raw program, a second each in turn: what a machine that others use lets
    be compared. Gives what each turn found, by server."""
    few = [server for server in running if server.name in ("raw", "kedge", "unlogged")]
    return [{server.name: server.wrk("row", clients, seconds=1) for server in few} for _ in range(pairs)]


def report_lone(turns, table) -> None:
    """Print what one client alone waits, with the spread over the turns."""
    p50 = {name: statistics.median(turn[name]["p50"] for turn in turns) for name in turns[0]}
    low, ratio, high = statistics.quantiles([turn["kedge"]["p50"] / turn["raw"]["p50"] for turn in turns])
    table.line(
        "1 client, p50, of each turn",
        f"{p50['kedge']:.0f} us",
        f"raw {p50['raw']:.0f} us",
        said=f"{ratio:.2f} x",
        limit="<= 1.3 x",
        good=ratio <= 1.3,
    )
    print(f"{'':34} half of {len(turns)} turns within {low:.2f} to {high:.2f} x")
    ours, raw = (min(turn[name]["p50"] for turn in turns) for name in ("kedge", "raw"))
    print(f"{'':34} the best turn of each: {ours:.0f} us, raw {raw:.0f} us, {ours / raw:.2f} x")
    low, more, high = statistics.quantiles([turn["kedge"]["p99"] - turn["unlogged"]["p99"] for turn in turns])
    print(f"{'log on, p99, 1 client, by wrk':34} {more:+.0f} us; half of the turns within {low:+.0f} to {high:+.0f}")


def report_logged(turns, table) -> None:
    """Print how many requests are left with the log on."""
    ours, other = (statistics.median(turn[name]["rps"] for turn in turns) for name in ("kedge", "unlogged"))
    low, ratio, high = statistics.quantiles([turn["kedge"]["rps"] / turn["unlogged"]["rps"] for turn in turns])
    table.line(
        "log on against off, 16 clients",
        f"{ours:.0f}",
        f"off {other:.0f}",
        said=f"{ratio:.2f} x",
        limit=">= 0.93 x",
        good=ratio >= 0.93,
    )
    print(f"{'':34} half of {len(turns)} turns within {low:.2f} to {high:.2f} x")


def report(best, table, names) -> None:
    """Print what was measured beside what is to be reached."""
    peers = [name for name in ("mlserver", "bentoml") if name in names]
    for clients in (16, 64):
        ours = best["kedge", "row", clients]["rps"]
        for peer in peers:
            theirs = best[peer, "row", clients]["rps"]
            _times(table, f"1 row, {clients} clients, requests/s", ours, theirs, peer=peer, least=10)
        limit = best["raw", "row", clients]["rps"]
        _times(table, f"1 row, {clients} clients, of the limit", ours, limit, peer="raw", least=0.6)
    for kind, least in (("rows", 4), ("binary", 8)):
        for peer in peers:
            ours, theirs = best["kedge", kind, 16]["rps"], best[peer, kind, 16]["rps"]
            _times(table, f"100 rows, {kind}, 16 clients", ours, theirs, peer=peer, least=least)


def _times(table, what, ours, theirs, *, peer, least) -> None:
    ratio = ours / theirs
    table.line(
        what, f"{ours:.0f}", f"{peer} {theirs:.0f}", said=f"{ratio:.2f} x", limit=f">= {least} x", good=ratio >= least
    )


def within(folder, table) -> None:
    """Measure within a process of its own what the log adds at the 99th percentile: by wrk it is lost in noise."""
    words = [sys.executable, str(ROOT / "bench/serving_lone.py"), "--project", str(folder / "project"), "--json"]
    said = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    table.line(
        "log on, p99, 1 client, within",
        f"{said['on']:.0f} us",
        f"off {said['off']:.0f} us",
        said=f"{said['more']:+.0f} us",
        limit="<= 50 us",
        good=said["more"] <= 50,
    )
    print(f"{'':34} by pairs of blocks of 2,000; half of them within {said['low']:+.0f} to {said['high']:+.0f}")


def switched(kedge, folder, table) -> None:
    """Ask 100,000 times and more while the deployment is switched, put on trial and rolled back."""
    words = [sys.executable, str(ROOT / "bench/serving_switch.py"), str(folder / "project")]
    switching = subprocess.Popen(words, env=os.environ | kedge.more, stdout=subprocess.PIPE, text=True)
    asked = failed = 0
    while asked < 100_000:
        found = kedge.wrk("row", 16, seconds=3)
        asked, failed = asked + found["asked"], failed + found["failed"]
    switching.terminate()
    turns = len(switching.communicate()[0].splitlines())
    said = f"{turns} switches"
    table.line(
        "reload, canary, rollback: failed", f"{failed}", f"of {asked}", said=said, limit="0", good=not failed and turns > 5
    )


def main() -> None:
    """Print the table; exit with 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=12, help="turns of a second that are compared, 2 at least")
    parser.add_argument("--without", nargs="*", default=[], choices=list(PEERS))
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.pairs < 2:
        parser.error("--pairs: a spread takes 2 turns at least")
    if shutil.which("wrk") is None:
        raise SystemExit("WRK IS MISSING: nothing was measured. Install it: apt-get install wrk")
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as name:
        folder = Path(name)
        words = [sys.executable, str(ROOT / "bench/serving_project.py"), str(folder / "project")]
        subprocess.run(words, check=True, env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"})
        running = servers(folder, without=asked.without)
        try:
            for server in running:
                server.start()
            load = f"load {os.getloadavg()[0]:.1f}"
            print(f"machine: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {load}")
            table, names = Table(), [server.name for server in running]
            best = measure(running, seconds=asked.seconds, rounds=asked.rounds)
            report(best, table, names)
            report_logged(by_turns(running, 16, pairs=asked.pairs), table)
            report_lone(by_turns(running, 1, pairs=asked.pairs), table)
            within(folder, table)
            kedge = next(server for server in running if server.name == "kedge")
            kept = kedge.memory()
            switched(kedge, folder, table)
            kedge.stop()
            kedge.start()
            table.line(
                "cold start to first answer", f"{kedge.cold:.2f} s", "", said="", limit="<= 1.5 s", good=kedge.cold <= 1.5
            )
            table.line("memory of the worker", f"{kept:.0f} MiB", "", said="", limit="<= 200 MiB", good=kept <= 200)
            if asked.json:
                print(json.dumps({" ".join(map(str, key)): value for key, value in best.items()}, indent=1))
        finally:
            for server in running:
                if server.process is not None and server.process.poll() is None:
                    server.stop()
    sys.exit(1 if table.missed else 0)


if __name__ == "__main__":
    main()
