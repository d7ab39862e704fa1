"""Who writes to a bucket: many may push at a time, or one erases.

    pushing/TOKEN   a push that lives writes it anew every few seconds
    erasing/lock    so does the one that erases

Whoever comes writes its own first and looks for the other kind then: so of two that come at once, one sees the other. One
that was killed stops writing: what has not changed for a minute is taken away. No clocks are compared.
"""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from kedge.errors import Conflict, Unreachable
from kedge.ports import Bucket

PUSHING, ERASING = "pushing", "erasing/lock"
_BEAT_SECONDS = 10.0
_DEAD_SECONDS = 60.0
_WAIT_SECONDS = 600.0
_POLL_SECONDS = 0.5


class Lease:
    """An object in a bucket that says that its writer lives."""

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._bucket, self.name = bucket, name
        self._token, self._number = secrets.token_hex(12), 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="kedge-lease", daemon=True)

    def begin(self) -> bool:
        """Write it; False where another has it."""
        if not self._bucket.put(self.name, self._said(), new=True):
            return False
        self._thread.start()
        return True

    def require(self) -> None:
        """Raise Conflict where another took it for dead."""
        found = self._bucket.get(self.name)
        if found is None or not found.startswith(self._token.encode()):
            raise Conflict(
                f"this process did not answer for so long that {self._bucket.url} went on without it; run it again"
            )

    def end(self) -> None:
        """Take it away."""
        self._end.set()
        self._thread.join()
        found = self._bucket.get(self.name)
        if found is not None and found.startswith(self._token.encode()):
            self._bucket.delete(self.name)

    def _said(self) -> bytes:
        self._number += 1
        return f"{self._token} {self._number}".encode()

    def _beat(self) -> None:
        while not self._end.wait(_BEAT_SECONDS):
            try:
                self.require()
                self._bucket.put(self.name, self._said())
            except Unreachable:
                continue
            except Conflict:
                return


class _Watch:
    """Tells which leases of others live, and takes away those that do not."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._seen: dict[str, tuple[bytes, float]] = {}

    def alive(self, name: str) -> bool:
        found = self._bucket.get(name)
        if found is None:
            return False
        said, since = self._seen.get(name, (b"", 0.0))
        now = time.monotonic()
        if said != found:
            self._seen[name] = found, now
        elif now - since > _DEAD_SECONDS:
            self._bucket.delete(name)
            return False
        return True


@contextmanager
def pushing(bucket: Bucket) -> Iterator[Lease]:
    """Push while nobody erases. Raises Conflict where someone does so for long."""
    watch, deadline = _Watch(bucket), time.monotonic() + _WAIT_SECONDS
    while True:
        lease = Lease(bucket, f"{PUSHING}/{secrets.token_hex(12)}")
        lease.begin()
        try:
            if not watch.alive(ERASING):
                yield lease
                return
        finally:
            lease.end()
        _wait(deadline, f"an erasure in {bucket.url} is under way; push again when it is done")


@contextmanager
def erasing(bucket: Bucket) -> Iterator[Lease]:
    """Erase while nobody pushes, and nobody else erases. Raises Conflict where others go on for long."""
    watch, deadline = _Watch(bucket), time.monotonic() + _WAIT_SECONDS
    lease = Lease(bucket, ERASING)
    while not lease.begin():
        if watch.alive(ERASING):
            _wait(deadline, f"another erasure in {bucket.url} is under way; run this again when it is done")
    try:
        while any(watch.alive(name) for name, _ in bucket.list(PUSHING)):
            _wait(deadline, f"others push to {bucket.url}; run this again when they are done")
        yield lease
    finally:
        lease.end()


def _wait(deadline: float, why: str) -> None:
    if time.monotonic() > deadline:
        raise Conflict(why)
    time.sleep(_POLL_SECONDS)
