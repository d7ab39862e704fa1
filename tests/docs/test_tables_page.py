"""The examples of the page on tables run, each in a folder of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tables.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.S)


@pytest.mark.parametrize("place", range(len(EXAMPLES)))
def test_an_example_runs(tmp_path, place) -> None:
    (tmp_path / "tables.py").write_text(EXAMPLES[place])
    unset = {"KEDGE_STORE", "KEDGE_URL"}
    env = {name: value for name, value in os.environ.items() if name not in unset} | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "tables.py"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_verb_is_on_the_page() -> None:
    from kedge import data

    tables = {name for name in data.__all__ if "datasets" in getattr(getattr(data, name), "__module__", "")}
    assert {name for name in tables if f"`{name}(" not in PAGE} == set()
