"""kill -9 of `kedge policy backtest` between two models: the same command goes on, and comes to the same figures."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from tests.loop.small import PROJECT, TRAIN, write

ROOT = Path(__file__).parents[2]
PATIENCE = 600.0
SLOW = TRAIN.replace("    model =", "    time.sleep(0.05)\n    model =").replace("\n", "\nimport time\n", 1)
STEPS = PROJECT.replace("[retraining]", '[retraining]\nstep = "3d"')
ROWS = "SELECT count(*) FROM notes WHERE name LIKE 'backtest:%'"


def started(folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "kedge", "policy", "backtest", str(folder), "--price", "5", "--json"]
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kept(folder: Path) -> int:
    file = folder / ".kedge" / "kedge.db"
    if not file.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as store:
            return int(store.execute(ROWS).fetchone()[0])
    except sqlite3.OperationalError:  # its tables are being made
        return 0


def ended(process: subprocess.Popen[str]) -> dict:
    told, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    return json.loads(told)


@pytest.mark.timeout(900)
def test_a_killed_backtest_goes_on_and_comes_to_the_same(tmp_path) -> None:
    whole = ended(started(write(tmp_path / "whole", project=STEPS, train=TRAIN)))
    folder = write(tmp_path / "killed", project=STEPS, train=SLOW)
    process, until = started(folder), time.monotonic() + PATIENCE
    while kept(folder) < 5:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = kept(folder)
    made = ended(started(folder))
    assert before <= made["found"] < before + 2  # one may have been written as it was killed
    assert made["made"] == 16 - made["found"]
    assert made["results"] == whole["results"]
    again = ended(started(folder))
    assert (again["made"], again["found"]) == (0, 16)
    assert again["results"] == whole["results"]
