"""The examples of the page on drift run, and every test by name is on it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kedge.monitoring.comparing.cell_tests import CELL_TESTS
from kedge.monitoring.comparing.number_tests import NUMBER_TESTS
from kedge.monitoring.comparing.rules import RULES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "drift.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.S)


@pytest.mark.parametrize("place", range(len(EXAMPLES)))
def test_an_example_runs(tmp_path, place) -> None:
    (tmp_path / "drift.py").write_text(EXAMPLES[place])
    unset = {"KEDGE_STORE", "KEDGE_URL"}
    env = {name: value for name, value in os.environ.items() if name not in unset} | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "drift.py"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_test_and_rule_is_on_the_page() -> None:
    assert {name for name in (*NUMBER_TESTS, *CELL_TESTS, *RULES) if f"`{name}`" not in PAGE} == set()
