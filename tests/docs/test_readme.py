"""The README's examples in Python run, each in a folder of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)


@pytest.mark.parametrize("place", range(len(EXAMPLES)))
def test_an_example_runs(tmp_path, place) -> None:
    (tmp_path / "example.py").write_text(EXAMPLES[place])
    unset = {"KEDGE_STORE", "KEDGE_URL"}
    env = {name: value for name, value in os.environ.items() if name not in unset} | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "example.py"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 2
