"""Data in from other tools, and out again: plain files, or as DVC keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from kedge.data.files.versions import Added, FileVersions, require_files
from kedge.domain.data import DatasetVersion
from kedge.ports import DataStore, TreeFile
from kedge.ports.workspace import Foreign, Offer
from kedge.ports.world import Told

if TYPE_CHECKING:
    from pathlib import Path


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What an export wrote, and where."""

    version: DatasetVersion
    files: int
    path: str


class Exchange:
    """Takes in what other tools keep, and gives versions back as they keep them."""

    def __init__(self, *, files: FileVersions, blobs: DataStore, foreign: Foreign) -> None:
        self._files, self._blobs, self._foreign = files, blobs, foreign

    def offers(self, path: str, *, cache: str = "", remote: str = "") -> list[Offer]:
        """Read what DVC or git-lfs track at a path. Raises SourceFailed, NotFound, ConfigError."""
        return self._foreign.offers(path, cache=cache, remote=remote)

    def take_in(self, offer: Offer, *, actor: str, told: Told, name: str = "", message: str = "") -> Added:
        """Make an offer the newest version of its place, and check it out. Raises what `add` and `checkout` raise."""
        with self._foreign.scratch():
            done = self._files.take_in(offer, actor=actor, told=told, name=name, message=message or f"from {offer.what}")
        self._files.checkout(offer.place, done.version, told=told)
        return done

    def export(self, version: DatasetVersion, folder: Path, *, told: Told) -> Exported:
        """Write the files of a version into a folder that holds none of them. Raises LocalEdits, StoreFull, StoreBroken."""
        tree = require_files(version)
        self._foreign.require_free(folder, (file.name for file in self._blobs.manifest(tree)), bytes=version.bytes)
        written = sum(1 for _ in self._blobs.restore(_placed(self._blobs.manifest(tree), folder), told=told))
        return Exported(version=version, files=written, path=str(folder))

    def export_dvc(self, version: DatasetVersion, home: str, *, name: str, folder: bool, told: Told) -> Exported:
        """Write a version into a DVC cache, with the `.dvc` file that names it. Raises StoreFull, StoreBroken."""
        tree = require_files(version)
        with self._foreign.scratch() as scratch:
            files = self._blobs.restore(_placed(_plain(self._blobs.manifest(tree)), scratch), told=told)
            paths = ((file.name, scratch / file.name) for file in files)
            path = self._foreign.write_dvc(paths, name=name, folder=folder, home=home)
        return Exported(version=version, files=version.files, path=path)


def _placed(files: Iterator[TreeFile], folder: Path) -> Iterator[tuple[TreeFile, Path]]:
    for file in files:
        yield file, folder / file.name


def _plain(files: Iterator[TreeFile]) -> Iterator[TreeFile]:
    """Leave out links, which DVC does not keep."""
    return (file for file in files if not file.link)
