"""What serving needs of a version, whoever registered it.

Frozen: it says how revision 0005 was, whatever `sql/schema.py` says today.
"""

from alembic import op
from sqlalchemy import Column, Text

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column; what was registered before is looked at when it is to be served."""
    op.add_column("model_versions", Column("servable", Text))
