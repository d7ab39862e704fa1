"""What asks for a training besides the policy.

Frozen: it says how revision 0006 was, whatever `sql/schema.py` says today.
"""

from alembic import op
from sqlalchemy import BigInteger, Column, ForeignKey, Integer, Text
from sqlalchemy.types import TypeEngine

revision = "0006"
down_revision = "0005"

_Whole: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "triggers",
        Column("model", Text, primary_key=True),
        Column("key", Text, primary_key=True),
        Column("asked_at", _Whole, nullable=False),
        Column("taken_at", _Whole),
        Column("event", _Whole, ForeignKey("events.serial"), nullable=False),
        Column("body", Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_index("triggers_by_event", "triggers", ["model", "event"])
