"""Where a journal is kept: its folder, and the shelf for what is compacted, in the folder or in a bucket.

The bucket is opened when something in it is first asked for: who only appends to a log needs none.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from socket import gethostname

import msgspec

from kedge.domain.durations import seconds_of
from kedge.domain.predictions import PredictionRules
from kedge.errors import ConfigError, StoreBroken
from kedge.storage.bucket import UrlBucket, open_bucket
from kedge.storage.compacting import Compactor
from kedge.storage.journal import FileJournal
from kedge.storage.secret import secret
from kedge.storage.shelf import BucketPlace, FolderPlace, Form, ParquetShelf, ShelfPlace

COMPACTED = "compacted"
OWNER = "owner.json"
MARK = "archive.mark"
"""The file beside the segments that says which archive is theirs."""


class LogFolder:
    """A folder of segments and its shelf."""

    def __init__(self, folder: Path, form: Form, *, rules: PredictionRules) -> None:
        self._folder, self._close_seconds = folder, seconds_of(rules.close)
        place: ShelfPlace = FolderPlace(folder / COMPACTED)
        if rules.archive:
            place = LateBucket(rules.archive, folder)
        self._shelf = ParquetShelf(place, form)
        self.archive = Compactor(folder, self._shelf)

    def journal(self, writer: str) -> FileJournal:
        """Open the journal for a writer."""
        return FileJournal(self._folder, writer, close_seconds=self._close_seconds, shelf=self._shelf)


class ArchiveOwner(msgspec.Struct, frozen=True):
    """Whose an archive is: the mark of the folder of segments that it was made from, and where that was."""

    mark: str
    folder: str


class LateBucket:
    """A folder in a bucket that is opened late, of one folder of segments alone: two would replace each other's manifest.

    The first that writes leaves its mark, the object `owner.json`; the mark is kept beside the segments. Raises ConfigError
    for the archive of another, and for a URL that is none; Unreachable.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder, self._prefix = url, folder, folder.name
        self._is_ours = False

    @cached_property
    def _bucket(self) -> UrlBucket:
        return open_bucket(self._url)

    @cached_property
    def _place(self) -> BucketPlace:
        return BucketPlace(self._bucket, self._prefix)

    def get(self, name: str) -> bytes | None:
        """Read an object; None where there is none."""
        self._require_ours()
        return self._place.get(name)

    def put(self, name: str, data: bytes) -> None:
        """Write an object."""
        self._own()
        self._place.put(name, data)

    def remove(self, name: str) -> None:
        """Remove an object."""
        self._own()
        self._place.remove(name)

    def names(self) -> Iterator[str]:
        """Name the objects."""
        self._require_ours()
        return self._place.names()

    def url(self, name: str) -> Path | None:
        """Give nothing: an object has no path here."""
        return None

    def _own(self) -> None:
        """Leave the mark where there is none, and check that it is ours."""
        if self._is_ours:
            return
        mark = ArchiveOwner(secret(self._folder / MARK).hex(), f"{gethostname()}:{self._folder.resolve()}")
        self._bucket.put(f"{self._prefix}/{OWNER}", msgspec.json.encode(mark), new=True)
        self._require_ours()

    def _require_ours(self) -> None:
        """Check whose the archive is, once; nobody's is everybody's to read."""
        if self._is_ours or (raw := self._bucket.get(f"{self._prefix}/{OWNER}")) is None:
            return
        try:
            owner = msgspec.json.decode(raw, type=ArchiveOwner)
        except msgspec.DecodeError as error:
            raise StoreBroken(f"{self._prefix}/{OWNER} of {self._url} cannot be read ({error}); restore it") from error
        path = self._folder / MARK
        if not path.exists() or path.read_bytes().hex() != owner.mark:
            raise ConfigError(
                f"the archive {self._url} belongs to another store, {owner.folder}, and two would overwrite each other's"
                " predictions; set predictions.archive to a folder of its own. If this is that store, moved without its"
                f" file {MARK}, bring the file to {self._folder}, or delete {self._prefix}/{OWNER} in the archive"
            )
        self._is_ours = True
