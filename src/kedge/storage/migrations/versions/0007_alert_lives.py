"""The life of alerts, what channels are to tell of it, deliveries, and mutes.

Frozen: it says how revision 0007 was, whatever `sql/schema.py` says today.
"""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, Text, text
from sqlalchemy.types import TypeEngine

revision = "0007"
down_revision = "0006"

_Whole: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
_Truth: TypeEngine[bool] = Boolean().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables. Alerts that were raised before stay in the history; what still holds is raised again."""
    op.create_table(
        "alert_lives",
        Column("id", Text, primary_key=True),
        Column("model", Text, nullable=False),
        Column("kind", Text, nullable=False),
        Column("severity", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("seen_at", _Whole, nullable=False),
        Column("revision", _Whole, nullable=False),
        Column("event", _Whole, ForeignKey("events.serial"), nullable=False),
        Column("body", Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_index("alert_lives_by_time", "alert_lives", ["seen_at", "id"])
    op.create_index("alert_lives_of_model", "alert_lives", ["model", "state"])
    op.create_table(
        "alert_notices",
        Column("serial", _Whole, primary_key=True, autoincrement=True),
        Column("id", Text, nullable=False, unique=True),
        Column("alert", Text, nullable=False),
        Column("at", _Whole, nullable=False),
        Column("waiting", _Truth, nullable=False),
        Column("body", Text, nullable=False),
        sqlite_strict=True,
    )
    _partial("alert_notices_waiting", "alert_notices", where="waiting")
    op.create_table(
        "deliveries",
        Column("id", Text, primary_key=True),
        Column("serial", _Whole, nullable=False),
        Column("alert", Text, nullable=False),
        Column("channel", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("body", Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_index("deliveries_of_alert", "deliveries", ["alert", "serial"])
    op.create_index("deliveries_by_state", "deliveries", ["state", "channel"])
    _partial("deliveries_waiting", "deliveries", where="state = 'waiting'")
    op.create_table(
        "mutes",
        Column("model", Text, primary_key=True),
        Column("until", _Whole, nullable=False),
        Column("event", _Whole, ForeignKey("events.serial"), nullable=False),
        Column("body", Text, nullable=False),
        sqlite_strict=True,
    )


def _partial(name: str, table: str, *, where: str) -> None:
    op.create_index(name, table, ["serial"], sqlite_where=text(where), postgresql_where=text(where))
