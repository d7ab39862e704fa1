"""What makes bytes safe on a disk, and what to tell people where the disk refuses them.

A file's bytes survive a power cut after fsync of the file; its name survives after fsync of the folder that holds it.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from kedge.errors import KedgeError, StoreBroken, StoreFull

_PUNCH_HOLE_KEEP_SIZE = 0x02 | 0x01  # Linux, linux/falloc.h
_START_WRITING = 0x02  # Linux, linux/fs.h: SYNC_FILE_RANGE_WRITE
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write every byte at the descriptor's position; a short write goes on where it stopped. Raises OSError."""
    done = os.write(descriptor, data)
    while done < len(data):
        done += os.write(descriptor, memoryview(data)[done:])


def make_folder(folder: Path) -> None:
    """Create a folder with its parents so that their names survive a power cut."""
    missing = [folder, *folder.parents]
    missing = missing[: next(place for place, parent in enumerate(missing) if parent.is_dir())]
    for created in reversed(missing):
        created.mkdir(exist_ok=True)
        sync_folder(created.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def punch(descriptor: int, start: int, *, length: int) -> bool:
    """Give a part of a file back to the file system: it reads as zeros. False where that cannot be done."""
    call = _linux("fallocate")
    return call is not None and not call(descriptor, _PUNCH_HOLE_KEEP_SIZE, start, length)


def start_writing(descriptor: int, start: int, *, length: int) -> None:
    """Have the disk begin with what was written to a part of a file. A hint: it makes nothing safe, a sync does."""
    if (call := _linux("sync_file_range")) is not None:
        call(descriptor, start, length, _START_WRITING)


@cache
def _linux(name: str) -> Callable[[int, int, int, int], int] | None:
    """Find a call of Linux that Python has no word for: two integers, and two 64-bit ones where that call wants them."""
    if sys.platform != "linux":
        return None
    import ctypes  # 2 ms that a look at files need not pay

    number, wide = ctypes.c_int, ctypes.c_int64
    call = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if call is not None:
        call.argtypes = (number, number, wide, wide) if name == "fallocate" else (number, wide, wide, number)
    return call


def refusal(error: OSError, path: Path | str) -> KedgeError:
    """Turn what the operating system said about writing a file into StoreFull or StoreBroken."""
    if error.errno in _FULL:
        return StoreFull(f"no space left to write {path}; free some space and run the same again, nothing written is lost")
    return StoreBroken(
        f"cannot write {path}: {error.strerror or error}; check the disk and the permissions, then run the same again"
    )
