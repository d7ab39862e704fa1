"""The data page's examples run as they stand, and it names every command of `kedge data` that it is about."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kedge.cli.data import COMMANDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "data.md").read_text()
EXAMPLES = re.findall(r"```sh\n(.*?)```", PAGE, re.S)


@pytest.mark.parametrize("place", range(len(EXAMPLES)))
def test_an_example_runs(tmp_path, place) -> None:
    unset = {"KEDGE_STORE", "KEDGE_URL", "KEDGE_REMOTE"}
    env = {name: value for name, value in os.environ.items() if name not in unset} | {"PYTHONPATH": str(ROOT / "src")}
    script = f'set -euo pipefail\nkedge() {{ "{sys.executable}" -m kedge "$@"; }}\n{EXAMPLES[place]}'
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert any((tmp_path / "data" / "raw").iterdir())


def test_every_command_of_this_room_is_named() -> None:
    homes = ("files", "looks", "exchange", "sharing", "removing", "verify")
    mine = {word for word, (home, _, _) in COMMANDS.items() if home in homes}
    assert {word for word in mine if f"kedge data {word}" not in PAGE} == set()
