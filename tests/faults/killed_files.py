"""Do one thing with files in a child, and die by SIGKILL just before or after the n-th call that changes the disk.

What is in the folder beforehand is the test's matter. The calls are those of the workspace, of the pointer and of the
metadata store's commits; those inside the chunk store have tests of their own.
"""

import os
import signal
import traceback
from datetime import timedelta
from pathlib import Path

from tests.contract.filed import ME, nothing_told, opened

from kedge.storage.blobs.chunks import ChunkStore
from kedge.storage.sql.datasets import SqlDatasets
from kedge.storage.workspace.local import LocalWorkspace
from kedge.storage.workspace.memory import Memory

CALLS = [
    (Memory, ("add_fresh", "begin", "change", "settle", "expect", "plan", "drop", "add")),
    (LocalWorkspace, ("point", "remove", "clear")),
    (SqlDatasets, ("add", "amend", "drop")),
    (ChunkStore, ("put_manifest", "remove")),
    (Path, ("replace",)),
]


def arm(calls: int, when: str) -> None:
    """Make the process die at the n-th of the calls."""
    left = [calls]

    def dying(real):
        def call(*args, **named):
            left[0] -= 1
            if left[0] == 0 and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*args, **named)
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for kind, names in CALLS:
        for name in names:
            setattr(kind, name, dying(getattr(kind, name)))
    real_rename, real_restore = os.rename, ChunkStore.restore
    os.rename = dying(real_rename)

    def restore(self, *args, **named):
        for stored in real_restore(self, *args, **named):
            dying(lambda: None)()
            yield stored

    ChunkStore.restore = restore


def done(folder: Path, what: str, *, calls: int, when: str) -> int:
    """Do it in a child; give 0 where it ended before its n-th call, else what killed it."""
    child = os.fork()
    if child == 0:
        try:
            _do(folder, what, calls=calls, when=when)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _do(folder: Path, what: str, *, calls: int, when: str) -> None:
    os.chdir(folder)
    records = opened(folder)
    arm(calls, when)
    match what:
        case "add":
            records.files.add("raw", actor=ME, told=nothing_told)
        case "checkout" | "turn":
            version, place = records.files.resolve("raw@1")
            records.files.checkout(place, version, told=nothing_told)
        case "erase":
            records.erasing.erase("raw", ["people/*"], actor=ME, reason="asked", place="raw")
        case "gc":
            records.collecting.collect(actor=ME, keep=1, young=timedelta(0))
    records.close()
