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
    Connection,
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
    event,
    text,
)
from sqlalchemy.types import TypeEngine

from kedge.storage.migrations import REVISION_TABLE

_partials: list[tuple[Index, str]] = []

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Whole: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
Real: TypeEngine[float] = Double().with_variant(REAL(), "sqlite")
Bytewise: TypeEngine[str] = Text().with_variant(Text(collation="C"), "postgresql")
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


def _partial(name: str, column: str, *, where: str, unique: bool = False) -> Index:
    """Make an index of those rows only for which a condition holds."""
    index = Index(name, column, unique=unique, sqlite_where=text(where))
    _partials.append((index, where))
    return index


@event.listens_for(metadata, "before_create")
def _tell_postgresql(_: MetaData, connection: Connection, **__: Any) -> None:
    """Give the conditions to PostgreSQL only where it is used: its part of SQLAlchemy takes 60 ms to import."""
    if connection.dialect.name == "postgresql":
        for index, where in _partials:
            index.dialect_options["postgresql"]["where"] = text(where)


def _table(name: str, *items: Any) -> Table:
    return Table(name, metadata, *items, sqlite_strict=True)


def _keyed(name: str, *items: Any) -> Table:
    """Make a table that SQLite keeps in its primary key alone (no second tree under row ids)."""
    return Table(name, metadata, *items, sqlite_strict=True, sqlite_with_rowid=False)


def _event() -> Column[int]:
    return Column("event", Whole, ForeignKey("events.serial"), nullable=False)


def _happened() -> Column[int]:
    """Make an event column for rows that an older Kedge, or the store itself, wrote without one."""
    return Column("event", Whole, ForeignKey("events.serial"))


def _labels(name: str, owner: str, *, of: str) -> Table:
    """Make a table of keys and values that belong to something."""
    return _keyed(
        name,
        Column(owner, Text, ForeignKey(of), primary_key=True),
        Column("key", Text, primary_key=True),
        Column("value", Text, nullable=False),
    )


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

datasets = _table(
    "datasets",
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("updated_at", Moment, nullable=False),
    _happened(),
    _body(),
)

dataset_tags = _keyed(
    "dataset_tags",
    Column("dataset", Text, primary_key=True),
    Column("tag", Text, primary_key=True),
    Column("number", Whole, nullable=False),
    _event(),
)

