"""Files of runs and logged models, and uploads in parts.

Paths are compared byte by byte in both dialects, so a folder's files are one range: "a/" <= path < "a0". A listing jumps
from one subfolder to the next instead of reading what is in them. Whoever writes for an owner waits for others that do:
so two cannot make a file and a folder of one name.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, Row, and_, bindparam, delete, or_, select, text

from kedge.domain.artifacts import Listed, RunFile, Upload, UploadPart
from kedge.domain.ids import Digest
from kedge.errors import Conflict, NotFound
from kedge.storage.sql import dialect, schema
from kedge.storage.sql.connections import Connections

_AT_ONCE = 1000

_files, _uploads, _parts = schema.run_files, schema.uploads, schema.upload_parts
_in_range = and_(_files.c.owner == bindparam("owner"), _files.c.path >= bindparam("low"), _files.c.path < bindparam("high"))
_range = select(_files).where(_in_range).order_by(_files.c.path).limit(bindparam("limit"))
_all = select(_files).where(_files.c.owner == bindparam("owner"), _files.c.path >= bindparam("low"))
_from = _all.order_by(_files.c.path).limit(bindparam("limit"))
_one = select(_files).where(_files.c.owner == bindparam("owner"), _files.c.path == bindparam("path"))
_in_the_way = select(_files.c.path).where(
    _files.c.owner == bindparam("owner"), _files.c.path.in_(bindparam("paths", expanding=True))
)
_drop = delete(_files).where(_files.c.owner == bindparam("owner"), or_(_files.c.path == bindparam("path"), _in_range))
_drop_all = delete(_files).where(_files.c.owner == bindparam("owner"))
_upload = select(_uploads).where(_uploads.c.id == bindparam("upload"))
_its_parts = select(_parts).where(_parts.c.upload == bindparam("upload")).order_by(_parts.c.number)
_end = delete(_uploads).where(_uploads.c.id == bindparam("upload"))
_end_parts = delete(_parts).where(_parts.c.upload == bindparam("upload"))
_old = select(_uploads.c.id).where(_uploads.c.begun_at < bindparam("moment"))
_lock_owner = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 1802854503))")


class SqlFiles:
    """Files of runs and of logged models (port `RunFiles`)."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def put(self, owner: str, file: RunFile) -> None:
        """Write a file in place of what had its path. Raises Conflict where a folder has it, or a file is in its way."""
        with self._connections.writing() as connection:
            _put(connection, owner, file=file)

    def find(self, owner: str, path: str) -> RunFile | None:
        """Find a file."""
        with self._connections.reading() as connection:
            row = connection.execute(_one, {"owner": owner, "path": path}).first()
        return _read(row) if row is not None else None

    def list(self, owner: str, folder: str, *, after: str = "", limit: int) -> Sequence[Listed]:
        """List what is right in a folder, in the order of places, behind the place `after`."""
        start = f"{folder}/" if folder else ""
        entries: list[Listed] = []
        low = _behind(after) if after else start
        with self._connections.reading() as connection:
            while len(entries) < limit:
                rows = _rows(connection, owner, folder=folder, low=low, limit=min(limit - len(entries) + 1, _AT_ONCE))
                for row in rows:
                    if row.path < low:  # in a folder that is already listed
                        continue
                    name, inner, _ = row.path[len(start) :].partition("/")
                    entries.append(Listed(f"{start}{name}", None if inner else row.size))
                    low = _behind(entries[-1].place)
                    if len(entries) == limit:
                        break
                if not rows:
                    break
        return entries

    def walk(self, owner: str, folder: str, *, limit: int) -> Sequence[RunFile]:
        """List all files below a folder, in the order of paths."""
        with self._connections.reading() as connection:
            rows = _rows(connection, owner, folder=folder, low=f"{folder}/" if folder else "", limit=limit)
        return [_read(row) for row in rows]

    def named(self, digests: Sequence[Digest]) -> set[Digest]:
        """Tell which of these blobs are files of any run or logged model."""
        found: set[Digest] = set()
        with self._connections.reading() as connection:
            for first in range(0, len(digests), _AT_ONCE):
                some = _files.c.digest.in_(digests[first : first + _AT_ONCE])
                found.update(map(Digest, connection.scalars(select(_files.c.digest).where(some))))
        return found

    def delete(self, owner: str, path: str) -> int:
        """Take away a file, or a folder with all below it ("" is everything); give the number of files."""
        with self._connections.writing() as connection:
            _lock(connection, owner)
            if not path:
                return connection.execute(_drop_all, {"owner": owner}).rowcount
            given = {"owner": owner, "path": path, "low": f"{path}/", "high": f"{path}0"}
            return connection.execute(_drop, given).rowcount

    def begin(self, upload: Upload) -> None:
        """Note an upload."""
        with self._connections.writing() as connection:
            row = {"id": upload.id, "owner": upload.owner, "path": upload.path, "begun_at": upload.begun_at}
            connection.execute(_uploads.insert(), row)

    def upload(self, upload: str) -> Upload | None:
        """Find an upload that has not ended."""
        with self._connections.reading() as connection:
            row = connection.execute(_upload, {"upload": upload}).first()
        return Upload(id=row.id, owner=row.owner, path=row.path, begun_at=row.begun_at) if row is not None else None

    def put_part(self, upload: str, part: UploadPart) -> None:
        """Write a part in place of what had its number. Raises NotFound where the upload has ended."""
        with self._connections.writing() as connection:
            _lock(connection, upload)
            _require_open(connection, upload)
            row = {"upload": upload, "number": part.number, "digest": part.digest, "size": part.size}
            dialect.upsert(connection, _parts, row=row)

    def parts(self, upload: str) -> Sequence[UploadPart]:
        """List the parts that arrived, in order."""
        with self._connections.reading() as connection:
            rows = connection.execute(_its_parts, {"upload": upload}).all()
        return [UploadPart(number=row.number, digest=Digest(row.digest), size=row.size) for row in rows]

    def end(self, upload: str, file: RunFile | None = None) -> None:
        """Forget an upload; with a file, write that in the same transaction. Raises NotFound if it has ended, Conflict."""
        with self._connections.writing() as connection:
            _lock(connection, upload)
            owner = _require_open(connection, upload)
            connection.execute(_end_parts, {"upload": upload})
            connection.execute(_end, {"upload": upload})
            if file is not None:
                _put(connection, owner, file=file)

    def end_before(self, moment: datetime) -> int:
        """Forget the uploads that began before a moment; give their number."""
        with self._connections.reading() as connection:
            old = connection.scalars(_old, {"moment": moment}).all()
        for upload in old:
            with self._connections.writing() as connection:
                connection.execute(_end_parts, {"upload": upload})
                connection.execute(_end, {"upload": upload})
        return len(old)


