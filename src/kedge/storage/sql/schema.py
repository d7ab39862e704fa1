"""The tables of the metadata store, as they are at the newest revision.

Columns are what queries ask for; `body` holds the whole value (its largest parts, a run's params and metrics, stand in
tables of their own). `event` is the serial of the event that wrote the row: no state without its event.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)
from sqlalchemy.types import TypeEngine

REVISION_TABLE = "kedge_revision"  # not Alembic's own name: another program's tables may be in the same database

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Whole: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
Real: TypeEngine[float] = Double().with_variant(REAL(), "sqlite")
Truth: TypeEngine[bool] = Boolean().with_variant(Integer(), "sqlite")


class Moment(TypeDecorator[datetime]):
    """A time as whole microseconds since 1970 UTC: exact, sortable and the same in every dialect."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Name the column INTEGER on SQLite, whose strict tables know no BIGINT."""
        return dialect.type_descriptor(Integer() if dialect.name == "sqlite" else BigInteger())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Write. Raises ValueError for a time without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"time {value} has no zone; give it in UTC")
        return (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Read, UTC."""
        return None if value is None else _EPOCH + value * _MICROSECOND


metadata = MetaData()


def _table(name: str, *items: Any) -> Table:
    return Table(name, metadata, *items, sqlite_strict=True)


def _keyed(name: str, *items: Any) -> Table:
    """Make a table that SQLite keeps in its primary key alone (no second tree under row ids)."""
    return Table(name, metadata, *items, sqlite_strict=True, sqlite_with_rowid=False)


def _event() -> Column[int]:
    return Column("event", Whole, ForeignKey("events.serial"), nullable=False)


def _body() -> Column[str]:
    return Column("body", Text, nullable=False)


revision = Table(  # as Alembic makes it
    REVISION_TABLE,
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name=f"{REVISION_TABLE}_pkc"),
)

events = _table(
    "events",
    Column("serial", Whole, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("subject", Text, nullable=False),
    _body(),
    Column("hash", Text, nullable=False),
    Index("events_by_subject", "subject", "serial"),
)

edges = _keyed(
    "edges",
    Column("made_kind", Text, primary_key=True),
    Column("made", Text, primary_key=True),
    Column("role", Text, primary_key=True),
    Column("source_kind", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    _event(),
    Column("position", Whole, nullable=False),
    Index("edges_by_source", "source_kind", "source"),
)

dataset_versions = _table(
    "dataset_versions",
    Column("dataset", Text, primary_key=True),
    Column("number", Whole, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    Column("rows", Whole, nullable=False),
    Column("created_at", Moment, nullable=False),
    _event(),
    _body(),
    Index("dataset_versions_by_digest", "digest"),
)

validation_reports = _table(
    "validation_reports",
    Column("event", Whole, ForeignKey("events.serial"), primary_key=True, autoincrement=False),
    Column("version", Text, nullable=False),
    Column("passed", Truth, nullable=False),
    _body(),
    Index("validation_reports_by_version", "version", "event"),
)

runs = _table(
    "runs",
    Column("id", Text, primary_key=True),
    Column("experiment", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("content_key", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("ended_at", Moment),
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

run_params = _keyed(
    "run_params",
    Column("run", Text, ForeignKey("runs.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

run_metrics = _keyed(
    "run_metrics",
    Column("run", Text, ForeignKey("runs.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Real),
    Index("run_metrics_by_value", "name", "value"),
)

leases = _keyed(
    "leases",
    Column("content_key", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("expires_at", Moment, nullable=False),
)

model_versions = _table(
    "model_versions",
    Column("model", Text, primary_key=True),
    Column("number", Whole, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("registered_at", Moment, nullable=False),
    _event(),
    _body(),
)

alias_moves = _table(
    "alias_moves",
    Column("model", Text, primary_key=True),
    Column("alias", Text, primary_key=True),
    Column("serial", Whole, primary_key=True, autoincrement=False),
    Column("number", Whole),
    Column("previous", Whole),
    Column("moved_at", Moment, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    _event(),
)

deployments = _table(
    "deployments",
    Column("model", Text, primary_key=True),
    Column("revision", Whole, primary_key=True, autoincrement=False),
    Column("champion", Whole, nullable=False),
    Column("challenger", Whole),
    Column("since", Moment, nullable=False),
    _event(),
    _body(),
)

rollout_looks = _table(
    "rollout_looks",
    Column("model", Text, primary_key=True),
    Column("revision", Whole, primary_key=True, autoincrement=False),
    Column("window", Text, primary_key=True),
    Column("move", Text, nullable=False),
    Column("looked_at", Moment, nullable=False),
    _event(),
    _body(),
)

windows = _table(
    "windows",
    Column("model", Text, primary_key=True),
    Column("window", Text, primary_key=True),
    Column("start_at", Moment, nullable=False),
    Column("end_at", Moment, nullable=False),
    Column("rows", Whole, nullable=False),
    Column("labels", Whole, nullable=False),
    _event(),
    _body(),
    Index("windows_by_end", "model", "end_at", "start_at"),
)

monitor_states = _table(
    "monitor_states",
    Column("model", Text, primary_key=True),
    Column("window", Text, nullable=False),
    Column("end_at", Moment, nullable=False),
    Column("state", LargeBinary, nullable=False),
)

alerts = _table(
    "alerts",
    Column("model", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("raised_at", Moment, nullable=False),
    _event(),
    _body(),
    Index("alerts_by_time", "model", "raised_at", "event"),
)

ledger_entries = _table(
    "ledger_entries",
    Column("model", Text, primary_key=True),
    Column("window", Text, primary_key=True),
    Column("step", Whole, nullable=False),
    Column("decision", Text, nullable=False),
    Column("decided_at", Moment, nullable=False),
    _event(),
    _body(),
    Index("ledger_entries_by_event", "model", "event"),
)

notes = _table(
    "notes",
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

chunks = _keyed(
    "chunks",
    Column("digest", LargeBinary, primary_key=True),
    Column("pack", Text, nullable=False),
    Column("offset", Whole, nullable=False),
    Column("length", Whole, nullable=False),
)

blobs = _table(
    "blobs",
    Column("digest", LargeBinary, primary_key=True),
    Column("size", Whole, nullable=False),
    Column("chunks", LargeBinary, nullable=False),
)
