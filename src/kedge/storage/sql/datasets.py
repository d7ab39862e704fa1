"""The catalogue of datasets; what was found of their versions. The versions themselves: `versions.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from kedge.domain.data import Dataset, DatasetVersion, TableProfile, ValidationReport
from kedge.domain.events import Event
from kedge.domain.ids import DatasetName, Digest
from kedge.errors import Conflict, NotFound
from kedge.storage.sql import schema
from kedge.storage.sql.bodies import Body
from kedge.storage.sql.connections import Connections, Plain
from kedge.storage.sql.events import record
from kedge.storage.sql.versions import SqlVersions

_entries, _versions, _tags = schema.datasets, schema.dataset_versions, schema.dataset_tags
_reports, _profiles = schema.validation_reports, schema.dataset_profiles
_events = schema.events
_entry = Body(Dataset)
_version = Body(DatasetVersion)
_report = Body(ValidationReport)
_profile = Body(TableProfile)

_bodies = select(_versions.c.body)
_numbered = _bodies.where(_versions.c.dataset == bindparam("name"), _versions.c.number == bindparam("number"))
_newest_report = (
    select(_reports.c.body).where(_reports.c.version == bindparam("version")).order_by(_reports.c.event.desc()).limit(1)
)


class SqlDatasets(SqlVersions):
    """The catalogue of datasets; their versions, tags, validation reports and profiles (port `Datasets`)."""

    def __init__(self, connections: Connections) -> None:
        super().__init__(Plain(connections))
        self._connections = connections

    def describe(self, dataset: Dataset, event: Event, *, before: Dataset | None = None) -> None:
        """Write a dataset's entry in place of the one that is there. Raises Conflict where that is not `before`."""
        with self._connections.writing() as connection:
            if before is not None:
                body = connection.scalar(select(_entries.c.body).where(_entries.c.name == dataset.name))
                if body is None or _entry.read(body) != before:
                    raise Conflict(
                        f"someone described dataset {dataset.name!r} since you read it; read it again, then retry"
                    )
            if (serial := record(connection, event)) is not None:
                connection.execute(delete(_entries).where(_entries.c.name == dataset.name))
                connection.execute(insert(_entries), _entry_row(dataset, at=event.at, serial=serial))

    def entry(self, name: DatasetName) -> Dataset | None:
        """Find a dataset's entry in the catalogue."""
        with self._connections.reading() as connection:
            body = connection.scalar(select(_entries.c.body).where(_entries.c.name == name))
        return _entry.read(body) if body is not None else None

    def entries(self) -> Sequence[Dataset]:
        """List the catalogue, by name."""
        with self._connections.reading() as connection:
            return [_entry.read(body) for body in connection.scalars(select(_entries.c.body).order_by(_entries.c.name))]

    def newest(self) -> Mapping[DatasetName, DatasetVersion]:
        """Read the newest version of every dataset."""
        last = select(_versions.c.dataset, func.max(_versions.c.number).label("number")).group_by(_versions.c.dataset)
        found = last.subquery()
        asked = _bodies.join(
            found, (_versions.c.dataset == found.c.dataset) & (_versions.c.number == found.c.number)
        ).order_by(_versions.c.dataset)
        with self._connections.reading() as connection:
            versions = [_version.read(body) for body in connection.scalars(asked)]
        return {version.dataset: version for version in versions}

    def all_tags(self) -> Mapping[DatasetName, dict[str, int]]:
        """List the tags of the versions of every dataset that has some."""
        asked = select(_tags.c.dataset, _tags.c.tag, _tags.c.number).order_by(_tags.c.dataset, _tags.c.tag)
        found: dict[DatasetName, dict[str, int]] = {}
        with self._connections.reading() as connection:
            for row in connection.execute(asked):
                found.setdefault(row.dataset, {})[row.tag] = row.number
        return found

    def tag(self, name: DatasetName, tag: str, *, number: int | None, event: Event) -> None:
        """Have a tag name a version, or, without a number, nothing any more. Raises NotFound for a version."""
        with self._connections.writing() as connection:
            if (serial := record(connection, event)) is None:
                return
            connection.execute(delete(_tags).where(_tags.c.dataset == name, _tags.c.tag == tag))
            if number is None:
                return
            if connection.scalar(_numbered, {"name": name, "number": number}) is None:
                raise NotFound(f"dataset {name!r} has no version {number}; list them with `kedge data log {name}`")
            connection.execute(insert(_tags), {"dataset": name, "tag": tag, "number": number, "event": serial})

    def drop(self, name: DatasetName, numbers: Sequence[int], *, event: Event) -> None:
        """Forget versions, their reports and profiles; their tags too. What they held is the blob store's matter."""
        gone = (_versions.c.dataset == name) & _versions.c.number.in_(numbers)
        with self._connections.writing() as connection:
            if record(connection, event) is None:
                return
            digests = connection.scalars(select(_versions.c.digest).where(gone)).all()
            connection.execute(delete(_versions).where(gone))
            connection.execute(delete(_tags).where(_tags.c.dataset == name, _tags.c.number.in_(numbers)))
            left = set(connection.scalars(select(_versions.c.digest).where(_versions.c.digest.in_(digests))))
            _forget_findings(connection, [digest for digest in digests if digest not in left])

    def amend(self, versions: Sequence[DatasetVersion], event: Event) -> None:
        """Replace versions after an erasure, all at once: their digests stay; reports and profiles on them go."""
        with self._connections.writing() as connection:
            if record(connection, event) is None:
                return
            for version in versions:
                one = (_versions.c.dataset == version.dataset) & (_versions.c.number == version.number)
                connection.execute(update(_versions).where(one).values(rows=version.rows, body=_version.write(version)))
            _forget_findings(connection, [version.digest for version in versions])

    def add_profile(self, profile: TableProfile) -> None:
        """Write a version's profile, in place of the one that is there."""
        row = {"dataset": profile.dataset, "created_at": profile.created_at, "body": _profile.write(profile)}
        with self._connections.writing() as connection:
            connection.execute(delete(_profiles).where(_profiles.c.version == profile.version))
            connection.execute(insert(_profiles), {"version": profile.version, **row})

    def find_profile(self, version: Digest) -> TableProfile | None:
        """Find a version's profile."""
        with self._connections.reading() as connection:
            body = connection.scalar(select(_profiles.c.body).where(_profiles.c.version == version))
        return _profile.read(body) if body is not None else None

    def reports(self, name: DatasetName) -> Sequence[tuple[datetime, ValidationReport]]:
        """List all reports on a dataset's versions with their times, oldest first."""
        asked = (
            select(_events.c.at, _reports.c.body)
            .join(_events, _events.c.serial == _reports.c.event)
            .where(_reports.c.version.in_(select(_versions.c.digest).where(_versions.c.dataset == name)))
            .order_by(_reports.c.event)
        )
        with self._connections.reading() as connection:
            return [(row.at, _report.read(row.body)) for row in connection.execute(asked)]

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


def _entry_row(dataset: Dataset, *, at: datetime, serial: int) -> dict[str, object]:
    return {
        "name": dataset.name,
        "kind": dataset.kind.value,
        "updated_at": at,
        "event": serial,
        "body": _entry.write(dataset),
    }


def _forget_findings(connection: Connection, digests: Sequence[str]) -> None:
    """Remove reports and profiles: they may name values of rows that are to be gone."""
    connection.execute(delete(_reports).where(_reports.c.version.in_(digests)))
    connection.execute(delete(_profiles).where(_profiles.c.version.in_(digests)))
