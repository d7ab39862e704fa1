"""A command shares its machine: what it sets for itself and the processes that it starts, and what it leaves alone."""

import json
import os
import subprocess
import sys

import pytest

from kedge.cli import main as command

CODE = """
import json, os, sys
from kedge.cli.main import main
sys.argv = ["kedge", "--help"]
try:
    main()
except SystemExit:
    pass
import polars
print(json.dumps(dict(os.environ)), file=sys.stderr)
"""


def set_by_a_command(**given: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if name not in command.NEIGHBOURLY}
    words = [sys.executable, "-c", CODE]
    done = subprocess.run(words, env={**plain, **given}, capture_output=True, text=True, check=True)
    return json.loads(done.stderr)


def test_freed_memory_goes_back_and_waiting_threads_do_not_spin() -> None:
    found = set_by_a_command()
    assert found["_RJEM_MALLOC_CONF"].endswith(command.NEIGHBOURLY["_RJEM_MALLOC_CONF"])  # after Polars' own, so it counts
    others = command.NEIGHBOURLY.keys() - {"_RJEM_MALLOC_CONF"}
    assert {name: found[name] for name in others} == {name: command.NEIGHBOURLY[name] for name in others}


@pytest.mark.parametrize("name", sorted(command.NEIGHBOURLY))
def test_what_a_user_has_set_stays(name: str) -> None:
    given = {"OMP_WAIT_POLICY": "ACTIVE", "ARROW_DEFAULT_MEMORY_POOL": "mimalloc"}.get(name, "33554432")
    if name == "_RJEM_MALLOC_CONF":
        given = "dirty_decay_ms:700"
    assert set_by_a_command(**{name: given})[name].endswith(given)
