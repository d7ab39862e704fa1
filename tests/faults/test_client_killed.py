"""kill -9 of a training script and of its server, SIGTERM, forks, exits, hanging servers, full disks: what was handed to
the file arrives, once."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.mlflow.conftest import Up

from kedge.domain.ids import RunId
from kedge.domain.tracking import RunStatus
from kedge.records import open_records
from kedge.settings import settings

ROOT = Path(__file__).parents[2]
RUN = "c" * 32
PATIENCE = 120


def begun(folder, what, count=0, *, run=RUN, **environment) -> subprocess.Popen:
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "KEDGE_RUN": run, "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-m", "tests.faults.client_script", what, str(count)]
    return subprocess.Popen(command, cwd=folder, env=env, stdin=-1, stdout=-1, stderr=-1, text=True)


def ended(process) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def sync(folder, **environment) -> dict:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment}
    command = [sys.executable, "-m", "kedge", "runs", "sync", "--json"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=PATIENCE)
    return json.loads(done.stdout)


def kept(folder, key="x", *, run=RUN) -> list[tuple[int, float]]:
    """Read a metric's points, out of the store itself."""
    records = open_records(settings(Path(folder), store=str(Path(folder) / ".kedge"), server=""))
    try:
        return [(step, value) for _, step, value in records.logging.history(RunId(run), key, limit=1_000_000).items]
    finally:
        records.close()


def status(folder, *, run=RUN) -> RunStatus:
    records = open_records(settings(Path(folder), store=str(Path(folder) / ".kedge"), server=""))
    try:
        return records.logging.get_run(RunId(run)).run.status
    finally:
        records.close()


def numbers(until: int) -> list[tuple[int, float]]:
    return [(number, float(number)) for number in range(until)]


@pytest.mark.parametrize("seed", range(6))
def test_kill_9_at_any_moment_loses_nothing_that_was_handed_over_and_doubles_nothing(tmp_path, seed) -> None:
    chance = random.Random(seed)
    script, said = begun(tmp_path, "count", 1_000_000), -1
    for _ in range(chance.randrange(1, 40)):
        said = int(script.stdout.readline())
    time.sleep(chance.random() / 50)  # in the middle of whatever it does then
    script.kill()
    out, _ = script.communicate(timeout=PATIENCE)
    said = int([*[str(said)], *out.split()][-1])
    for _ in range(2):
        told = sync(tmp_path)
        assert told["waiting"] == 0
    points = kept(tmp_path)
    assert points == numbers(len(points)), "no gap, no double"
    assert len(points) > said, "what was handed to the file is there"
    assert status(tmp_path) is RunStatus.KILLED, "who sends what it left also says so"
    assert list((tmp_path / ".kedge" / "spool").iterdir()) == []


def test_the_next_script_sends_what_a_killed_one_left(tmp_path) -> None:
    script = begun(tmp_path, "count", 1_000_000)
    said = [int(script.stdout.readline()) for _ in range(20)][-1]
    script.kill()
    ended(script)
    assert ended(begun(tmp_path, "count", 10, run="d" * 32))[0] == 0
    points = kept(tmp_path)
    assert (points == numbers(len(points)), len(points) > said) == (True, True)
    assert (status(tmp_path), status(tmp_path, run="d" * 32)) == (RunStatus.KILLED, RunStatus.FINISHED)


def test_a_killed_run_that_is_taken_up_again_is_not_ended_by_what_it_left(tmp_path) -> None:
    script = begun(tmp_path, "count", 1_000_000)
    script.stdout.readline()
    script.kill()
    ended(script)
    assert ended(begun(tmp_path, "count", 10))[0] == 0
    assert status(tmp_path) is RunStatus.FINISHED


@pytest.mark.parametrize("seed", range(3))
def test_a_server_that_is_killed_under_load_gets_everything_once_it_is_back(tmp_path, seed) -> None:
    chance, server = random.Random(seed), Up(tmp_path)
    server.start()
    script = begun(tmp_path, "count", 30_000, KEDGE_URL=server.url)
    try:
        for _ in range(3):
            for _ in range(chance.randrange(1, 60)):
                script.stdout.readline()
            server.kill()
            assert script.poll() is None or script.returncode == 0, "training goes on"
            server.start()
        code, _, err = ended(script)
        assert code == 0, err
        assert sync(tmp_path, KEDGE_URL=server.url)["waiting"] == 0
    finally:
        server.stop()
    assert kept(tmp_path) == numbers(30_000)
    assert status(tmp_path) is RunStatus.FINISHED
    assert err.count("training goes on") <= 3


def test_a_script_runs_without_a_server_and_is_sent_later(tmp_path) -> None:
    server = Up(tmp_path)
    began = time.monotonic()
    code, _, err = ended(begun(tmp_path, "count", 5_000, KEDGE_URL=server.url))
    assert (code, err.count("training goes on"), err.count("kedge runs sync")) == (0, 1, 1)
    assert time.monotonic() - began < 60
    told = sync(tmp_path, KEDGE_URL=server.url)
    assert told["waiting"] == 1
    assert "no answer" in told["why"]
    server.start()
    try:
        assert sync(tmp_path, KEDGE_URL=server.url)["waiting"] == 0
        assert sync(tmp_path, KEDGE_URL=server.url) == {"sent": 0, "waiting": 0, "why": ""}
    finally:
        server.stop()
    assert kept(tmp_path) == numbers(5_000)
    assert status(tmp_path) is RunStatus.FINISHED


