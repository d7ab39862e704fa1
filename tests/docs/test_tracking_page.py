"""The tracking page's examples run, and its table of requests is that of the server."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kedge.security.access import POLICY, Right

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tracking.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.S)


@pytest.mark.parametrize("place", range(len(EXAMPLES)))
def test_an_example_runs(tmp_path, place) -> None:
    (tmp_path / "train.py").write_text(EXAMPLES[place])
    unset = {"KEDGE_STORE", "KEDGE_URL"}
    env = {name: value for name, value in os.environ.items() if name not in unset} | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert (tmp_path / ".kedge" / "kedge.db").is_file()


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 3


def test_every_write_is_in_the_policy() -> None:
    named = re.findall(r"`(POST|PUT) (/api/v1/\S+)`", PAGE)
    assert len(named) == 6
    granted = {(rule.method, rule.pattern.replace("/artifacts/**", "/artifacts/*")): rule.right for rule in POLICY}
    for method, path in named:
        pattern = re.sub(r"\b(ID|PATH)\b", "*", path)
        assert granted[method, pattern] is Right.WRITE, path
