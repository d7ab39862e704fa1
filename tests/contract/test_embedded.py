"""A store in a SQLite file is the same, whether it is opened whole or by plain statements alone."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from tests.contract.filed import write

from kedge.domain.data import DatasetKind, DatasetVersion, Schema
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import DatasetName, Digest, digest_of
from kedge.errors import Conflict, NotFound, RequestInvalid, StoreBroken
from kedge.filing import filed
from kedge.security.audit import verify
from kedge.settings import Settings
from kedge.storage.blobs.index import ChunkPlace, Recipe
from kedge.storage.sql import open_store
from kedge.storage.sql.chunks import SqlChunks
from kedge.storage.sql.embedded import open_embedded
from kedge.storage.sql.versions import SqlVersions

AT = datetime(2026, 1, 1, tzinfo=UTC)
ONE, OTHER = Digest("1" * 64), Digest("2" * 64)


@pytest.fixture
def url(tmp_path):
    url = f"sqlite:///{tmp_path / 'kedge.db'}"
    open_store(url).close()
    return url


def version(number, digest=ONE):
    return DatasetVersion(
        dataset=DatasetName("raw"),
        number=number,
        digest=digest,
        schema=Schema(()),
        parts=(),
        rows=0,
        order="",
        created_at=AT,
        kind=DatasetKind.FILES,
        tree=digest,
        files=1,
        bytes=2,
        source="raw",
    )


def event(number):
    key = digest_of("made", number)
    return Event(key=key, kind=EventKind.DATASET_COMMITTED, at=AT, subject="raw", actor="person:me", message="", facts={})


def test_what_one_writes_the_other_reads_and_the_chain_goes_on(url):
    plain, whole = open_embedded(url), open_store(url)
    versions, chunks = SqlVersions(plain), SqlChunks(plain)
    versions.add(version(1), event(1))
    whole.datasets.add(version(2, OTHER), event(2))
    assert versions.list(DatasetName("raw")) == whole.datasets.list(DatasetName("raw")) == [version(1), version(2, OTHER)]
    assert whole.datasets.entry(DatasetName("raw")).kind is DatasetKind.FILES
    assert versions.find_digest(OTHER) == version(2, OTHER)
    assert chunks.add({ONE: ChunkPlace("a", 0, 5)}, {OTHER: Recipe(5, (ONE,))}, reclaimable=True) == set()
    assert whole.chunks.find_blob(OTHER) == Recipe(5, (ONE,))
    assert whole.chunks.totals() == chunks.totals()
    assert verify(whole.events.chain()).holds
    plain.close()
    whole.close()


def test_what_is_refused_is_refused_alike_and_leaves_nothing(url):
    plain = open_embedded(url)
    versions = SqlVersions(plain)
    versions.add(version(1), event(1))
    with pytest.raises(Conflict, match="someone else wrote it first"):
        versions.add(version(1), event(2))
    with pytest.raises(RequestInvalid, match="cannot be kept"):
        versions.find(DatasetName("raw"), 2**70)
    with suppress(ZeroDivisionError), plain.writing() as session:
        session.run("DELETE FROM dataset_versions")
        _ = 1 / 0
    assert versions.find(DatasetName("raw")) == version(1)
    plain.close()


def test_a_commit_is_synced(url):
    plain = open_embedded(url)
    with plain.reading() as session:
        assert session.row("PRAGMA synchronous") == (2,)
        assert session.row("PRAGMA journal_mode") == ("wal",)
    plain.close()


def test_another_store_is_not_opened_but_left_to_the_whole(url, tmp_path):
    path = tmp_path / "kedge.db"
    assert open_embedded("postgresql://host/database") is None
    assert open_embedded("sqlite://") is None
    assert open_embedded(f"sqlite:///{tmp_path / 'none.db'}") is None
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "text.db").write_bytes(b"no database at all" * 100)
    assert open_embedded(f"sqlite:///{tmp_path / 'text.db'}") is None
    (tmp_path / "empty.db").touch()
    assert open_embedded(f"sqlite:///{tmp_path / 'empty.db'}") is None
    other = sqlite3.connect(path)
    other.execute("UPDATE kedge_revision SET version_num = '0001'")
    other.commit()
    assert open_embedded(url) is None
    other.close()


def test_broken_bytes_are_told(url, tmp_path):
    plain = open_embedded(url)
    path = tmp_path / "kedge.db"
    data = bytearray(path.read_bytes())
    data[4096:] = b"x" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(StoreBroken, match=r"kedge\.db is not a readable"):
        SqlVersions(plain).names()
    plain.close()


def test_where_there_is_no_store_one_is_made_only_to_add(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings(project=tmp_path, store=str(tmp_path / ".kedge"))
    with pytest.raises(NotFound, match="no store"), filed(settings, make=False):
        pass
    write(tmp_path, {"raw/a": "one"})
    for _ in range(2):
        with filed(settings, make=True) as filing:
            added = filing.files.add("raw", actor="person:me", told=lambda files, size: None)
    assert (added.version.number, added.new) == (1, False)


def test_adding_and_checking_out_import_no_library_for_databases(tmp_path):
    (tmp_path / "raw").write_text("one")
    script = (
        "import sys, json; from kedge.cli.main import main\n"
        "try: main()\n"
        "finally: print(json.dumps([name for name in ('sqlalchemy', 'typer', 'polars', 'numpy') if name in sys.modules]))"
    )
    env = {name: value for name, value in os.environ.items() if name != "KEDGE_STORE"}
    heavy = []
    for words in (["add", "raw"], ["add", "raw"], ["checkout", "raw"], ["checkout", "raw@1"]):
        run = [sys.executable, "-c", script, "data", *words]
        done = subprocess.run(run, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
        heavy.append(json.loads(done.stdout.splitlines()[-1]))
    assert heavy == [["sqlalchemy"], [], [], []]
