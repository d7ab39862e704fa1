"""Stores of every old revision, filled, open as stores of today.

Each revision has a file of rows in `old_stores/` as that Kedge wrote them. A new migration adds the file of the
revision before it, made with the code of that time: `python -m tests.contract.test_metastore_migrations > FILE`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, MetaData, Table, text
from tests.contract import metastore as a
from tests.contract.test_metastore_events import broken_at

from kedge.domain.ids import DEFAULT_EXPERIMENT, DatasetName, LoggedModelId, RunId, digest_of, experiment_id
from kedge.domain.lineage import Node, NodeKind
from kedge.domain.registry import servable_of
from kedge.domain.tracking import DatasetInput, Experiment, LoggedModel, Metric, ModelOutput, RunStatus
from kedge.errors import StoreTooNew
from kedge.storage import migrations
from kedge.storage.blobs.index import ChunkPlace, Recipe
from kedge.storage.sql import SqlStore, dialect, open_store, schema
from kedge.storage.sql.connections import Connections

HOME, LOGGED = experiment_id("flights"), LoggedModelId("m-" + "0" * 32)
DATASET = DatasetInput(name="d", digest="1", source_type="local", source="{}", tags={"mlflow.data.context": "training"})
OLD = Path(__file__).parent / "old_stores"
NEW_COLUMN = """
from alembic import op
from sqlalchemy import Column, Text

revision = "9999"
down_revision = "{before}"


def upgrade() -> None:
    op.add_column("notes", Column("author", Text, nullable=False, server_default="nobody"))
