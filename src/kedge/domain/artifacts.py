"""Files that belong to a run or a logged model, as values: a file, a line of a folder's listing, an upload in parts."""

from datetime import datetime

import msgspec

from kedge.domain.ids import Digest

PARTS_AT_MOST = 10_000


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file: its path, the blob that holds its bytes, its size in bytes."""

    path: str
    digest: Digest
    size: int
    modified_at: datetime


class Listed(msgspec.Struct, frozen=True):
    """One line of a folder's listing: a file with its size, or a folder (size None)."""

    path: str
    size: int | None = None

    @property
    def is_folder(self) -> bool:
        """Tell whether more lies below it."""
        return self.size is None

    @property
    def place(self) -> str:
        """Give where it stands among all paths: a folder stands where its files do."""
        return f"{self.path}/" if self.is_folder else self.path


class Listing(msgspec.Struct, frozen=True):
    """One page of a folder's listing; `next` is where the following page begins, None at the end."""

    entries: tuple[Listed, ...]
    next: str | None = None


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is sent in parts. Whoever knows its `id` (256 random bits) may send parts of it, and nothing else."""

    id: str
    owner: str
    path: str
    begun_at: datetime


class UploadPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part that has arrived whole, counted from 1."""

    number: int
    digest: Digest
    size: int
