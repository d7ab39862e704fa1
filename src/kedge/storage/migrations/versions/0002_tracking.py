"""Experiments, measured points, tags, inputs, logged models and files of runs.

The runs that are there move into the experiment named as theirs was; their metrics become points at step 0.
Frozen: it says how revision 0002 was, whatever `sql/schema.py` says today.
"""

import hashlib
import json
import time
from typing import Any

from alembic import op
from sqlalchemy import REAL, BigInteger, Column, Double, ForeignKey, Index, Integer, MetaData, Table, Text, text
from sqlalchemy.types import TypeEngine

revision = "0002"
down_revision = "0001"

_Whole: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
_Real: TypeEngine[float] = Double().with_variant(REAL(), "sqlite")
_Bytewise: TypeEngine[str] = Text().with_variant(Text(collation="C"), "postgresql")
_BODY = ("code", "environment", "inputs", "artifacts", "usage", "error")


def upgrade() -> None:
    """Make the tables and move the runs into them."""
    connection = op.get_bind()
    old = {name: list(connection.execute(text(f"SELECT * FROM {name}")).mappings()) for name in _OLD}
    for name in _OLD:
        op.drop_table(name)
    _experiments()
    _runs()
    _points()
    _inputs()
    _logged_models()
    _files()
    _fill(old["runs"], params=old["run_params"], metrics=old["run_metrics"])


_OLD = ("run_params", "run_metrics", "runs")


def _table(name: str, *items: Any) -> None:
    op.create_table(name, *items, sqlite_strict=True)


def _keyed(name: str, *items: Any) -> None:
    op.create_table(name, *items, sqlite_strict=True, sqlite_with_rowid=False)


def _labels(name: str, owner: str, *, of: str) -> None:
    _keyed(
        name,
        Column(owner, Text, ForeignKey(of), primary_key=True),
        Column("key", Text, primary_key=True),
        Column("value", Text, nullable=False),
    )


def _happened() -> Column[int]:
    return Column("event", _Whole, ForeignKey("events.serial"))


def _number(name: str) -> Column[int]:
    return Column(name, _Whole, primary_key=True, autoincrement=False)


def _experiments() -> None:
    _table(
        "experiments",
        Column("id", Text, primary_key=True),
        Column("name", Text, nullable=False, unique=True),
        Column("lifecycle", Text, nullable=False),
        Column("created_at", _Whole, nullable=False),
        Column("updated_at", _Whole, nullable=False),
        _happened(),
        Index("experiments_by_update", "lifecycle", "updated_at", "id"),
    )
    _labels("experiment_tags", "experiment", of="experiments.id")


def _runs() -> None:
    finished = text("status = 'finished' AND content_key IS NOT NULL")
    _table(
        "runs",
        Column("id", Text, primary_key=True),
        Column("experiment", Text, ForeignKey("experiments.id"), nullable=False),
        Column("name", Text, nullable=False),
        Column("user_name", Text, nullable=False),
        Column("status", Text, nullable=False),
        Column("lifecycle", Text, nullable=False),
        Column("started_at", _Whole, nullable=False),
        Column("ended_at", _Whole),
        Column("deleted_at", _Whole),
        Column("deleted_with", Text),
        Column("content_key", Text),
        _happened(),
        Column("body", Text, nullable=False),
        Index("runs_by_experiment", "experiment", "lifecycle", "started_at", "id"),
        Index("runs_finished", "content_key", unique=True, sqlite_where=finished, postgresql_where=finished),
    )
    _labels("run_params", "run", of="runs.id")
    _labels("run_tags", "run", of="runs.id")
    _keyed(
        "run_keys",
        Column("experiment", Text, ForeignKey("experiments.id"), primary_key=True),
        Column("subject", Text, primary_key=True),
        Column("key", Text, primary_key=True),
    )


def _points() -> None:
    _table(
        "series",
        Column("id", _Whole, primary_key=True, autoincrement=True),
        Column("run", Text, ForeignKey("runs.id"), nullable=False),
        Column("key", Text, nullable=False),
        Column("experiment", Text, nullable=False),
        Column("at", _Whole, nullable=False),
        Column("step", _Whole, nullable=False),
        Column("value", _Real),
        Index("series_of_run", "run", "key", unique=True),
        Index("series_by_value", "experiment", "key", "value", "run"),
    )
    _keyed(
        "points",
        _number("series"),
        _number("at"),
        _number("step"),
        Column("value", _Real, primary_key=True),
        _number("nan"),
    )


def _inputs() -> None:
    _table(
        "input_datasets",
        Column("id", _Whole, primary_key=True, autoincrement=True),
        Column("experiment", Text, ForeignKey("experiments.id"), nullable=False),
        Column("name", Text, nullable=False),
        Column("digest", Text, nullable=False),
        Column("source_type", Text, nullable=False),
        Column("source", Text, nullable=False),
        Column("schema", Text, nullable=False),
        Column("profile", Text, nullable=False),
        Index("input_datasets_by_name", "experiment", "name", "digest", unique=True),
    )
    _keyed(
        "run_datasets",
        Column("run", Text, ForeignKey("runs.id"), primary_key=True),
        Column("dataset", _Whole, ForeignKey("input_datasets.id"), primary_key=True, autoincrement=False),
        Column("context", Text, nullable=False),
        Column("tags", Text, nullable=False),
        Index("run_datasets_by_dataset", "dataset", "run"),
    )
    _keyed(
        "run_models",
        Column("run", Text, ForeignKey("runs.id"), primary_key=True),
        Column("direction", Text, primary_key=True),
        Column("model", Text, primary_key=True),
        _number("step"),
        Index("run_models_by_model", "model", "direction", "run"),
    )


