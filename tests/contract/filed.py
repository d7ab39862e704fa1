"""A project's folder with its records, as the commands open them."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from pathlib import Path

from kedge.records import Records, open_records
from kedge.settings import Settings

ME = "person:me"


@contextmanager
def standing_in(folder: Path):
    """Work in a folder, as a command does."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir(before)


def opened(folder: Path, store: Path | None = None) -> Records:
    """Open a project's records."""
    return open_records(Settings(project=folder, store=str(store or folder / ".kedge")))


def nothing_told(files: int, bytes: int) -> None:
    """Take no notice."""


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    """Write files."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def contents(folder: Path) -> dict[str, str]:
    """Read all files of a folder."""
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def settled(folder: Path) -> None:
    """Date files back, and let the clock of the file system tick, so that their stats are trusted at once."""
    for path in [folder, *folder.rglob("*")] if folder.is_dir() else [folder]:
        if not path.is_symlink():
            os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns - 5_000_000_001))
    time.sleep(0.03)


def add(records: Records, place: str, **named):
    """Add a place."""
    return records.files.add(place, actor=ME, told=nothing_told, **named)


def checkout(records: Records, reference: str, *, force: bool = False):
    """Check a reference out."""
    version, place = records.files.resolve(reference)
    assert place is not None
    return records.files.checkout(place, version, told=nothing_told, force=force)
