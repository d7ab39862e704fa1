"""Dataset versions and their validation reports."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Select, bindparam, insert, select

from kedge.domain.data import DatasetVersion, ValidationReport
from kedge.domain.events import Event
from kedge.domain.ids import DatasetName, Digest
from kedge.storage.sql import schema
from kedge.storage.sql.bodies import Body
from kedge.storage.sql.connections import Connections
from kedge.storage.sql.events import record

_versions, _reports = schema.dataset_versions, schema.validation_reports
_version = Body(DatasetVersion)
_report = Body(ValidationReport)

_bodies = select(_versions.c.body)
_newest = _bodies.where(_versions.c.dataset == bindparam("name")).order_by(_versions.c.number.desc()).limit(1)
_numbered = _bodies.where(_versions.c.dataset == bindparam("name"), _versions.c.number == bindparam("number"))
_by_digest = _bodies.where(_versions.c.digest == bindparam("digest")).order_by(_versions.c.event.desc()).limit(1)
_all = _bodies.where(_versions.c.dataset == bindparam("name")).order_by(_versions.c.number)
_names = select(_versions.c.dataset).distinct().order_by(_versions.c.dataset)
_newest_report = (
    select(_reports.c.body).where(_reports.c.version == bindparam("version")).order_by(_reports.c.event.desc()).limit(1)
)


class SqlDatasets:
    """Dataset versions and their validation reports (port `Datasets`)."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def add(self, version: DatasetVersion, event: Event) -> None:
        """Write a version. Raises Conflict where another has its number."""
        with self._connections.writing() as connection:
            if (serial := record(connection, event)) is not None:
                row = {
                    "dataset": version.dataset,
                    "number": version.number,
                    "digest": version.digest,
                    "rows": version.rows,
                    "created_at": version.created_at,
                    "event": serial,
                    "body": _version.write(version),
                }
                connection.execute(insert(_versions), row)

    def find(self, name: DatasetName, number: int | None = None) -> DatasetVersion | None:
        """Find a version by number, or the newest."""
        return self._one(_newest if number is None else _numbered, name=name, number=number)

    def find_digest(self, digest: Digest) -> DatasetVersion | None:
        """Find the newest version with this content."""
        return self._one(_by_digest, digest=digest)

    def list(self, name: DatasetName) -> Sequence[DatasetVersion]:
        """List versions, oldest first."""
        with self._connections.reading() as connection:
            return [_version.read(body) for body in connection.scalars(_all, {"name": name})]

    def names(self) -> Sequence[DatasetName]:
        """List the datasets, by name."""
        with self._connections.reading() as connection:
            return [DatasetName(name) for name in connection.scalars(_names)]

    def add_report(self, report: ValidationReport, event: Event) -> None:
        """Write a report on a version; the newest one counts."""
        with self._connections.writing() as connection:
            if (serial := record(connection, event)) is not None:
                row = {
                    "event": serial,
                    "version": report.version,
                    "passed": report.passed,
                    "body": _report.write(report),
                }
                connection.execute(insert(_reports), row)

    def find_report(self, version: Digest) -> ValidationReport | None:
        """Find the newest report on a version."""
        with self._connections.reading() as connection:
            body = connection.scalar(_newest_report, {"version": version})
        return _report.read(body) if body is not None else None

    def _one(self, query: Select[str], **values: object) -> DatasetVersion | None:
        with self._connections.reading() as connection:
            body = connection.scalar(query, values)
        return _version.read(body) if body is not None else None