"""


@pytest.fixture
def connections(store_url: str) -> Iterator[Connections]:
    opened = Connections(dialect.open_engine(store_url))
    yield opened
    opened.close()


@pytest.mark.parametrize("revision", migrations.REVISIONS)
def test_a_filled_old_store_is_brought_forward(shared_url: str, revision: str) -> None:
    old = Connections(dialect.open_engine(shared_url))
    with old.writing() as connection:
        migrations.upgrade(connection, revision, table=migrations.REVISION_TABLE)
        load(connection, json.loads((OLD / f"{revision}.json").read_text()))
    old.close()
    store = open_store(shared_url)
    require_filled(store)
    if revision != "0001":
        require_logged(store)
    store.notes.put("new", b"value")
    store.close()


def test_runs_of_many_kinds_move_into_their_experiments(shared_url: str) -> None:
    old = Connections(dialect.open_engine(shared_url))
    rows = json.loads((OLD / "0001.json").read_text())
    (known,) = rows["runs"]
    for id, experiment, status in (("r1", "bikes ü", "running"), ("r2", "Default", "failed"), ("r3", "bikes ü", "finished")):
        body = json.loads(known["body"]) | {"id": id, "experiment": experiment, "status": status, "tags": {}, "error": "no"}
        body["usage"] = {"cpu_seconds": math.nan}
        new = {"id": id, "experiment": experiment, "content_key": id, "status": status, "body": json.dumps(body)}
        rows["runs"].append(known | new | {"ended_at": 1362139300000000})
    rows["run_metrics"] += [{"run": "r1", "name": "loss", "value": None}, {"run": "r3", "name": "loss", "value": 2.5}]
    with old.writing() as connection:
        migrations.upgrade(connection, "0001", table=migrations.REVISION_TABLE)
        load(connection, rows)
    old.close()
    store = open_store(shared_url)
    require_filled(store)
    bikes = store.experiments.find("bikes ü")
    assert bikes is not None
    assert bikes.id == experiment_id("bikes ü")
    assert [run.id for run in store.runs.list("bikes ü")] == ["r3", "r1"]
    assert [run.id for run in store.runs.list("Default")] == ["r2"]
    running = store.runs.get(RunId("r1"))
    assert (running.status, running.error, running.tags) == (RunStatus.RUNNING, "no", {})
    assert math.isnan(running.metrics["loss"])
    assert math.isnan(running.usage.cpu_seconds)
    assert store.points.history(RunId("r3"), "loss", limit=9) == [(1362139300000, 0, 2.5)]
    assert store.experiments.keys([bikes.id]).metrics == ("loss",)
    store.runs.log(
        RunId("r1"), metrics=[Metric(key="new", value=1.0, at=0), Metric(key="loss", value=1.0, at=2**41, step=1)]
    )
    assert store.runs.get(RunId("r1")).metrics == {"loss": 1.0, "new": 1.0}
    store.close()


def test_an_empty_old_store_is_brought_forward(shared_url: str) -> None:
    old = Connections(dialect.open_engine(shared_url))
    with old.writing() as connection:
        migrations.upgrade(connection, "0001", table=migrations.REVISION_TABLE)
    old.close()
    store = open_store(shared_url)
    assert store.experiments.get(DEFAULT_EXPERIMENT).name == "Default"
    assert store.runs.list("Default") == []
    store.close()


def test_migrations_lead_to_the_tables_of_a_new_store(connections: Connections, tmp_path: Path) -> None:
    with connections.writing() as connection:
        migrations.upgrade(connection, migrations.HEAD, table=migrations.REVISION_TABLE)
        migrated = describe(connection)
        schema.revision.drop(connection)
        schema.metadata.drop_all(connection)
        schema.metadata.create_all(connection)
        assert describe(connection) == migrated


def test_numbers_are_those_of_the_files() -> None:
    files = sorted(path.name for folder in migrations.FOLDERS for path in folder.glob("[0-9]*.py"))
    assert tuple(name.partition("_")[0] for name in files) == migrations.REVISIONS


def test_a_later_migration_runs_on_opening(shared_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(shared_url)
    fill(store)
    store.close()
    (tmp_path / "9999_authors.py").write_text(NEW_COLUMN.format(before=migrations.HEAD))
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "FOLDERS", [*migrations.FOLDERS, tmp_path])
        patch.setattr(migrations, "REVISIONS", (*migrations.REVISIONS, "9999"))
        patch.setattr(migrations, "HEAD", "9999")
        for _ in range(2):
            store = open_store(shared_url)
            require_filled(store)
            with store._connections.reading() as connection:
                assert connection.scalar(text("SELECT author FROM notes")) == "nobody"
            store.close()
    with pytest.raises(StoreTooNew, match=r"'9999'.*newer Kedge"):
        open_store(shared_url)


def test_a_migration_that_fails_changes_nothing(shared_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_store(shared_url).close()
    script = NEW_COLUMN.format(before=migrations.HEAD) + "    raise RuntimeError('planted')\n"
    (tmp_path / "9999_authors.py").write_text(script)
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "FOLDERS", [*migrations.FOLDERS, tmp_path])
        patch.setattr(migrations, "REVISIONS", (*migrations.REVISIONS, "9999"))
        patch.setattr(migrations, "HEAD", "9999")
        with pytest.raises(RuntimeError, match="planted"):
            open_store(shared_url)
    store = open_store(shared_url)
    with store._connections.reading() as connection:
        assert "author" not in Table("notes", MetaData(), autoload_with=connection).columns
    store.close()


def test_opening_a_store_of_today_does_not_import_alembic(tmp_path: Path) -> None:
    script = (
        "import sys; from kedge.storage.sql import open_store\n"
        "for _ in range(2): open_store(sys.argv[1]).close()\n"
        "assert 'alembic' not in sys.modules and 'psycopg' not in sys.modules"
    )
    with a.child(script, f"sqlite:///{tmp_path / 'new.db'}") as process:
        assert process.wait(30) == 0


def fill(store: SqlStore) -> None:
    """Write something of everything."""
    edges = (a.edge("run", "data"),)
    store.datasets.add(a.dataset(), a.event("dataset", edges=edges))
    store.datasets.add_report(a.report(a.dataset().digest), a.event("report"))
    home = Experiment(id=HOME, name="flights", created_at=a.NOW, updated_at=a.NOW, tags={"team": "a"})
    store.experiments.add(home, a.event("experiment"))
    run = a.run(experiment=HOME)
    store.runs.put(run, a.event("run"))
    model = LoggedModel(
        id=LOGGED, experiment=HOME, name="m", created_at=a.NOW, updated_at=a.NOW, run=run.id, tags={"k": "v"}
    )
    store.logged_models.add(model, a.event("logged model"))
    store.runs.log(run.id, metrics=[Metric(key="curve", value=math.nan, at=5, step=3, model=LOGGED)])
    store.runs.add_inputs(run.id, datasets=[DATASET])
    store.runs.add_outputs(run.id, [ModelOutput(model=LOGGED, step=3)])
    store.runs.claim(digest_of("claimed"), "owner", now=a.NOW, seconds=1)
    store.models.add(a.version(), a.event("model"), servable=servable_of(a.version()))
    store.models.move(a.move(1, None, 1), a.event("move"))
    store.deployments.put(a.deployment(), a.event("deployment"))
    store.deployments.add_look(a.look("w"), a.event("look"))
    store.watches.put(a.health(0, a.alert("x")), b"\x00state", event=a.event("window"))
    store.ledgers.put(a.entry(1), a.event("entry"))
    store.notes.put("name", b"\xff")
    chunk = digest_of("chunk")
    store.chunks.add({chunk: ChunkPlace("pack", 1, 2)}, {digest_of("blob"): Recipe(2, (chunk,))})


def require_filled(store: SqlStore) -> None:
    """Check that all that `fill` wrote is there."""
    assert store.datasets.find(DatasetName("flights")) == a.dataset()
    assert store.datasets.find_report(a.dataset().digest) == a.report(a.dataset().digest)
    run = a.run(experiment=HOME)
    found = store.runs.get(run.id)
    found.metrics.pop("curve", None)
    assert found == run
    assert store.experiments.get(HOME).name == "flights"
    assert store.runs.list("flights")[0].id == run.id
    assert store.points.history(run.id, "log_loss", limit=9) == [(1362139200000, 0, 0.61)]
    assert store.experiments.get(DEFAULT_EXPERIMENT).name == "Default"
    assert not store.runs.claim(digest_of("claimed"), "other", now=a.NOW, seconds=1)
    assert store.models.find(a.MODEL, 1) == a.version()
    assert store.models.moves(a.MODEL) == [a.move(1, None, 1)]
    assert store.deployments.find(a.MODEL) == a.deployment()
    assert store.deployments.looks(a.MODEL) == [a.look("w")]
    assert store.watches.list(a.MODEL) == [a.health(0, a.alert("x"))]
    assert store.watches.alerts(a.MODEL) == [a.alert("x")]
    assert store.watches.state(a.MODEL) == b"\x00state"
    assert store.ledgers.list(a.MODEL) == [a.entry(1)]
    assert store.notes.get("name") == b"\xff"
    chunk = digest_of("chunk")
    assert store.chunks.find_many([chunk]) == {chunk: ChunkPlace("pack", 1, 2)}
    assert store.chunks.find_blob(digest_of("blob")) == Recipe(2, (chunk,))
    assert store.events.sources(Node(NodeKind.RUN, "run")) == [a.edge("run", "data")]
    assert broken_at(store) is None


def require_logged(store: SqlStore) -> None:
    """Check what was logged, which revision 0001 did not know."""
    detail = store.runs.detail(a.run().id)
    assert (detail.datasets, detail.models_out) == ((DATASET,), (ModelOutput(model=LOGGED, step=3),))
    assert store.experiments.get(HOME).tags == {"team": "a"}
    model = store.logged_models.get(LOGGED)
    assert (model.run, model.tags, len(model.metrics)) == (a.run().id, {"k": "v"}, 1)
    assert math.isnan(detail.run.metrics["curve"])
    assert math.isnan(model.metrics[0].value)


def load(connection: Connection, tables: dict[str, list[dict[str, Any]]]) -> None:
    """Insert rows as they were, into the tables as they are found."""
    for name, rows in tables.items():
        table = Table(name, MetaData(), autoload_with=connection)
        if name == "experiments":  # "Default" is in each store from the start
            connection.execute(table.delete())
        for row in rows:
            plain = {key: bytes.fromhex(v["hex"]) if isinstance(v, dict) else v for key, v in row.items()}
            connection.execute(table.insert(), plain)


def dump(store: SqlStore) -> dict[str, list[dict[str, Any]]]:
    """Give all rows of all tables, parents first, as plain values."""
    found: dict[str, list[dict[str, Any]]] = {}
    with store._connections.reading() as connection:
        for table in schema.metadata.sorted_tables:
            if table.name != migrations.REVISION_TABLE:
                rows = connection.exec_driver_sql(f'SELECT * FROM "{table.name}"').mappings()
                found[table.name] = [
                    {key: {"hex": v.hex()} if isinstance(v, bytes) else v for key, v in row.items()} for row in rows
                ]
    return found


def describe(connection: Connection) -> list[tuple[object, ...]]:
    """List what the database itself says of its tables."""
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return sorted((name, " ".join(sql.replace('"', "").split())) for name, sql in rows)
    queries = (
        "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default"
        " FROM information_schema.columns WHERE table_schema = current_schema()",
        "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()",
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = current_schema()::regnamespace",
    )
    return sorted((tuple(row) for query in queries for row in connection.exec_driver_sql(query)), key=repr)


if __name__ == "__main__":
    filled = open_store("sqlite://")
    fill(filled)
    print(json.dumps(dump(filled), indent=1))
