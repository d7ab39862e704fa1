"""The metadata store: opens a URL, brings its tables to the newest revision, holds one object per aggregate."""

from datetime import UTC, datetime

from sqlalchemy import Connection, inspect, select
from sqlalchemy.exc import OperationalError, ProgrammingError

from kedge.domain.ids import DEFAULT_EXPERIMENT
from kedge.errors import ConfigError, StoreTooNew
from kedge.storage import migrations
from kedge.storage.sql import dialect, schema
from kedge.storage.sql.alert_lives import SqlAlerts
from kedge.storage.sql.chunks import SqlChunks
from kedge.storage.sql.connections import Connections, Plain
from kedge.storage.sql.datasets import SqlDatasets
from kedge.storage.sql.deployments import SqlDeployments
from kedge.storage.sql.events import SqlEvents
from kedge.storage.sql.experiments import SqlExperiments
from kedge.storage.sql.files import SqlFiles
from kedge.storage.sql.hot import Hot
from kedge.storage.sql.ledgers import SqlLedgers
from kedge.storage.sql.logged_models import SqlLoggedModels
from kedge.storage.sql.models import SqlModels
from kedge.storage.sql.notes import SqlNotes
from kedge.storage.sql.overviews import SqlOverviews
from kedge.storage.sql.points import SqlPoints
from kedge.storage.sql.registered import SqlRegisteredModels
from kedge.storage.sql.runs import SqlRuns
from kedge.storage.sql.tracked import SqlFinder
from kedge.storage.sql.triggers import SqlTriggers
from kedge.storage.sql.watches import SqlWatches


class SqlStore:
    """The metadata store on SQL (port `MetaStore`), and the chunk store's index."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self.alerts = SqlAlerts(connections)
        self.datasets = SqlDatasets(connections)
        self._hot = Hot(connections)
        self.experiments = SqlExperiments(self._hot)
        self.runs = SqlRuns(connections, self._hot)
        self.points = SqlPoints(self._hot)
        self.overviews = SqlOverviews(self._hot)
        self.logged_models = SqlLoggedModels(self._hot)
        self.finder = SqlFinder(self._hot)
        self.models = SqlModels(connections)
        self.registered = SqlRegisteredModels(connections, self._hot)
        self.deployments = SqlDeployments(connections)
        self.watches = SqlWatches(connections)
        self.ledgers = SqlLedgers(connections)
        self.triggers = SqlTriggers(connections)
        self.events = SqlEvents(connections)
        self.files = SqlFiles(connections)
        self.notes = SqlNotes(connections)
        self.chunks = SqlChunks(Plain(connections))

    def close(self) -> None:
        """Close all connections."""
        self._hot.close()
        self._connections.close()


def open_store(url: str) -> SqlStore:
    """Open a store: "sqlite://" (in memory), "sqlite:///PATH", "postgresql://HOST/DATABASE".

    A new store gets its tables, an old one is migrated. Raises ConfigError where it cannot be reached, StoreTooNew.
    """
    connections = Connections(dialect.open_engine(url))
    try:
        _prepare(connections)
    except (OperationalError, ProgrammingError) as error:  # the second: an option that the driver does not take
        connections.close()
        said, place = f"{error.orig}", dialect.shown(connections.engine.url)
        if said == "unable to open database file":
            said += "; it must be a file, in a folder that can be written"
        raise ConfigError(f"the store {place} cannot be opened: {said}") from error
    except BaseException:
        connections.close()
        raise
    return SqlStore(connections)


def _prepare(connections: Connections) -> None:
    with connections.reading() as connection:
        found = _revision(connection)
    if found == migrations.HEAD:
        return
    with connections.writing() as connection:
        dialect.lock_chain(connection)
        found = _revision(connection)  # again: another process may have been at it
        if found is None:
            _create(connection)
        elif found not in migrations.REVISIONS:
            raise StoreTooNew(
                f"the store {dialect.shown(connections.engine.url)} has revision {found!r}, this Kedge knows up to "
                f"{migrations.HEAD!r}; use the newer Kedge that wrote it, or another store"
            )
        elif found != migrations.HEAD:
            migrations.upgrade(connection, migrations.HEAD, table=migrations.REVISION_TABLE)


def _revision(connection: Connection) -> str | None:
    """Read the store's revision; None for a store without tables."""
    if not inspect(connection).has_table(migrations.REVISION_TABLE):
        return None
    return connection.scalar(select(schema.revision.c.version_num))


def _create(connection: Connection) -> None:
    """Make all tables at once: what the migrations lead to (a test compares), without the 0.4 s to import Alembic."""
    if taken := schema.metadata.tables.keys() & inspect(connection).get_table_names():
        raise ConfigError(
            f"the store {dialect.shown(connection.engine.url)} holds tables that are not Kedge's "
            f"({', '.join(sorted(taken))}); "
            "give Kedge a database or a schema of its own"
        )
    schema.metadata.create_all(connection, checkfirst=False)
    connection.execute(schema.revision.insert(), {"version_num": migrations.HEAD})
    now = datetime.now(UTC)
    default = {"id": DEFAULT_EXPERIMENT, "name": "Default", "lifecycle": "active", "created_at": now, "updated_at": now}
    connection.execute(schema.experiments.insert(), default)
