"""A script that only logs opens the records, and pays for nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kedge.domain.ids import DEFAULT_EXPERIMENT
from kedge.errors import ConfigError
from kedge.records import open_records
from kedge.settings import Settings

HEAVY = ("numpy", "polars", "pandas", "pyarrow", "sklearn", "scipy", "alembic", "litestar", "psycopg")


def test_no_frame_library_is_loaded() -> None:
    script = f"import sys, kedge.records, kedge.settings; print([name for name in {HEAVY!r} if name in sys.modules])"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_what_is_logged_is_there_when_opened_again(tmp_path: Path) -> None:
    where = Settings(project=tmp_path, store=str(tmp_path / "store"))
    records = open_records(where)
    run = records.logging.create_run(DEFAULT_EXPERIMENT, tags={"a": "1"}).id
    file = records.artifacts.put(run, "notes/a.txt", pieces=[b"one", b"two"])
    records.close()
    again = open_records(where)
    assert again.logging.get_run(run).run.tags == {"a": "1"}
    assert b"".join(again.artifacts.read(again.artifacts.get(run, "notes/a.txt"))) == b"onetwo"
    assert file.size == 6
    again.close()


def test_a_store_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file/store.*--store"):
        open_records(Settings(project=tmp_path, store=str(tmp_path / "file" / "store")))
