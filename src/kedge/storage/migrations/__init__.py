"""Numbered migrations of the metadata store, forward only.

To add one: a file in `versions/`, its number here, the new tables in `sql/schema.py`, and a row of old data in
`tests/contract/test_metastore_migrations.py`. They run by Alembic, without a configuration file.
"""

from sqlalchemy import Connection

REVISIONS = ("0001",)
HEAD = REVISIONS[-1]


def upgrade(connection: Connection, to: str = HEAD) -> None:
    """Bring a store to a revision, within the open transaction."""
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "kedge.storage:migrations")
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)

    def steps(found: object, context: object) -> object:
        return script._upgrade_revs(to, found)  # type: ignore[arg-type]  # what Alembic's own env.py is given to run

    with EnvironmentContext(config, script, fn=steps) as environment:
        environment.configure(connection=connection)
        environment.run_migrations()