class Odd:
    """A server that takes connections and answers in its own way, or never."""

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._held = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._held.append(connection)
            if self._answer is not None:
                connection.recv(65536)
                connection.sendall(self._answer)
                connection.close()

    def close(self) -> None:
        self._socket.close()
        for connection in self._held:
            connection.close()


PAGE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nno kedge!"
BROKEN = b'HTTP/1.1 500 X\r\nContent-Length: 62\r\n\r\n{"error":{"code":"x","message":"it is broken","request_id":""}}'
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"
NOISE = b"\x00\xff\x00 no http at all"


@pytest.mark.parametrize(
    "answer", [PAGE, BROKEN, HALF, NOISE, b"", None], ids=["page", "500", "half", "noise", "shut", "hangs"]
)
def test_a_server_that_answers_in_odd_ways_never_crashes_or_holds_up_a_script(tmp_path, answer) -> None:
    odd = Odd(answer)
    try:
        script = begun(tmp_path, "count", 3_000, KEDGE_URL=odd.url)
        code, out, err = ended(script)
    finally:
        odd.close()
    assert (code, out.split()[-1]) == (0, "2999")
    assert err.count("kedge runs sync") == 1
    assert "Traceback" not in err
    (root,) = (tmp_path / ".kedge" / "spool").iterdir()
    assert any(path.stat().st_size for path in root.glob("*.log"))


@pytest.mark.parametrize(
    ("what", "code", "end"),
    [("raise", 1, RunStatus.FAILED), ("exit", 3, RunStatus.FAILED), ("count", 0, RunStatus.FINISHED)],
)
def test_however_a_script_ends_its_run_does_too(tmp_path, what, code, end) -> None:
    assert ended(begun(tmp_path, what, 100))[0] == code
    assert status(tmp_path) is end
    assert kept(tmp_path)
    assert list((tmp_path / ".kedge" / "spool").iterdir()) == []


def test_a_run_that_nobody_ended_ends_with_the_interpreter(tmp_path) -> None:
    assert ended(begun(tmp_path, "forget"))[0] == 0
    assert status(tmp_path, run=f"{RUN}f") is RunStatus.FINISHED
    assert kept(tmp_path, run=f"{RUN}f") == [(0, 2.0)]


def test_sigterm_hands_all_over_ends_the_run_as_killed_and_takes_its_course(tmp_path) -> None:
    script = begun(tmp_path, "wait", 5_000)
    assert script.stdout.readline() == "ready\n"
    script.terminate()
    assert ended(script)[0] == -signal.SIGTERM
    assert kept(tmp_path) == numbers(5_000)
    assert status(tmp_path) is RunStatus.KILLED


def test_sigterm_goes_on_to_the_scripts_own_handler(tmp_path) -> None:
    script = begun(tmp_path, "handler", 5_000)
    assert script.stdout.readline() == "ready\n"
    script.terminate()
    assert script.stdout.readline() == "handled\n", "the handler decides, and this one goes on"
    assert ended(script)[0] == 0
    assert kept(tmp_path) == numbers(5_000)
    assert status(tmp_path) is RunStatus.FINISHED


@pytest.mark.parametrize("over", ["embedded", "http"])
def test_a_fork_doubles_nothing_and_both_go_on(tmp_path, over) -> None:
    server = Up(tmp_path)
    if over == "http":
        server.start()
    try:
        environment = {"KEDGE_URL": server.url} if over == "http" else {}
        code, _, err = ended(begun(tmp_path, "fork", 5_000, **environment))
        assert code == 0, err
        assert sync(tmp_path, **environment)["waiting"] == 0
    finally:
        if over == "http":
            server.stop()
    assert kept(tmp_path) == numbers(10_000)
    assert kept(tmp_path, "child") == numbers(5_000)
    assert status(tmp_path) is RunStatus.FINISHED


@pytest.mark.parametrize("again", range(4))  # the fork comes while the threads begin, each time elsewhere
def test_processes_of_a_pool_log_to_the_run(tmp_path, again) -> None:
    code, _, err = ended(begun(tmp_path, "pool"))
    assert (code, err) == (0, ""), "nothing is refused, and no child waits for a lock that it inherited"
    assert sorted(kept(tmp_path, "pool")) == numbers(60)
    assert status(tmp_path) is RunStatus.FINISHED


def test_a_full_disk_costs_no_point_while_the_server_takes_them(tmp_path) -> None:
    server = Up(tmp_path)
    server.start()
    try:
        code, _, err = ended(begun(tmp_path, "full", 20_000, KEDGE_URL=server.url))
    finally:
        server.stop()
    assert (code, "dropped" in err) == (0, False), err
    assert kept(tmp_path) == numbers(20_000)
    assert status(tmp_path) is RunStatus.FINISHED


def test_a_folder_that_cannot_be_written_costs_no_script(tmp_path) -> None:
    """The spool goes to the system's folder for temporary files, and what is logged still reaches the server."""
    (tmp_path / "up").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / ".kedge").write_text("a file where the folder would be")
    server = Up(tmp_path / "up")
    server.start()
    try:
        environment = {"KEDGE_URL": server.url, "TMPDIR": str(tmp_path)}
        code, _, err = ended(begun(tmp_path / "there", "count", 1_000, **environment))
        assert code == 0, err
    finally:
        server.stop()
    assert kept(tmp_path / "up") == numbers(1_000)
