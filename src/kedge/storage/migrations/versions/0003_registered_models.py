"""Registered models as rows of their own, versions of clients, tags and stages.

Each model that has versions becomes a registered model; its versions keep their numbers, digests and bodies.
Frozen: it says how revision 0003 was, whatever `sql/schema.py` says today.
"""

from typing import Any

from alembic import op
from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, MetaData, Table, Text, text
from sqlalchemy.types import TypeEngine

revision = "0003"
down_revision = "0002"

_Whole: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables and move the versions into them."""
    old = [dict(row) for row in op.get_bind().execute(text("SELECT * FROM model_versions ORDER BY event")).mappings()]
    op.drop_table("model_versions")
    _models()
    _versions()
    _stages()
    _fill(old)


def _table(name: str, *items: Any) -> None:
    op.create_table(name, *items, sqlite_strict=True)


def _keyed(name: str, *items: Any) -> None:
    op.create_table(name, *items, sqlite_strict=True, sqlite_with_rowid=False)


def _event() -> Column[int]:
    return Column("event", _Whole, ForeignKey("events.serial"), nullable=False)


def _models() -> None:
    _table(
        "registered_models",
        Column("model", Text, primary_key=True),
        Column("state", Text, nullable=False),
        Column("description", Text),
        Column("created_at", _Whole, nullable=False),
        Column("updated_at", _Whole, nullable=False),
        Column("last_number", _Whole, nullable=False),
        _event(),
    )
    _keyed(
        "registered_model_tags",
        Column("model", Text, primary_key=True),
        Column("key", Text, primary_key=True),
        Column("value", Text, nullable=False),
    )


def _versions() -> None:
    _table(
        "model_versions",
        Column("model", Text, primary_key=True),
        Column("number", _Whole, primary_key=True, autoincrement=False),
        Column("digest", Text),
        Column("run", Text),
        Column("registered_at", _Whole, nullable=False),
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
        Column("updated_at", _Whole, nullable=False),
        Column("deleted_at", _Whole),
        Column("facts", Text, nullable=False),
        Index("model_versions_by_run", "run"),
        Index("model_versions_by_update", "updated_at"),
    )
    _keyed(
        "model_version_tags",
        Column("model", Text, primary_key=True),
        Column("number", _Whole, primary_key=True, autoincrement=False),
        Column("key", Text, primary_key=True),
        Column("value", Text, nullable=False),
    )


def _stages() -> None:
    _table(
        "stage_moves",
        Column("model", Text, primary_key=True),
        Column("serial", _Whole, primary_key=True, autoincrement=False),
        Column("number", _Whole, nullable=False),
        Column("stage", Text, nullable=False),
        Column("previous", Text, nullable=False),
        Column("moved_at", _Whole, nullable=False),
        Column("actor", Text, nullable=False),
        Column("reason", Text, nullable=False),
        _event(),
    )


def _fill(old: list[dict[str, Any]]) -> None:
    """Write the versions again, and for each model the row that its first and last version tell of."""
    models: dict[str, dict[str, Any]] = {}
    for version in old:
        at, source = version["registered_at"], f"runs:/{version['run']}/model"
        version |= {"source": source, "location": source, "actor": "policy:gate", "stage": "None"}
        version |= {"updated_at": at, "facts": "{}"}
        first = {"state": "active", "created_at": at, "updated_at": at, "last_number": 0, "event": version["event"]}
        row = models.setdefault(version["model"], {"model": version["model"], **first})
        row["updated_at"] = max(row["updated_at"], at)
        row["last_number"] = max(row["last_number"], version["number"])
    connection = op.get_bind()
    for name, rows in (("registered_models", list(models.values())), ("model_versions", old)):
        if rows:
            connection.execute(Table(name, MetaData(), autoload_with=connection).insert(), rows)
