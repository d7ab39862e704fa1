"""Several processes change one table at once, while another reads and one erases: nothing is lost, nothing is doubled."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import polars as pl

import kedge

APPEND = """
import sys, kedge, polars as pl
writer, many = int(sys.argv[1]), int(sys.argv[2])
for turn in range(many):
    frame = pl.DataFrame({"id": [writer * 1000 + turn], "by": [writer], "name": [f"person {writer}-{turn}"]})
    kedge.data.append(frame, "race", key="id")
"""
READ = """
import kedge
seen = 0
for _ in range(40):
    version = kedge.data.versions("race")[-1]
    rows = kedge.data.read(version)
    assert len(rows) == rows["id"].n_unique(), "doubled"
    erased = kedge.data.versions("race")[version.number - 1]
    assert len(rows) in (version.rows, erased.rows), (len(rows), version.rows)
    assert version.number >= seen
    seen = version.number
"""
ERASE = """
import kedge
for turn in range(4):
    kedge.data.erase("race", keys=[1000 + turn], reason="asked")
"""


def test_processes_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEDGE_STORE", raising=False)
    monkeypatch.delenv("KEDGE_URL", raising=False)
    start = pl.DataFrame({"id": [1000, 1001, 1002, 1003, 1], "by": [0] * 5, "name": ["x"] * 5})
    kedge.data.commit(start, "race", key="id")
    env = {**os.environ, "PYTHONPATH": str(Path(kedge.__file__).parents[1])}

    def begin(code: str, *words: object) -> subprocess.Popen[str]:
        asked = [sys.executable, "-c", code, *map(str, words)]
        return subprocess.Popen(asked, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    others = [begin(APPEND, writer, 8) for writer in (2, 3, 4)] + [begin(READ), begin(ERASE)]
    for other in others:
        told, _ = other.communicate(timeout=120)
        assert other.returncode == 0, told
    versions = kedge.data.versions("race")
    assert [version.number for version in versions] == [*range(1, 26)]
    wanted = {1, *(writer * 1000 + turn for writer in (2, 3, 4) for turn in range(8))}
    assert set(kedge.data.read("race")["id"]) == wanted
    assert kedge.data.read("race@v1")["id"].to_list() == [1]
    for before, after in pairwise(versions):
        assert after.rows == before.rows + 1
