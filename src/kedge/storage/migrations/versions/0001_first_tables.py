"""The first tables.

Frozen: it says how revision 0001 was, whatever `sql/schema.py` says today.
"""

from typing import Any

from alembic import op
from sqlalchemy import REAL, BigInteger, Boolean, Column, Double, ForeignKey, Index, Integer, LargeBinary, Text, text
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision = None

_Whole: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
_Real: TypeEngine[float] = Double().with_variant(REAL(), "sqlite")
_Truth: TypeEngine[bool] = Boolean().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _what_happened()
    _data()
    _runs()
    _models()
    _watching()


def _table(name: str, *items: Any) -> None:
    op.create_table(name, *items, sqlite_strict=True)


def _keyed(name: str, *items: Any) -> None:
    op.create_table(name, *items, sqlite_strict=True, sqlite_with_rowid=False)


def _event() -> Column[int]:
    return Column("event", _Whole, ForeignKey("events.serial"), nullable=False)


def _body() -> Column[str]:
    return Column("body", Text, nullable=False)


def _what_happened() -> None:
    _table(
        "events",
        Column("serial", _Whole, primary_key=True, autoincrement=False),
        Column("key", Text, nullable=False, unique=True),
        Column("kind", Text, nullable=False),
        Column("at", _Whole, nullable=False),
        Column("subject", Text, nullable=False),
        _body(),
        Column("hash", Text, nullable=False),
        Index("events_by_subject", "subject", "serial"),
    )
    _keyed(
        "edges",
        Column("made_kind", Text, primary_key=True),
        Column("made", Text, primary_key=True),
        Column("role", Text, primary_key=True),
        Column("source_kind", Text, primary_key=True),
        Column("source", Text, primary_key=True),
        _event(),
        Column("position", _Whole, nullable=False),
        Index("edges_by_source", "source_kind", "source"),
    )
    _table(
        "notes",
        Column("name", Text, primary_key=True),
        Column("value", LargeBinary, nullable=False),
    )


def _data() -> None:
    _table(
        "dataset_versions",
        Column("dataset", Text, primary_key=True),
        Column("number", _Whole, primary_key=True, autoincrement=False),
        Column("digest", Text, nullable=False),
        Column("rows", _Whole, nullable=False),
        Column("created_at", _Whole, nullable=False),
        _event(),
        _body(),
        Index("dataset_versions_by_digest", "digest"),
    )
    _table(
        "validation_reports",
        Column("event", _Whole, ForeignKey("events.serial"), primary_key=True, autoincrement=False),
        Column("version", Text, nullable=False),
        Column("passed", _Truth, nullable=False),
        _body(),
        Index("validation_reports_by_version", "version", "event"),
    )
    _keyed(
        "chunks",
        Column("digest", LargeBinary, primary_key=True),
        Column("pack", Text, nullable=False),
        Column("offset", _Whole, nullable=False),
        Column("length", _Whole, nullable=False),
    )
    _table(
        "blobs",
        Column("digest", LargeBinary, primary_key=True),
        Column("size", _Whole, nullable=False),
        Column("chunks", LargeBinary, nullable=False),
    )


def _runs() -> None:
    _table(
        "runs",
        Column("id", Text, primary_key=True),
        Column("experiment", Text, nullable=False),
        Column("name", Text, nullable=False),
        Column("content_key", Text, nullable=False),
        Column("status", Text, nullable=False),
        Column("started_at", _Whole, nullable=False),
        Column("ended_at", _Whole),
        _event(),
        _body(),
        Index("runs_by_experiment", "experiment", "started_at"),
        Index(
            "runs_finished",
            "content_key",
            unique=True,
            sqlite_where=text("status = 'finished'"),
            postgresql_where=text("status = 'finished'"),
        ),
    )
    _keyed(
        "run_params",
        Column("run", Text, ForeignKey("runs.id"), primary_key=True),
        Column("name", Text, primary_key=True),
        Column("value", Text, nullable=False),
    )
    _keyed(
        "run_metrics",
        Column("run", Text, ForeignKey("runs.id"), primary_key=True),
        Column("name", Text, primary_key=True),
        Column("value", _Real),
        Index("run_metrics_by_value", "name", "value"),
    )
    _keyed(
        "leases",
        Column("content_key", Text, primary_key=True),
        Column("owner", Text, nullable=False),
        Column("expires_at", _Whole, nullable=False),
    )


def _models() -> None:
    _table(
        "model_versions",
        Column("model", Text, primary_key=True),
        Column("number", _Whole, primary_key=True, autoincrement=False),
        Column("digest", Text, nullable=False),
        Column("run", Text, nullable=False),
        Column("registered_at", _Whole, nullable=False),
        _event(),
        _body(),
    )
    _table(
        "alias_moves",
        Column("model", Text, primary_key=True),
        Column("alias", Text, primary_key=True),
        Column("serial", _Whole, primary_key=True, autoincrement=False),
        Column("number", _Whole),
        Column("previous", _Whole),
        Column("moved_at", _Whole, nullable=False),
        Column("actor", Text, nullable=False),
        Column("reason", Text, nullable=False),
        _event(),
    )
    _table(
        "deployments",
        Column("model", Text, primary_key=True),
        Column("revision", _Whole, primary_key=True, autoincrement=False),
        Column("champion", _Whole, nullable=False),
        Column("challenger", _Whole),
        Column("since", _Whole, nullable=False),
        _event(),
        _body(),
    )
    _table(
        "rollout_looks",
        Column("model", Text, primary_key=True),
        Column("revision", _Whole, primary_key=True, autoincrement=False),
        Column("window", Text, primary_key=True),
        Column("move", Text, nullable=False),
        Column("looked_at", _Whole, nullable=False),
        _event(),
        _body(),
    )


def _watching() -> None:
    _table(
        "windows",
        Column("model", Text, primary_key=True),
        Column("window", Text, primary_key=True),
        Column("start_at", _Whole, nullable=False),
        Column("end_at", _Whole, nullable=False),
        Column("rows", _Whole, nullable=False),
        Column("labels", _Whole, nullable=False),
        _event(),
        _body(),
        Index("windows_by_end", "model", "end_at", "start_at"),
    )
    _table(
        "monitor_states",
        Column("model", Text, primary_key=True),
        Column("window", Text, nullable=False),
        Column("end_at", _Whole, nullable=False),
        Column("state", LargeBinary, nullable=False),
    )
    _table(
        "alerts",
        Column("model", Text, primary_key=True),
        Column("key", Text, primary_key=True),
        Column("kind", Text, nullable=False),
        Column("raised_at", _Whole, nullable=False),
        _event(),
        _body(),
        Index("alerts_by_time", "model", "raised_at", "event"),
    )
    _table(
        "ledger_entries",
        Column("model", Text, primary_key=True),
        Column("window", Text, primary_key=True),
        Column("step", _Whole, nullable=False),
        Column("decision", Text, nullable=False),
        Column("decided_at", _Whole, nullable=False),
        _event(),
        _body(),
        Index("ledger_entries_by_event", "model", "event"),
    )