dataset_profiles = _table(
    "dataset_profiles",
    Column("version", Text, primary_key=True),
    Column("dataset", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    _body(),
)

validation_reports = _table(
    "validation_reports",
    Column("event", Whole, ForeignKey("events.serial"), primary_key=True, autoincrement=False),
    Column("version", Text, nullable=False),
    Column("passed", Truth, nullable=False),
    _body(),
    Index("validation_reports_by_version", "version", "event"),
)

experiments = _table(
    "experiments",
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("lifecycle", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    _happened(),
    Index("experiments_by_update", "lifecycle", "updated_at", "id"),
)

experiment_tags = _labels("experiment_tags", "experiment", of="experiments.id")

runs = _table(
    "runs",
    Column("id", Text, primary_key=True),
    Column("experiment", Text, ForeignKey("experiments.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("user_name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("lifecycle", Text, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("ended_at", Moment),
    Column("deleted_at", Moment),
    Column("deleted_with", Text),  # the experiment that it was deleted with
    Column("content_key", Text),
    _happened(),
    _body(),
    Index("runs_by_experiment", "experiment", "lifecycle", "started_at", "id"),
    _partial("runs_finished", "content_key", where="status = 'finished' AND content_key IS NOT NULL", unique=True),
)

run_params = _labels("run_params", "run", of="runs.id")
run_tags = _labels("run_tags", "run", of="runs.id")

# the keys that the runs of an experiment have, each once; `subject` is "metric", "param" or "tag"
run_keys = _keyed(
    "run_keys",
    Column("experiment", Text, ForeignKey("experiments.id"), primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("key", Text, primary_key=True),
)

# a number for each (run, key), and its latest point; null is NaN; a run's experiment never changes
series = _table(
    "series",
    Column("id", Whole, primary_key=True, autoincrement=True),
    Column("run", Text, ForeignKey("runs.id"), nullable=False),
    Column("key", Text, nullable=False),
    Column("experiment", Text, nullable=False),
    Column("at", Whole, nullable=False),
    Column("step", Whole, nullable=False),
    Column("value", Real),
    Index("series_of_run", "run", "key", unique=True),
    Index("series_by_value", "experiment", "key", "value", "run"),
)

# NaN, which no key may hold, is 0 with `nan` 1
points = _keyed(
    "points",
    Column("series", Whole, primary_key=True, autoincrement=False),
    Column("at", Whole, primary_key=True, autoincrement=False),
    Column("step", Whole, primary_key=True, autoincrement=False),
    Column("value", Real, primary_key=True),
    Column("nan", Whole, primary_key=True, autoincrement=False),
)

input_datasets = _table(
    "input_datasets",
    Column("id", Whole, primary_key=True, autoincrement=True),
    Column("experiment", Text, ForeignKey("experiments.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("source_type", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("schema", Text, nullable=False),
    Column("profile", Text, nullable=False),
    Index("input_datasets_by_name", "experiment", "name", "digest", unique=True),
)

run_datasets = _keyed(
    "run_datasets",
    Column("run", Text, ForeignKey("runs.id"), primary_key=True),
    Column("dataset", Whole, ForeignKey("input_datasets.id"), primary_key=True, autoincrement=False),
    Column("context", Text, nullable=False),  # what the tag mlflow.data.context says, for searches
    Column("tags", Text, nullable=False),
    Index("run_datasets_by_dataset", "dataset", "run"),
)

run_models = _keyed(
    "run_models",
    Column("run", Text, ForeignKey("runs.id"), primary_key=True),
    Column("direction", Text, primary_key=True),  # "in" or "out"
    Column("model", Text, primary_key=True),
    Column("step", Whole, primary_key=True, autoincrement=False),
    Index("run_models_by_model", "model", "direction", "run"),
)

logged_models = _table(
    "logged_models",
    Column("id", Text, primary_key=True),
    Column("experiment", Text, ForeignKey("experiments.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("model_type", Text, nullable=False),
    Column("run", Text),
    Column("status", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("lifecycle", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    _happened(),
    Index("logged_models_by_experiment", "experiment", "lifecycle", "created_at", "id"),
    Index("logged_models_by_run", "run"),
)

logged_model_params = _labels("logged_model_params", "model", of="logged_models.id")
logged_model_tags = _labels("logged_model_tags", "model", of="logged_models.id")

logged_model_metrics = _keyed(
    "logged_model_metrics",
    Column("model", Text, ForeignKey("logged_models.id"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("at", Whole, primary_key=True, autoincrement=False),
    Column("step", Whole, primary_key=True, autoincrement=False),
    Column("value", Real, primary_key=True),
    Column("nan", Whole, primary_key=True, autoincrement=False),
    Column("run", Text, primary_key=True),
    Column("dataset_name", Text, nullable=False),
    Column("dataset_digest", Text, nullable=False),
    Index("logged_model_metrics_by_value", "key", "value", "model"),
)

# files of runs and of logged models: `owner` is either
run_files = _keyed(
    "run_files",
    Column("owner", Text, primary_key=True),
    Column("path", Bytewise, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("size", Whole, nullable=False),
    Column("modified_at", Moment, nullable=False),
)

uploads = _keyed(
    "uploads",
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("begun_at", Moment, nullable=False),
)

upload_parts = _keyed(
    "upload_parts",
    Column("upload", Text, primary_key=True),
    Column("number", Whole, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    Column("size", Whole, nullable=False),
)

leases = _keyed(
    "leases",
    Column("content_key", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("expires_at", Moment, nullable=False),
)

registered_models = _table(  # a row stays for each name that ever was one: its numbers are never given again
    "registered_models",
    Column("model", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("description", Text),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("last_number", Whole, nullable=False),
    _event(),
)

registered_model_tags = _keyed(
    "registered_model_tags",
    Column("model", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

model_versions = _table(  # `body` is the loop's own version, `servable` what serving needs, where it is known
    "model_versions",
    Column("model", Text, primary_key=True),
    Column("number", Whole, primary_key=True, autoincrement=False),
    Column("digest", Text),
    Column("run", Text),
    Column("registered_at", Moment, nullable=False),
    _event(),
    Column("body", Text),
    Column("source", Text, nullable=False),
    Column("location", Text, nullable=False),
    Column("run_link", Text),
    Column("logged_model", Text),
    Column("user", Text),
    Column("actor", Text, nullable=False),
    Column("description", Text),
    Column("stage", Text, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("deleted_at", Moment),
    Column("facts", Text, nullable=False),
    Column("servable", Text),
    Index("model_versions_by_run", "run"),
    Index("model_versions_by_update", "updated_at"),
)

model_version_tags = _keyed(
    "model_version_tags",
    Column("model", Text, primary_key=True),
    Column("number", Whole, primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

stage_moves = _table(
    "stage_moves",
    Column("model", Text, primary_key=True),
    Column("serial", Whole, primary_key=True, autoincrement=False),
    Column("number", Whole, nullable=False),
    Column("stage", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("moved_at", Moment, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    _event(),
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

alert_lives = _table(
    "alert_lives",
    Column("id", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("seen_at", Moment, nullable=False),
    Column("revision", Whole, nullable=False),
    _event(),
    _body(),
    Index("alert_lives_by_time", "seen_at", "id"),
    Index("alert_lives_of_model", "model", "state"),
)

# what channels are to tell, written with the change that it tells of; `waiting` until its deliveries are written
alert_notices = _table(
    "alert_notices",
    Column("serial", Whole, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("alert", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("waiting", Truth, nullable=False),
    _body(),
    _partial("alert_notices_waiting", "serial", where="waiting"),
)

deliveries = _table(  # `serial` is the notice's
    "deliveries",
    Column("id", Text, primary_key=True),
    Column("serial", Whole, nullable=False),
    Column("alert", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("state", Text, nullable=False),
    _body(),
    Index("deliveries_of_alert", "alert", "serial"),
    Index("deliveries_by_state", "state", "channel"),
    _partial("deliveries_waiting", "serial", where="state = 'waiting'"),
)

mutes = _table(
    "mutes",
    Column("model", Text, primary_key=True),
    Column("until", Moment, nullable=False),
    _event(),
    _body(),
)

triggers = _table(
    "triggers",
    Column("model", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("asked_at", Moment, nullable=False),
    Column("taken_at", Moment),
    _event(),
    _body(),
    Index("triggers_by_event", "model", "event"),
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
    Column("reclaimable", Truth),
    _partial("blobs_reclaimable", "reclaimable", where="reclaimable"),
)
