"""Whole folders on their way into the store: small files many at a time, large ones piece by piece."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from kedge.domain.ids import Digest
from kedge.errors import FileChanged, SourceFailed
from kedge.ports import Incoming, StoredFile, Told

SMALL = 1 << 20
_TOGETHER_BYTES, _TOGETHER_FILES = 32 << 20, 4000
_PIECE = 4 << 20
_TRIES = 3


def take_in(
    files: Iterable[tuple[str, Path]],
    told: Told,
    *,
    together: Callable[[Sequence[bytes]], list[Digest]],
    incoming: Callable[[], Incoming],
) -> Iterator[StoredFile]:
    """Keep files in the order given: those up to `SMALL` by `together`, larger ones as `incoming` blobs."""
    waiting: list[tuple[str, os.stat_result, bytes]] = []
    size = done = count = 0

    def settled() -> Iterator[StoredFile]:
        digests = together([data for _, _, data in waiting])
        for (name, stat, data), digest in zip(waiting, digests, strict=True):
            yield StoredFile(name, digest, len(data), stat)
        waiting.clear()

    for name, path in files:
        whole, stat = _read(path)
        if whole is not None:
            waiting.append((name, stat, whole))
            size += len(whole)
        if whole is None or size >= _TOGETHER_BYTES or len(waiting) >= _TOGETHER_FILES:
            done, count, size = done + size, count + len(waiting), 0
            yield from settled()
        if whole is None:
            digest, stat = _send(path, incoming)
            done, count = done + stat.st_size, count + 1
            yield StoredFile(name, digest, stat.st_size, stat)
        told(count + len(waiting), done + size)
    yield from settled()


def _read(path: Path) -> tuple[bytes | None, os.stat_result]:
    """Read a small file; None for a large one."""
    for attempt in range(_TRIES):
        time.sleep(0.05 * attempt)
        try:
            with path.open("rb", buffering=0) as file:
                before = os.fstat(file.fileno())
                if before.st_size > SMALL:
                    return None, before
                data = file.read(before.st_size + 1)
                if not _moved(before, os.fstat(file.fileno())) and len(data) == before.st_size:
                    return data, before
        except OSError as error:
            raise _unread(path, error) from error
    raise _changing(path)


def _send(path: Path, incoming: Callable[[], Incoming]) -> tuple[Digest, os.stat_result]:
    for attempt in range(_TRIES):
        time.sleep(0.05 * attempt)
        blob = incoming()
        try:
            with path.open("rb", buffering=0) as file:
                before = os.fstat(file.fileno())
                size = 0
                while data := file.read(_PIECE):
                    blob.write(data)
                    size += len(data)
                if not _moved(before, os.fstat(file.fileno())) and size == before.st_size:
                    return blob.keep(), before
        except OSError as error:
            blob.drop()
            raise _unread(path, error) from error
        blob.drop()
    raise _changing(path)


def _moved(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) != (after.st_size, after.st_mtime_ns, after.st_ctime_ns)


def _changing(path: Path) -> FileChanged:
    return FileChanged(f"{path} changed while it was read, {_TRIES} times; wait for its writer, then run the same again")


def _unread(path: Path, error: OSError) -> SourceFailed:
    return SourceFailed(f"cannot read {path}: {error.strerror}; nothing was lost: mend it, then run the same again")
