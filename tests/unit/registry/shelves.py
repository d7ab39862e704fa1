"""A catalog over a store whose files stand on shelves in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from kedge.domain.artifacts import RunFile
from kedge.domain.ids import digest_of
from kedge.errors import NotFound
from kedge.registry.catalog import Catalog
from kedge.registry.room import Registry
from kedge.rollout.hand import ByHand
from kedge.rollout.room import Rollout
from kedge.storage.sql import SqlStore

START = datetime(2013, 3, 1, tzinfo=UTC)


class Ticking:
    """A clock that goes on by a second each time it is looked at."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time


class Shelves:
    """Files by owner and path."""

    def __init__(self, files: dict[str, dict[str, bytes]] | None = None) -> None:
        self.files = files or {}

    def walk(self, owner: str, folder: str = "") -> list[RunFile]:
        if owner not in self.files:
            raise NotFound(f"no run {owner}")
        found = self.files[owner]
        within = [path for path in sorted(found) if not folder or path.startswith(f"{folder}/")]
        return [
            RunFile(path=path, digest=digest_of(found[path].hex()), size=len(found[path]), modified_at=START)
            for path in within
        ]

    def tree(self, owner: str, folder: str = "") -> str:
        files = self.walk(owner, folder)
        if not files:
            raise NotFound(f"{owner} has nothing below {folder!r}")
        return digest_of([(file.path.removeprefix(folder), file.digest) for file in files])

    def read(self, file: RunFile, *, start: int = 0, end: int | None = None):
        bodies = (body for found in self.files.values() for path, body in found.items() if path == file.path)
        yield next(bodies)[start:end]


def open_catalog(store: SqlStore, files: Shelves, clock: Ticking | None = None) -> Catalog:
    return Catalog(
        registered=store.registered,
        models=store.models,
        logged=store.logged_models,
        deployments=store.deployments,
        files=files,
        clock=clock or Ticking(),
    )


def open_by_hand(store: SqlStore, catalog: Catalog, clock: Ticking | None = None) -> ByHand:
    clock = clock or Ticking()
    registry = Registry(
        models=store.models, registered=store.registered, blobs=None, tables=None, evaluation=None, clock=clock
    )
    rollout = Rollout(deployments=store.deployments, registry=registry, watches=store.watches, clock=clock)
    return ByHand(catalog=catalog, registry=registry, rollout=rollout, deployments=store.deployments)
