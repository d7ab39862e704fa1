"""The catalogue of datasets, their tags and profiles; which blobs a sweep of unused data may take.

Frozen: it says how revision 0004 was, whatever `sql/schema.py` says today.
"""

import json
from datetime import UTC, datetime, timedelta

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, Text, text
from sqlalchemy.types import TypeEngine

revision = "0004"
down_revision = "0003"

_Whole: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
_Truth: TypeEngine[bool] = Boolean().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables, and a catalogue's entry for every dataset that has versions."""
    _tables()
    op.add_column("blobs", Column("reclaimable", _Truth))
    op.create_index(
        "blobs_reclaimable",
        "blobs",
        ["reclaimable"],
        sqlite_where=text("reclaimable"),
        postgresql_where=text("reclaimable"),
    )
    _fill()


def _fill() -> None:
    first = "SELECT dataset, MIN(created_at) AS at, MIN(event) AS event FROM dataset_versions GROUP BY dataset"
    rows = [
        {"name": row.dataset, "at": row.at, "event": row.event, "body": json.dumps(_entry(row.dataset, row.at))}
        for row in op.get_bind().execute(text(first)).all()
    ]
    if rows:
        added = "INSERT INTO datasets (name, kind, updated_at, event, body) VALUES (:name, 'table', :at, :event, :body)"
        op.get_bind().execute(text(added), rows)


def _entry(name: str, at: int) -> dict[str, str]:
    made = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)
    return {"name": name, "kind": "table", "created_at": made.isoformat()}


def _tables() -> None:
    op.create_table(
        "datasets",
        Column("name", Text, primary_key=True),
        Column("kind", Text, nullable=False),
        Column("updated_at", _Whole, nullable=False),
        Column("event", _Whole, ForeignKey("events.serial")),
        Column("body", Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "dataset_tags",
        Column("dataset", Text, primary_key=True),
        Column("tag", Text, primary_key=True),
        Column("number", _Whole, nullable=False),
        Column("event", _Whole, ForeignKey("events.serial"), nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "dataset_profiles",
        Column("version", Text, primary_key=True),
        Column("dataset", Text, nullable=False),
        Column("created_at", _Whole, nullable=False),
        Column("body", Text, nullable=False),
        sqlite_strict=True,
    )
