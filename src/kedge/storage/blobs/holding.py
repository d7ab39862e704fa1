"""Who keeps files and who removes blobs, so that nothing is removed between being found in the store and being named.

Many may keep at a time, or one removes. The lock is the operating system's: it goes with the process that holds it.
Readers need none.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kedge.errors import Conflict
from kedge.storage.durable import make_folder

NAME = "holding.lock"
_POLL_SECONDS = 0.02


@contextmanager
def hold(folder: Path, *, alone: bool = False, seconds: float = 60.0) -> Iterator[None]:
    """Hold the store's lock, shared or alone. Raises Conflict where it is not to be had for so long."""
    make_folder(folder)
    descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH, seconds=seconds)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, kind: int, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                doing = "keeps files in" if kind == fcntl.LOCK_EX else "removes data from"
                raise Conflict(
                    f"another process {doing} this store, for more than {seconds:.0f} seconds; run this again after it"
                ) from None
            time.sleep(_POLL_SECONDS)
        else:
            return
