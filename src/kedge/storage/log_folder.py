"""Where a journal is kept: its folder, and the shelf for what is compacted, in the folder or in a bucket.

The bucket is opened when something in it is first asked for: who only appends to a log needs none.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from kedge.domain.durations import seconds_of
from kedge.domain.predictions import PredictionRules
from kedge.storage.bucket import open_bucket
from kedge.storage.compacting import Compactor
from kedge.storage.journal import FileJournal
from kedge.storage.shelf import BucketPlace, FolderPlace, Form, ParquetShelf, ShelfPlace

COMPACTED = "compacted"


class LogFolder:
    """A folder of segments and its shelf."""

    def __init__(self, folder: Path, form: Form, *, rules: PredictionRules) -> None:
        self._folder, self._close_seconds = folder, seconds_of(rules.close)
        place: ShelfPlace = FolderPlace(folder / COMPACTED)
        if rules.archive:
            place = LateBucket(rules.archive, folder.name)
        self._shelf = ParquetShelf(place, form)
        self.archive = Compactor(folder, self._shelf)

    def journal(self, writer: str) -> FileJournal:
        """Open the journal for a writer."""
        return FileJournal(self._folder, writer, close_seconds=self._close_seconds, shelf=self._shelf)


class LateBucket:
    """A folder in a bucket that is opened late. Raises ConfigError, Unreachable then."""

    def __init__(self, url: str, prefix: str) -> None:
        self._url, self._prefix = url, prefix

    @cached_property
    def _place(self) -> BucketPlace:
        return BucketPlace(open_bucket(self._url), self._prefix)

    def get(self, name: str) -> bytes | None:
        """Read an object; None where there is none."""
        return self._place.get(name)

    def put(self, name: str, data: bytes) -> None:
        """Write an object."""
        self._place.put(name, data)

    def remove(self, name: str) -> None:
        """Remove an object."""
        self._place.remove(name)

    def names(self) -> Iterator[str]:
        """Name the objects."""
        return self._place.names()

    def url(self, name: str) -> Path | None:
        """Give nothing: an object has no path here."""
        return None
