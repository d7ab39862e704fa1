"""Measure one window of a world that lives in a folder, and die by SIGKILL just before or after its measurement is written.

python -m tests.faults.late_windows FOLDER DAY [before|after]
"""

import os
import signal
import sys
from pathlib import Path

from tests.unit.monitoring.world import SPEC, World, frame

from kedge.domain.ids import Digest, digest_of
from kedge.domain.project import ProjectSpec
from kedge.storage.journal import FileJournal
from kedge.storage.sql.store import open_store


class FileBlobs:
    """Blobs as files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, data: bytes) -> Digest:
        name = digest_of(data.hex())
        (self.folder / name.replace(":", "-")).write_bytes(data)
        return name

    def get(self, digest: Digest) -> bytes:
        return (self.folder / digest.replace(":", "-")).read_bytes()


def opened(folder: Path, *, writer: str = "measurer", spec: ProjectSpec = SPEC) -> World:
    """Open the world of a folder: store, journals and blobs are files."""
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    world = World(
        spec=spec,
        predictions=FileJournal(folder / "predictions", writer),
        truths=FileJournal(folder / "truths", writer),
        blobs=FileBlobs(folder / "blobs"),
    )
    new = not (folder / "kedge.db").exists()
    world.meta = open_store(f"sqlite:///{folder / 'kedge.db'}")
    if new:
        world.release(1)
        world.references().take(world.spec, world.registry.versions[1], frame())
    else:
        from tests.unit.monitoring.world import START, version

        world.registry.versions[1], world.registry.number, world.revision = version(1, START), 1, 1
    return world


def dying(world: World, when: str) -> None:
    """Let the process die around the write of a measurement."""
    put = world.meta.watches.put

    def write(*given, **named) -> None:
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        put(*given, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    world.meta.watches.put = write


if __name__ == "__main__":
    here = opened(Path(sys.argv[1]))
    if sys.argv[3:]:
        dying(here, sys.argv[3])
    here.measure(int(sys.argv[2]))
