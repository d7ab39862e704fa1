"""Numbered migrations of the metadata store, forward only, run by Alembic without a configuration file.

To add one: a file in `versions/`, its number here, the new state in `sql/schema.py`, and a file of old rows in
`tests/contract/old_stores/` (the suite says how). A store is opened by these migrations or created by `schema.py`;
a test holds both to the same tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

REVISION_TABLE = "kedge_revision"  # not Alembic's own name: another program's tables may be in the same database
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")
HEAD = REVISIONS[-1]
FOLDERS = [Path(__file__).parent / "versions"]


def upgrade(connection: Connection, to: str, *, table: str) -> None:
    """Bring a store to a revision, within the open transaction; `table` is where its revision is kept."""
    # Alembic takes 0.3 s to import, and only an old store needs it.
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(FOLDERS[0].parent), version_locations=[str(folder) for folder in FOLDERS])

    def steps(found: object, context: object) -> object:
        return script._upgrade_revs(to, found)  # type: ignore[arg-type]  # as Alembic's own `upgrade` command does

    with EnvironmentContext(Config(), script, fn=steps) as environment:
        environment.configure(connection=connection, version_table=table)
        environment.run_migrations()
