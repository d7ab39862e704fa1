"""Files of a tree on their way out of the store: each is written under a temporary name, then renamed."""

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from kedge.domain.ids import Digest
from kedge.ports import StoredFile, Told, TreeFile
from kedge.storage.durable import refusal, write_all


def restore(
    files: Iterable[tuple[TreeFile, Path]], told: Told, *, read: Callable[[Digest], Iterator[bytes]]
) -> Iterator[StoredFile]:
    """Write files to their paths; links come last, so that no file is written through one."""
    done = size = 0
    links = []
    for file, path in files:
        if file.link:
            links.append((file, path))
            continue
        stat = _write(file, path, read=read)
        done, size = done + 1, size + file.size
        told(done, size)
        yield StoredFile(file.name, file.digest, file.size, stat)
    for file, path in links:
        yield StoredFile(file.name, file.digest, 0, _link(file, path))
        done += 1
        told(done, size)


def _write(file: TreeFile, path: Path, *, read: Callable[[Digest], Iterator[bytes]]) -> os.stat_result:
    part = path.parent / f".kedge-{secrets.token_hex(8)}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = 0o777 if file.executable else 0o666
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            for piece in read(file.digest):
                write_all(descriptor, piece)
            os.replace(part, path)
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)
            part.unlink(missing_ok=True)
    except OSError as error:
        raise _refused(error, path) from error


def _link(file: TreeFile, path: Path) -> os.stat_result:
    part = path.parent / f".kedge-{secrets.token_hex(8)}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(file.link, part)
        os.replace(part, path)
        return os.lstat(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise _refused(error, path) from error


def _refused(error: OSError, path: Path) -> Exception:
    return refusal(error, path)
