"""Delta tables at a version: which files that is, by size and hash; and their rows, when the files are still those.

Places are folders and URLs (`s3://`, `gs://`, `az://`); credentials come from the usual environment variables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blake3 import blake3

from kedge.domain.data import Pin, PinnedFile
from kedge.domain.ids import Digest
from kedge.errors import ConfigError, SourceFailed

if TYPE_CHECKING:
    import polars as pl

_AT_ONCE = 1 << 20


class DeltaLake:
    """Reads Delta tables through deltalake, which is imported when it is needed."""

    def __init__(self) -> None:
        self._checked: set[Pin] = set()

    def pin(self, place: str, version: int | None = None) -> Pin:
        """Name a table's version (its newest, if none is given) and the files that it consists of, each read once.

        Raises SourceFailed, ConfigError.
        """
        import polars as pl

        table = _opened(place, version)
        actions = pl.DataFrame(table.get_add_actions(flatten=True))
        files = sorted(zip(actions["path"].to_list(), actions["size_bytes"].to_list(), strict=True))
        hashed = [PinnedFile(path=path, bytes=size, digest=_hash(table, path, place=place)) for path, size in files]
        rows = int(pl.scan_delta(table).select(pl.len()).collect().item())
        return Pin(place=place, version=table.version(), rows=rows, files=tuple(hashed))

    def scan(self, pin: Pin) -> pl.LazyFrame:
        """Give the rows of a pinned version. The files are compared with the pin once in a process.

        Raises SourceFailed where one is gone or another.
        """
        import polars as pl

        table = _opened(pin.place, pin.version)
        if pin not in self._checked:
            for file in pin.files:
                if _hash(table, file.path, place=pin.place) != file.digest:
                    raise SourceFailed(f"{_named(pin.place, pin.version)}: {file.path} is not the file that was pinned")
            self._checked.add(pin)
        return pl.scan_delta(table)


def _opened(place: str, version: int | None) -> Any:
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError
    except ImportError:
        raise ConfigError("reading Delta tables needs the package deltalake: pip install 'kedge[delta]'") from None
    try:
        return DeltaTable(place, version=version)
    except (DeltaError, OSError, ValueError) as error:
        said = str(error).strip().partition("\n")[0]
        raise SourceFailed(f"{_named(place, version)} cannot be read: {said}") from error


def _hash(table: Any, path: str, *, place: str) -> Digest:
    from deltalake.fs import DeltaStorageHandler
    from pyarrow.fs import PyFileSystem

    files = PyFileSystem(DeltaStorageHandler.from_table(table._table))
    whole = blake3()
    try:
        with files.open_input_stream(path) as stream:
            while data := stream.read(_AT_ONCE):
                whole.update(data)
    except OSError as error:
        raise SourceFailed(
            f"{_named(place, table.version())}: its file {path} cannot be read; was the table vacuumed? "
            "Pin a newer version, or restore the file"
        ) from error
    return Digest(whole.hexdigest())


def _named(place: str, version: int | None) -> str:
    return f"Delta table {place}" if version is None else f"Delta table {place} at version {version}"
