"""Versions of datasets, and their tags: what every command on data asks for. Light: plain statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kedge.domain.data import Dataset, DatasetVersion
from kedge.domain.events import Event
from kedge.domain.ids import DatasetName, Digest
from kedge.storage.sql.bodies import Body
from kedge.storage.sql.chain import append
from kedge.storage.sql.session import Sessions, to_us

_entry = Body(Dataset)
_version = Body(DatasetVersion)

_NEWEST = "SELECT body FROM dataset_versions WHERE dataset = ? ORDER BY number DESC LIMIT 1"
_NUMBERED = "SELECT body FROM dataset_versions WHERE dataset = ? AND number = ?"
_BY_DIGEST = "SELECT body FROM dataset_versions WHERE digest = ? ORDER BY event DESC LIMIT 1"
_LIST = "SELECT body FROM dataset_versions WHERE dataset = ? AND number < ? ORDER BY number DESC LIMIT ?"
_NAMES = "SELECT DISTINCT dataset FROM dataset_versions ORDER BY dataset"
_TAGS = "SELECT tag, number FROM dataset_tags WHERE dataset = ? ORDER BY tag"
_ADD = "INSERT INTO dataset_versions (dataset, number, digest, rows, created_at, event, body) VALUES (?, ?, ?, ?, ?, ?, ?)"
_ADD_ENTRY = "INSERT INTO datasets (name, kind, updated_at, event, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_ALL = 2**62


class SqlVersions:
    """Versions of datasets and their tags (port `Versions`)."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def add(self, version: DatasetVersion, event: Event) -> None:
        """Write a version; a dataset that the catalogue does not have gets its entry. Raises Conflict where another
        has its number."""
        made = to_us(version.created_at)
        with self._sessions.writing() as session:
            if (serial := append(session, event)) is not None:
                first = Dataset(name=version.dataset, kind=version.kind, created_at=version.created_at)
                session.run(_ADD_ENTRY, first.name, first.kind.value, to_us(event.at), serial, _entry.write(first))
                row = version.dataset, version.number, version.digest, version.rows, made, serial, _version.write(version)
                session.run(_ADD, *row)

    def find(self, name: DatasetName, number: int | None = None) -> DatasetVersion | None:
        """Find a version by number, or the newest."""
        return self._one(_NEWEST, name) if number is None else self._one(_NUMBERED, name, number)

    def find_digest(self, digest: Digest) -> DatasetVersion | None:
        """Find the newest version with this content."""
        return self._one(_BY_DIGEST, digest)

    def list(self, name: DatasetName, *, before: int | None = None, limit: int | None = None) -> Sequence[DatasetVersion]:
        """List versions, oldest first: all, or those with a number below `before`, the newest `limit` of them."""
        with self._sessions.reading() as session:
            rows = session.rows(_LIST, name, _ALL if before is None else before, _ALL if limit is None else limit)
        return [_version.read(body) for (body,) in reversed(rows)]

    def names(self) -> Sequence[DatasetName]:
        """List the datasets, by name."""
        with self._sessions.reading() as session:
            return [DatasetName(name) for (name,) in session.rows(_NAMES)]

    def tags(self, name: DatasetName) -> Mapping[str, int]:
        """List a dataset's tags with the numbers of the versions they name."""
        with self._sessions.reading() as session:
            return dict(session.rows(_TAGS, name))

    def _one(self, statement: str, *values: object) -> DatasetVersion | None:
        with self._sessions.reading() as session:
            row = session.row(statement, *values)
        return _version.read(row[0]) if row is not None else None
