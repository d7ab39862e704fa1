"""Change a table and die by SIGKILL at every call that reaches the disk or the index, one call a process; look, go on.

python -m tests.faults.killed_tables FOLDER CHANGE FIRST STEP

Dies at the moments FIRST, FIRST + STEP and so on, and prints the first that never came. Each moment is a forked child of
this process, which itself never touches
Polars, so that no thread pool is forked.
"""

import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import polars as pl

from kedge.data.tables.versions import TableVersions
from kedge.errors import NotFound
from kedge.records import Records, open_records
from kedge.settings import Settings
from kedge.storage.blobs.removing import Removal
from kedge.storage.sql.chunks import SqlChunks
from kedge.storage.sql.datasets import SqlDatasets
from kedge.storage.sql.notes import SqlNotes

SECRET = "Wilhelmina Featherstonehaugh"
ADA = {"actor": "person:ada"}
POINTS = [
    *((os, name) for name in ("fsync", "write", "unlink", "replace", "rename", "ftruncate", "pwrite")),
    *((SqlDatasets, name) for name in ("add", "amend")),
    (SqlNotes, "put"),
    *((SqlChunks, name) for name in ("add", "remove", "move")),
    *((Removal, name) for name in ("remove", "_reclaim", "_wipe", "_write_anew")),
]


def people() -> pl.DataFrame:
    names = [SECRET if n == 7 else f"person {n}" for n in range(40)]
    return pl.DataFrame({"id": range(40), "name": names, "age": [n % 9 for n in range(40)]})


def edited() -> pl.DataFrame:
    return people().with_columns(age=pl.when(pl.col("id") < 5).then(99).otherwise("age")).filter(pl.col("id") != 20)


def prepare(room: TableVersions) -> None:
    room.commit(people(), "people", key="id", **ADA)
    room.delete("people", keys=[1], **ADA)
    room.append(pl.DataFrame({"id": [50], "name": ["Bob"], "age": [1]}), "people", **ADA)


CHANGES: dict[str, Callable[[TableVersions], object]] = {
    "commit": lambda room: room.commit(edited(), "people", **ADA),
    "append": lambda room: room.append(pl.DataFrame({"id": [60], "name": ["Eve"], "age": [2]}), "people", **ADA),
    "delete": lambda room: room.delete("people", where="age = 3", **ADA),
    "compact": lambda room: room.compact("people", **ADA),
    "erase": lambda room: room.erase("people", keys=[7], reason="asked", **ADA),
}


def opened(folder: Path) -> Records:
    return open_records(Settings(project=folder, store=str(folder / "store")))


def rows(room: TableVersions, number: int) -> list[tuple[object, ...]]:
    return room.read(room.find(f"people@{number}")).sort("id").rows()


def arm(moment: int) -> None:
    """Die at the n-th moment: each point counts before and after its call."""
    left = [moment]

    def tick() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    for home, name in POINTS:
        real = getattr(home, name)

        def dying(*args, real=real, **named):
            tick()
            found = real(*args, **named)
            tick()
            return found

        setattr(home, name, dying)


def look(
    folder: Path, change: str, wanted: dict[int, list[tuple[object, ...]]], before: dict[int, list[tuple[object, ...]]]
) -> None:
    """All of the change is there or nothing of it; done again, it is there once."""
    records = opened(folder)
    room = records.tables
    there = {version.number: rows(room, version.number) for version in room.versions("people")}
    assert there in (before, wanted), f"half: {there}"
    if there != wanted or change != "append":  # rows whose keys are there already are refused
        CHANGES[change](room)
    there = {version.number: rows(room, version.number) for version in room.versions("people")}
    assert there == wanted, f"again: {there}"
    if change == "erase":
        held = b"".join(path.read_bytes() for path in (folder / "store" / "packs").rglob("*") if path.is_file())
        for version in room.versions("people"):
            assert version.erased_at is not None
            for part in version.parts:
                held += str(pl.read_parquet(records.blobs.get(part.digest)).rows()).encode()
        assert SECRET.encode() not in held
        for digest in (folder / "old").read_text().split():
            try:
                records.blobs.get(digest)
            except NotFound:
                continue
            raise AssertionError("an old part can still be read")
    kinds = [event.kind.value for _, event in records.meta.events.list(subject="people", limit=100)]
    assert kinds.count("data_erased") == (change == "erase"), kinds
    assert len(kinds) == len(wanted) + (change == "erase"), kinds
    records.close()


def child(work: Callable[[], None]) -> int:
    """Do work in a forked child; give how it ended: 0, or the signal's number below zero, or 1."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(folder: Path, change: str, first_moment: int, step: int) -> None:
    first, told = folder / "first", folder / "told.json"

    def begin() -> None:
        records = opened(first)
        prepare(records.tables)
        before = {v.number: rows(records.tables, v.number) for v in records.tables.versions("people")}
        old = {part.digest for v in records.tables.versions("people") for part in v.parts}
        records.close()
        shutil.copytree(first, folder / "whole")
        records = opened(folder / "whole")
        CHANGES[change](records.tables)
        wanted = {v.number: rows(records.tables, v.number) for v in records.tables.versions("people")}
        new = {part.digest for v in records.tables.versions("people") for part in v.parts}
        (first / "old").write_text(" ".join(old - new))
        told.write_text(repr((before, wanted)))
        records.close()

    assert child(begin) == 0
    before, wanted = eval(told.read_text())
    moment = first_moment - step
    while True:
        moment += step
        place = folder / f"moment{moment}"
        shutil.copytree(first, place)

        def change_and_die(place: Path = place, moment: int = moment) -> None:
            records = opened(place)
            room = records.tables
            arm(moment)
            CHANGES[change](room)
            os._exit(0)

        ended = child(change_and_die)
        assert ended in (0, -signal.SIGKILL), f"moment {moment}: ended with {ended}"
        assert child(lambda place=place: look(place, change, wanted, before)) == 0, f"{change}, moment {moment}"
        shutil.rmtree(place)
        if ended == 0:
            break
    print(moment)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
