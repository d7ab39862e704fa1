"""kill -9 of the real `kedge replay`: its data plane and its worker end too, and the same command ends in the same state."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from tests.loop.small import TRAIN, played, write

ROOT = Path(__file__).parents[2]
MARK = "KEDGE_TEST_TREE"
PATIENCE = 60.0
ENDS_WITHIN = 10.0
LIVE_ROWS = 39 * 60
SLOW = TRAIN.replace("    model =", "    time.sleep(0.1)\n    model =").replace("\n", "\nimport time\n", 1)
RUNNING = "SELECT count(*) FROM runs WHERE status = 'running'"
FINISHED = "SELECT count(*) FROM runs WHERE status = 'finished'"
REVISIONS = "SELECT count(*) FROM deployments"


class Replay:
    """One run of the command, and every process that came of it: they all carry its mark in their environment."""

    def __init__(self, folder: Path) -> None:
        self._mark = f"{MARK}={uuid4().hex}"
        name, _, value = self._mark.partition("=")
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", name: value}
        command = [sys.executable, "-m", "kedge", "replay", str(folder), "--exit", "--json", "--no-compare"]
        self._folder = folder
        self.main = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def processes(self) -> dict[int, str]:
        """Find the processes of this tree that live: command lines by id."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    if self._mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                        found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:  # it has ended meanwhile, or is another user's
                    continue
        return found

    def named(self, words: str) -> list[int]:
        """Find the processes of this tree with these words in their command line."""
        return [process for process, line in self.processes().items() if words in line]

    def wait_until(self, reached: Callable[[Path], object]) -> None:
        """Wait for a moment of the replay, while it runs."""
        until = time.monotonic() + PATIENCE
        while not reached(self._folder):
            assert self.main.poll() is None, f"the replay ended before the moment came: {self.main.communicate()[1]}"
            assert time.monotonic() < until, "the moment never came"
            time.sleep(0.02)

    def wait_until_all_ended(self) -> None:
        """Give the rest of the tree ten seconds to end by itself."""
        until = time.monotonic() + ENDS_WITHIN
        while (left := self.processes()) and time.monotonic() < until:
            time.sleep(0.05)
        assert not left, f"these survived the replay by {ENDS_WITHIN:g} seconds: {left}"


@contextmanager
def replaying(folder: Path):
    replay = Replay(folder)
    try:
        yield replay
    finally:
        for process in replay.processes():
            os.kill(process, signal.SIGKILL)
        replay.main.wait()
        replay.main.stdout.close()
        replay.main.stderr.close()


def asked(folder: Path, query: str) -> int:
    """Count something in the store from outside; 0 while there is no such table."""
    path = folder / ".kedge" / "kedge.db"
    if not path.is_file():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def first_training(folder: Path) -> bool:
    return asked(folder, RUNNING) > 0


def segments(folder: Path) -> int:
    return sum(segment.stat().st_size > 0 for segment in (folder / ".kedge" / "predictions").glob("*.log"))


def first_prediction(folder: Path) -> bool:
    return segments(folder) > 0


def later_training(folder: Path) -> bool:
    return asked(folder, RUNNING) > 0 and asked(folder, FINISHED) >= 2


def rollout(folder: Path) -> bool:
    return asked(folder, REVISIONS) >= 3


MOMENTS = (first_training, first_prediction, later_training, rollout)


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory) -> str:
    return played(write(tmp_path_factory.mktemp("unkilled") / "small", train=SLOW)).digest


def finished(folder: Path) -> dict:
    """Run the command to its end, and check what holds of every end."""
    with replaying(folder) as replay:
        out, told = replay.main.communicate(timeout=PATIENCE)
        assert replay.main.returncode == 0, told
        replay.wait_until_all_ended()
    document = json.loads(out)
    assert document["rows"] == LIVE_ROWS
    assert sum(month["rows"] for month in document["policies"]["ledger"]["months"].values()) == LIVE_ROWS
    doctor = [sys.executable, "-m", "kedge", "doctor", str(folder), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    chain = subprocess.run(doctor, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(chain.stdout)["audit"]["broken"] is None
    return document


def test_kills_one_after_another_change_nothing(unkilled, tmp_path) -> None:
    folder = write(tmp_path / "small", train=SLOW)
    for moment in MOMENTS:
        with replaying(folder) as replay:
            replay.wait_until(moment)
            os.kill(replay.main.pid, signal.SIGKILL)
            assert replay.main.wait() == -signal.SIGKILL
            replay.wait_until_all_ended()
    kill_the_data_plane(folder)
    assert finished(folder)["digest"] == unkilled


def kill_the_data_plane(folder: Path) -> None:
    """Go on with a replay, kill its data plane after the next answers, and check what the replay says of it."""
    answers = segments(folder)
    with replaying(folder) as replay:
        replay.wait_until(lambda folder: segments(folder) > answers)
        [plane] = replay.named(" serve ")
        os.kill(plane, signal.SIGKILL)
        _, told = replay.main.communicate(timeout=PATIENCE)
        assert replay.main.returncode == 1
        assert re.search(r"^error: the data plane ended .*run the same command again", told, re.MULTILINE), told
        assert "Traceback" not in told
        replay.wait_until_all_ended()


def test_a_worker_that_dies_is_a_failed_training(tmp_path) -> None:
    folder = write(tmp_path / "small", train=SLOW)
    with replaying(folder) as replay:
        replay.wait_until(lambda _: replay.named("adapters.worker"))
        [worker] = replay.named("adapters.worker")
        os.kill(worker, signal.SIGKILL)
        _, told = replay.main.communicate(timeout=PATIENCE)
        assert replay.main.returncode == 1
        assert "signal 9" in told
        assert "Traceback" not in told
        replay.wait_until_all_ended()
