"""kill -9 at every call that reaches disk or index while a table is changed: all of the change or nothing, then once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "first", "step", "least"),
    [
        ("commit", 1, 2, 12),
        ("append", 2, 2, 8),
        ("delete", 1, 2, 8),
        ("compact", 2, 2, 8),
        ("erase", 1, 3, 30),
        ("erase", 2, 3, 30),
        ("erase", 3, 3, 30),
    ],
)
def test_a_killed_change_is_whole_or_not_there(tmp_path, change, first, step, least):
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    words = [sys.executable, "-m", "tests.faults.killed_tables", str(tmp_path), change, str(first), str(step)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) >= least