def _put(connection: Connection, owner: str, *, file: RunFile) -> None:
    _lock(connection, owner)
    parts = file.path.split("/")
    folders = ["/".join(parts[:count]) for count in range(1, len(parts))]
    if folders and (taken := connection.scalars(_in_the_way, {"owner": owner, "paths": folders}).first()):
        raise Conflict(f"{file.path!r} cannot be written: {taken!r} is a file; use another path, or delete that file first")
    if _rows(connection, owner, folder=file.path, low=f"{file.path}/", limit=1):
        raise Conflict(f"{file.path!r} cannot be written: it is a folder; use another path, or delete that folder first")
    row = {
        "owner": owner,
        "path": file.path,
        "digest": file.digest,
        "size": file.size,
        "modified_at": file.modified_at,
    }
    dialect.upsert(connection, _files, row=row)


def _rows(connection: Connection, owner: str, *, folder: str, low: str, limit: int) -> Sequence[Row[tuple[object, ...]]]:
    if not folder:
        return connection.execute(_from, {"owner": owner, "low": low, "limit": limit}).all()
    return connection.execute(_range, {"owner": owner, "low": low, "high": f"{folder}0", "limit": limit}).all()


def _behind(place: str) -> str:
    """Give the first path that may stand behind a place: "0" follows "/"; after a file comes what is a letter longer."""
    return f"{place[:-1]}0" if place.endswith("/") else f"{place}\x01"


def _lock(connection: Connection, name: str) -> None:
    """Let no other transaction write for this owner until this one ends; on SQLite there is one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(_lock_owner, {"name": name})


def _require_open(connection: Connection, upload: str) -> str:
    row = connection.execute(_upload, {"upload": upload}).first()
    if row is None:
        raise NotFound("this upload has ended, or never began; begin a new one")
    return str(row.owner)


def _read(row: Row[tuple[object, ...]]) -> RunFile:
    return RunFile(path=row.path, digest=Digest(row.digest), size=row.size, modified_at=row.modified_at)
