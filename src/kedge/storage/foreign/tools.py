"""Other tools' data, in and out (port `Foreign`)."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kedge.errors import ConfigError, LocalEdits, SourceFailed, StoreFull
from kedge.ports.workspace import Offer
from kedge.storage.foreign import dvc, lfs


class OtherTools:
    """DVC and git-lfs, for a project's folder. What is on its way lies in `.kedge/scratch`."""

    def __init__(self, root: Path) -> None:
        self._root = Path(root)
        self._folder: Path | None = None

    def offers(self, path: str, *, cache: str, remote: str) -> list[Offer]:
        """Read what a path tracks: a `.dvc` file, a folder with them, or what git-lfs tracks."""
        given = Path(os.path.abspath(path))
        pointed = given.with_name(f"{given.name}.dvc")
        if given.suffix == ".dvc" or given.name == "dvc.lock":
            return self._dvc(given, cache, remote=remote)
        if pointed.is_file():
            return self._dvc(pointed, cache, remote=remote)
        if given.is_dir() and (_has(given, ".dvc") or (given / "dvc.lock").exists()):
            return self._dvc(given, cache, remote=remote)
        if lfs.has_pointers(given):
            return lfs.offers(given, self._root)
        raise SourceFailed(f"{path} is tracked by neither DVC nor git-lfs; for plain files: kedge data add {path}")

    def require_free(self, folder: Path, names: Iterator[str], *, bytes: int) -> None:
        """Raise LocalEdits where one of these files is there already, StoreFull where the disk has less room."""
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"{folder} is no folder; name one to write the files into")
        if folder.exists() and any(folder.iterdir()):
            taken = next((name for name in names if os.path.lexists(folder / name)), None)
            if taken is not None:
                raise LocalEdits(f"{folder / taken} is there already and stays; name an empty folder")
        home = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
        free = shutil.disk_usage(home).free
        if bytes > free:
            raise StoreFull(f"{folder} needs {bytes:,} bytes and the disk has {free:,} left; free some space")

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a folder for what is on its way; it is gone at the end."""
        home = self._root / ".kedge" / "scratch"
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as folder:
            self._folder = Path(folder)
            yield self._folder

    def write_dvc(self, files: Iterator[tuple[str, Path]], *, name: str, folder: bool, home: str) -> str:
        """Write files as DVC keeps them; give the path of the `.dvc` file. The files are moved."""
        return str(dvc.write(files, name=name, folder=folder, home=Path(home)))

    def _dvc(self, path: Path, cache: str, *, remote: str) -> list[Offer]:
        return dvc.offers(
            path, self._root, cache=cache, remote=remote, scratch=lambda: self._folder or self._root / ".kedge"
        )


def _has(folder: Path, suffix: str) -> bool:
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if any(name.endswith(suffix) for name in files):
            return True
    return False