def _logged_models() -> None:
    _table(
        "logged_models",
        Column("id", Text, primary_key=True),
        Column("experiment", Text, ForeignKey("experiments.id"), nullable=False),
        Column("name", Text, nullable=False),
        Column("model_type", Text, nullable=False),
        Column("run", Text),
        Column("status", Text, nullable=False),
        Column("message", Text, nullable=False),
        Column("lifecycle", Text, nullable=False),
        Column("created_at", _Whole, nullable=False),
        Column("updated_at", _Whole, nullable=False),
        _happened(),
        Index("logged_models_by_experiment", "experiment", "lifecycle", "created_at", "id"),
        Index("logged_models_by_run", "run"),
    )
    _labels("logged_model_params", "model", of="logged_models.id")
    _labels("logged_model_tags", "model", of="logged_models.id")
    _keyed(
        "logged_model_metrics",
        Column("model", Text, ForeignKey("logged_models.id"), primary_key=True),
        Column("key", Text, primary_key=True),
        _number("at"),
        _number("step"),
        Column("value", _Real, primary_key=True),
        _number("nan"),
        Column("run", Text, primary_key=True),
        Column("dataset_name", Text, nullable=False),
        Column("dataset_digest", Text, nullable=False),
        Index("logged_model_metrics_by_value", "key", "value", "model"),
    )


def _files() -> None:
    _keyed(
        "run_files",
        Column("owner", Text, primary_key=True),
        Column("path", _Bytewise, primary_key=True),
        Column("digest", Text, nullable=False),
        Column("size", _Whole, nullable=False),
        Column("modified_at", _Whole, nullable=False),
    )
    _keyed(
        "uploads",
        Column("id", Text, primary_key=True),
        Column("owner", Text, nullable=False),
        Column("path", Text, nullable=False),
        Column("begun_at", _Whole, nullable=False),
    )
    _keyed(
        "upload_parts",
        Column("upload", Text, primary_key=True),
        _number("number"),
        Column("digest", Text, nullable=False),
        Column("size", _Whole, nullable=False),
    )


def _fill(runs: list[Any], *, params: list[Any], metrics: list[Any]) -> None:
    experiments = {"Default": ("0", time.time_ns() // 1000)}
    for run in sorted(runs, key=lambda run: run["started_at"]):
        experiments.setdefault(run["experiment"], (_id_of(run["experiment"]), run["started_at"]))
    homes = {run["id"]: experiments[run["experiment"]][0] for run in runs}
    times = {run["id"]: (run["ended_at"] or run["started_at"]) // 1000 for run in runs}
    bodies = {run["id"]: json.loads(run["body"]) for run in runs}
    tags = [(run, key, value) for run, body in bodies.items() for key, value in body.get("tags", {}).items()]
    _insert("experiments", [_experiment(name, id, at=at) for name, (id, at) in experiments.items()])
    _insert("runs", [_run(run, homes[run["id"]], body=bodies[run["id"]]) for run in runs])
    _insert("run_params", [{"run": row["run"], "key": row["name"], "value": row["value"]} for row in params])
    _insert("run_tags", [{"run": run, "key": key, "value": value} for run, key, value in tags])
    _insert("series", [_series(row, homes[row["run"]], at=times[row["run"]]) for row in metrics])
    rows = op.get_bind().execute(text("SELECT id, run, key FROM series")).all()
    numbers = {(row.run, row.key): row.id for row in rows}
    _insert("points", [_point(row, numbers[row["run"], row["name"]], at=times[row["run"]]) for row in metrics])
    keys = {(homes[row["run"]], "param", row["name"]) for row in params}
    keys |= {(homes[row["run"]], "metric", row["name"]) for row in metrics}
    keys |= {(homes[run], "tag", key) for run, key, _ in tags}
    _insert("run_keys", [{"experiment": one, "subject": subject, "key": key} for one, subject, key in sorted(keys)])


def _insert(name: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection = op.get_bind()
        connection.execute(Table(name, MetaData(), autoload_with=connection).insert(), rows)


def _id_of(name: str) -> str:
    """Give 18 digits that the name decides."""
    return str(10**17 + int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") % (9 * 10**17))


def _experiment(name: str, id: str, *, at: int) -> dict[str, Any]:
    return {"id": id, "name": name, "lifecycle": "active", "created_at": at, "updated_at": at, "event": None}


def _run(run: Any, home: str, *, body: dict[str, Any]) -> dict[str, Any]:
    kept = {name: run[name] for name in ("id", "name", "status", "started_at", "ended_at", "content_key", "event")}
    small = {name: body[name] for name in _BODY if name in body}
    return kept | {"experiment": home, "user_name": "", "lifecycle": "active", "body": json.dumps(small)}


def _series(row: Any, home: str, *, at: int) -> dict[str, Any]:
    return {"run": row["run"], "key": row["name"], "experiment": home, "at": at, "step": 0, "value": row["value"]}


def _point(row: Any, series: int, *, at: int) -> dict[str, Any]:
    value = row["value"]
    return {"series": series, "at": at, "step": 0, "value": value or 0.0, "nan": int(value is None)}
